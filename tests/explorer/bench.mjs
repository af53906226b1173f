// How long pages take, and which tasks kept them from answering: node bench.mjs [--nodes 5000]

import { parseArgs } from "node:util";
import { launch } from "./browser.mjs";
import { pages } from "./pages.mjs";

const { values } = parseArgs({ options: { nodes: { type: "string", default: "5000" } } });
const at = await pages({ large: Number(values.nodes) });
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
await context.addInitScript(() => {
  window.tasks = [];
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration))).observe({
    type: "longtask",
    buffered: true,
  });
});
const page = await context.newPage();
const line = (what, took, tasks) =>
  console.log(
    `${what.padEnd(34)} ${String(took === null ? "" : `${Math.round(took)} ms`).padStart(9)}   ${tasks.length === 0 ? "no long task" : `${tasks.length} long tasks, longest ${Math.round(Math.max(...tasks))} ms`}`,
  );
const settle = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 150))));
const tasks = () => page.evaluate(() => window.tasks.splice(0));

async function opening(name, hash = "") {
  await page.goto("about:blank");
  await page.goto(at[name] + hash);
  await settle();
  const took = await page.evaluate(() => performance.getEntriesByName("interactive")[0].startTime);
  line(`open ${name}${hash}`, took, await tasks());
}

async function doing(what, run) {
  await settle();
  await tasks();
  const before = performance.now();
  await run();
  const took = performance.now() - before;
  await settle();
  line(`  ${what}`, took, await tasks());
}

const drag = async () => {
  await page.mouse.move(700, 600);
  await page.mouse.down();
  for (let step = 0; step < 40; step += 1) await page.mouse.move(700 - step * 6, 600 - step * 8);
  await page.mouse.up();
};
const wheel = async (x, y, times, hold) => {
  await page.mouse.move(x, y);
  if (hold) await page.keyboard.down("Control");
  for (let step = 0; step < times; step += 1) await page.mouse.wheel(0, step % 2 === 0 && hold ? -120 : 240);
  if (hold) await page.keyboard.up("Control");
};

await opening("newer");
for (const round of [1, 2]) {
  console.log(`round ${round}`);
  await opening("big");
  await doing("pan", drag);
  await doing("expand all", () => page.getByRole("button", { name: "Expand all" }).click());
  await doing("pan, all expanded", drag);
  await doing("scroll, all expanded", () => wheel(700, 600, 60, false));
  await doing("zoom", () => wheel(700, 600, 30, true));
  await doing("fit all", () => page.getByRole("button", { name: "Fit all (f)" }).click());
  await doing("pan, all in sight", drag);
  await doing("filter by typing", () => page.getByRole("searchbox").pressSequentially("order_search"));
  await doing("clear the filter", () => page.getByRole("button", { name: "Clear filters" }).click());
  await doing("choose a node", () =>
    page.keyboard
      .press("Escape")
      .then(() => page.locator(".view-tree").focus())
      .then(() => page.keyboard.press("Enter")),
  );
  await opening("big", "#view=icicle");
  await doing("keys in the icicle", async () => {
    await page.locator(".view-icicle").focus();
    for (let step = 0; step < 20; step += 1) await page.keyboard.press("ArrowDown");
  });
  await opening("big", "#view=table");
  await doing("expand all", () => page.getByRole("button", { name: "Expand all" }).click());
  await doing("scroll", () => wheel(500, 600, 60, false));
  await doing("keys in the table", async () => {
    await page.locator(".rows [role=row]").first().focus();
    for (let step = 0; step < 30; step += 1) await page.keyboard.press("ArrowDown");
  });
  await opening("many");
  await doing("scroll", () => wheel(700, 500, 80, false));
  await doing("filter by typing", () => page.getByRole("searchbox").pressSequentially("shop"));
  await doing("sort", () => page.getByRole("button", { name: "Containers" }).click());
  await opening("signals");
  await doing("scroll", () => wheel(500, 500, 40, false));
}
await browser.close();
