import { share } from "../../base/format";
import { svg } from "../../base/element";
import { stepClass } from "../../base/commonality";

/** Commonality on a line from 0 to 1, with the interval in which it lies with 95 %. */
export function intervalPlot(value: number, low: number | null, high: number | null): SVGElement {
  const width = 300;
  const x = (at: number) => 8 + at * (width - 16);
  const text =
    low === null || high === null ? `${share(value)}` : `${share(value)}, 95 % interval ${share(low)} to ${share(high)}`;
  return svg(
    "svg",
    { class: "interval", viewBox: `0 0 ${width} 34`, role: "img", "aria-label": text },
    svg("line", { class: "axis", x1: x(0), x2: x(1), y1: 12, y2: 12 }),
    [0, 0.25, 0.5, 0.75, 1].map((at) => [
      svg("line", { class: "axis", x1: x(at), x2: x(at), y1: 9, y2: 15 }),
      svg(
        "text",
        { x: x(at), y: 30, "text-anchor": at === 0 ? "start" : at === 1 ? "end" : "middle" },
        at === 0 ? "0" : at === 1 ? "1" : String(at),
      ),
    ]),
    low !== null &&
      high !== null &&
      svg("rect", { class: "range", x: x(low), width: Math.max(1, x(high) - x(low)), y: 8, height: 8, rx: 2 }),
    svg("circle", { class: `point ${stepClass(value)}`, cx: x(value), cy: 12, r: 6 }),
  );
}
