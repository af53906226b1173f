// Who has a node, by the snapshots that do.

import { Bitset } from "../base/bitset";
import type { Container, Node, Snapshot } from "../contract";

export type Member = { readonly container: Container; readonly snapshots: number };
export type Members = {
  /** Admitted snapshots by ordinal, and whether they have it. */
  readonly strip: readonly { readonly snapshot: Snapshot; readonly has: boolean }[];
  readonly containers: readonly Member[];
  /** Those that could have shown it, and did not. */
  readonly without: readonly Container[];
  /** Those that could not: something of the kind was lost, or its sensor or their start was not seen. */
  readonly blind: readonly Container[];
  readonly hosts: readonly { readonly host: string; readonly containers: number }[];
};

export function membersOf(node: Node, snapshots: readonly Snapshot[], containers: readonly Container[]): Members {
  const bits = Bitset.decode(node.members);
  const strip = snapshots
    .filter((one): one is Snapshot & { ordinal: number } => one.ordinal !== null)
    .sort((a, b) => a.ordinal - b.ordinal)
    .map((snapshot) => ({ snapshot, has: bits.has(snapshot.ordinal) }));
  // As the merge counts them: `makes_eligible` of the ledger.
  const couldShow = ({ completeness, covers_start }: Snapshot) => {
    const state = completeness[node.kind];
    return state !== undefined && state !== "lossy" && (covers_start || node.phase === "steady");
  };
  const counts = new Map<number, number>();
  const eligible = new Set<number>();
  const all = new Set<number>();
  for (const { snapshot, has } of strip) {
    if (snapshot.container === null) continue;
    all.add(snapshot.container);
    if (couldShow(snapshot)) eligible.add(snapshot.container);
    if (has) counts.set(snapshot.container, (counts.get(snapshot.container) ?? 0) + 1);
  }
  const members: Member[] = [];
  const without: Container[] = [];
  const blind: Container[] = [];
  const hosts = new Map<string, number>();
  for (const at of [...all].sort((a, b) => a - b)) {
    const container = containers[at];
    if (!container) continue;
    const has = counts.get(at);
    if (has === undefined) (eligible.has(at) ? without : blind).push(container);
    else {
      members.push({ container, snapshots: has });
      hosts.set(container.host, (hosts.get(container.host) ?? 0) + 1);
    }
  }
  return {
    strip,
    containers: members,
    without,
    blind,
    hosts: [...hosts]
      .map(([host, count]) => ({ host, containers: count }))
      .sort((a, b) => b.containers - a.containers || (a.host < b.host ? -1 : 1)),
  };
}

export const containerName = (container: { name: string | null; id: string }): string =>
  container.name ?? container.id.slice(0, 12);
