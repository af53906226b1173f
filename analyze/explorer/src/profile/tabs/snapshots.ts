import { element, type Child } from "../../base/element";
import { bytes, count, duration, number, words } from "../../base/format";
import { KINDS } from "../../base/kinds";
import { short } from "../../base/text";
import { badge, copyable, empty, plainTable, raw, timeText } from "../../base/widgets";
import { inSlices } from "../../base/work";
import type { ProfilePage, Snapshot } from "../../contract";
import { containerName } from "../members";

/** Which snapshots made the profile, and which did not, and why. */
export function showSnapshots(into: HTMLElement, page: ProfilePage): void {
  const refused = page.snapshots.filter((one) => one.ordinal === null);
  const admitted = page.snapshots.filter((one) => one.ordinal !== null);
  if (page.snapshots.length === 0) {
    into.append(empty("No snapshots", "A merge lists here what it admitted."));
    return;
  }
  const lossy = admitted.filter((one) => Object.values(one.completeness).includes("lossy")).length;
  into.append(
    element(
      "p",
      { class: "lead" },
      `${count(admitted.length, "snapshot")} admitted`,
      lossy > 0 && `, ${number(lossy)} of them lossy`,
      refused.length > 0 && `; ${number(refused.length)} refused`,
      page.snapshots_left_out > 0 && `; ${number(page.snapshots_left_out)} more are not on this page`,
      ".",
      page.later_snapshots > 0 &&
        ` ${count(page.later_snapshots, "snapshot")} came after it was stable, over ${duration(page.later_hours)}: they are judged, not listed.`,
    ),
  );
  const kinds = KINDS.filter((kind) => page.snapshots.some((one) => kind in one.completeness));
  if (refused.length > 0) into.append(element("h3", {}, "Refused"), table(page, refused, [], true));
  into.append(element("h3", {}, "Admitted"), table(page, admitted, kinds, false));
}

function table(page: ProfilePage, snapshots: readonly Snapshot[], kinds: readonly string[], isRefused: boolean): HTMLElement {
  const heads = [
    isRefused ? "Outcome" : "Ordinal",
    ...(isRefused ? ["Reason"] : []),
    "Container",
    "Host",
    "Window, UTC",
    ...kinds,
    "Rows",
    "Size",
    "Id",
  ];
  const body = element("tbody", {});
  const cell = (content: Child, className = "") => element("td", { class: className }, content);
  const row = (one: Snapshot) => {
    const container = one.container === null ? undefined : page.containers[one.container];
    body.append(
      element(
        "tr",
        {},
        element(
          "th",
          { scope: "row", class: "number" },
          one.ordinal === null ? badge(words(one.outcome), "warning") : number(one.ordinal),
        ),
        isRefused && cell(one.reason ?? "", "wide"),
        cell(container ? raw(short(containerName(container), 40)) : "–", "nowrap"),
        cell(container ? raw(short(container.host, 40)) : "–", "nowrap"),
        cell(
          [
            timeText(one.window_start),
            " – ",
            one.window_end?.slice(11, 16) ?? "",
            one.covers_start && element("span", { class: "flag start", title: "From the start of the container" }, "start"),
          ],
          "number nowrap",
        ),
        kinds.map((kind) => cell(completeness(one.completeness[kind]), "nowrap")),
        cell(one.rows === null ? "–" : number(one.rows), "number"),
        cell(one.size === null ? "–" : bytes(one.size), "number nowrap"),
        cell(
          copyable(
            one.id,
            "id of the snapshot",
            element("span", { class: "nowrap", title: one.object_key }, short(one.id, 18)),
          ),
        ),
      ),
    );
  };
  inSlices(snapshots, 60, row);
  return plainTable(isRefused ? "Refused snapshots" : "Admitted snapshots", heads, body);
}

function completeness(word: string | undefined): Child {
  if (word === undefined) return element("span", { class: "muted", title: "No sensor was live" }, "–");
  if (word === "complete")
    return element("span", { class: "complete", title: "complete" }, "●", element("span", { class: "unseen" }, "complete"));
  return element("span", { class: "notable" }, words(word));
}
