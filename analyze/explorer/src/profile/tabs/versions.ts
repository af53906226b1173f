// This profile beside others of its image: what it gained, lost, and does more or less than they.

import type { Address } from "../../base/address";
import { search, segmented, select } from "../../base/controls";
import { element, replace, type Child } from "../../base/element";
import { count, number, probability, ratio, share } from "../../base/format";
import { KIND_NAMES, KINDS } from "../../base/kinds";
import { shellWord, short } from "../../base/text";
import { badge, command, commonalityBar, empty, plainTable, raw, statusText, timeText } from "../../base/widgets";
import type { Diff, DiffNode, Profile, ProfilePage } from "../../contract";
import { inSlices } from "../../base/work";

const idOf = (profile: Profile) => `${profile.key}-${profile.revision}`;
const nameOf = (profile: Profile) => `${profile.image_tag}${profile.revision > 1 ? `, revision ${profile.revision}` : ""}`;

export function showVersions(into: HTMLElement, page: ProfilePage, address: Address, root: string, store: string): void {
  if (page.versions.length === 0) {
    into.append(empty("No other version", element("p", {}, "No other tag or revision of this image has a profile yet.")));
    return;
  }
  into.append(
    plainTable(
      "Versions",
      ["Version", "Status", "Snapshots", "Containers", "Nodes", "Coverage", "Updated, UTC", ""],
      element(
        "tbody",
        {},
        [page.profile, ...page.versions].map((one) =>
          element(
            "tr",
            { class: one === page.profile ? "chosen" : "" },
            element(
              "th",
              { scope: "row" },
              one === page.profile || one.href === null
                ? raw(short(nameOf(one), 60))
                : element("a", { href: `${root}${one.href}` }, raw(short(nameOf(one), 60))),
              one === page.profile && element("span", { class: "muted" }, " this one"),
            ),
            element("td", {}, element("span", { class: "status" }, statusText(one, true))),
            element("td", { class: "number" }, number(one.snapshots)),
            element("td", { class: "number" }, number(one.containers)),
            element("td", { class: "number" }, number(one.nodes)),
            element("td", { class: "number" }, one.coverage === null ? "–" : share(one.coverage)),
            element("td", { class: "number nowrap" }, timeText(one.updated_at)),
            element(
              "td",
              {},
              page.diffs.some((diff) => idOf(diff.with) === idOf(one)) &&
                element("a", { href: address.href({ with: idOf(one) }) }, "Compare"),
            ),
          ),
        ),
      ),
    ),
  );
  const first = page.diffs[0];
  if (!first) {
    into.append(empty("No comparison on this page", command(diffCommand(page, store))));
    return;
  }
  const result = element("div", { class: "diff" });
  into.append(
    element(
      "div",
      { class: "row diff-controls" },
      element("h3", {}, "Compared with"),
      select(
        address,
        "with",
        "Compared with",
        page.diffs.map((diff) => ({ value: idOf(diff.with), label: short(nameOf(diff.with), 60) })),
        idOf(first.with),
      ),
      segmented(
        address,
        "sure",
        "Certainty",
        [
          { value: "", label: "All" },
          { value: "certain", label: "Certain only" },
        ],
        "",
      ),
      search(address, "dq", "Search differences"),
    ),
    result,
  );
  address.watch(["with", "sure", "dq"], () =>
    showDiff(result, page.diffs.find((one) => idOf(one.with) === address.get("with")) ?? first, page, address, root),
  );
}

function showDiff(into: HTMLElement, diff: Diff, page: ProfilePage, address: Address, root: string): void {
  const wanted = address.get("dq").toLowerCase();
  const keep = (one: DiffNode) =>
    (address.get("sure") !== "certain" || one.certain) &&
    (wanted === "" || `${one.target} ${one.exe ?? ""} ${one.kind}`.toLowerCase().includes(wanted));
  const ids = new Set(page.nodes.map((one) => one.id));
  const parts: [string, string, DiffNode[]][] = [
    ["Gained", `only ${short(nameOf(page.profile), 60)} has them`, diff.gained.filter(keep)],
    ["Lost", `only ${short(nameOf(diff.with), 60)} has them`, diff.lost.filter(keep)],
    ["Changed", "both have them, in different shares of their containers", diff.changed.filter(keep)],
  ];
  const some = parts.some(([, , nodes]) => nodes.length > 0);
  replace(
    into,
    element(
      "p",
      { class: "lead" },
      parts.map(([title, , nodes], at) => `${at > 0 ? ", " : ""}${title.toLowerCase()} ${number(nodes.length)}`),
      diff.left_out > 0 && `; ${count(diff.left_out, "node")} did not fit on this page`,
      ".",
    ),
    !some && empty("No difference", element("p", {}, "Nothing differs that these filters let through.")),
    parts.map(
      ([title, says, nodes]) =>
        nodes.length > 0 &&
        element(
          "section",
          {},
          element("h3", {}, `${title} `, element("span", { class: "muted" }, `${number(nodes.length)}; ${says}`)),
          table(nodes, diff, page, (id) =>
            ids.has(id)
              ? address.href({ tab: null, node: id })
              : diff.with.href === null
                ? null
                : `${root}${diff.with.href}#node=${encodeURIComponent(id)}`,
          ),
        ),
    ),
  );
}

function table(nodes: readonly DiffNode[], diff: Diff, page: ProfilePage, href: (id: string) => string | null): Child {
  const body = element("tbody", {});
  const seen = (some: number, of: number) =>
    element(
      "span",
      { class: "pair" },
      commonalityBar(of === 0 ? null : some / of),
      element("span", { class: "muted number" }, ratio(some, of)),
    );
  const sorted = [...nodes].sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.chance - b.chance);
  inSlices(sorted, 80, (one) => {
    const link = href(one.id);
    const text = raw(short(one.target, 140));
    body.append(
      element(
        "tr",
        {},
        element("td", { class: "muted nowrap" }, KIND_NAMES[one.kind].one),
        element(
          "th",
          { scope: "row", class: "wide" },
          link === null ? text : element("a", { href: link }, text),
          one.kind !== "process" && one.exe !== null && element("div", { class: "muted" }, "by ", raw(short(one.exe, 80))),
        ),
        element("td", {}, seen(one.before, one.before_of)),
        element("td", {}, seen(one.after, one.after_of)),
        element(
          "td",
          { class: "nowrap" },
          badge(
            one.certain ? "certain" : "may be chance",
            one.certain ? "certain" : "root",
            `How probable it is that nothing changed: ${probability(one.chance)}`,
          ),
        ),
      ),
    );
  });
  const heads = ["Kind", "Node", short(nameOf(diff.with), 24), short(nameOf(page.profile), 24), ""];
  return plainTable("Differences", heads, body);
}

/** Revisions of one image are named by their numbers. */
function diffCommand({ profile, versions: [other] }: ProfilePage, store: string): string {
  const same = other?.key === profile.key;
  const images = [...(same || !other ? [] : [other.image]), profile.image].map(shellWord).join(" ");
  return `wsp diff ${images} ${same ? `--revisions ${other.revision},${profile.revision} ` : ""}${store}`;
}
