// The tree as a drawing. Keys move along the same rows as in the table, and a line of text says where they are.

import { element, replace } from "../../base/element";
import { count, share } from "../../base/format";
import { KIND_NAMES } from "../../base/kinds";
import { short } from "../../base/text";
import { label, type Item } from "../model";
import { palette } from "../palette";
import type { Session } from "../session";
import { beside, followed, FONTS, layOut, type Layout, type Measure, type Placed } from "./layout";
import { paintTree } from "./paint";
import { Scene } from "./scene";

type Hit = { readonly item: Item; readonly does: "choose" | "toggle" };

export class TreeView {
  readonly host: HTMLElement;
  private readonly said: HTMLElement;
  private readonly more: HTMLButtonElement;
  private moreAt: Placed | null = null;
  private readonly scene: Scene;
  private layout: Layout | null = null;
  private over: string | null = null;
  private isShown = false;
  private readonly measure: Measure;

  constructor(private readonly session: Session) {
    this.said = element("p", { class: "unseen", role: "status" });
    const stage = element("div", { class: "stage" });
    const button = (text: string, name: string, run: () => void) =>
      element("button", { type: "button", "aria-label": name, title: name, onclick: run }, text);
    this.more = element("button", {
      type: "button",
      class: "stage-more",
      hidden: true,
      onclick: () => {
        if (this.moreAt) this.scene.show(boxOf(this.moreAt));
        this.host.focus({ preventScroll: true });
      },
    });
    this.host = element(
      "div",
      {
        class: "view view-tree",
        tabindex: "0",
        role: "application",
        "aria-label": "Process tree. Arrow keys move, Enter shows details. The table has the same rows.",
        "aria-roledescription": "tree diagram",
        onkeydown: (event) => this.press(event),
        onfocus: () => this.scene.redraw(),
        onblur: () => this.scene.redraw(),
      },
      stage,
      this.said,
    );
    this.scene = new Scene(
      stage,
      (context, seen) => this.draw(context, seen),
      (x, y, isDouble) => this.click(x, y, isDouble),
      (x, y) => this.hover(x, y),
      () => this.bringIntoView(),
    );
    stage.append(
      this.more,
      element(
        "div",
        { class: "stage-buttons" },
        button("+", "Zoom in (+)", () => this.scene.zoom(1.25)),
        button("−", "Zoom out (−)", () => this.scene.zoom(0.8)),
        button("1:1", "Actual size (0)", () => this.scene.home()),
        button("Fit", "Fit all (f)", () => this.scene.fit()),
      ),
    );
    this.measure = measuring();
    session.listen((what) => {
      if (!this.isShown) {
        if (what === "rows") this.layout = null;
        return;
      }
      if (what === "rows") this.lay();
      else this.follow();
    });
  }

  show(): void {
    this.isShown = true;
    const first = this.layout === null;
    this.lay();
    requestAnimationFrame(() => {
      if (first) this.scene.home();
      this.follow();
    });
  }

  hide(): void {
    this.isShown = false;
  }

  redraw(): void {
    this.scene.redraw();
  }

  /** What the cursor is at stays where it is on the screen. */
  private lay(): void {
    const before = this.layout;
    const layout = layOut(this.session.model, this.session.shown, (item) => this.session.open.has(item), this.measure);
    this.layout = layout;
    this.scene.setContent(layout.width, layout.height);
    let anchor = this.session.item(this.session.cursor);
    while (anchor && !(before?.byKey.has(anchor.key) && layout.byKey.has(anchor.key))) anchor = anchor.parent;
    const [from, to] = [anchor && before?.byKey.get(anchor.key), anchor && layout.byKey.get(anchor.key)];
    if (from && to) this.scene.pan(0, (from.y - to.y) * this.scene.view.scale);
  }

  private placed(item: Item | null): Placed | null {
    for (let at = item; at; at = at.parent) {
      const found = this.layout?.byKey.get(at.key);
      if (found) return found;
    }
    return null;
  }

  private follow(): void {
    const item = this.session.item(this.session.cursor);
    const placed = this.placed(item);
    if (item && placed) {
      this.bringIntoView();
      const node = item.node;
      replace(
        this.said,
        node
          ? `${KIND_NAMES[node.kind].one} ${label(item)}, ${node.commonality === null ? "commonality unknown" : `${node.containers} of ${node.eligible} containers, ${share(node.commonality)}`}`
          : `${count(this.session.shown.below.get(item.key) ?? 0, KIND_NAMES[item.kind].one, KIND_NAMES[item.kind].many)}, ${this.session.open.has(item) ? "open" : "closed"}`,
      );
    }
    this.scene.redraw();
  }

  private bringIntoView(): void {
    const placed = this.placed(this.session.item(this.session.cursor));
    if (placed) this.scene.show(boxOf(placed));
  }

  private draw(context: CanvasRenderingContext2D, seen: { left: number; top: number; right: number; bottom: number }): void {
    if (!this.layout) return;
    const hasFocus = document.activeElement === this.host;
    const more = beside(this.layout.roots, seen);
    if (more !== this.moreAt) {
      this.moreAt = more;
      this.more.hidden = more === null;
      this.more.textContent = more && more.x < seen.left ? "← Nodes are to the left" : "Nodes are to the right →";
    }
    paintTree(context, this.layout, seen, this.scene.view.scale, palette(), {
      chosen: this.session.chosen,
      cursor: hasFocus ? this.session.cursor : null,
      over: this.over,
    });
  }

  private hit(x: number, y: number): Hit | null {
    const from = this.scene.at(0, 0).y;
    const to = this.scene.at(0, this.scene.height).y;
    const visit = (all: readonly Placed[]): Hit | null => {
      for (const placed of all) {
        if (placed.bottom + 8 < y || placed.top - 8 > y) continue;
        const top = followed(placed, from, to);
        const inside = y >= top && y <= top + placed.height;
        if (
          placed.inside > 0 &&
          placed.shape !== "group" &&
          inside &&
          x >= placed.x + placed.width - 8 &&
          x <= placed.x + placed.width + 26 &&
          Math.abs(y - top - placed.height / 2) < 10
        )
          return { item: placed.item, does: "toggle" };
        if (inside && x >= placed.x && x <= placed.x + placed.width) {
          const chip = placed.chips.find(
            (one) =>
              x >= placed.x + 12 + one.x &&
              x <= placed.x + 12 + one.x + one.width &&
              y >= top + 25 + one.y &&
              y <= top + 44 + one.y,
          );
          if (chip) return { item: chip.item, does: "toggle" };
          return { item: placed.item, does: placed.item.node ? "choose" : "toggle" };
        }
        const found = visit(placed.children);
        if (found) return found;
      }
      return null;
    };
    return visit(this.layout?.roots ?? []);
  }

  private click(x: number, y: number, isDouble: boolean): void {
    const hit = this.hit(x, y);
    this.host.focus({ preventScroll: true });
    if (!hit) return;
    if (isDouble) {
      if (hit.does === "choose" && hit.item.children.length > 0) this.session.toggle(hit.item);
    } else if (hit.does === "toggle") this.session.toggle(hit.item);
    else this.session.choose(hit.item);
  }

  private hover(x: number, y: number): boolean {
    const hit = this.hit(x, y);
    const key = hit?.item.key ?? null;
    if (key !== this.over) {
      this.over = key;
      this.scene.canvas.title = hit ? short(label(hit.item), 400) : "";
      this.scene.redraw();
    }
    return hit !== null;
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.host) return;
    const moves: { [key: string]: () => void } = {
      "+": () => this.scene.zoom(1.25),
      "=": () => this.scene.zoom(1.25),
      "-": () => this.scene.zoom(0.8),
      0: () => this.scene.home(),
      f: () => this.scene.fit(),
    };
    const move = moves[event.key];
    if (move) move();
    else if (!this.session.press(event.key)) return;
    event.preventDefault();
  }
}

const boxOf = (placed: Placed) => ({
  left: placed.x,
  right: placed.x + placed.width,
  top: placed.y,
  bottom: placed.y + placed.height,
});

/** Widths of texts, each measured once; plain ones in the font of one width are not measured at all. */
function measuring(): Measure {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) return (text) => text.length * 7;
  const widths = new Map<string, number>();
  let set = "";
  const measured: Measure = (text, font) => {
    if (set !== font) context.font = FONTS[font];
    set = font;
    return context.measureText(text).width;
  };
  const one = measured("0000000000", "fact") / 10;
  return (text, font) => {
    if (font === "fact" && /^[ -~]*$/.test(text)) return text.length * one;
    const key = `${font}${text}`;
    const width = widths.get(key) ?? measured(text, font);
    widths.set(key, width);
    return width;
  };
}
