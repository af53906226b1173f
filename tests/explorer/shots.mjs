// Pictures of every page, to look at: node shots.mjs FOLDER [NAME...]

import { mkdirSync } from "node:fs";
import { launch } from "./browser.mjs";
import { pages } from "./pages.mjs";

const [folder = "shots", ...only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const at = await pages();
const SHOTS = {
  profiles: ["index"],
  many: ["many"],
  tree: ["newer"],
  "tree-open": [
    "newer",
    "#",
    async (page) => {
      await page.keyboard.press("e");
    },
  ],
  "tree-node": [
    "newer",
    "#q=shadow",
    async (page) => {
      await page.locator(".view-tree").focus();
      for (const key of ["End", "Enter"]) await page.keyboard.press(key);
      await page.waitForTimeout(300);
    },
  ],
  icicle: ["newer", "#view=icicle"],
  table: ["newer", "#view=table"],
  "big-tree": ["big"],
  flat: ["flat"],
  "flat-open": ["flat", "#", async (page) => page.keyboard.press("e")],
  "big-icicle": ["big", "#view=icicle&width=events"],
  snapshots: ["newer", "#tab=snapshots"],
  "profile-signals": ["newer", "#tab=signals"],
  running: ["newer", "#tab=running"],
  learning: ["newer", "#tab=learning"],
  "learning-profile": ["learning"],
  versions: ["newer", "#tab=versions"],
  hostile: ["hostile", "#view=table&q=script"],
  empty: ["empty"],
  signals: [
    "signals",
    "",
    async (page) => {
      await page.locator(".signal-open").first().click();
    },
  ],
  "signal-panel": [
    "signals",
    "#context=known",
    async (page) => {
      await page.locator("a.signal-open, button.signal-open").first().click();
      await page.waitForTimeout(100);
      const line = page.locator(".signal-line a").first();
      if (await line.count()) await line.click();
    },
  ],
  suppressions: [
    "signals",
    "#tab=suppressions",
    async (page) => {
      await page.locator("details.suppression").first().locator("summary").click();
    },
  ],
};
const LOOKS = {
  wide: { width: 1440, height: 900, scheme: "light" },
  dark: { width: 1440, height: 900, scheme: "dark" },
  narrow: { width: 390, height: 844, scheme: "light" },
  huge: { width: 1920, height: 1080, scheme: "dark" },
};
const browser = await launch();
for (const [name, [page, hash = "", act]] of Object.entries(SHOTS)) {
  for (const [look, { width, height, scheme }] of Object.entries(LOOKS)) {
    if (only.length > 0 && !only.some((one) => `${name}-${look}`.includes(one))) continue;
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
    const tab = await context.newPage();
    tab.on("pageerror", (error) => console.error(name, look, error.message));
    tab.on("console", (message) => message.type() === "error" && console.error(name, look, message.text()));
    await tab.goto(at[page] + hash);
    await tab.waitForTimeout(250);
    if (act) await act(tab);
    await tab.waitForTimeout(250);
    await tab.screenshot({ path: `${folder}/${name}-${look}.png` });
    await context.close();
  }
}
await browser.close();
