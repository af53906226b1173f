import type { Address } from "../../base/address";
import { element } from "../../base/element";
import { count, number, words } from "../../base/format";
import { short } from "../../base/text";
import { badge, command, empty, plainTable, raw, severityBadge, timeText } from "../../base/widgets";
import { inSlices } from "../../base/work";
import type { ProfilePage, Signal } from "../../contract";

/** What was raised about containers of this profile. */
export function showSignals(into: HTMLElement, page: ProfilePage, address: Address, root: string, store: string): void {
  if (page.signals.length === 0) {
    into.append(
      empty(
        "No signals",
        element("p", {}, "Nothing was raised about containers of this image, or nothing was judged yet:"),
        command(`wsp detect ${store}`),
      ),
    );
    return;
  }
  into.append(
    element(
      "p",
      { class: "lead" },
      count(page.signals.length, "signal"),
      page.signals_left_out > 0 && `, the newest; ${number(page.signals_left_out)} more are not on this page`,
      ". ",
      element("a", { href: `${root}signals.html#q=${encodeURIComponent(page.profile.image)}` }, "All signals of this image"),
    ),
  );
  const body = element("tbody", {});
  const row = (one: Signal) =>
    body.append(
      element(
        "tr",
        { class: one.suppressed_by === null ? "" : "suppressed" },
        element("td", {}, severityBadge(one.severity)),
        element("td", { class: "number nowrap" }, timeText(one.time)),
        element(
          "th",
          { scope: "row", class: "wide" },
          element("a", { href: `${root}signals.html#signal=${encodeURIComponent(one.id)}` }, raw(short(one.summary, 140))),
        ),
        element(
          "td",
          {},
          badge(words(one.context), `context-${one.context}`),
          one.suppressed_by !== null && badge("suppressed", "root"),
        ),
        element(
          "td",
          {},
          one.target === null
            ? "–"
            : one.node === null
              ? raw(short(one.target, 70))
              : element("a", { href: address.href({ tab: null, node: one.node }) }, raw(short(one.target, 70))),
        ),
        element("td", {}, raw(short(one.container_name ?? one.container_id ?? "–", 30))),
      ),
    );
  inSlices(page.signals, 60, row);
  into.append(plainTable("Signals", ["Severity", "Time, UTC", "What", "Context", "Node", "Container"], body));
}
