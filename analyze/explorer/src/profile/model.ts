// The tree that people look at: processes, their facts grouped by kind, and what is folded into a pattern below that pattern.

import { KIND_NAMES, KINDS } from "../base/kinds";
import type { Kind, Node } from "../contract";

export type Item = {
  /** The node's id; of a group `<id of the process>/<kind>`. */
  readonly key: string;
  /** Null for a group. */
  readonly node: Node | null;
  readonly kind: Kind;
  readonly children: Item[];
  parent: Item | null;
  level: number;
  /** Its parent is named, and is not there. */
  readonly isDetached: boolean;
};

export type Model = { readonly roots: Item[]; readonly items: ReadonlyMap<string, Item>; readonly folded: number };

export type Order = { readonly name: OrderName; readonly isDown: boolean };
export type OrderName = "default" | "name" | "commonality" | "snapshots" | "hosts" | "events" | "first";

const item = (key: string, node: Node | null, kind: Kind, isDetached = false): Item => ({
  key,
  node,
  kind,
  children: [],
  parent: null,
  level: 0,
  isDetached,
});

export function buildModel(nodes: readonly Node[], order: Order = { name: "default", isDown: false }): Model {
  const items = new Map<string, Item>();
  const ids = new Set(nodes.map((node) => node.id));
  for (const node of nodes) items.set(node.id, item(node.id, node, node.kind, node.parent !== null && !ids.has(node.parent)));
  const roots: Item[] = [];
  const groupOf = (parent: Item | null, kind: Kind): Item => {
    const key = `${parent?.key ?? ""}/${kind}`;
    let group = items.get(key);
    if (!group) {
      group = item(key, null, kind);
      items.set(key, group);
      attach(group, parent, roots);
    }
    return group;
  };
  for (const node of nodes) {
    const made = items.get(node.id) as Item;
    const pattern = node.collapsed_into === null ? undefined : items.get(node.collapsed_into);
    const parent = node.parent === null ? undefined : items.get(node.parent);
    if (pattern && pattern !== made) attach(made, pattern, roots);
    else if (node.kind === "process") attach(made, parent && parent !== made ? parent : null, roots);
    else attach(made, groupOf(parent ?? null, node.kind), roots);
  }
  const reached = setLevels(roots);
  if (reached < items.size) breakCycles(items, roots);
  sort(roots, order);
  return { roots, items, folded: nodes.reduce((sum, node) => sum + (node.collapsed_into === null ? 0 : 1), 0) };
}

function attach(made: Item, parent: Item | null, roots: Item[]): void {
  made.parent = parent;
  (parent?.children ?? roots).push(made);
}

function setLevels(roots: readonly Item[]): number {
  let reached = 0;
  const left: [Item, number][] = roots.map((root) => [root, 1]);
  for (let next = left.pop(); next; next = left.pop()) {
    next[0].level = next[1];
    reached += 1;
    for (const child of next[0].children) left.push([child, next[1] + 1]);
  }
  return reached;
}

/** Parents that go round in a circle are not to be believed; what hangs from them is still to be seen. */
function breakCycles(items: ReadonlyMap<string, Item>, roots: Item[]): void {
  for (const made of items.values()) {
    if (made.level > 0) continue;
    if (made.parent) made.parent.children.splice(made.parent.children.indexOf(made), 1);
    attach(made, null, roots);
    setLevels([made]);
  }
}

export const label = (one: Item): string => one.node?.target ?? KIND_NAMES[one.kind].many;

const collator = new Intl.Collator("en", { numeric: true });

/** Those that are seen most come first, so that what is rare gathers at the end; groups before processes, roots by how a container starts. */
function sort(siblings: Item[], order: Order): void {
  const value = (one: Item): number | string | null => {
    const node = one.node;
    if (!node) return null;
    switch (order.name) {
      case "name":
        return node.target;
      case "snapshots":
        return node.snapshots;
      case "hosts":
        return node.hosts;
      case "events":
        return node.events;
      case "first":
        return node.first_seen;
      default:
        return node.commonality;
    }
  };
  const isDown = order.name === "default" || order.isDown;
  const rank = (one: Item): number =>
    one.node === null
      ? KINDS.indexOf(one.kind) - 10
      : one.parent === null && one.isDetached
        ? 2
        : one.node.root_kind === "exec_session"
          ? 1
          : 0;
  siblings.sort((a, b) => {
    const ranks = rank(a) - rank(b);
    if (ranks !== 0 && (order.name === "default" || a.node === null || b.node === null)) return ranks;
    const [x, y] = [value(a), value(b)];
    if (x !== y) {
      if (x === null) return 1;
      if (y === null) return -1;
      const compared = typeof x === "number" && typeof y === "number" ? x - y : collator.compare(String(x), String(y));
      if (compared !== 0) return isDown ? -compared : compared;
    }
    return collator.compare(label(a), label(b)) || (a.key < b.key ? -1 : 1);
  });
  for (const one of siblings)
    if (one.children.length > 1) sort(one.children, order);
    else for (const child of one.children) sort(child.children, order);
}

/** From the root to it. */
export function ancestry(one: Item): Item[] {
  const found: Item[] = [];
  for (let at: Item | null = one; at; at = at.parent) found.unshift(at);
  return found;
}

export function parseOrder(text: string): Order {
  const names: readonly OrderName[] = ["name", "commonality", "snapshots", "hosts", "events", "first"];
  const name = names.find((one) => one === text.replace(/^-/, ""));
  return name ? { name, isDown: text.startsWith("-") } : { name: "default", isDown: false };
}
