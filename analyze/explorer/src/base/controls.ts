// Controls whose state is in the address.

import type { Address } from "./address";
import { element, type Child } from "./element";
import { icon } from "./widgets";

type Choice = { readonly value: string; readonly label: Child };

/** One of a few, as buttons side by side. */
export function segmented(
  address: Address,
  key: string,
  label: string,
  choices: readonly Choice[],
  otherwise: string,
): HTMLElement {
  const buttons = choices.map(({ value, label: text }) =>
    element("button", { type: "button", onclick: () => address.go({ [key]: value === otherwise ? null : value }) }, text),
  );
  const group = element("div", { class: "segmented", role: "group", "aria-label": label }, buttons);
  address.watch([key], () =>
    buttons.forEach((button, at) =>
      button.setAttribute("aria-pressed", String(choices[at]?.value === address.get(key, otherwise))),
    ),
  );
  return group;
}

/** Any of a few: the address has a list of those that are chosen, none where all are. */
export function toggles(address: Address, key: string, label: string, choices: readonly Choice[]): HTMLElement {
  const chosen = () =>
    new Set(
      address
        .get(key)
        .split(",")
        .filter((one) => one !== ""),
    );
  const buttons = choices.map(({ value, label: text }) =>
    element(
      "button",
      {
        type: "button",
        class: "toggle",
        onclick: () => {
          const next = chosen();
          if (!next.delete(value)) next.add(value);
          address.go({
            [key]: choices
              .map((one) => one.value)
              .filter((one) => next.has(one))
              .join(","),
          });
        },
      },
      text,
    ),
  );
  address.watch([key], () => {
    const now = chosen();
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(now.has(choices[at]?.value ?? ""))));
  });
  return element("div", { class: "toggles", role: "group", "aria-label": label }, buttons);
}

export function search(address: Address, key: string, label: string): HTMLElement {
  const input = element("input", {
    type: "search",
    placeholder: label,
    "aria-label": label,
    "data-search": true,
    spellcheck: "false",
    autocomplete: "off",
  });
  input.addEventListener("input", () => address.adjust({ [key]: input.value }));
  address.watch([key], () => {
    if (input.value !== address.get(key)) input.value = address.get(key);
  });
  return element("div", { class: "search" }, icon("search"), input);
}

export function select(
  address: Address,
  key: string,
  label: string,
  choices: readonly { value: string; label: string }[],
  otherwise = "",
): HTMLElement {
  const made = element(
    "select",
    { "aria-label": label },
    choices.map((one) => element("option", { value: one.value }, one.label)),
  );
  made.addEventListener("change", () => address.go({ [key]: made.value === otherwise ? null : made.value }));
  address.watch([key], () => {
    made.value = address.get(key, otherwise);
  });
  return made;
}

/** The head of a column that sorts by it: up, down, and back. `sort` is a name, with `-` before it for downwards. */
export function sortButton(
  address: Address,
  name: string,
  label: Child,
  downFirst: boolean,
  title: string | null = null,
): HTMLElement {
  const arrow = element("span", { class: "arrow", "aria-hidden": "true" });
  const button = element("button", { type: "button", class: "sort", title }, label, arrow);
  const [first, second] = downFirst ? [`-${name}`, name] : [name, `-${name}`];
  button.addEventListener("click", () => {
    const now = address.get("sort");
    address.go({ sort: now === first ? second : now === second ? null : first });
  });
  const head = element("div", { role: "columnheader", class: `column column-${name}` }, button);
  address.watch(["sort"], () => {
    const now = address.get("sort");
    const sorted = now === name ? "ascending" : now === `-${name}` ? "descending" : "none";
    head.setAttribute("aria-sort", sorted);
    arrow.textContent = sorted === "ascending" ? "↑" : sorted === "descending" ? "↓" : "";
  });
  return head;
}

export type Tab = { readonly name: string; readonly label: Child; readonly show: (into: HTMLElement) => void };

/** Tabs with the keys that people expect of them. What a tab shows is made when it is first looked at. */
export function tabs(address: Address, label: string, all: readonly Tab[]): HTMLElement {
  const panels = all.map((tab) =>
    element("div", {
      role: "tabpanel",
      id: `panel-${tab.name}`,
      "aria-labelledby": `tab-${tab.name}`,
      class: `panel panel-${tab.name}`,
      hidden: true,
    }),
  );
  const go = (at: number) => {
    const name = all[(at + all.length) % all.length]?.name ?? "";
    address.go({ tab: name === all[0]?.name ? null : name });
    document.getElementById(`tab-${name}`)?.focus();
  };
  const buttons = all.map((tab, at) =>
    element(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${tab.name}`,
        "aria-controls": `panel-${tab.name}`,
        onclick: () => address.go({ tab: at === 0 ? null : tab.name }),
        onkeydown: (event) => {
          const step = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
          if (step === undefined) return;
          event.preventDefault();
          go(step);
        },
      },
      tab.label,
    ),
  );
  const made = new Set<string>();
  address.watch(["tab"], () => {
    const wanted = address.get("tab", all[0]?.name);
    const now = Math.max(
      0,
      all.findIndex((tab) => tab.name === wanted),
    );
    all.forEach((tab, at) => {
      const button = buttons[at] as HTMLElement;
      const panel = panels[at] as HTMLElement;
      button.setAttribute("aria-selected", String(at === now));
      button.tabIndex = at === now ? 0 : -1;
      panel.hidden = at !== now;
      if (at === now && !made.has(tab.name)) {
        made.add(tab.name);
        tab.show(panel);
      }
    });
  });
  return element(
    "div",
    { class: "tabbed" },
    element("div", { role: "tablist", "aria-label": label, class: "tabs" }, buttons),
    panels,
  );
}

/** Where there is little room, filters are behind a button. */
export function filtersButton(filters: HTMLElement): HTMLElement {
  const button = element("button", { type: "button", class: "filters-button", "aria-expanded": "false" }, "Filters");
  button.addEventListener("click", () => button.setAttribute("aria-expanded", String(filters.classList.toggle("open"))));
  return button;
}
