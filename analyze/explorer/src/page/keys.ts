// Keys that work on every page, and the list of all of them.

import { element } from "../base/element";
import { icon } from "../base/widgets";
import type { Shown } from "./shown";

const KEYS: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
  [
    "Everywhere",
    [
      ["/", "search"],
      ["?", "these keys"],
      ["t", "light or dark"],
      ["[ ]", "tab before, tab after"],
      ["Esc", "close what is open"],
    ],
  ],
  [
    "Tree, icicle and table",
    [
      ["↑ ↓", "row before, row after"],
      ["→ ←", "open, go in; close, go out"],
      ["Home End", "first row, last row"],
      ["Enter", "details of the row; open a group"],
      ["e c", "expand all, collapse"],
      ["v", "next view"],
    ],
  ],
  [
    "Tree",
    [
      ["+ −", "zoom"],
      ["0 f", "actual size, fit all"],
    ],
  ],
  ["Icicle", [["z", "widen what is marked, or all again"]]],
  ["Table", [["letters", "next row that begins with them"]]],
];

export function helpDialog(): HTMLDialogElement {
  const dialog = element("dialog", { class: "help", "aria-labelledby": "help-title" });
  dialog.append(
    element(
      "div",
      { class: "panel-head" },
      element("h2", { id: "help-title" }, "Keys"),
      element("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, icon("close")),
    ),
    ...KEYS.map(([title, keys]) =>
      element(
        "section",
        {},
        element("h3", {}, title),
        element(
          "dl",
          {},
          keys.map(([key, text]) =>
            element(
              "div",
              {},
              element(
                "dt",
                {},
                key.split(" ").map((one) => element("kbd", {}, one)),
              ),
              element("dd", {}, text),
            ),
          ),
        ),
      ),
    ),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.matches("input, textarea, select") || target.isContentEditable);

export function listenForKeys(shown: () => Shown, help: HTMLDialogElement): void {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && !help.open) {
      const { target } = event;
      if (isTyping(target) && !(target as HTMLElement).closest(".side")) (target as HTMLElement).blur();
      else if (shown().escape()) event.preventDefault();
      return;
    }
    if (isTyping(event.target) || help.open) return;
    if (!press(event.key, shown().main, help)) return;
    event.preventDefault();
  });
}

function press(key: string, main: HTMLElement, help: HTMLDialogElement): boolean {
  const seen = (selector: string) =>
    [...document.querySelectorAll<HTMLElement>(selector)].find((one) => one.offsetParent !== null);
  switch (key) {
    case "?":
      help.showModal();
      return true;
    case "/":
      seen("[data-search]")?.focus();
      return true;
    case "[":
    case "]": {
      const all = [...main.querySelectorAll<HTMLElement>("[role=tab]")];
      const at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
      all[(at + (key === "]" ? 1 : all.length - 1)) % Math.max(1, all.length)]?.click();
      return true;
    }
    case "v": {
      const all = [...main.querySelectorAll<HTMLElement>("[aria-label=View] button")].filter((one) => one.offsetParent !== null);
      const at = all.findIndex((one) => one.getAttribute("aria-pressed") === "true");
      all[(at + 1) % Math.max(1, all.length)]?.click();
      return all.length > 0;
    }
    default: {
      const button = /^[a-z]$/.test(key) ? seen(`[data-key="${key}"]`) : undefined;
      button?.click();
      return button !== undefined;
    }
  }
}
