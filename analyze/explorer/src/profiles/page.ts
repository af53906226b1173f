// The list of all profiles.

import type { Address } from "../base/address";
import { search, sortButton, toggles } from "../base/controls";
import { element, property, replace } from "../base/element";
import { count, number, share } from "../base/format";
import { KIND_NAMES, KINDS, SEVERITIES } from "../base/kinds";
import { short, splitPath } from "../base/text";
import { afterRest, inSlices } from "../base/work";
import {
  badge,
  command,
  commonalityBar,
  empty,
  icon,
  raw,
  signalCounts,
  statusText,
  timeText,
  warningsOf,
  warningText,
} from "../base/widgets";
import type { Document, Kind, Profile, ProfilesPage } from "../contract";
import type { Shown } from "../page/shown";
import { filterProfiles, groupProfiles, type Group } from "./model";

const ROW = 33;
const HEAD = 34;

export function profilesPage(document: Document, page: ProfilesPage, address: Address): Shown {
  const main = element("main", { id: "main", class: "page-profiles", tabindex: "-1" });
  const shown: Shown = { title: "Profiles", main, repaint: () => {}, print: () => {}, escape: () => false };
  if (page.profiles.length === 0) {
    main.append(
      element("h1", {}, "Profiles"),
      empty(
        "No profiles yet",
        element("p", {}, "Record some containers, then merge what was recorded:"),
        command(`wsp-capture run ${document.store_arguments}`),
        command(`wsp merge ${document.store_arguments}`),
        element("p", {}, "Without containers of your own: ", element("code", {}, "wsp demo"), "."),
      ),
    );
    return shown;
  }
  const kinds = KINDS.filter((kind) =>
    page.profiles.some((one) => one.kinds.some((each) => each.kind === kind && each.nodes > 0)),
  );
  const said = element("span", { class: "shown", role: "status" });
  const closed = new Set<string>();
  const table = element(
    "div",
    { role: "table", "aria-label": "Profiles", class: "profiles", "aria-colcount": kinds.length + 10 },
    head(address, kinds),
  );
  property(table, "--kinds", String(kinds.length));
  const fold = element(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        const groups = groupProfiles(page.profiles, "");
        if (closed.size > 0) closed.clear();
        else groups.forEach((group) => closed.add(group.image));
        update();
      },
    },
    "Collapse all",
  );
  main.append(
    element(
      "div",
      { class: "toolbar" },
      element("h1", {}, "Profiles"),
      search(address, "q", "Search images, tags, digests"),
      toggles(address, "only", "Only", [
        { value: "learning", label: "Learning" },
        { value: "stable", label: "Stable" },
        { value: "signals", label: "Open signals" },
        { value: "warnings", label: "Warnings" },
      ]),
      said,
      fold,
    ),
    table,
  );
  let stop = () => {};
  const bodies = element("div", { class: "groups" });
  table.append(bodies);
  const update = () => {
    stop();
    const found = filterProfiles(page.profiles, address.all());
    const groups = groupProfiles(found, address.get("sort"));
    replace(
      said,
      found.length === page.profiles.length
        ? `${count(found.length, "profile")} of ${count(groups.length, "image")}`
        : `${number(found.length)} of ${count(page.profiles.length, "profile")}`,
    );
    fold.textContent = closed.size > 0 ? "Expand all" : "Collapse all";
    bodies.replaceChildren();
    if (found.length === 0)
      bodies.append(
        empty(
          "No profile passes these filters",
          element("button", { type: "button", onclick: () => address.go({ q: null, only: null }) }, "Clear filters"),
        ),
      );
    let rows = 0;
    const first = groups.findIndex((group) => (rows += group.profiles.length + 1) > 60) + 1;
    stop = inSlices(groups, first === 0 ? groups.length : first, (group) =>
      bodies.append(groupOf(group, document.root, kinds, closed)),
    );
  };
  address.watch(["only", "sort"], update);
  const whenTyped = afterRest(120, update);
  let typed = address.get("q");
  address.watch(["q"], () => {
    if (typed !== address.get("q")) whenTyped();
    typed = address.get("q");
  });
  return shown;
}

function head(address: Address, kinds: readonly Kind[]): HTMLElement {
  return element(
    "div",
    { role: "rowgroup", class: "profiles-head" },
    element(
      "div",
      { role: "row", class: "profile-row" },
      sortButton(address, "image", "Version", false),
      sortButton(address, "status", "Status", false),
      sortButton(address, "snapshots", "Snapshots", true),
      sortButton(address, "containers", "Containers", true),
      sortButton(address, "hosts", "Hosts", true),
      sortButton(address, "nodes", "Nodes", true),
      kinds.map((kind) => sortButton(address, kind, KIND_NAMES[kind].brief, true, KIND_NAMES[kind].many)),
      sortButton(address, "commonality", "Commonality", true, "How alike its containers are"),
      sortButton(address, "coverage", "Coverage", true, "Share of what a next container does that is known"),
      sortButton(address, "signals", "Open signals", true),
      sortButton(address, "updated", "Updated, UTC", true),
    ),
  );
}

function groupOf(group: Group, root: string, kinds: readonly Kind[], closed: Set<string>): HTMLElement {
  const { folder, base } = splitPath(group.image);
  const section = element("div", { role: "rowgroup", class: "profile-group" });
  const worst = SEVERITIES.find((severity) => group.profiles.some((one) => one.signals[severity] > 0));
  const isOpen = () => !closed.has(group.image);
  const rows = element("div", { class: "profile-rows", role: "presentation" });
  const button = element(
    "button",
    {
      type: "button",
      class: "group-button",
      onclick: () => {
        if (!closed.delete(group.image)) closed.add(group.image);
        put();
      },
    },
    icon("right"),
    element(
      "span",
      { class: "raw" },
      element("span", { class: "muted" }, short(folder, 100)),
      element("strong", {}, short(base, 100)),
    ),
    element("span", { class: "muted number" }, number(group.profiles.length)),
    worst !== undefined && element("span", { class: `severity severity-${worst}` }, worst),
  );
  section.append(
    element(
      "div",
      { role: "row", class: "group-row" },
      element("div", { role: "cell", "aria-colspan": kinds.length + 10 }, button),
    ),
    rows,
  );
  const put = () => {
    button.setAttribute("aria-expanded", String(isOpen()));
    rows.replaceChildren(...(isOpen() ? group.profiles.map((profile) => rowOf(profile, root, kinds)) : []));
    property(section, "--height", `${HEAD + (isOpen() ? group.profiles.length * ROW : 0)}px`);
  };
  put();
  return section;
}

function rowOf(profile: Profile, root: string, kinds: readonly Kind[]): HTMLElement {
  const cell = (label: string, className: string, ...content: Parameters<typeof element>[2][]) =>
    element("div", { role: "cell", class: className, "data-label": label }, ...content);
  const version = raw(short(profile.image_tag, 48), "tag");
  const warnings = warningsOf(profile);
  return element(
    "div",
    { role: "row", class: "profile-row" },
    cell(
      "",
      "version",
      profile.href === null ? version : element("a", { href: root + profile.href }, version),
      profile.revision > 1 && badge(`rev ${profile.revision}`, "root"),
      !profile.is_newest && badge("old revision", "root"),
      warnings.map(warningText),
    ),
    cell("Status", "status", statusText(profile, true)),
    cell("Snapshots", "number", number(profile.snapshots)),
    cell("Containers", "number", number(profile.containers)),
    cell("Hosts", "number", number(profile.hosts)),
    cell("Nodes", "number", number(profile.nodes)),
    kinds.map((kind) => {
      const of = profile.kinds.find((one) => one.kind === kind);
      return cell(KIND_NAMES[kind].many, "number kind-count muted", of === undefined ? "–" : number(of.nodes));
    }),
    cell(
      "Commonality",
      "",
      profile.commonality === null
        ? element("span", { class: "muted", title: "Needs 2 containers" }, "–")
        : commonalityBar(profile.commonality),
    ),
    cell(
      "Coverage",
      "number",
      profile.coverage === null ? element("span", { class: "muted", title: "Needs 3 containers" }, "–") : share(profile.coverage),
    ),
    cell("Signals", "signals", signalCounts(profile.signals)),
    cell("Updated, UTC", "updated number muted", timeText(profile.updated_at)),
  );
}
