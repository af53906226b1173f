// Everything about one signal.

import type { Address } from "../base/address";
import { element, lines, property, replace, type Child } from "../base/element";
import { count, exactTime, number, ratio, words } from "../base/format";
import { KIND_NAMES } from "../base/kinds";
import { quoted, short, visible } from "../base/text";
import { badge, bounded, commonalityBar, copyable, facts, icon, panelHead, raw, severityBadge } from "../base/widgets";
import type { Document, Kind, Signal, SignalsPage } from "../contract";
import { stepsAround, type Step } from "./around";

const section = (title: string, ...content: Child[]) => element("section", {}, element("h3", {}, title), ...content);

export const CONTEXT_WORDS: { readonly [context: string]: string } = {
  known: "The profile has it.",
  unseen: "No container did this while the profile learned.",
  learning: "The profile still learns: it cannot tell yet.",
  no_profile: "There is no profile that could judge it.",
};

export function showSignal(
  panel: HTMLElement,
  signal: Signal | undefined,
  page: SignalsPage,
  document: Document,
  address: Address,
): void {
  panel.hidden = address.get("signal") === "";
  if (panel.hidden) return;
  const close = element(
    "button",
    {
      type: "button",
      class: "close",
      "aria-label": "Close details",
      title: "Close details (Esc)",
      onclick: () => address.go({ signal: null }),
    },
    icon("close"),
  );
  if (!signal) {
    replace(
      panel,
      close,
      element("h2", {}, "Not on this page"),
      element(
        "p",
        {},
        "No signal has the id ",
        element("code", {}, short(address.get("signal"), 60)),
        ".",
        page.signals_left_out > 0 && ` ${count(page.signals_left_out, "signal")} did not fit on this page.`,
      ),
    );
    return;
  }
  const rule = page.rules.find((one) => one.id === signal.rule);
  const node = (id: string | null) =>
    signal.profile_href === null || id === null
      ? null
      : `${document.root}${signal.profile_href}#node=${encodeURIComponent(id)}`;
  replace(
    panel,
    panelHead(
      [
        severityBadge(signal.severity),
        badge(words(signal.context), `context-${signal.context}`),
        signal.suppressed_by !== null && badge("suppressed", "root"),
      ],
      close,
      signal.summary,
    ),
    element(
      "p",
      {},
      CONTEXT_WORDS[signal.context] ?? words(signal.context),
      signal.novelty !== null && ` New: ${words(signal.novelty)}.`,
      signal.suppressed_by !== null && [
        " Hidden by ",
        element(
          "a",
          { href: address.href({ tab: "suppressions", suppression: signal.suppressed_by, sq: null, state: null }) },
          "a suppression",
        ),
        ".",
      ],
    ),
    facts(
      ["Time", exactTime(signal.time)],
      signal.last_seen !== null && ["Last seen", exactTime(signal.last_seen)],
      [
        "Workload",
        signal.image === null
          ? "unknown"
          : signal.profile_href === null
            ? raw(visible(signal.image), "long")
            : element("a", { href: document.root + signal.profile_href }, raw(visible(signal.image), "long")),
      ],
      signal.kind !== null && ["Kind", KIND_NAMES[signal.kind].one],
      signal.target !== null && [
        "What",
        node(signal.node) === null
          ? raw(visible(signal.target), "long")
          : element("a", { href: node(signal.node) }, raw(visible(signal.target), "long")),
      ],
      signal.exe !== null && [
        "Done by",
        node(signal.process) === null
          ? raw(visible(signal.exe), "long")
          : element("a", { href: node(signal.process) }, raw(visible(signal.exe), "long")),
      ],
      signal.profile !== null && [
        "Commonality",
        signal.commonality === null ? "not in the profile" : commonalityBar(signal.commonality),
      ],
      signal.profile !== null && [
        "of its process",
        signal.process_commonality === null ? "not in the profile" : commonalityBar(signal.process_commonality),
      ],
      signal.match === "target" && ["Found by", "executable and target only: its lineage is not known for certain"],
      ["Events", number(signal.events)],
    ),
    around(signal, page),
    section(
      "Where",
      facts(
        ["Container", raw(visible(signal.container_name ?? "unnamed"), "long")],
        signal.container_id !== null && [
          "Container id",
          copyable(signal.container_id, "id of the container", short(signal.container_id, 24)),
        ],
        ["Host", raw(visible(signal.host ?? "unknown"), "long")],
        ...Object.entries(signal.labels).map(([name, value]): [string, Child] => [
          short(name, 60),
          raw(visible(value), "long"),
        ]),
      ),
    ),
    signal.attributes.length > 0 &&
      section(
        "Attributes",
        facts(
          ...signal.attributes.map((one): [string, Child] => [
            short(one.name, 60),
            one.values.length === 1
              ? raw(visible(one.values[0] ?? ""), "long")
              : bounded(one.values, 8, (value) => raw(visible(value), "long")),
          ]),
        ),
      ),
    rule &&
      section(
        "Rule",
        element("p", {}, element("strong", {}, rule.title), " ", element("code", {}, rule.id)),
        element("p", { class: "description" }, lines(rule.description)),
        rule.techniques.length > 0 && element("p", { class: "muted" }, "ATT&CK ", rule.techniques.join(", ")),
        !rule.suppressible && element("p", { class: "muted" }, "This rule allows no suppression."),
      ),
    section(
      "Identity",
      facts(
        ["Signal", copyable(signal.id, "id of the signal")],
        ["Source", raw(short(signal.source, 60))],
        signal.snapshot !== null && ["Snapshot", copyable(signal.snapshot, "id of the snapshot", short(signal.snapshot, 24))],
        ["SQL", copyable(`SELECT * FROM signals WHERE signal_id = ${quoted(signal.id)}`, "SQL")],
      ),
    ),
  );
  panel.scrollTop = 0;
}

function around(signal: Signal, page: SignalsPage): Child {
  const nodes = signal.profile === null ? [] : (page.around[signal.profile] ?? []);
  const steps = stepsAround(signal, nodes);
  if (steps.length === 0) return null;
  const siblings = steps.filter((one) => one.role === "sibling");
  return section(
    "In the profile",
    element("ul", { class: "around" }, steps.filter((one) => one.role !== "sibling").map(stepLine)),
    siblings.length > 0 && element("p", { class: "muted" }, `${count(siblings.length, "sibling")} that the profile has there:`),
    siblings.length > 0 && bounded(siblings, 6, stepContent, "ul", "around siblings"),
  );
}

function stepLine(step: Step): HTMLElement {
  const line = element("li", { class: `around-step ${step.node ? "in" : "out"} ${step.role}` }, stepContent(step));
  return property(line, "--level", String(Math.min(step.level, 8)));
}

function stepContent(step: Step): Child {
  const { node } = step;
  return [
    element("span", { class: "around-mark", "aria-hidden": "true" }, node ? "" : "+"),
    element(
      "span",
      { class: "around-text" },
      raw(short(step.text, 160)),
      step.kind !== "process" && element("span", { class: "muted" }, ` ${KIND_NAMES[step.kind as Kind]?.one ?? step.kind}`),
    ),
    node
      ? element(
          "span",
          { class: "around-share" },
          commonalityBar(node.commonality),
          element("span", { class: "muted number" }, node.commonality === null ? "" : ratio(node.containers, node.eligible)),
        )
      : element("span", { class: "notable" }, "not in the profile"),
    node !== null && node.rare && badge("rare", "flag"),
  ];
}
