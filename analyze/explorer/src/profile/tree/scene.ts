// A canvas to look around on: drag, wheel, two fingers, keys. What is on it is drawn by others.

import { onFrame } from "../../base/work";

export type View = { x: number; y: number; scale: number };
export type Box = { readonly left: number; readonly top: number; readonly right: number; readonly bottom: number };

const LEAST = 0.08;
const MOST = 2.5;

export class Scene {
  readonly canvas: HTMLCanvasElement;
  readonly view: View = { x: 20, y: 20, scale: 1 };
  width = 0;
  height = 0;
  private content = { width: 0, height: 0 };
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private moved = 0;
  readonly redraw: () => void;

  constructor(
    private readonly host: HTMLElement,
    private readonly draw: (context: CanvasRenderingContext2D, seen: Box) => void,
    private readonly click: (x: number, y: number, isDouble: boolean) => void,
    private readonly hover: (x: number, y: number) => boolean,
    private readonly resized: () => void,
  ) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    host.append(this.canvas);
    this.redraw = onFrame(() => this.paint());
    new ResizeObserver(() => this.resize()).observe(host);
    this.listen();
  }

  setContent(width: number, height: number): void {
    this.content = { width, height };
    this.redraw();
  }

  /** All of it, but not larger than life. */
  fit(): void {
    const scale = Math.min(
      1,
      (this.width - 40) / Math.max(1, this.content.width),
      (this.height - 40) / Math.max(1, this.content.height),
    );
    Object.assign(this.view, { scale: Math.max(LEAST, scale), x: 20, y: 20 });
    this.redraw();
  }

  home(): void {
    Object.assign(this.view, { x: 20, y: 20, scale: this.width < 600 ? 0.8 : 1 });
    this.redraw();
  }

  pan(x: number, y: number): void {
    this.view.x += x;
    this.view.y += y;
    this.bound();
    this.redraw();
  }

  zoom(factor: number, x = this.width / 2, y = this.height / 2): void {
    const scale = Math.min(MOST, Math.max(LEAST, this.view.scale * factor));
    const real = scale / this.view.scale;
    this.view.x = x - (x - this.view.x) * real;
    this.view.y = y - (y - this.view.y) * real;
    this.view.scale = scale;
    this.bound();
    this.redraw();
  }

  /** Moves as little as brings a box into sight. */
  show(box: Box): void {
    const { x, y, scale } = this.view;
    const margin = 28;
    const left = box.left * scale + x;
    const right = box.right * scale + x;
    const top = box.top * scale + y;
    const bottom = box.bottom * scale + y;
    let dx = 0;
    let dy = 0;
    if (right > this.width - margin) dx = this.width - margin - right;
    if (left + dx < margin) dx = margin - left;
    if (bottom > this.height - margin) dy = this.height - margin - bottom;
    if (top + dy < margin) dy = margin - top;
    if (dx !== 0 || dy !== 0) this.pan(dx, dy);
  }

  /** From the screen to the drawing. */
  at(x: number, y: number): { x: number; y: number } {
    return { x: (x - this.view.x) / this.view.scale, y: (y - this.view.y) / this.view.scale };
  }

  /** Something of the drawing stays in sight. */
  private bound(): void {
    const keep = 80;
    const { scale } = this.view;
    this.view.x = Math.min(this.width - keep, Math.max(keep - this.content.width * scale, this.view.x));
    this.view.y = Math.min(this.height - keep, Math.max(keep - this.content.height * scale, this.view.y));
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.host;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.width = clientWidth;
    this.height = clientHeight;
    const dense = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(clientWidth * dense);
    this.canvas.height = Math.round(clientHeight * dense);
    this.resized();
    this.paint();
  }

  private paint(): void {
    const context = this.canvas.getContext("2d");
    if (!context || this.width === 0) return;
    const dense = this.canvas.width / this.width;
    const { x, y, scale } = this.view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(dense * scale, 0, 0, dense * scale, dense * x, dense * y);
    const from = this.at(0, 0);
    const to = this.at(this.width, this.height);
    this.draw(context, { left: from.x, top: from.y, right: to.x, bottom: to.y });
  }

  private listen(): void {
    const { canvas, pointers } = this;
    const place = (event: MouseEvent) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = place(event);
        const unit = event.deltaMode === 1 ? 18 : 1;
        if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY * unit * 0.004), x, y);
        else if (event.shiftKey) this.pan(-(event.deltaY + event.deltaX) * unit, 0);
        else this.pan(-event.deltaX * unit, -event.deltaY * unit);
      },
      { passive: false },
    );
    canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, place(event));
      if (pointers.size === 1) this.moved = 0;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      const now = place(event);
      if (!before) {
        const { x, y } = this.at(now.x, now.y);
        canvas.classList.toggle("over", this.hover(x, y));
        return;
      }
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1] ?? now;
        const apart = (one: { x: number; y: number }) => Math.hypot(one.x - other.x, one.y - other.y);
        this.zoom(apart(now) / Math.max(1, apart(before)), (now.x + other.x) / 2, (now.y + other.y) / 2);
        this.moved = 100;
      } else {
        this.moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
        if (this.moved > 4) this.pan(now.x - before.x, now.y - before.y);
      }
      pointers.set(event.pointerId, now);
    });
    const up = (event: PointerEvent) => {
      if (!pointers.delete(event.pointerId)) return;
      if (event.type === "pointerup" && this.moved <= 4) {
        const now = place(event);
        const { x, y } = this.at(now.x, now.y);
        this.click(x, y, false);
      }
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("dblclick", (event) => {
      const now = place(event);
      const { x, y } = this.at(now.x, now.y);
      this.click(x, y, true);
    });
  }
}
