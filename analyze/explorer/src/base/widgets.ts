// Small parts that all pages share.

import type { Profile, SignalCounts } from "../contract";
import { stepClass } from "./commonality";
import { element, property, svg, type Child } from "./element";
import { count, duration, exactTime, hoursBetween, number, ratio, share, time, words } from "./format";
import { SEVERITIES } from "./kinds";
import { visible } from "./text";

export function badge(text: string, kind: string, title: string | null = null): HTMLElement {
  return element("span", { class: `badge badge-${kind}`, title }, text);
}

export const severityBadge = (severity: string): HTMLElement =>
  element("span", { class: `severity severity-${severity}` }, severity);

/** Time in the page's one zone; in full where it is pointed at. */
export const timeText = (text: string | null): HTMLElement =>
  text === null
    ? element("span", { class: "muted" }, "–")
    : element("time", { datetime: text, title: exactTime(text) }, time(text));

/** Text from a container. */
export const raw = (text: string, className = ""): HTMLElement => element("span", { class: `raw ${className}`.trim() }, text);

/** Commonality as a bar and as a number. */
export function commonalityBar(commonality: number | null, text = share(commonality)): HTMLElement {
  const bar = element(
    "span",
    { class: `bar ${commonality === 0 ? "none" : stepClass(commonality)}`, "aria-hidden": "true" },
    element("span", {}),
  );
  property(bar, "--share", String(commonality ?? 1));
  return element(
    "span",
    { class: "commonality" },
    bar,
    element("span", { class: commonality === null ? "number muted" : "number" }, text),
  );
}

export const swatch = (commonality: number | null): HTMLElement =>
  element("span", { class: `swatch ${stepClass(commonality)}`, "aria-hidden": "true" });

export function progress(label: string, value: number, of: number, text: string): HTMLElement {
  const made = element(
    "span",
    {
      class: "progress",
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": "0",
      "aria-valuemax": of,
      "aria-valuenow": Math.min(value, of),
      "aria-valuetext": text,
    },
    element("span", {}),
  );
  return property(made, "--share", String(of === 0 ? 0 : Math.min(1, value / of)));
}

/** Whether it learns, and how far it is; or why and since when it does not. */
export function statusText(profile: Profile, brief: boolean): Child[] {
  if (profile.status === "stable") {
    const why =
      profile.stable_reason === "snapshots"
        ? count(profile.snapshots, "snapshot")
        : profile.stable_reason === "age"
          ? `${duration(profile.stable_hours)} old`
          : words(profile.stable_reason ?? "");
    return [
      badge("Stable", "stable", `${why}; ${exactTime(profile.stable_at)}`),
      element(
        "span",
        { class: "muted" },
        why,
        ", ",
        brief ? profile.stable_at?.slice(0, 10) : [timeText(profile.stable_at), " UTC"],
      ),
    ];
  }
  const hours = hoursBetween(profile.first_window_start, profile.last_window_end) ?? 0;
  return [
    badge("Learning", "learning"),
    element(
      "span",
      { class: "progresses" },
      element(
        "span",
        {},
        progress(
          "Snapshots until stable",
          profile.snapshots,
          profile.stable_snapshots,
          `${profile.snapshots} of ${profile.stable_snapshots}`,
        ),
        element("span", { class: "number" }, ratio(profile.snapshots, profile.stable_snapshots), brief ? "" : " snapshots"),
      ),
      element(
        "span",
        {},
        progress("Hours until stable", hours, profile.stable_hours, `${Math.round(hours)} of ${profile.stable_hours}`),
        element("span", { class: "number" }, `${ratio(Math.round(hours), profile.stable_hours)} h`),
      ),
    ),
  ];
}

export const openSignals = (counts: SignalCounts): number => SEVERITIES.reduce((sum, severity) => sum + counts[severity], 0);

export function signalCounts(counts: SignalCounts): Child {
  const some = SEVERITIES.filter((severity) => counts[severity] > 0);
  if (some.length === 0) return element("span", { class: "muted" }, counts.suppressed > 0 ? "none open" : "–");
  return element(
    "span",
    { class: "counts" },
    some.map((severity) =>
      element(
        "span",
        { class: `severity severity-${severity}`, title: `${count(counts[severity], "open signal")}, ${severity}` },
        `${severity[0]?.toUpperCase()}\u202f${number(counts[severity])}`,
        element("span", { class: "unseen" }, ` ${severity}`),
      ),
    ),
  );
}

export type Warning = { readonly kind: "tag" | "incomplete" | "overflow"; readonly text: string };

export function warningsOf(profile: Profile): Warning[] {
  const warnings: Warning[] = [];
  if (profile.tag_reused) warnings.push({ kind: "tag", text: `tag was given to ${count(profile.digests.length, "digest")}` });
  const incomplete = profile.kinds.filter((one) => one.completeness !== null && one.completeness < 0.95);
  if (incomplete.length > 0)
    warnings.push({
      kind: "incomplete",
      text: `incomplete: ${incomplete.map((one) => `${one.kind} ${share(one.completeness)}`).join(", ")}`,
    });
  if (profile.overflow > 0)
    warnings.push({ kind: "overflow", text: `overflow: ${count(profile.overflow, "sighting")} not kept` });
  return warnings;
}

export const warningText = (warning: Warning): HTMLElement =>
  element("span", { class: "warning" }, icon("warning"), warning.text);

const ICONS = {
  warning: "M8 2 1.5 13.5h13zM8 6.5v3.5M8 11.6v.6",
  right: "M6 3.5 10.5 8 6 12.5",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  check: "M3 8.5 6.5 12 13 4.5",
  theme: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5 14 14",
} as const;

export function icon(name: keyof typeof ICONS): SVGElement {
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name] }),
  );
}

/** A text to copy, and the button that does. */
export function copyable(text: string, what: string, shown: Child = text, scrolls = false): HTMLElement {
  const said = element("span", { class: "unseen", role: "status" });
  const button = element(
    "button",
    { type: "button", class: "copy", "aria-label": `Copy ${what}`, title: `Copy ${what}` },
    icon("copy"),
  );
  button.addEventListener("click", () => {
    copy(text).then(
      (done) => {
        button.replaceChildren(icon(done ? "check" : "copy"));
        said.textContent = done ? "copied" : "not copied";
        setTimeout(() => button.replaceChildren(icon("copy")), 1500);
      },
      () => {},
    );
  });
  return element(
    "span",
    { class: "copyable" },
    element("code", scrolls ? { tabindex: "0", role: "region", "aria-label": what } : {}, shown),
    button,
    said,
  );
}

/** Pages from files may not write to the clipboard by the newer way. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function empty(title: string, ...more: Child[]): HTMLElement {
  return element("div", { class: "empty" }, element("p", { class: "empty-title" }, title), ...more);
}

export const command = (text: string): HTMLElement => element("p", {}, copyable(text, "command"));

/** Name and value, as rows. */
export function facts(...pairs: ([string, Child] | null | false)[]): HTMLElement {
  return element(
    "dl",
    { class: "facts" },
    pairs.map((pair) => pair && element("div", {}, element("dt", {}, pair[0]), element("dd", {}, pair[1]))),
  );
}

/** Some of a long list, and the rest when asked for. */
export function bounded<Item>(
  items: readonly Item[],
  most: number,
  make: (item: Item) => Child,
  tag: "ul" | "ol" = "ul",
  className = "plain",
): HTMLElement {
  const list = element(
    tag,
    { class: className },
    items.slice(0, most).map((item) => element("li", {}, make(item))),
  );
  if (items.length <= most) return list;
  const more = element("button", { type: "button", class: "quiet" }, `${number(items.length - most)} more`);
  more.addEventListener("click", () => {
    list.append(...items.slice(most).map((item) => element("li", {}, make(item))));
    more.remove();
  });
  return element("div", {}, list, more);
}

/** A table that scrolls sideways by itself, and by keys. */
export const plainTable = (label: string, heads: readonly string[], body: Child): HTMLElement =>
  element(
    "div",
    { class: "scroll-x", tabindex: "0", role: "region", "aria-label": label },
    element(
      "table",
      { class: "plain-table" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          heads.map((text) => element("th", { scope: "col" }, text)),
        ),
      ),
      body,
    ),
  );

/** The head of a side panel: what kind of thing it shows, its title as a container wrote it, and the way out. */
export const panelHead = (kinds: Child, close: HTMLElement, title: string): HTMLElement =>
  element(
    "div",
    { class: "panel-head" },
    element("div", { class: "panel-kind" }, kinds),
    close,
    element("h2", { class: "raw long" }, visible(title)),
  );
