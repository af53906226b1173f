// Decisions, on a server that takes them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "./browser.mjs";
import { serve } from "./server.mjs";
import { open } from "./tab.mjs";

describe("a live explorer", () => {
  let browser;
  let server;
  before(async () => {
    browser = await launch();
    server = await serve();
  });
  after(async () => {
    await browser.close();
    await server.close();
  });
  const decide = async (page, decision, reason) => {
    await page.locator(`details[open] [data-decision=${decision}]`).click();
    await page.getByLabel("Author").fill("security@example.com");
    await page.getByLabel("Reason").fill(reason);
    await page.locator(".decision [type=submit]").click();
  };

  test("the token leaves the address; accept, undo, and what is refused is said where it happened", async () => {
    const tab = await open(browser, `${server.address}signals.html#token=${server.token}&tab=suppressions`);
    const { page } = tab;
    assert.ok(!page.url().includes("token"));
    assert.match(page.url(), /tab=suppressions/);
    await page
      .locator("details.suppression")
      .filter({ hasText: "suggested" })
      .filter({ hasText: "would hide" })
      .first()
      .locator("summary")
      .click();
    await page.waitForURL(/suppression=/);
    const id = new URL(page.url()).hash.match(/suppression=(\w+)/)[1];
    await decide(page, "accept", "refuse me");
    await page.locator("[role=alert]", { hasText: "the reason is <b>no</b> reason" }).waitFor();
    assert.ok(await page.getByText("80 % or more").isVisible());
    await page.getByLabel("Reason").fill("health probes");
    await page.getByLabel(/Expires/).fill("2027-01-31");
    await page.locator(".decision [type=submit]").click();
    await page.locator(`details[data-id="${id}"][open]`, { hasText: "accepted" }).waitFor();
    assert.ok(page.url().includes(id), "the state is kept");
    assert.ok(server.requests.includes("GET signals.json"));
    assert.match(await page.locator(".said").innerText(), /\d+ hidden/);
    assert.match(await page.locator(`details[data-id="${id}"]`).innerText(), /2027-01-31 23:59:59 UTC/);
    await decide(page, "remove", "a mistake");
    await page.locator(`details[data-id="${id}"]`, { hasText: "removed" }).waitFor();
    await tab.close();
  });

  test("without a token it asks for one", async () => {
    const tab = await open(browser, `${server.address}signals.html#tab=suppressions&state=suggested`);
    const { page } = tab;
    // Not all can be decided on here.
    const accept = page.locator("details[open] [data-decision=accept]");
    for (const one of await page.locator("details.suppression > summary").all()) {
      await one.click();
      if ((await accept.count()) > 0) break;
    }
    await accept.first().click();
    await page.getByLabel("Author").fill("a");
    await page.getByLabel("Reason").fill("b");
    await page.getByLabel("Token").fill("wrong");
    await page.locator(".decision [type=submit]").click();
    await page.locator("[role=alert]", { hasText: "token" }).waitFor();
    await page.getByLabel("Token").fill(server.token);
    await page.locator(".decision [type=submit]").click();
    await page.locator(".said:not([hidden])").waitFor();
    await tab.close();
  });
});
