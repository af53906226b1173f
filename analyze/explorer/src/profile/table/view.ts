// The tree as a table: a tree grid with the keys that its pattern has.

import type { Address } from "../../base/address";
import { sortButton } from "../../base/controls";
import { element, property } from "../../base/element";
import { number, ratio, share } from "../../base/format";
import { KIND_NAMES } from "../../base/kinds";
import { short } from "../../base/text";
import { Rows } from "../../base/virtual";
import { badge, commonalityBar, icon, raw, timeText } from "../../base/widgets";
import type { Node } from "../../contract";
import { label } from "../model";
import { typeahead, visibleRows, type Row } from "../rows";
import type { Session } from "../session";

const ROW = 27;

export class TableView {
  readonly host: HTMLElement;
  private readonly grid: HTMLElement;
  private readonly rows: Rows;
  private shown: readonly Row[] = [];
  private cursor = -1;
  private typed = "";
  private typedAt = 0;
  private isShown = false;
  private isStale = true;

  constructor(
    private readonly session: Session,
    address: Address,
  ) {
    const plain = (text: string) => element("div", { role: "columnheader", class: `column column-${text}` }, text);
    const head = element(
      "div",
      { role: "rowgroup", class: "grid-head" },
      element(
        "div",
        { role: "row", class: "grid-row" },
        sortButton(address, "name", "what", false),
        sortButton(address, "commonality", "commonality", true, "Share of the containers that could have shown it"),
        plain("interval"),
        sortButton(address, "snapshots", "snapshots", true),
        sortButton(address, "hosts", "hosts", true),
        sortButton(address, "events", "events", true),
        plain("flags"),
        sortButton(address, "first", "first seen, UTC", true),
      ),
    );
    this.host = element("div", { class: "view view-table" });
    this.rows = new Rows(this.host, ROW);
    this.grid = element(
      "div",
      { role: "treegrid", "aria-label": "Processes and what they did", class: "grid", onkeydown: (event) => this.press(event) },
      head,
      this.rows.parts(),
    );
    this.host.append(this.grid);
    this.rows.body.addEventListener("click", (event) => this.click(event));
    session.listen((what) => {
      if (!this.isShown) this.isStale = true;
      else if (what === "rows") this.update();
      else this.follow(false);
    });
  }

  show(): void {
    this.isShown = true;
    if (this.isStale) this.update();
    this.follow(false);
  }

  hide(): void {
    this.isShown = false;
  }

  /** All rows, open, for paper. */
  print(isPrinting: boolean): void {
    const { model, shown } = this.session;
    this.rows.showEverything(isPrinting);
    if (isPrinting) {
      this.shown = visibleRows(model, shown, () => true);
      this.put();
    } else this.update();
  }

  private update(): void {
    this.isStale = false;
    this.shown = this.session.rows();
    const hadFocus = this.rows.body.contains(document.activeElement);
    this.cursor = this.session.cursorAt();
    this.put();
    if (hadFocus) this.rows.scrollTo(Math.max(0, this.cursor))?.focus({ preventScroll: true });
  }

  private put(): void {
    this.grid.setAttribute("aria-rowcount", String(this.shown.length + 1));
    this.rows.show(this.shown.length, (at) => this.row(at));
  }

  private follow(takeFocus: boolean): void {
    const before = this.cursor;
    this.cursor = this.session.cursorAt();
    if (before !== this.cursor) this.rows.refresh(before);
    this.rows.refresh(this.cursor);
    if (this.cursor < 0) return;
    const row = this.rows.scrollTo(this.cursor);
    if (takeFocus) row?.focus({ preventScroll: true });
  }

  private row(at: number): HTMLElement {
    const row = this.shown[at] as Row;
    const node = row.item.node;
    const isChosen = row.item.key === this.session.chosen;
    const made = element(
      "div",
      {
        role: "row",
        class: `grid-row${isChosen ? " chosen" : ""}${node ? (this.session.shown.matched.has(row.item) ? "" : " context") : " group"}`,
        id: `row-${at}`,
        "data-at": at,
        "aria-level": row.level,
        "aria-posinset": row.position,
        "aria-setsize": row.siblings,
        "aria-rowindex": at + 2,
        "aria-expanded": row.isOpen === null ? null : String(row.isOpen),
        "aria-selected": node ? String(isChosen) : null,
        tabindex: at === Math.max(0, this.cursor) ? "0" : "-1",
      },
      element(
        "div",
        { role: "gridcell", class: "what" },
        element("span", { class: "twisty", "aria-hidden": "true" }, row.isOpen === null ? "" : icon("right")),
        what(row, this.session.shown.below.get(row.item.key) ?? 0),
      ),
      node ? cells(node) : element("div", { role: "gridcell", class: "rest", "aria-colspan": "7" }),
    );
    return property(made, "--level", String(row.level - 1));
  }

  private click(event: MouseEvent): void {
    const target = event.target as HTMLElement;
    const at = Number(target.closest<HTMLElement>("[data-at]")?.dataset["at"] ?? NaN);
    const row = this.shown[at];
    if (!row) return;
    if (target.closest(".twisty") || !row.item.node) this.session.toggle(row.item);
    else this.session.choose(row.item);
    this.rows.row(this.session.cursorAt())?.focus({ preventScroll: true });
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.rows.body.contains(event.target as HTMLElement)) return;
    const letter = event.key.length === 1 && event.key !== " " && !"/?[]".includes(event.key);
    if (letter) {
      const now = performance.now();
      this.typed = now - this.typedAt > 800 ? event.key : this.typed + event.key;
      this.typedAt = now;
      const to = typeahead(this.shown, Math.max(0, this.cursor), this.typed, (row) => label(row.item));
      const row = to === null ? undefined : this.shown[to];
      if (row) this.session.moveTo(row.item);
    } else {
      if (this.cursor < 0 && this.shown[0]) this.session.cursor = this.shown[0].item.key;
      if (!this.session.press(event.key)) return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.follow(true);
  }
}

function what(row: Row, below: number): (HTMLElement | false)[] {
  const { item } = row;
  if (!item.node)
    return [
      element("span", { class: "kind" }, KIND_NAMES[item.kind].many),
      element("span", { class: "muted number" }, number(below)),
    ];
  return [
    item.kind === "process" &&
      item.node.root_kind !== null &&
      badge(
        item.node.root_kind.replace("exec_session", "exec"),
        "root",
        item.node.root_kind === "exec_session"
          ? "Entered from outside: kubectl exec, a health probe"
          : "The container's own first process",
      ),
    raw(short(item.node.target), item.kind === "process" ? "program" : "fact"),
    item.node.pattern !== null && badge(`pattern of ${number(item.node.collapsed_nodes ?? 0)}`, "pattern", item.node.pattern),
    item.isDetached && badge("parent unknown", "root", "Its parent is not among the nodes of this page"),
  ];
}

function cells(node: Node): HTMLElement[] {
  const cell = (content: Parameters<typeof element>[2], className = "") =>
    element("div", { role: "gridcell", class: className }, content);
  const flags = [
    node.phase === "startup" ? "startup" : "",
    node.stable === true ? "stable" : node.stable === false ? "unstable" : "",
    node.rare ? "rare" : "",
    node.late === true ? "late" : "",
  ].filter((one) => one !== "");
  return [
    cell(
      [
        commonalityBar(node.commonality),
        element("span", { class: "muted number" }, node.eligible === 0 ? "" : ratio(node.containers, node.eligible)),
      ],
      "common",
    ),
    cell(node.low === null || node.high === null ? "–" : `${share(node.low)} – ${share(node.high)}`, "number muted"),
    cell(number(node.snapshots), "number"),
    cell(number(node.hosts), "number"),
    cell(number(node.events), "number"),
    cell(
      flags.map((one) => element("span", { class: `flag flag-${one}` }, one)),
      "flags",
    ),
    cell(timeText(node.first_seen), "number"),
  ];
}
