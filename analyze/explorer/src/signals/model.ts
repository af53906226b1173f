// Signals by what they are about: a rule, an image, and a node. The worst come first.

import type { State } from "../base/address";
import { severityRank } from "../base/kinds";
import type { Severity, Signal, Suppression } from "../contract";

export type About = {
  readonly key: string;
  readonly rule: string;
  readonly image: string | null;
  readonly exe: string | null;
  readonly target: string | null;
  readonly context: string;
  readonly severity: Severity;
  readonly signals: Signal[];
  readonly containers: number;
  readonly last: string;
  readonly isSuppressed: boolean;
};

const wordsOf = (text: string | undefined): string[] =>
  (text ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
const listOf = (text: string | undefined): string[] => (text ?? "").split(",").filter((one) => one !== "");

const texts = new WeakMap<Signal, string>();

function searched(one: Signal): string {
  let text = texts.get(one);
  if (text === undefined) {
    text = [
      one.summary,
      one.rule,
      one.image ?? "",
      one.exe ?? "",
      one.target ?? "",
      one.container_name ?? "",
      one.container_id ?? "",
      one.host ?? "",
      one.id,
      one.novelty ?? "",
      one.source,
      ...one.lineage,
      ...Object.values(one.labels),
    ]
      .join("\n")
      .toLowerCase();
    texts.set(one, text);
  }
  return text;
}

export function filterSignals(signals: readonly Signal[], state: State): Signal[] {
  const words = wordsOf(state.get("q"));
  const severities = listOf(state.get("severity"));
  const contexts = listOf(state.get("context"));
  const rule = state.get("rule") ?? "";
  const withSuppressed = state.get("suppressed") === "yes";
  return signals.filter(
    (one) =>
      (withSuppressed || one.suppressed_by === null) &&
      (severities.length === 0 || severities.includes(one.severity)) &&
      (contexts.length === 0 || contexts.includes(one.context)) &&
      (rule === "" || one.rule === rule) &&
      words.every((word) => searched(one).includes(word)),
  );
}

export function groupSignals(signals: readonly Signal[], sort: string): About[] {
  const groups = new Map<string, Signal[]>();
  for (const one of signals) {
    const key = JSON.stringify([
      one.rule,
      one.image,
      one.node ?? [one.exe, one.target],
      one.context,
      one.severity,
      one.suppressed_by !== null,
    ]);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  const all = [...groups].map(([key, members]): About => {
    members.sort((a, b) => (a.time < b.time ? 1 : -1));
    const first = members[0] as Signal;
    return {
      key,
      rule: first.rule,
      image: first.image,
      exe: first.exe,
      target: first.target,
      context: first.context,
      severity: first.severity,
      signals: members,
      containers: new Set(members.map((one) => one.container_id ?? one.container_name)).size,
      last: first.time,
      isSuppressed: first.suppressed_by !== null,
    };
  });
  const isDown = sort.startsWith("-");
  const compare = COMPARISONS[sort.replace(/^-/, "")];
  const worst = (a: About, b: About) =>
    contextRank(a.context) - contextRank(b.context) || (a.last < b.last ? 1 : a.last > b.last ? -1 : 0);
  return all.sort(
    (a, b) =>
      (compare ? (isDown ? -compare(a, b) : compare(a, b)) : 0) ||
      severityRank(a.severity) - severityRank(b.severity) ||
      worst(a, b),
  );
}

const COMPARISONS: { readonly [name: string]: (a: About, b: About) => number } = {
  severity: (a, b) => severityRank(b.severity) - severityRank(a.severity),
  count: (a, b) => a.signals.length - b.signals.length,
  containers: (a, b) => a.containers - b.containers,
  rule: (a, b) => a.rule.localeCompare(b.rule),
  image: (a, b) => (a.image ?? "").localeCompare(b.image ?? ""),
  context: (a, b) => contextRank(a.context) - contextRank(b.context),
  last: (a, b) => a.last.localeCompare(b.last),
};

/** What no container was seen to do stands out, what is known does not. */
const CONTEXTS = ["unseen", "no_profile", "learning", "known"];
export const contextRank = (context: string): number => (CONTEXTS.indexOf(context) + CONTEXTS.length + 1) % (CONTEXTS.length + 1);

const STATES: readonly Suppression["state"][] = ["suggested", "accepted", "rejected", "removed"];

export function filterSuppressions(all: readonly Suppression[], state: State): Suppression[] {
  const words = wordsOf(state.get("sq"));
  const states = listOf(state.get("state"));
  return all
    .filter(
      (one) =>
        (states.length === 0 || states.includes(one.state)) &&
        words.every((word) =>
          [one.id, one.rule, one.image ?? "", one.predicate, one.author ?? "", one.reason ?? "", one.evidence?.target ?? ""]
            .join("\n")
            .toLowerCase()
            .includes(word),
        ),
    )
    .sort(
      (a, b) =>
        STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
        b.would_hide + b.hides - a.would_hide - a.hides ||
        (a.id < b.id ? -1 : 1),
    );
}
