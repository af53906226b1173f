// The profile's part of the tree around what a signal is about: what is in the profile, and what is not.

import type { NodeSummary, Signal } from "../contract";

export type Step = {
  /** What the profile has; null for what it has not. */
  readonly node: NodeSummary | null;
  readonly text: string;
  readonly kind: string;
  readonly level: number;
  readonly role: "above" | "process" | "subject" | "sibling";
};

const exeOf = (node: NodeSummary): string => (/\((\/.*)\)$/.exec(node.target)?.[1] ?? node.target).split(" ")[0] ?? node.target;

export function stepsAround(signal: Signal, nodes: readonly NodeSummary[]): Step[] {
  const byId = new Map(nodes.map((one) => [one.id, one]));
  const isProcess = signal.kind === "process";
  const subject = signal.node === null ? null : (byId.get(signal.node) ?? null);
  const path = pathOf(signal, nodes, byId, isProcess ? subject : null);
  const steps: Step[] = path.known.map((node, level) => ({ node, text: node.target, kind: "process", level, role: "above" }));
  path.unknown.forEach((text, at) =>
    steps.push({ node: null, text, kind: "process", level: path.known.length + at, role: "above" }),
  );
  const last = steps.at(-1);
  if (last) steps[steps.length - 1] = { ...last, role: isProcess ? "subject" : "process" };
  const level = steps.length;
  const process = path.unknown.length === 0 ? (path.known.at(-1) ?? null) : null;
  if (!isProcess && signal.kind !== null) {
    steps.push({
      node: subject,
      text: subject?.target ?? signal.target ?? signal.summary,
      kind: signal.kind,
      level,
      role: "subject",
    });
  }
  const parent = isProcess
    ? (process?.parent ?? (path.unknown.length > 0 ? (path.known.at(-1)?.id ?? null) : null))
    : (process?.id ?? null);
  if (parent !== null && signal.kind !== null) {
    for (const one of nodes) {
      if (one.parent !== parent || one.kind !== signal.kind || one.id === subject?.id || path.known.includes(one)) continue;
      steps.push({
        node: one,
        text: one.target,
        kind: one.kind,
        level: isProcess ? Math.max(0, level - 1) : level,
        role: "sibling",
      });
    }
  }
  return steps;
}

/** By the ids that the profile has; else from the root downwards by executables, as far as these are in it. */
function pathOf(
  signal: Signal,
  nodes: readonly NodeSummary[],
  byId: ReadonlyMap<string, NodeSummary>,
  subject: NodeSummary | null,
): { known: NodeSummary[]; unknown: string[] } {
  const known: NodeSummary[] = [];
  const start = subject ?? (signal.process === null ? undefined : byId.get(signal.process));
  for (let at = start; at && !known.includes(at); at = at.parent === null ? undefined : byId.get(at.parent)) known.unshift(at);
  if (known.length > 0) {
    // A new process below a known one: only its last steps are unknown.
    const isNew =
      signal.kind === "process" && subject === null && signal.process !== signal.node && known.length < signal.lineage.length;
    return { known, unknown: isNew ? signal.lineage.slice(known.length) : [] };
  }
  let parent: string | null = null;
  let at = 0;
  for (; at < signal.lineage.length; at += 1) {
    const next: NodeSummary | undefined = nodes.find(
      (one) => one.kind === "process" && one.parent === parent && exeOf(one) === signal.lineage[at],
    );
    if (!next) break;
    known.push(next);
    parent = next.id;
  }
  return { known, unknown: signal.lineage.slice(at) };
}
