// The rows that are seen, in the order in which they are seen: for the table, and for moving about with keys in all views.

import type { Shown } from "./filter";
import type { Item, Model } from "./model";

export type Row = {
  readonly item: Item;
  readonly level: number;
  /** Among its siblings, from 1, of how many. */
  readonly position: number;
  readonly siblings: number;
  /** Null where nothing is below it. */
  readonly isOpen: boolean | null;
};

export function visibleRows(model: Model, shown: Shown, isOpen: (item: Item) => boolean): Row[] {
  const rows: Row[] = [];
  const visit = (siblings: readonly Item[], level: number) => {
    const kept = siblings.filter((one) => shown.kept.has(one));
    kept.forEach((item, at) => {
      const has = item.children.some((child) => shown.kept.has(child));
      const open = has ? isOpen(item) : null;
      rows.push({ item, level, position: at + 1, siblings: kept.length, isOpen: open });
      if (open) visit(item.children, level + 1);
    });
  };
  visit(model.roots, 1);
  return rows;
}

/** Where a key leads from a row: another row, or a change of what is open. */
export type Step = { readonly to: number } | { readonly open: boolean } | null;

const MOVES: ReadonlySet<string> = new Set([
  "ArrowDown",
  "ArrowUp",
  "ArrowRight",
  "ArrowLeft",
  "PageDown",
  "PageUp",
  "Home",
  "End",
]);

export function stepFor(key: string, rows: readonly Row[], at: number, page = 15): Step {
  const row = rows[at];
  if (!row) return rows.length > 0 && MOVES.has(key) ? { to: 0 } : null;
  const within = (to: number) => ({ to: Math.min(rows.length - 1, Math.max(0, to)) });
  switch (key) {
    case "ArrowDown":
      return within(at + 1);
    case "ArrowUp":
      return within(at - 1);
    case "PageDown":
      return within(at + page);
    case "PageUp":
      return within(at - page);
    case "Home":
      return within(0);
    case "End":
      return within(rows.length - 1);
    case "ArrowRight":
      if (row.isOpen === false) return { open: true };
      return row.isOpen ? within(at + 1) : null;
    case "ArrowLeft": {
      if (row.isOpen) return { open: false };
      const above = rows.slice(0, at).findLastIndex((one) => one.level < row.level);
      return above < 0 ? null : { to: above };
    }
    default:
      return null;
  }
}

/** The next row whose name, or last part of its path, begins with what was typed. */
export function typeahead(rows: readonly Row[], at: number, typed: string, name: (row: Row) => string): number | null {
  const wanted = typed.toLowerCase();
  const isOne = [...wanted].every((one) => one === wanted[0]);
  for (let step = isOne ? 1 : 0; step <= rows.length; step += 1) {
    const to = (at + step) % rows.length;
    const text = name(rows[to] as Row).toLowerCase();
    const begins = (one: string) => text.startsWith(one) || text.slice(text.lastIndexOf("/") + 1).startsWith(one);
    if (begins(wanted) || (isOne && begins(wanted[0] ?? ""))) return to;
  }
  return null;
}
