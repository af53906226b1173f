// From the list of profiles to a suppression, on a live server: EXPLORER_LIVE is the address that `wsp explore --allow-write` prints.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browser.mjs";
import { open } from "./tab.mjs";

const address = process.env.EXPLORER_LIVE;
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("from the list to an accepted suppression", { skip: address ? false : "EXPLORER_LIVE names no server" }, async () => {
  const tab = await open(browser, address);
  const { page } = tab;
  assert.ok(!page.url().includes("token"));
  await page.locator(".profile-rows .profile-row a").first().click();
  await page.waitForURL(/profiles\//);
  await page.getByRole("link", { name: "Signals" }).first().click();
  await page.waitForURL(/signals\.html/);
  await page.goto(new URL("signals.html#tab=suppressions&state=suggested", page.url().replace(/profiles\/.*/, "")).href);
  const suggestion = page.locator("details.suppression").filter({ hasText: "would hide" }).first();
  await suggestion.locator("summary").click();
  await page.waitForURL(/suppression=/);
  const id = new URL(page.url()).hash.match(/suppression=(\w+)/)[1];
  await page.locator("details[open] [data-decision=accept]").click();
  await page.getByLabel("Author").fill("ann");
  await page.getByLabel("Reason").fill("the image's own probes");
  await page.locator(".decision [type=submit]").click();
  await page.locator(".said:not([hidden])").waitFor();
  assert.match(await page.locator(".said").innerText(), /\d+ hidden/);
  await page.goto(`${page.url().split("#")[0]}#tab=suppressions&suppression=${id}`);
  await page.locator(`details[data-id="${id}"]`, { hasText: "accepted" }).waitFor();
  await tab.close();
});
