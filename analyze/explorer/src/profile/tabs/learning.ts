// How the profile came to know: its nodes and its coverage, over snapshots or hours.

import type { Address } from "../../base/address";
import { segmented } from "../../base/controls";
import { element, replace, svg, type Child } from "../../base/element";
import { number, rounded, share } from "../../base/format";
import { empty, plainTable } from "../../base/widgets";
import type { CurvePoint, ProfilePage } from "../../contract";

export function showLearning(into: HTMLElement, page: ProfilePage, address: Address): void {
  if (page.curve.length === 0) {
    into.append(
      empty("Nothing to plot yet", element("p", {}, "The curve begins with the first snapshot that a merge admits.")),
    );
    return;
  }
  const plots = element("div", { class: "plots" });
  address.watch(["over"], () => {
    const over = address.get("over") === "hours" ? "hours" : "snapshots";
    replace(
      plots,
      plot("Nodes", page.curve, over, (one) => one.nodes, number),
      plot("Coverage of a next container", page.curve, over, (one) => one.coverage, share, 1),
    );
  });
  into.append(
    element(
      "div",
      { class: "row" },
      segmented(
        address,
        "over",
        "Over",
        [
          { value: "snapshots", label: "Over snapshots" },
          { value: "hours", label: "Over hours" },
        ],
        "snapshots",
      ),
    ),
    plots,
    element(
      "details",
      {},
      element("summary", {}, "As a table"),
      plainTable(
        "Learning",
        ["Snapshots", "Hours", "Containers", "Hosts", "Nodes", "Coverage"],
        element(
          "tbody",
          {},
          page.curve.map((one) =>
            element(
              "tr",
              {},
              [
                number(one.snapshots),
                rounded(one.hours),
                number(one.containers),
                number(one.hosts),
                number(one.nodes),
                one.coverage === null ? "needs 3 containers" : share(one.coverage),
              ].map((text) => element("td", { class: "number" }, text)),
            ),
          ),
        ),
      ),
    ),
  );
}

/** Round numbers up to `most`, four or so. */
export function ticks(most: number): number[] {
  if (!(most > 0)) return [0];
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => at * step);
}

function plot(
  title: string,
  curve: readonly CurvePoint[],
  over: "snapshots" | "hours",
  value: (one: CurvePoint) => number | null,
  format: (value: number) => string,
  most?: number,
): Child {
  const [width, height, left, right, top, bottom] = [560, 260, 56, 12, 12, 40];
  const last = Math.max(1, ...curve.map((one) => one[over]));
  const highest = most ?? Math.max(1, ...curve.map((one) => value(one) ?? 0)) * 1.05;
  const x = (at: number) => left + (at / last) * (width - left - right);
  const y = (at: number) => height - bottom - (at / highest) * (height - top - bottom);
  const points = curve.flatMap((one) => {
    const at = value(one);
    return at === null
      ? []
      : [
          {
            one,
            x: x(one[over]),
            y: y(at),
            text: `after ${number(one.snapshots)} snapshots, ${rounded(one.hours)} hours, ${number(one.containers)} containers: ${format(at)}`,
          },
        ];
  });
  const final = points.at(-1);
  return element(
    "figure",
    {},
    element("figcaption", {}, title),
    svg(
      "svg",
      {
        class: "plot",
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": `${title} over ${over}; ${final ? `ends at ${final.text}` : "no values"}`,
      },
      ticks(highest).map((at) => [
        svg("line", { class: "grid-line", x1: left, x2: width - right, y1: y(at), y2: y(at) }),
        svg("text", { x: left - 8, y: y(at) + 4, "text-anchor": "end" }, format(at)),
      ]),
      ticks(last).map((at) => svg("text", { x: x(at), y: height - bottom + 18, "text-anchor": "middle" }, number(at))),
      svg("text", { class: "axis-name", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, over),
      points.length > 1 &&
        svg("path", {
          class: "curve",
          d: points.map((one, at) => `${at === 0 ? "M" : "L"}${one.x.toFixed(1)} ${one.y.toFixed(1)}`).join(""),
        }),
      points.map((one) =>
        svg(
          "circle",
          { class: "dot", cx: one.x.toFixed(1), cy: one.y.toFixed(1), r: curve.length > 60 ? 2 : 3 },
          svg("title", {}, one.text),
        ),
      ),
      final &&
        svg(
          "text",
          { class: "last", x: final.x - 4, y: final.y + (final.y < 40 ? 20 : -10), "text-anchor": "end" },
          format(value(final.one) ?? 0),
        ),
    ),
  );
}
