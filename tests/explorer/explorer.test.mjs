// What people do with the pages, in a real browser.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pages } from "./pages.mjs";
import { inBrowser } from "./tab.mjs";

const onFixtures = process.env.EXPLORER_PAGES === undefined;
const at = await pages();
const inTab = inBrowser(at);

describe("profiles", () => {
  test(
    "search, sort, collapse, and the address of it",
    inTab("index", {}, async (page) => {
      const rows = page.locator(".profile-rows .profile-row");
      const all = await rows.count();
      assert.ok(all > 0);
      const tag = await rows
        .nth(all - 1)
        .locator(".tag")
        .innerText();
      await page.keyboard.press("/");
      await page.keyboard.type(tag);
      await page.waitForFunction(
        (count) => document.querySelectorAll(".profile-rows .profile-row").length < count || count === 1,
        all,
      );
      await page.waitForURL(/q=/);
      await page.getByRole("searchbox").fill("");
      await page.getByRole("button", { name: "Containers" }).click();
      await page.waitForURL(/sort=-containers/);
      await page.waitForFunction(() => document.querySelector(".column-containers").getAttribute("aria-sort") === "descending");
      const numbers = await page
        .locator(".profile-group")
        .evaluateAll((groups) => groups.map((one) => Number(one.querySelector("[data-label=Containers]").textContent)));
      assert.deepEqual(
        numbers,
        [...numbers].sort((a, b) => b - a),
      );
      await page.locator(".group-button").first().click();
      assert.equal(await page.locator(".group-button").first().getAttribute("aria-expanded"), "false");
      await page.goBack();
      await page.waitForFunction(() => document.querySelector(".column-containers").getAttribute("aria-sort") === "none");
    }),
  );

  test(
    "a row leads to its page",
    inTab("index", {}, async (page) => {
      await page.locator(".profile-rows a").first().click();
      await page.locator(".page-profile").waitFor();
      await page.getByRole("link", { name: "Profiles", exact: true }).click();
      await page.locator(".page-profiles").waitFor();
    }),
  );
});

describe("a profile", () => {
  test(
    "keys of the tree grid",
    inTab("newer", { hash: "#view=table" }, async (page) => {
      const focused = () =>
        page.evaluate(() => {
          const row = document.activeElement;
          return {
            role: row.getAttribute("role"),
            level: Number(row.getAttribute("aria-level")),
            expanded: row.getAttribute("aria-expanded"),
            at: Number(row.dataset.at),
            text: row.textContent,
          };
        });
      await page.locator("[role=treegrid] .rows [role=row]").first().focus();
      assert.equal((await focused()).role, "row");
      await page.keyboard.press("End");
      const last = await focused();
      await page.keyboard.press("Home");
      const first = await focused();
      assert.equal(first.at, 0);
      assert.ok(last.at > 0);
      assert.equal(first.expanded, "true");
      await page.keyboard.press("ArrowLeft");
      assert.equal((await focused()).expanded, "false");
      await page.keyboard.press("ArrowRight");
      assert.equal((await focused()).expanded, "true");
      await page.keyboard.press("ArrowRight");
      assert.equal((await focused()).level, 2);
      await page.keyboard.press("ArrowLeft");
      assert.equal((await focused()).at, 0);
      await page.keyboard.press("Enter");
      await page.waitForURL(/node=/);
      assert.match(await page.locator(".side h2").innerText(), /\//);
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Escape");
      await page.waitForFunction(() => !location.hash.includes("node="));
      assert.ok(await page.locator(".side").isHidden());
    }),
  );

  test(
    "typing leads to a row",
    { skip: !onFixtures },
    inTab("newer", { hash: "#view=table" }, async (page) => {
      await page.locator("[role=treegrid] .rows [role=row]").first().focus();
      await page.keyboard.type("env");
      assert.match(await page.evaluate(() => document.activeElement.textContent), /envsubst/);
    }),
  );

  test(
    "a link to a node that is hidden shows it, whatever filters say",
    inTab("newer", { hash: "#view=table" }, async (page) => {
      const id = await page.evaluate(() => {
        const { page: data } = JSON.parse(document.getElementById("document").textContent);
        return data.nodes.find((one) => one.kind === "file" && one.parent !== null && one.collapsed_into === null).id;
      });
      await page.evaluate((node) => (location.hash = `#view=table&q=nothing-is-called-this&node=${node}`), id);
      await page.locator(".rows [role=row].chosen").waitFor();
      assert.ok(await page.locator(".side").getByText("outside of the filters").isVisible());
      await page.goto(`${page.url().split("#")[0]}#view=table&node=${id}`);
      await page.locator(".rows [role=row].chosen").waitFor();
      await page.evaluate((node) => (location.hash = `#node=${node}`), id);
      await page.locator(".view-tree").waitFor();
      assert.ok(await page.locator(".side h2").isVisible());
    }),
  );

  test(
    "back and forward go through what was chosen",
    inTab("newer", { hash: "#view=table" }, async (page) => {
      const rows = page.locator("[role=treegrid] .rows [role=row][aria-selected]");
      await rows.nth(0).click();
      const first = await page.locator(".side h2").innerText();
      await rows.nth(1).click();
      const second = await page.locator(".side h2").innerText();
      assert.notEqual(first, second);
      await page.goBack();
      await page.waitForFunction((text) => document.querySelector(".side h2").innerText === text, first);
      await page.goForward();
      await page.waitForFunction((text) => document.querySelector(".side h2").innerText === text, second);
    }),
  );

  test(
    "the tree answers to pointer and keys, and says where it is",
    inTab("newer", {}, async (page) => {
      const canvas = page.locator(".view-tree canvas");
      const box = await canvas.boundingBox();
      await page.mouse.click(box.x + 120, box.y + 34);
      await page.waitForURL(/node=/);
      await page.locator(".side h2").waitFor();
      const before = await page.locator(".side h2").innerText();
      for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
      assert.notEqual(await page.locator(".side h2").innerText(), before);
      assert.match(await page.locator(".view-tree [role=status]").innerText(), /containers|commonality unknown|open|closed/);
      await page.mouse.move(box.x + 400, box.y + 300);
      await page.mouse.wheel(0, 200);
      await page.keyboard.press("f");
      await page.keyboard.press("+");
      await page.keyboard.press("v");
      await page.waitForURL(/view=icicle/);
      await page.keyboard.press("v");
      await page.waitForURL(/view=table/);
    }),
  );

  test(
    "filters say how much they show",
    inTab("newer", {}, async (page) => {
      await page.getByRole("button", { name: "files", exact: true }).click();
      await page.waitForURL(/kinds=file/);
      assert.match(await page.locator(".toolbar .shown").innerText(), /^\d+ of /);
      await page.getByRole("button", { name: "Clear filters" }).click();
      await page.waitForFunction(() => !location.hash.includes("kinds"));
      await page.getByRole("button", { name: /Commonality 95 %/ }).click();
      await page.waitForURL(/min=0.95/);
    }),
  );

  test(
    "a pattern opens to what is folded into it",
    { skip: !onFixtures },
    inTab("newer", { hash: "#view=table&q=proxy_temp/*" }, async (page) => {
      await page
        .getByText(/pattern of/)
        .first()
        .click();
      await page.getByRole("button", { name: /Show \d+ of them/ }).click();
      await page.evaluate(() => (location.hash = location.hash.replace(/q=[^&]*/, "q=")));
      await page.waitForFunction(() => document.querySelectorAll(".rows [role=row]").length > 60);
    }),
  );

  test(
    "tabs with keys; each shows something",
    inTab("newer", {}, async (page) => {
      await page.locator("[role=tab][aria-selected=true]").focus();
      for (const name of ["snapshots", "signals", "running", "learning", "versions"]) {
        await page.keyboard.press("ArrowRight");
        await page.waitForURL(new RegExp(`tab=${name}`));
        assert.ok((await page.locator(`#panel-${name}`).innerText()).length > 20);
      }
      await page.keyboard.press("Home");
      await page.waitForFunction(() => !location.hash.includes("tab="));
    }),
  );

  test(
    "printed, the table is open and whole",
    { skip: !onFixtures },
    inTab("newer", {}, async (page) => {
      await page.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
      await page.emulateMedia({ media: "print" });
      assert.ok(await page.locator(".view-table").isVisible());
      assert.ok(await page.locator(".view-tree").isHidden());
      const nodes = await page.evaluate(() => JSON.parse(document.getElementById("document").textContent).page.nodes.length);
      assert.equal(await page.locator(".rows [role=row][aria-selected]").count(), nodes);
    }),
  );

  test(
    "facts of nobody stand beside programs",
    { skip: !onFixtures },
    inTab("flat", { hash: "#view=table" }, async (page) => {
      const group = page.locator(".rows [role=row].group[aria-level='1']", { hasText: "files" });
      await group.click();
      assert.equal(await group.getAttribute("aria-expanded"), "true");
      assert.ok((await page.locator(".rows [role=row][aria-level='2']").count()) > 10);
    }),
  );

  test(
    "many nodes: rows come as they are scrolled to",
    { skip: !onFixtures },
    inTab("big", { hash: "#view=table" }, async (page) => {
      await page.getByRole("button", { name: "Expand all" }).click();
      const total = Number(await page.locator("[role=treegrid]").getAttribute("aria-rowcount"));
      assert.ok(total > 5000);
      assert.ok((await page.locator(".rows [role=row]").count()) < 120);
      await page.locator(".rows [role=row]").first().focus();
      await page.keyboard.press("End");
      assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-rowindex")), String(total));
    }),
  );
});

describe("signals", { skip: at.signals ? false : "no page of signals is given" }, () => {
  test(
    "groups open, a signal shows all of itself",
    inTab("signals", {}, async (page) => {
      await page.locator("button.signal-open").first().click();
      await page.locator(".signal-line a").first().click();
      await page.waitForURL(/signal=/);
      assert.ok((await page.locator(".side").innerText()).includes("Identity"));
      await page.reload();
      await page.locator(".side h2").waitFor();
      assert.equal(await page.locator(".chosen").count(), 1);
      await page.keyboard.press("Escape");
      await page.waitForFunction(() => !location.hash.includes("signal="));
    }),
  );

  test(
    "a report has commands to copy, and no form",
    inTab("signals", { hash: "#tab=suppressions" }, async (page) => {
      await page.locator("details.suppression > summary").first().click();
      await page.locator(".decide-command").first().waitFor();
      assert.equal(await page.locator("[data-decision]").count(), 0);
      assert.match(await page.locator(".decide-command code").first().innerText(), /^wsp suppress/);
    }),
  );
});

describe("what containers write is text", { skip: !onFixtures }, () => {
  for (const [name, hash] of [
    ["hostile", "#view=table"],
    ["hostile", ""],
    ["hostile", "#view=icicle"],
    ["hostile", "#tab=signals"],
    ["signals", ""],
    ["index", ""],
  ]) {
    test(
      `${name}${hash}`,
      inTab(name, { hash }, async (page) => {
        const expand = page.getByRole("button", { name: "Expand all" });
        if (await expand.isVisible()) await expand.click();
        for (const button of await page.locator("button.signal-open").all()) await button.click();
        assert.equal(await page.locator("main img, main script, main iframe, main b, main i").count(), 0);
        const shown = await page.locator("main").innerText();
        assert.ok(
          !/[\u0000-\u0008\u000b-\u001f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/.test(shown.replaceAll("\r", "")),
        );
        if (name !== "index" && hash !== "" && hash !== "#view=icicle") assert.ok(shown.includes("<script>"));
      }),
    );
  }

  test(
    "a path of 4 KB is cut in its row and whole in the panel",
    inTab("hostile", { hash: "#view=table&q=deeply-nested-folder&kinds=file" }, async (page) => {
      await page.locator(".rows .fact").first().click();
      assert.ok((await page.locator(".rows .fact").first().innerText()).length < 300);
      assert.ok((await page.locator(".side h2").innerText()).length > 4000);
    }),
  );
});

test(
  "the switch of colours holds, and keys are listed",
  inTab("index", {}, async (page) => {
    const colour = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await colour();
    await page.keyboard.press("t");
    assert.notEqual(await colour(), light);
    await page.keyboard.press("?");
    assert.ok(await page.getByRole("dialog").isVisible());
    await page.keyboard.press("Escape");
    assert.ok(await page.getByRole("dialog").isHidden());
  }),
);

test(
  "the first key press skips to the content",
  inTab("index", {}, async (page) => {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "To the content");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  }),
);
