// What everybody must be able to use, on every page: axe-core's rules, and narrow screens. On pages that are given, in light only.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { pages } from "./pages.mjs";
import { inBrowser } from "./tab.mjs";

const onFixtures = process.env.EXPLORER_PAGES === undefined;
const at = await pages();
const inTab = inBrowser(at);

describe("accessibility", () => {
  const states = [
    ["index"],
    ["newer"],
    ["newer", "#view=icicle"],
    ["newer", "#view=table"],
    ["newer", "#tab=snapshots"],
    ["newer", "#tab=signals"],
    ["newer", "#tab=running"],
    ["newer", "#tab=learning"],
    ["newer", "#tab=versions"],
    ["learning"],
    ["signals"],
    ["signals", "#tab=suppressions"],
    ["empty"],
    ["none"],
    ["noSignals"],
    ["noSignals", "#tab=suppressions"],
  ];
  for (const scheme of onFixtures ? ["light", "dark"] : ["light"]) {
    for (const [name, hash = ""] of states) {
      if (!at[name]) continue;
      for (const width of scheme === "light" ? [1440, 390] : [1440]) {
        test(
          `${name}${hash}, ${scheme}, ${width}`,
          inTab(name, { hash, scheme, width }, async (page) => {
            if (name === "signals")
              await page
                .locator(hash === "" ? ".signal-open" : "details.suppression > summary")
                .first()
                .click();
            if (name === "newer" && hash === "#view=table") {
              await page.locator("[role=treegrid] [role=row][aria-selected]").nth(1).click();
              await page.locator(".side h2").waitFor();
            }
            const { violations } = await new AxeBuilder({ page }).options({ resultTypes: ["violations"] }).analyze();
            const bad = violations
              .filter((one) => ["serious", "critical"].includes(one.impact))
              .map(
                (one) =>
                  `${one.id}: ${one.nodes
                    .slice(0, 3)
                    .map((node) => `${node.target} ${node.failureSummary}`)
                    .join(" | ")}`,
              );
            assert.deepEqual(bad, []);
          }),
        );
      }
    }
  }
});

describe("no page is wider than the screen", () => {
  for (const name of ["index", "newer", "signals", "hostile", "empty"]) {
    for (const width of [390, 768, 1024, 1440, 1920]) {
      if (at[name])
        test(
          `${name}, ${width}`,
          inTab(name, { width }, async (page) => {
            assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
          }),
        );
    }
  }
});
