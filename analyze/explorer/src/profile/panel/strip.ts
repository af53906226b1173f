import { element, svg } from "../../base/element";
import { count, exactTime } from "../../base/format";
import { timeText } from "../../base/widgets";
import type { Members } from "../members";

/** Admitted snapshots in their order: full where one has the node, empty where not, and the middle marked. */
export function snapshotStrip(strip: Members["strip"]): HTMLElement {
  const width = 300;
  const height = 26;
  const step = width / Math.max(1, strip.length);
  const bar = Math.max(0.5, step - (step > 3 ? 1 : 0));
  const path = (has: boolean) =>
    strip
      .map((one, at) =>
        one.has === has ? `M${(at * step).toFixed(2)} ${has ? 2 : 18}h${bar.toFixed(2)}V24h-${bar.toFixed(2)}z` : "",
      )
      .join("");
  const some = strip.filter((one) => one.has).length;
  const drawing = svg(
    "svg",
    {
      class: "strip",
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${count(some, "snapshot")} of ${strip.length} have it`,
    },
    svg("path", { class: "has-not", d: path(false) }),
    svg("path", { class: "has", d: path(true) }),
  );
  const said = element("p", { class: "muted strip-said" }, "Each bar is a snapshot, by time of its window; tall ones have it.");
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const one =
      strip[Math.min(strip.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * strip.length)))];
    if (one)
      said.textContent = `Snapshot ${one.snapshot.ordinal}, window to ${exactTime(one.snapshot.window_end)}: ${one.has ? "has it" : "does not have it"}`;
  });
  return element(
    "div",
    {},
    drawing,
    element(
      "div",
      { class: "ends muted number" },
      timeText(strip[0]?.snapshot.window_end ?? null),
      timeText(strip.at(-1)?.snapshot.window_end ?? null),
    ),
    said,
  );
}
