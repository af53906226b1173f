// Where cards and lines of the tree are. Every subtree has its own range of heights: nothing that opens moves what is above it,
// and a parent may follow its children along their range while one scrolls through them.

import { KIND_NAMES } from "../../base/kinds";
import { STEPS, stepOf } from "../../base/commonality";
import { ratio } from "../../base/format";
import { cutEnd, cutMiddle, short, splitPath } from "../../base/text";
import type { Shown } from "../filter";
import type { Item, Model } from "../model";

export type Chip = {
  readonly item: Item;
  readonly text: string;
  /** How many are on each step of commonality, unknown ones last. */ readonly steps: readonly number[];
  readonly x: number;
  readonly y: number;
  readonly width: number;
};

export type Placed = {
  readonly item: Item;
  readonly shape: "card" | "group" | "fact";
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Range of the subtree. */
  readonly top: number;
  bottom: number;
  readonly label: string;
  readonly detail: string;
  readonly chips: readonly Chip[];
  /** Of a group: as those of a chip. */
  readonly steps: readonly number[];
  /** Processes, or members of a pattern, that would be seen if it were open. */
  readonly inside: number;
  readonly isOpen: boolean;
  /** It is shown for what is below it only. */
  readonly isContext: boolean;
  readonly children: Placed[];
};

export type Layout = {
  readonly roots: readonly Placed[];
  readonly byKey: ReadonlyMap<string, Placed>;
  readonly width: number;
  readonly height: number;
};

export type Measure = (text: string, font: keyof typeof FONTS) => number;

export const FONTS = {
  name: "600 13px system-ui, sans-serif",
  small: "11px system-ui, sans-serif",
  fact: "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
} as const;

export const CARD = 264;
const GROUP = 128;
const FACT = 21;
const GAP = 44;
const CHIP = 20;
const ROOT_GAP = 18;
/** What is read first: a program's name, without the folder it lies in. */
export function nameOf(item: Item): string {
  const target = item.node?.target ?? "";
  const [program = "", ...rest] = target.split(" ");
  if (item.kind !== "process" || !program.startsWith("/")) return cutMiddle(short(target), 46);
  const base = short(splitPath(program).base, 40);
  const more = rest.join(" ");
  return more === "" || more.startsWith("(") ? base : `${short(splitPath(more).base, 60)} (${base})`;
}

/** A text that is no wider, cut in its middle. */
export function fit(text: string, width: number, font: keyof typeof FONTS, measure: Measure): string {
  const full = measure(text, font);
  if (full <= width) return text;
  const most = Math.max(3, Math.floor((text.length * width) / full) - 1);
  return most < 14 ? cutEnd(text, most) : cutMiddle(text, most);
}

export function layOut(model: Model, shown: Shown, isOpen: (item: Item) => boolean, measure: Measure): Layout {
  const byKey = new Map<string, Placed>();
  let width = 0;
  const place = (item: Item, x: number, top: number): Placed => {
    const shape = item.node === null ? "group" : item.kind === "process" ? "card" : "fact";
    const kept = item.children.filter((child) => shown.kept.has(child));
    const open = isOpen(item);
    const chips =
      shape === "card"
        ? placeChips(
            kept.filter((one) => one.node === null),
            shown,
            measure,
          )
        : [];
    const chipRows = chips.length === 0 ? 0 : (chips[chips.length - 1] as Chip).y / CHIP + 1;
    const height = shape === "card" ? 26 + (chipRows === 0 ? 0 : chipRows * CHIP + 4) : FACT;
    const detail = item.node
      ? item.node.commonality === null
        ? "unknown"
        : ratio(item.node.containers, item.node.eligible)
      : String(shown.below.get(item.key) ?? 0);
    const full =
      shape === "card"
        ? nameOf(item)
        : item.node
          ? `${short(item.node.target, 64)}${item.node.pattern === null ? "" : `  ×${item.node.collapsed_nodes ?? 0}`}`
          : KIND_NAMES[item.kind].many;
    const room = CARD - 26 - measure(detail, "small") - (item.node?.root_kind ? measure(rootName(item), "small") + 14 : 0);
    const label =
      shape === "card"
        ? fit(measure(full, "name") > room ? full.replace(/ \([^()]*\)$/, "") : full, room, "name", measure)
        : full;
    const own =
      shape === "card"
        ? CARD
        : shape === "group"
          ? GROUP
          : 24 + measure(label, "fact") + 12 + measure(detail, "small") + (kept.length > 0 ? 40 : 8);
    const visible = kept.filter((child) => (child.node === null ? isOpen(child) || shape !== "card" : open));
    const placed: Placed = {
      item,
      shape,
      x,
      y: top,
      width: own,
      height,
      top,
      bottom: top + height,
      label,
      detail,
      chips,
      steps: shape === "group" ? stepsOf(item, shown) : [],
      inside: kept.filter((child) => child.node !== null).length,
      isOpen: open,
      isContext: item.node !== null && !shown.matched.has(item),
      children: [],
    };
    byKey.set(item.key, placed);
    width = Math.max(width, x + own);
    let at = top;
    for (const child of visible) {
      const made = place(child, x + own + GAP, at);
      placed.children.push(made);
      at = made.bottom + gapAfter(made);
    }
    if (placed.children.length > 0) {
      const last = placed.children[placed.children.length - 1] as Placed;
      placed.bottom = Math.max(placed.bottom, last.bottom);
    }
    return placed;
  };
  const roots: Placed[] = [];
  let at = 0;
  for (const root of model.roots) {
    if (!shown.kept.has(root)) continue;
    const made = place(root, 0, at);
    roots.push(made);
    at = made.bottom + (made.children.length > 0 ? ROOT_GAP : gapAfter(made));
  }
  return { roots, byKey, width, height: roots[roots.length - 1]?.bottom ?? 0 };
}

const gapAfter = (placed: Placed): number =>
  placed.shape === "fact" && placed.children.length === 0 ? 1 : placed.children.length > 0 ? 10 : 7;

export const rootName = (item: Item): string => (item.node?.root_kind ?? "").replace("exec_session", "exec");

/** Kinds of facts, side by side below the name, in as many rows as they need. */
function placeChips(groups: readonly Item[], shown: Shown, measure: Measure): Chip[] {
  const chips: Chip[] = [];
  let x = 0;
  let y = 0;
  for (const item of groups) {
    const many = shown.below.get(item.key) ?? 0;
    const text = `${many} ${many === 1 ? KIND_NAMES[item.kind].briefOne : KIND_NAMES[item.kind].brief}`;
    const width = Math.ceil(measure(text, "small")) + 12;
    if (x > 0 && x + width > CARD - 18) {
      x = 0;
      y += CHIP;
    }
    chips.push({ item, text, steps: stepsOf(item, shown), x, y, width });
    x += width + 4;
  }
  return chips;
}

function stepsOf(group: Item, shown: Shown): number[] {
  const steps = new Array<number>(STEPS.length + 1).fill(0);
  for (const { node } of group.children.filter((child) => shown.kept.has(child))) {
    const at = stepOf(node?.commonality ?? null) ?? STEPS.length;
    steps[at] = (steps[at] ?? 0) + 1;
  }
  return steps;
}

/** What is at the heights that one looks at and beside what one sees, where nothing that has its own place there is seen. */
export function beside(
  roots: readonly Placed[],
  seen: { left: number; right: number; top: number; bottom: number },
): Placed | null {
  let found: Placed | null = null;
  let isSeen = false;
  const visit = (all: readonly Placed[]) => {
    for (const placed of all) {
      if (isSeen || placed.bottom < seen.top || placed.top > seen.bottom) continue;
      const isHere = placed.y + placed.height > seen.top && placed.y < seen.bottom;
      if (isHere && placed.x < seen.right - 20 && placed.x + placed.width > seen.left + 20) isSeen = true;
      else if (isHere) found ??= placed;
      visit(placed.children);
    }
  };
  visit(roots);
  return isSeen ? null : found;
}

/** Where it is drawn while one looks from `from` to `to`: beside its children as long as any of them is in sight. */
export function followed(placed: Placed, from: number, to: number): number {
  if (placed.children.length === 0) return placed.y;
  return Math.max(
    placed.top,
    Math.min(placed.bottom - placed.height, Math.max(placed.y, Math.min(from + 10, to - placed.height))),
  );
}
