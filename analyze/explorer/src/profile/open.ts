// What is open: processes at first, as far as that reads well; groups and patterns when asked for.

import type { Item, Model } from "./model";
import type { Shown } from "./filter";
import { ancestry } from "./model";

const PROCESSES_AT_FIRST = 120;
const FOUND_AT_ONCE = 250;

export class Openness {
  private open = new Set<string>();

  constructor(private readonly model: Model) {
    this.reset();
  }

  /** Processes level by level, until there are enough to look at. */
  reset(): void {
    this.open.clear();
    let level = this.model.roots.filter((one) => one.node !== null);
    let shown = level.length;
    for (const root of this.model.roots) if (!root.node) this.open.delete(root.key);
    while (level.length > 0) {
      const next = level.flatMap((one) =>
        one.children.filter((child) => child.kind === "process" && child.node && child.node.collapsed_into === null),
      );
      if (shown + next.length > PROCESSES_AT_FIRST) break;
      for (const one of level) this.open.add(one.key);
      shown += next.length;
      level = next;
    }
  }

  everything(): void {
    for (const item of this.model.items.values()) if (item.children.length > 0) this.open.add(item.key);
  }

  nothing(): void {
    this.open.clear();
  }

  has(item: Item): boolean {
    return this.open.has(item.key);
  }

  set(item: Item, isOpen: boolean): void {
    if (isOpen) this.open.add(item.key);
    else this.open.delete(item.key);
  }

  toggle(item: Item): void {
    this.set(item, !this.has(item));
  }

  /** Opens all that is above it. Whether that changed anything. */
  reveal(item: Item): boolean {
    const above = ancestry(item)
      .slice(0, -1)
      .filter((one) => !this.open.has(one.key));
    for (const one of above) this.open.add(one.key);
    return above.length > 0;
  }

  /** What was looked for is seen, unless it is much. */
  revealFound(shown: Shown): void {
    if (!shown.isFiltered || shown.matching > FOUND_AT_ONCE) return;
    for (const item of shown.kept) if (item.children.some((child) => shown.kept.has(child))) this.open.add(item.key);
  }

  /** A pattern's members are many and much alike: they stay below it. */
  copyTo(other: Openness): void {
    other.open = new Set(this.open);
  }
}
