// What the three views of a profile share: the tree, what is shown of it, what is open, and which node is chosen.

import type { Address } from "../base/address";
import type { ProfilePage } from "../contract";
import { applyFilter, FILTER_KEYS, parseFilter, type Shown } from "./filter";
import { buildModel, parseOrder, type Item, type Model } from "./model";
import { Openness } from "./open";
import { stepFor, visibleRows, type Row } from "./rows";

export class Session {
  model: Model;
  open: Openness;
  shown: Shown;
  /** A row that keys have come to: a node, or a group of them. */
  cursor: string | null = null;
  private rowsCache: Row[] | null = null;
  private readonly listeners = new Set<(what: "rows" | "chosen") => void>();

  constructor(
    readonly page: ProfilePage,
    readonly address: Address,
  ) {
    this.model = buildModel(page.nodes, parseOrder(address.get("sort")));
    this.open = new Openness(this.model);
    this.shown = applyFilter(this.model, parseFilter(address.all()), this.chosen);
    this.open.revealFound(this.shown);
    let order = address.get("sort");
    const start = this.item(this.chosen);
    if (start) this.open.reveal(start);
    this.cursor = start?.key ?? null;
    address.watch([...FILTER_KEYS, "sort"], () => {
      if (address.get("sort") !== order) {
        order = address.get("sort");
        const before = this.open;
        this.model = buildModel(page.nodes, parseOrder(order));
        this.open = new Openness(this.model);
        before.copyTo(this.open);
      }
      this.filter();
      this.open.revealFound(this.shown);
      this.tell("rows");
    });
    address.watch(["node"], () => {
      const item = this.item(this.chosen);
      if (item) {
        this.cursor = item.key;
        const wasHidden = !this.shown.kept.has(item);
        if (wasHidden) this.filter();
        if (this.open.reveal(item) || wasHidden) this.tell("rows");
      }
      this.tell("chosen");
    });
  }

  get chosen(): string {
    return this.address.get("node");
  }

  item(key: string | null): Item | null {
    return key === null ? null : (this.model.items.get(key) ?? null);
  }

  listen(run: (what: "rows" | "chosen") => void): void {
    this.listeners.add(run);
  }

  rows(): readonly Row[] {
    this.rowsCache ??= visibleRows(this.model, this.shown, (item) => this.open.has(item));
    return this.rowsCache;
  }

  isOutsideFilter(item: Item): boolean {
    return item.node !== null && !applyFilter(this.model, parseFilter(this.address.all()), "").kept.has(item);
  }

  changeOpen(change: (open: Openness) => void): void {
    change(this.open);
    this.tell("rows");
  }

  toggle(item: Item): void {
    this.cursor = item.key;
    this.changeOpen((open) => open.toggle(item));
  }

  /** By pointer: a step to go back to. */
  choose(item: Item): void {
    this.cursor = item.key;
    if (item.node) this.address.go({ node: item.node.id });
    else this.tell("chosen");
  }

  /** By keys: no history of every row that was passed. */
  moveTo(item: Item): void {
    this.cursor = item.key;
    if (item.node && this.chosen !== "") this.address.adjust({ node: item.node.id });
    else this.tell("chosen");
  }

  /** Whether the key meant something. */
  press(key: string): boolean {
    const rows = this.rows();
    const at = this.cursorAt();
    const row = rows[at];
    if (key === "Enter" || key === " ") {
      if (!row) return false;
      if (row.item.node) this.choose(row.item);
      else this.toggle(row.item);
      return true;
    }
    const step = stepFor(key, rows, at);
    if (!step) return false;
    if ("to" in step) this.moveTo((rows[step.to] as Row).item);
    else if (row) this.changeOpen((open) => open.set(row.item, step.open));
    return true;
  }

  /** Where the cursor is; or the nearest row above it that is still to be seen; or -1. */
  cursorAt(): number {
    for (let at = this.item(this.cursor); at; at = at.parent) {
      const found = this.rows().findIndex((row) => row.item === at);
      if (found >= 0) return found;
    }
    return -1;
  }

  private filter(): void {
    this.shown = applyFilter(this.model, parseFilter(this.address.all()), this.chosen);
  }

  private tell(what: "rows" | "chosen"): void {
    if (what === "rows") this.rowsCache = null;
    for (const run of this.listeners) run(what);
  }
}
