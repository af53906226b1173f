// Rows of one height, of which only those near the viewport are in the page. Below a bound all are, for search in the page and for readers.

export const ALL_ROWS = 600;

export class Rows {
  readonly body: HTMLElement;
  private count = 0;
  private make: (at: number) => HTMLElement = () => document.createElement("div");
  private made = new Map<number, HTMLElement>();
  private everything = false;
  private readonly above: HTMLElement;
  private readonly below: HTMLElement;

  constructor(
    private readonly scroller: HTMLElement,
    private readonly height: number,
  ) {
    this.body = document.createElement("div");
    this.body.setAttribute("role", "rowgroup");
    this.body.className = "rows";
    this.above = document.createElement("div");
    this.below = document.createElement("div");
    this.above.setAttribute("aria-hidden", "true");
    this.below.setAttribute("aria-hidden", "true");
    scroller.addEventListener("scroll", () => this.fill(), { passive: true });
    new ResizeObserver(() => this.fill()).observe(scroller);
  }

  /** The body and the room of rows that are not there. */
  parts(): HTMLElement[] {
    return [this.above, this.body, this.below];
  }

  show(count: number, make: (at: number) => HTMLElement): void {
    this.count = count;
    this.make = make;
    this.made.clear();
    this.body.replaceChildren();
    this.fill();
  }

  /** For print. */
  showEverything(everything: boolean): void {
    this.everything = everything;
    this.fill();
  }

  row(at: number): HTMLElement | null {
    return this.made.get(at) ?? null;
  }

  /** Makes one row again. */
  refresh(at: number): void {
    const old = this.made.get(at);
    if (!old) return;
    const fresh = this.make(at);
    old.replaceWith(fresh);
    this.made.set(at, fresh);
  }

  scrollTo(at: number): HTMLElement | null {
    const top = this.offset() + at * this.height;
    const { scrollTop, clientHeight } = this.scroller;
    const head = this.offset();
    if (top - head < scrollTop) this.scroller.scrollTop = Math.max(0, top - head - this.height);
    else if (top + this.height > scrollTop + clientHeight) this.scroller.scrollTop = top - clientHeight + this.height * 2;
    this.fill();
    return this.row(at);
  }

  private offset(): number {
    return this.above.offsetTop;
  }

  private fill(): void {
    let first = 0;
    let last = this.count - 1;
    if (this.count > ALL_ROWS && !this.everything) {
      const top = Math.max(0, this.scroller.scrollTop - this.offset());
      first = Math.max(0, Math.floor(top / this.height) - 12);
      last = Math.min(this.count - 1, Math.ceil((top + (this.scroller.clientHeight || 800)) / this.height) + 12);
    }
    for (const [at, row] of this.made) {
      if (at < first || at > last) {
        row.remove();
        this.made.delete(at);
      }
    }
    let after: HTMLElement | null = null;
    for (let at = last; at >= first; at -= 1) {
      let row = this.made.get(at);
      if (!row) {
        row = this.make(at);
        this.made.set(at, row);
        this.body.insertBefore(row, after);
      }
      after = row;
    }
    this.above.style.setProperty("height", `${first * this.height}px`);
    this.below.style.setProperty("height", `${Math.max(0, this.count - 1 - last) * this.height}px`);
  }
}
