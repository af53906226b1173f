import { element, type Child } from "../base/element";
import { count, duration, number, rounded, share } from "../base/format";
import { KIND_NAMES } from "../base/kinds";
import { short, splitPath } from "../base/text";
import {
  badge,
  commonalityBar,
  copyable,
  openSignals,
  plainTable,
  raw,
  signalCounts,
  statusText,
  timeText,
  warningsOf,
  warningText,
} from "../base/widgets";
import type { Profile } from "../contract";

const stat = (name: string, value: Child, more: Child = null, title: string | null = null) =>
  element(
    "div",
    { class: "stat", title },
    element("dt", {}, name),
    element("dd", {}, value, more && element("span", { class: "stat-more" }, more)),
  );

/** What a profile is, before one looks into it. */
export function summary(profile: Profile): HTMLElement {
  const { folder, base } = splitPath(profile.image_name);
  const warnings = warningsOf(profile);
  return element(
    "header",
    { class: "summary" },
    element(
      "div",
      { class: "summary-title" },
      element(
        "h1",
        {},
        element("span", { class: "muted raw" }, short(folder, 80)),
        raw(short(base, 80)),
        element("span", { class: "muted" }, profile.image_tag.startsWith("@") ? "" : ":"),
        raw(short(profile.image_tag, 90), "tag"),
      ),
      (profile.revision > 1 || !profile.is_newest) &&
        badge(`revision ${profile.revision}`, "root", profile.is_newest ? null : "There is a later revision"),
      element("span", { class: "status" }, statusText(profile, false)),
    ),
    element(
      "dl",
      { class: "stats" },
      stat("Snapshots", number(profile.snapshots)),
      stat("Containers", number(profile.containers)),
      stat("Hosts", number(profile.hosts)),
      stat("Nodes", number(profile.nodes)),
      stat(
        "Commonality",
        profile.commonality === null ? "–" : share(profile.commonality),
        profile.commonality === null && "needs 2 containers",
        "How alike its containers are: shared nodes of each pair of containers, over all of theirs",
      ),
      stat(
        "Coverage",
        profile.coverage === null ? "–" : share(profile.coverage),
        profile.coverage === null
          ? "needs 3 containers"
          : profile.expected_novel_nodes !== null && `${rounded(profile.expected_novel_nodes)} new nodes expected`,
        "Share of what a next container does that this profile knows",
      ),
      stat(
        "Observed",
        profile.first_window_start === null
          ? "–"
          : duration(
              Math.max(
                0,
                (Date.parse(profile.last_window_end ?? profile.first_window_start) - Date.parse(profile.first_window_start)) /
                  3_600_000,
              ),
            ),
        profile.first_window_start !== null && ["from ", timeText(profile.first_window_start), " UTC"],
      ),
      stat(
        "Open signals",
        openSignals(profile.signals) === 0 ? "none" : signalCounts(profile.signals),
        profile.signals.suppressed > 0 && `${number(profile.signals.suppressed)} suppressed`,
      ),
      stat("Updated", timeText(profile.updated_at), "UTC"),
    ),
    warnings.length > 0 && element("p", { class: "warnings" }, warnings.map(warningText)),
    element(
      "details",
      { class: "more" },
      element("summary", {}, "Kinds and digests"),
      plainTable(
        "Kinds",
        ["Kind", "Nodes", "Commonality", "Complete in"],
        element(
          "tbody",
          {},
          profile.kinds.map((one) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, KIND_NAMES[one.kind].many),
              element("td", { class: "number" }, number(one.nodes)),
              element("td", {}, one.commonality === null ? "–" : commonalityBar(one.commonality)),
              element(
                "td",
                { class: one.completeness !== null && one.completeness < 0.95 ? "notable number" : "number" },
                one.completeness === null ? "no sensor" : `${share(one.completeness)} of containers`,
              ),
            ),
          ),
        ),
      ),
      element("p", {}, count(profile.digests.length, "digest"), " of the image seen: "),
      element(
        "ul",
        { class: "plain" },
        profile.digests.map((digest) => element("li", {}, copyable(digest, "digest"))),
      ),
    ),
  );
}
