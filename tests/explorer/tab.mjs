import assert from "node:assert/strict";
import { after, before } from "node:test";
import { launch } from "./browser.mjs";

/** A tab that fails its test on errors, dialogs, and requests to anywhere but where the page came from. */
export async function open(browser, address, { width = 1440, height = 900, scheme = "light", ...more } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: "reduce",
    ...more,
  });
  const page = await context.newPage();
  const problems = [];
  const { protocol, host } = new URL(address);
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on(
    "console",
    (message) =>
      ["error", "warning"].includes(message.type()) &&
      !/status of 4\d\d/.test(message.text()) &&
      problems.push(`console: ${message.text()}`),
  );
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol === "data:") return;
    if (protocol === "file:" ? !request.isNavigationRequest() : url.host !== host) problems.push(`request: ${request.url()}`);
  });
  await page.goto(address);
  await page.locator("main").waitFor();
  return {
    page,
    close: async () => {
      await context.close();
      assert.deepEqual(problems, []);
    },
  };
}

/** Starts a browser for the tests of a file; makes tests that run in a tab with one of some pages, by its name. */
export function inBrowser(at) {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser.close());
  return (name, options, run) => async () => {
    const tab = await open(browser, at[name] + (options.hash ?? ""), options);
    try {
      await run(tab.page);
    } finally {
      await tab.close();
    }
  };
}
