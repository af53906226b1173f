// Which nodes are shown. What leads to a shown node is shown with it.

import { KINDS } from "../base/kinds";
import type { State } from "../base/address";
import type { Kind, Node } from "../contract";
import type { Item, Model } from "./model";

export type Flag = "unstable" | "stable" | "rare" | "late" | "startup" | "steady";
export const FLAGS: readonly Flag[] = ["startup", "steady", "stable", "unstable", "rare", "late"];

export type Filter = {
  /** Empty: all. */
  readonly kinds: ReadonlySet<Kind>;
  readonly least: number;
  readonly most: number;
  readonly flags: ReadonlySet<Flag>;
  readonly words: readonly string[];
};

export const FILTER_KEYS = ["kinds", "min", "max", "flags", "q"] as const;

const bound = (text: string | undefined, otherwise: number): number => {
  const value = Number(text);
  return text === undefined || text === "" || !Number.isFinite(value) ? otherwise : Math.min(1, Math.max(0, value));
};

export function parseFilter(state: State): Filter {
  const list = (key: string) => (state.get(key) ?? "").split(",");
  return {
    kinds: new Set(KINDS.filter((kind) => list("kinds").includes(kind))),
    least: bound(state.get("min"), 0),
    most: bound(state.get("max"), 1),
    flags: new Set(FLAGS.filter((flag) => list("flags").includes(flag))),
    words: (state.get("q") ?? "")
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== ""),
  };
}

export const isEverything = (filter: Filter): boolean =>
  filter.kinds.size === 0 && filter.least === 0 && filter.most === 1 && filter.flags.size === 0 && filter.words.length === 0;

const texts = new WeakMap<Node, string>();

function searched(node: Node): string {
  let text = texts.get(node);
  if (text === undefined) {
    text = [
      node.target,
      node.exe ?? "",
      node.kind,
      node.root_kind ?? "",
      node.pattern ?? "",
      node.id,
      ...node.attributes.flatMap((one) => one.values),
    ]
      .join("\n")
      .toLowerCase();
    texts.set(node, text);
  }
  return text;
}

function has(node: Node, flag: Flag): boolean {
  switch (flag) {
    case "startup":
      return node.phase === "startup";
    case "steady":
      return node.phase === "steady";
    case "stable":
      return node.stable === true;
    case "unstable":
      return node.stable === false;
    case "rare":
      return node.rare;
    case "late":
      return node.late === true;
  }
}

/** Flags of one question (`startup` or `steady`) are alternatives; those of different questions all hold. */
const QUESTIONS: readonly (readonly Flag[])[] = [["startup", "steady"], ["stable", "unstable"], ["rare"], ["late"]];

export function matches(node: Node, filter: Filter): boolean {
  if (filter.kinds.size > 0 && !filter.kinds.has(node.kind)) return false;
  if (filter.least > 0 || filter.most < 1) {
    if (node.commonality === null || node.commonality < filter.least || node.commonality > filter.most) return false;
  }
  for (const question of QUESTIONS) {
    const asked = question.filter((flag) => filter.flags.has(flag));
    if (asked.length > 0 && !asked.some((flag) => has(node, flag))) return false;
  }
  if (filter.words.length === 0) return true;
  const text = searched(node);
  return filter.words.every((word) => text.includes(word));
}

export type Shown = {
  readonly kept: ReadonlySet<Item>;
  /** Those of them that match by themselves; others only lead to these. */
  readonly matched: ReadonlySet<Item>;
  /** Nodes that match by themselves, folded ones apart. */
  readonly matching: number;
  readonly total: number;
  readonly isFiltered: boolean;
  /** Matching nodes by the key of the process, group or pattern directly above. */
  readonly below: ReadonlyMap<string, number>;
};

/** `chosen` is kept whatever the filter says: a link to a node shows it. */
export function applyFilter(model: Model, filter: Filter, chosen: string): Shown {
  const kept = new Set<Item>();
  const matched = new Set<Item>();
  const below = new Map<string, number>();
  const isFiltered = !isEverything(filter);
  let matching = 0;
  let total = 0;
  for (const item of model.items.values()) {
    if (!item.node) continue;
    const isFolded = item.node.collapsed_into !== null;
    if (!isFolded) total += 1;
    const isMatching = !isFiltered || matches(item.node, filter);
    if (!isMatching && item.key !== chosen) continue;
    if (isMatching) matched.add(item);
    if (isMatching && !isFolded) matching += 1;
    if (item.parent) below.set(item.parent.key, (below.get(item.parent.key) ?? 0) + 1);
    for (let at: Item | null = item; at && !kept.has(at); at = at.parent) kept.add(at);
  }
  return { kept, matched, matching, total, isFiltered, below };
}
