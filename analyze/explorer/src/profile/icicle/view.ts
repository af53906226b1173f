import type { Address } from "../../base/address";
import { element, replace } from "../../base/element";
import { number, ratio, share } from "../../base/format";
import { KIND_NAMES } from "../../base/kinds";
import { cutEnd, cutMiddle, short } from "../../base/text";
import { onFrame } from "../../base/work";
import { label, type Item } from "../model";
import { fillStep, palette } from "../palette";
import { stepOf } from "../../base/commonality";
import type { Session } from "../session";
import { nameOf } from "../tree/layout";
import { layOutIcicle, type Band, type Icicle, type Weight } from "./layout";

const LEAST_BAND = 26;
const MOST_BAND = 40;

/** The icicle: what was chosen last is as wide as the view. */
export class IcicleView {
  readonly host: HTMLElement;
  private readonly trail: HTMLElement;
  private readonly said: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private icicle: Icicle | null = null;
  private over: Band | null = null;
  private bandHeight = LEAST_BAND;
  private isShown = false;
  readonly redraw: () => void;

  constructor(
    private readonly session: Session,
    private readonly address: Address,
  ) {
    this.trail = element("nav", { class: "trail", "aria-label": "Way to what is as wide as the view" });
    this.said = element("p", { class: "unseen", role: "status" });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.scroller = element("div", { class: "stage stage-icicle" }, this.canvas);
    this.host = element(
      "div",
      {
        class: "view view-icicle",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "icicle diagram",
        "aria-label": "Icicle. Arrow keys move, Enter shows details, z widens. The table has the same rows.",
        onkeydown: (event) => this.press(event),
        onfocus: () => this.redraw(),
        onblur: () => this.redraw(),
      },
      this.trail,
      this.scroller,
      this.said,
    );
    this.redraw = onFrame(() => this.paint());
    new ResizeObserver(() => this.redraw()).observe(this.scroller);
    this.scroller.addEventListener("scroll", this.redraw, { passive: true });
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("dblclick", (event) => {
      const band = this.hit(event);
      if (band) this.widen(band.data.item);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const band = this.hit(event);
      if (band === this.over) return;
      this.over = band;
      const item = band?.data.item ?? null;
      this.canvas.title = item ? `${short(label(item), 400)}\n${this.describe(item, band)}` : "";
      this.redraw();
    });
    session.listen((what) => {
      if (what === "rows") this.icicle = null;
      if (this.isShown) this.update(what === "chosen");
    });
    address.watch(["width", "zoom"], () => {
      this.icicle = null;
      if (this.isShown) this.update(false);
    });
  }

  private get weight(): Weight {
    return this.address.get("width") === "events" ? "events" : "nodes";
  }

  show(): void {
    this.isShown = true;
    this.update(true);
  }

  hide(): void {
    this.isShown = false;
  }

  private get focus(): Band | null {
    return this.icicle?.byKey.get(this.address.get("zoom")) ?? this.icicle?.root ?? null;
  }

  private update(follow: boolean): void {
    this.icicle ??= layOutIcicle(this.session.model, this.session.shown, this.weight);
    const item = this.session.item(this.session.cursor);
    const band = item ? this.icicle.byKey.get(item.key) : undefined;
    if (follow && item && band) {
      const focus = this.focus;
      if (focus && (band.x0 < focus.x0 || band.x1 > focus.x1)) this.widen(item.parent);
      this.said.textContent = `${short(label(item))}, ${this.describe(item, band)}`;
    }
    this.showTrail();
    this.redraw();
  }

  private describe(item: Item, band: Band | null): string {
    const what = item.node
      ? `${KIND_NAMES[item.kind].one}, ${item.node.commonality === null ? "commonality unknown" : `${ratio(item.node.containers, item.node.eligible)} containers, ${share(item.node.commonality)}`}`
      : "";
    return [what, band ? `${number(band.value ?? 0)} ${this.weight}` : ""].filter((one) => one !== "").join(", ");
  }

  private widen(item: Item | null): void {
    this.address.go({ zoom: item?.key ?? null });
  }

  private showTrail(): void {
    const bands = (this.focus?.ancestors() ?? []).reverse();
    replace(
      this.trail,
      bands.map((band, at) => {
        const item = band.data.item;
        const text = item ? (item.node ? nameOf(item) : label(item)) : "All";
        return [
          at > 0 && element("span", { "aria-hidden": "true" }, " / "),
          at === bands.length - 1
            ? element("span", { "aria-current": "true" }, text)
            : element("button", { type: "button", class: "quiet", onclick: () => this.widen(item) }, text),
        ];
      }),
    );
  }

  private paint(): void {
    const context = this.canvas.getContext("2d");
    const focus = this.focus;
    const width = this.scroller.clientWidth;
    if (!context || !focus || !this.icicle || width === 0) return;
    const levels = this.icicle.root.height;
    this.bandHeight = Math.max(
      LEAST_BAND,
      Math.min(MOST_BAND, Math.floor((this.scroller.clientHeight - 6) / Math.max(1, levels))),
    );
    const height = Math.max(this.scroller.clientHeight - 4, levels * this.bandHeight + 2);
    const dense = Math.min(2, window.devicePixelRatio || 1);
    if (this.canvas.width !== Math.round(width * dense) || this.canvas.height !== Math.round(height * dense)) {
      this.canvas.width = Math.round(width * dense);
      this.canvas.height = Math.round(height * dense);
      this.canvas.style.setProperty("width", `${width}px`);
      this.canvas.style.setProperty("height", `${height}px`);
    }
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    context.textBaseline = "middle";
    context.direction = "ltr";
    const scale = width / Math.max(1e-12, focus.x1 - focus.x0);
    const hasFocus = document.activeElement === this.host;
    const visit = (band: Band) => {
      const left = (band.x0 - focus.x0) * scale;
      const right = (band.x1 - focus.x0) * scale;
      if (right < 0 || left > width || right - left < 0.4) return;
      if (band.data.item) this.band(context, band, Math.max(0, left), Math.min(width, right), hasFocus);
      for (const child of band.children ?? []) visit(child);
    };
    visit(this.icicle.root);
  }

  private band(context: CanvasRenderingContext2D, band: Band, left: number, right: number, hasFocus: boolean): void {
    const colours = palette();
    const item = band.data.item as Item;
    const y = (band.y0 - 1) * this.bandHeight + 2;
    const room = right - left;
    const width = Math.max(0.5, room - 1);
    if (item.node) fillStep(context, colours, item.node.commonality, left, y, width, this.bandHeight - 1);
    else {
      context.fillStyle = colours.chip;
      context.fillRect(left, y, width, this.bandHeight - 1);
    }
    const isMarked = item.key === this.session.chosen || (hasFocus && item.key === this.session.cursor);
    if (isMarked || band === this.over) {
      context.strokeStyle = isMarked ? colours.strong : colours.accent;
      context.lineWidth = isMarked ? 3 : 2;
      context.strokeRect(left + 1, y + 1, Math.max(1, width - 2), this.bandHeight - 3);
    }
    if (room < 34) return;
    const step = item.node ? stepOf(item.node.commonality) : null;
    context.fillStyle = step === null ? colours.text : (colours.onSteps[step] ?? colours.text);
    context.font = item.kind === "process" && item.node ? "600 12px system-ui, sans-serif" : "12px system-ui, sans-serif";
    const text = item.node ? (item.kind === "process" ? nameOf(item) : short(item.node.target, 120)) : label(item);
    const shown = this.fit(text, room - 10, context);
    context.save();
    context.beginPath();
    context.rect(left, y, width, this.bandHeight);
    context.clip();
    if (step === null && item.node) {
      const box = context.measureText(shown).width;
      context.fillStyle = colours.page;
      context.fillRect(left + 3, y + 4, box + 6, this.bandHeight - 9);
      context.fillStyle = colours.text;
    }
    context.fillText(shown, left + 6, y + this.bandHeight / 2);
    const detail = item.node
      ? item.node.commonality === null
        ? "unknown"
        : ratio(item.node.containers, item.node.eligible)
      : number(band.value ?? 0);
    const used = context.measureText(shown).width;
    context.font = "11px system-ui, sans-serif";
    if (used + context.measureText(detail).width + 22 < room) {
      context.textAlign = "right";
      context.fillText(detail, right - 7, y + this.bandHeight / 2);
      context.textAlign = "left";
    }
    context.restore();
  }

  /** The last part of a path tells most. */
  private fit(text: string, room: number, context: CanvasRenderingContext2D): string {
    const width = context.measureText(text).width;
    if (width <= room) return text;
    const most = Math.max(2, Math.floor((text.length * room) / width));
    return most < 14 ? cutEnd(text.slice(text.lastIndexOf("/", text.length - 2) + 1), most) : cutMiddle(text, most);
  }

  private hit(event: MouseEvent): Band | null {
    const focus = this.focus;
    if (!focus || !this.icicle) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = focus.x0 + ((event.clientX - box.left) / Math.max(1, box.width)) * (focus.x1 - focus.x0);
    const level = Math.floor((event.clientY - box.top - 2) / this.bandHeight) + 1;
    let at: Band | undefined = this.icicle.root;
    while (at && at.y0 < level) at = at.children?.find((child) => x >= child.x0 && x < child.x1);
    return at?.data.item ? at : null;
  }

  private click(event: MouseEvent): void {
    this.host.focus({ preventScroll: true });
    const item = this.hit(event)?.data.item;
    if (!item) return;
    if (item.node) this.session.choose(item);
    else this.widen(this.address.get("zoom") === item.key ? item.parent : item);
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.host) return;
    if (event.key === "z")
      this.widen(this.address.get("zoom") === this.session.cursor ? null : this.session.item(this.session.cursor));
    else if (!this.session.press(event.key)) return;
    event.preventDefault();
  }
}
