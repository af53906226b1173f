// All that is known of the chosen node.

import type { Address } from "../../base/address";
import { element, replace, type Child } from "../../base/element";
import { count, exactTime, number, probability, ratio, share } from "../../base/format";
import { KIND_NAMES } from "../../base/kinds";
import { quoted, short, visible } from "../../base/text";
import {
  badge,
  bounded,
  commonalityBar,
  copyable,
  facts,
  icon,
  panelHead,
  raw,
  severityBadge,
  timeText,
} from "../../base/widgets";
import type { Container, Node, ProfilePage } from "../../contract";
import { containerName, membersOf } from "../members";
import { ancestry, type Item } from "../model";
import type { Session } from "../session";
import { nameOf } from "../tree/layout";
import { intervalPlot } from "./interval";
import { snapshotStrip } from "./strip";

const section = (title: string, ...content: Child[]) => element("section", {}, element("h3", {}, title), ...content);

export function showPanel(panel: HTMLElement, session: Session, root: string): void {
  const { address, page } = session;
  const item = session.item(session.chosen);
  const node = item?.node;
  const close = element(
    "button",
    {
      type: "button",
      class: "close",
      "aria-label": "Close details",
      title: "Close details (Esc)",
      onclick: () => address.go({ node: null }),
    },
    icon("close"),
  );
  if (!item || !node) {
    panel.hidden = session.chosen === "";
    if (session.chosen !== "")
      replace(
        panel,
        close,
        element("h2", {}, "Not on this page"),
        element(
          "p",
          {},
          "No node has the id ",
          element("code", {}, short(session.chosen, 40)),
          ".",
          page.nodes_left_out > 0 && ` ${count(page.nodes_left_out, "node")} of this profile did not fit on its page.`,
        ),
      );
    return;
  }
  panel.hidden = false;
  replace(
    panel,
    panelHead(
      [
        badge(KIND_NAMES[node.kind].one, "root"),
        node.root_kind !== null && badge(node.root_kind === "init" ? "init" : "exec session", "root"),
        node.rare && badge("rare", "flag"),
        node.late === true && badge("late", "flag"),
        node.collapsed_into !== null && badge("folded", "pattern"),
        session.isOutsideFilter(item) && badge("outside of the filters", "root"),
      ],
      close,
      node.target,
    ),
    lineage(item, address),
    howCommon(node, page),
    section("Attributes", attributes(node)),
    whoHasIt(node, page, address),
    patternOf(item, session),
    signalsAbout(node, page, root),
    section("Identity", facts(["Node", copyable(node.id, "id of the node")], ["SQL", copyable(sql(node, page), "SQL")])),
  );
  panel.scrollTop = 0;
}

/** Views leave out what is folded: it is in the table behind them. */
export function sql(node: Node, page: ProfilePage): string {
  const { image, image_name, image_tag, revision } = page.profile;
  if (node.collapsed_into !== null)
    return `SELECT * FROM raw.profile_nodes WHERE image_name = ${quoted(image_name)} AND image_tag = ${quoted(image_tag)} AND encode(node_id, 'hex') = '${node.id}'`;
  return `SELECT * FROM nodes WHERE image = ${quoted(image)} AND revision = ${revision} AND node_id = '${node.id}'`;
}

function lineage(item: Item, address: Address): Child {
  const above = ancestry(item).filter((one) => one.node !== null);
  const links = above
    .slice(0, -1)
    .map((one) =>
      element(
        "li",
        {},
        element("a", { href: address.href({ node: one.key }) }, nameOf(one)),
        one.node?.pattern != null && " (pattern)",
      ),
    );
  return element(
    "nav",
    { class: "lineage", "aria-label": "Lineage" },
    element(
      "ol",
      {},
      item.isDetached && element("li", { class: "muted" }, "unknown parent"),
      links,
      element("li", { "aria-current": "true" }, nameOf(item)),
    ),
    item.node?.lineage_complete === false &&
      element(
        "p",
        { class: "warning" },
        icon("warning"),
        "What is above it was guessed: it was running before it was watched.",
      ),
  );
}

function howCommon(node: Node, page: ProfilePage): Child {
  const { halves } = node;
  return section(
    "Commonality",
    node.commonality === null
      ? element(
          "p",
          {},
          "Unknown: no container could have shown it without loss.",
          node.containers > 0 && ` It was seen in ${count(node.containers, "container")}.`,
        )
      : [
          element(
            "p",
            { class: "big" },
            commonalityBar(node.commonality),
            element("span", {}, `${ratio(node.containers, node.eligible)} containers`),
          ),
          intervalPlot(node.commonality, node.low, node.high),
        ],
    facts(
      [
        "Snapshots",
        [
          `${ratio(node.snapshots, page.profile.snapshots)}`,
          node.snapshot_commonality !== null && `, ${share(node.snapshot_commonality)} of those that could`,
        ],
      ],
      ["Hosts", number(node.hosts)],
      node.lossy > 0 && ["Lossy sightings", `${number(node.lossy)}, not counted above`],
      ["Stable", node.stable === null ? "unknown: fewer than 6 containers" : node.stable ? "yes" : "no"],
      halves && [
        "First, second half",
        [
          `${ratio(halves.first, halves.first_of)}, ${ratio(halves.second, halves.second_of)} `,
          element(
            "span",
            { class: halves.p < 0.01 ? "notable" : "muted" },
            halves.p < 0.01 ? `differs (p = ${probability(halves.p)})` : `no difference (p = ${probability(halves.p)})`,
          ),
        ],
      ],
      ["Phase", node.phase === "startup" ? "startup: within 180 s of the container's start" : "steady"],
      ["Events", number(node.events)],
      ["First seen", exactTime(node.first_seen)],
      ["Last seen", exactTime(node.last_seen)],
    ),
  );
}

export function attributes(node: {
  readonly exe: string | null;
  readonly kind: string;
  readonly attributes: Node["attributes"];
}): Child {
  const rows: [string, Child][] = node.attributes.map((one) => [
    one.name,
    one.values.length === 1
      ? raw(visible(one.values[0] ?? ""), "long")
      : bounded(one.values, 8, (value) => raw(visible(value), "long")),
  ]);
  if (node.exe !== null) rows.unshift([node.kind === "process" ? "executable" : "done by", raw(visible(node.exe), "long")]);
  return rows.length === 0 ? element("p", { class: "muted" }, "None.") : facts(...rows);
}

function whoHasIt(node: Node, page: ProfilePage, address: Address): Child {
  const { strip, containers, without, blind, hosts } = membersOf(node, page.snapshots, page.containers);
  if (strip.length === 0) return null;
  const named = (some: readonly Container[]) =>
    bounded(some, 10, (one) => [
      raw(short(containerName(one), 60)),
      element("span", { class: "muted" }, " on ", raw(short(one.host, 60))),
    ]);
  const details = (title: string, list: Child, isOpen = false) =>
    element("details", { open: isOpen }, element("summary", {}, title), list);
  return section(
    "Who has it",
    snapshotStrip(strip),
    details(
      `${count(containers.length, "container")} with it`,
      bounded(containers, 10, (one) => [
        raw(short(containerName(one.container), 60)),
        element(
          "span",
          { class: "muted" },
          ` on `,
          raw(short(one.container.host, 60)),
          `, ${count(one.snapshots, "snapshot")}`,
        ),
      ]),
      containers.length <= 4,
    ),
    without.length > 0 && details(`${count(without.length, "container")} without it`, named(without)),
    blind.length > 0 && details(`${count(blind.length, "container")} could not have shown it`, named(blind)),
    details(
      count(hosts.length, "host"),
      bounded(hosts, 10, (one) => [
        raw(short(one.host, 80)),
        element("span", { class: "muted" }, `, ${count(one.containers, "container")}`),
      ]),
    ),
    element("p", {}, element("a", { href: address.href({ tab: "snapshots" }) }, "All snapshots")),
  );
}

function patternOf(item: Item, session: Session): Child {
  const node = item.node as Node;
  if (node.collapsed_into !== null) {
    const pattern = session.item(node.collapsed_into);
    return section(
      "Folded",
      element(
        "p",
        {},
        "It is one of many alike, which the profile keeps as ",
        pattern ? element("a", { href: session.address.href({ node: pattern.key }) }, nameOf(pattern)) : "a pattern",
        ".",
      ),
    );
  }
  if (node.pattern === null) return null;
  const isOpen = session.open.has(item);
  return section(
    "Pattern",
    element(
      "p",
      {},
      `Stands for ${count(node.collapsed_nodes ?? 0, "node")} with names like `,
      element("code", {}, visible(node.pattern)),
      ".",
    ),
    item.children.length > 0
      ? element(
          "button",
          { type: "button", onclick: () => session.toggle(item) },
          isOpen ? "Hide them" : `Show ${count(item.children.length, "of them", "of them")}`,
        )
      : element("p", { class: "muted" }, "They are not on this page."),
  );
}

function signalsAbout(node: Node, page: ProfilePage, root: string): Child {
  const about = page.signals.filter((one) => one.node === node.id || one.process === node.id);
  if (about.length === 0) return null;
  return section(
    `Signals (${number(about.length)})`,
    bounded(about, 6, (one) =>
      element(
        "a",
        { class: "signal-link", href: `${root}signals.html#signal=${encodeURIComponent(one.id)}` },
        severityBadge(one.severity),
        raw(short(one.summary, 90)),
        element("span", { class: "muted number" }, timeText(one.time)),
      ),
    ),
  );
}
