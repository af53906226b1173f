// What of the tree is shown, and how.

import { STEPS, stepOf } from "../base/commonality";
import { filtersButton, search, segmented, toggles } from "../base/controls";
import { element, property, replace } from "../base/element";
import { count, number } from "../base/format";
import { KIND_NAMES, KINDS } from "../base/kinds";
import { swatch } from "../base/widgets";
import { FILTER_KEYS, FLAGS } from "./filter";
import type { Session } from "./session";

export function toolbar(session: Session): HTMLElement {
  const { address, page } = session;
  const kinds = KINDS.filter((kind) => page.nodes.some((node) => node.kind === kind));
  const said = element("span", { class: "shown", role: "status" });
  const clear = element(
    "button",
    { type: "button", class: "quiet", onclick: () => address.go(Object.fromEntries(FILTER_KEYS.map((key) => [key, null]))) },
    "Clear filters",
  );
  const update = () => {
    const { matching, total, isFiltered } = session.shown;
    replace(
      said,
      isFiltered ? `${number(matching)} of ${count(total, "node")}` : count(total, "node"),
      session.model.folded > 0 && !isFiltered && ` and ${number(session.model.folded)} folded`,
    );
    clear.hidden = !isFiltered;
  };
  session.listen((what) => what === "rows" && update());
  update();
  const width = segmented(
    address,
    "width",
    "Width of bands",
    [
      { value: "nodes", label: "Nodes" },
      { value: "events", label: "Events" },
    ],
    "nodes",
  );
  address.watch(["view"], () => {
    width.hidden = address.get("view") !== "icicle";
  });
  const filters = element(
    "div",
    { class: "filters" },
    toggles(
      address,
      "kinds",
      "Kinds",
      kinds.map((kind) => ({ value: kind, label: KIND_NAMES[kind].many })),
    ),
    scale(session),
    toggles(
      address,
      "flags",
      "Flags",
      FLAGS.map((flag) => ({ value: flag, label: flag })),
    ),
  );
  return element(
    "div",
    { class: "toolbar" },
    segmented(
      address,
      "view",
      "View",
      [
        { value: "tree", label: "Tree" },
        { value: "icicle", label: "Icicle" },
        { value: "table", label: "Table" },
      ],
      "tree",
    ),
    width,
    search(address, "q", "Search nodes"),
    filtersButton(filters),
    filters,
    element(
      "span",
      { class: "group-of-buttons" },
      element(
        "button",
        {
          type: "button",
          class: "quiet",
          title: "Expand all (e)",
          "data-key": "e",
          onclick: () => session.changeOpen((open) => open.everything()),
        },
        "Expand all",
      ),
      element(
        "button",
        {
          type: "button",
          class: "quiet",
          title: "As at first (c)",
          "data-key": "c",
          onclick: () => session.changeOpen((open) => open.reset()),
        },
        "Collapse",
      ),
    ),
    said,
    clear,
  );
}

/** The scale, with how many nodes are on each step; a step limits to itself, and the two fields to any range. */
function scale(session: Session): HTMLElement {
  const { address, page } = session;
  const counts = STEPS.map(() => 0);
  let unknown = 0;
  for (const node of page.nodes) {
    if (node.collapsed_into !== null) continue;
    const step = stepOf(node.commonality);
    if (step === null) unknown += 1;
    else counts[step] = (counts[step] ?? 0) + 1;
  }
  const most = Math.max(1, ...counts);
  const bounds = (at: number): [string, string] => {
    const step = STEPS[at] ?? { least: 0, below: 1 };
    return [
      step.least === 0 ? "" : String(step.least),
      step.below > 1 ? "" : String(Math.round((step.below - 0.0001) * 10000) / 10000),
    ];
  };
  const buttons = STEPS.map((step, at) => {
    const [min, max] = bounds(at);
    const isOn = () => address.get("min") === min && address.get("max") === max;
    const button = element(
      "button",
      {
        type: "button",
        class: `step step-${at}`,
        title: `${step.name}: ${count(counts[at] ?? 0, "node")}`,
        "aria-label": `Commonality ${step.name}, ${count(counts[at] ?? 0, "node")}`,
        onclick: () => address.go(isOn() ? { min: null, max: null } : { min, max }),
      },
      element("span", { class: "step-bar" }),
      element("span", { class: "step-count" }, number(counts[at] ?? 0)),
    );
    property(button, "--share", String(Math.sqrt((counts[at] ?? 0) / most)));
    address.watch(["min", "max"], () => button.setAttribute("aria-pressed", String(isOn())));
    return button;
  });
  const field = (key: string, label: string, placeholder: string) => {
    const input = element("input", {
      type: "number",
      min: "0",
      max: "100",
      step: "any",
      inputmode: "decimal",
      "aria-label": label,
      placeholder,
    });
    input.addEventListener("change", () =>
      address.go({ [key]: input.value === "" ? null : String(Math.min(100, Math.max(0, Number(input.value))) / 100) }),
    );
    address.watch([key], () => {
      input.value = address.get(key) === "" ? "" : String(Math.round(Number(address.get(key)) * 10000) / 100);
    });
    return input;
  };
  return element(
    "div",
    { class: "scale", role: "group", "aria-label": "Commonality" },
    element("span", { class: "scale-name" }, "Commonality"),
    element("div", { class: "steps" }, buttons),
    unknown > 0 &&
      element(
        "span",
        { class: "unknown-count", title: `${count(unknown, "node")} with unknown commonality` },
        swatch(null),
        number(unknown),
        element("span", { class: "unseen" }, " unknown"),
      ),
    element(
      "span",
      { class: "range-fields" },
      field("min", "Least commonality, in percent", "0"),
      "–",
      field("max", "Most commonality, in percent", "100"),
      "%",
    ),
  );
}
