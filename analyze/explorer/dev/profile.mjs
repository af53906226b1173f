// A page of one profile: snapshots of containers first, then nodes whose numbers follow from who has them.

import { application, hostile, nginx } from "./behaviour.mjs";
import { hours, wilson } from "./random.mjs";

export const KINDS = ["process", "file", "dns", "connect", "listen", "syscall", "capability"];

export function fleet(random, count, hosts) {
  return Array.from({ length: count }, (_, at) => ({
    id: random.hex(64),
    name: random.chance(0.9) ? `web-${random.hex(5)}-${random.hex(5)}` : null,
    host: `node-${String(random.below(hosts)).padStart(3, "0")}.eu-west.example`,
    started: hours(at * 0.4),
    labels: { "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": `web-${random.hex(8)}` },
  }));
}

function takeSnapshots(random, containers, most) {
  const all = [];
  containers.forEach((_, container) => {
    for (let window = 0; window < random.between(1, 12); window += 1)
      all.push({ container, start: container * 0.4 + window * 0.5, first: window === 0 });
  });
  all.sort((a, b) => a.start - b.start);
  const snapshots = all.slice(0, most).map((one, ordinal) => ({
    ordinal,
    id: `0199f${random.hex(3)}-${random.hex(4)}-7${random.hex(3)}-a${random.hex(3)}-${random.hex(12)}`,
    outcome: "admitted",
    reason: null,
    container: one.container,
    window_start: hours(one.start),
    window_end: hours(one.start + 0.5),
    covers_start: one.first,
    completeness: Object.fromEntries(
      KINDS.map((kind) => [kind, random.chance(0.95) ? "complete" : random.pick(["lossy", "joined_late"])]),
    ),
    rows: random.between(180, 420),
    size: random.between(9_000, 60_000),
    digest: `sha256:${random.hex(64)}`,
    object_key: `snapshots/date=2026-11-01/hour=08/${random.hex(16)}.parquet`,
  }));
  const digest = snapshots[0]?.digest ?? null;
  for (const one of snapshots) {
    one.digest = digest;
    if (random.chance(0.5)) delete one.completeness.capability;
  }
  for (const [outcome, reason] of [
    ["duplicate", "the same id and content were admitted as ordinal 4"],
    ["damaged", "Parquet: footer is cut off at byte 8192"],
    ["out_of_range", "its window ends 3 hours after the profile's 48 hours"],
  ]) {
    snapshots.push({
      ...snapshots[0],
      ordinal: null,
      id: `0199f${random.hex(3)}-${random.hex(4)}-7${random.hex(3)}-a${random.hex(3)}-${random.hex(12)}`,
      outcome,
      reason,
      container: outcome === "damaged" ? null : 0,
      window_start: outcome === "damaged" ? null : snapshots[0].window_start,
      window_end: outcome === "damaged" ? null : snapshots[0].window_end,
      completeness: {},
      rows: null,
    });
  }
  return snapshots;
}

function bits(ordinals, length) {
  const bytes = new Uint8Array(Math.ceil(length / 8));
  for (const ordinal of ordinals) bytes[ordinal >> 3] |= 1 << (ordinal & 7);
  return Buffer.from(bytes).toString("base64");
}

/** Nodes of a tree of specifications, for containers and their snapshots. */
function sightings(random, roots, containers, snapshots) {
  const admitted = snapshots.filter((one) => one.ordinal !== null);
  const nodes = [];
  const count = containers.length;
  const visit = (spec, parent, above, into) => {
    const id = random.hex(32);
    const late = spec.late === true;
    const allowed = late ? above.filter((one) => one >= count * 0.8) : above;
    let has = allowed.filter(() => random.chance(spec.share));
    if (spec.share < 0.05 || (late && has.length === 0)) has = allowed.slice(-1);
    if (has.length === 0 && allowed.length > 0) has = [allowed[random.below(allowed.length)]];
    const whose = new Set(has);
    const ordinals = admitted
      .filter(
        (one) =>
          whose.has(one.container) && (spec.phase === "startup" ? one.covers_start || random.chance(0.2) : random.chance(0.9)),
      )
      .map((one) => one.ordinal);
    const unknown = spec.kind === "capability" && random.chance(0.3);
    const eligible = unknown ? 0 : Math.max(has.length, count - random.below(2));
    const [low, high] = unknown ? [null, null] : wilson(has.length, eligible);
    const half = Math.ceil(count / 2);
    const first = has.filter((one) => one < half).length;
    const differs = Math.abs(first / half - (has.length - first) / (count - half)) > 0.4;
    const times = ordinals.map((one) => admitted[one]);
    nodes.push({
      id,
      parent,
      kind: spec.kind,
      target: spec.target,
      exe: spec.kind === "process" ? spec.exe : spec.owner,
      root_kind: spec.root ?? null,
      commonality: unknown ? null : has.length / eligible,
      low,
      high,
      containers: has.length,
      eligible,
      snapshots: ordinals.length,
      snapshot_commonality: unknown ? null : ordinals.length / admitted.length,
      hosts: new Set(has.map((one) => containers[one].host)).size,
      lossy: random.chance(0.05) ? random.between(1, 3) : 0,
      stable: count < 6 ? null : !unknown && !differs && (high - low) / 2 <= 0.15,
      rare: has.length === 1,
      late: count < 5 ? null : Math.min(...has) >= count * 0.75,
      phase: spec.phase,
      lineage_complete: !random.chance(0.01),
      events: ordinals.length * Math.ceil(random.next() ** 4 * 900 + 1),
      first_seen: times[0]?.window_start ?? null,
      last_seen: times.at(-1)?.window_end ?? null,
      members: bits(ordinals, admitted.length),
      halves:
        count < 6
          ? null
          : {
              first,
              first_of: half,
              second: has.length - first,
              second_of: count - half,
              p: differs ? 0.0004 : 0.2 + random.next() * 0.8,
            },
      pattern: spec.pattern ?? null,
      collapsed_nodes: spec.members?.length ?? null,
      collapsed_into: into ?? null,
      attributes: (spec.attributes ?? []).map(([name, values]) => ({ name, values })),
    });
    for (const child of spec.children ?? []) visit({ ...child, owner: spec.exe }, id, has, null);
    for (const member of spec.members ?? []) visit({ ...member, owner: spec.owner }, parent, has, id);
  };
  for (const root of roots)
    visit(
      root,
      null,
      containers.map((_, at) => at),
      null,
    );
  return nodes;
}

function commonality(nodes) {
  let both = 0;
  let either = 0;
  for (const { containers: n, eligible: all } of nodes.filter((one) => one.eligible > 0)) {
    both += n * (n - 1);
    either += all * (all - 1) - (all - n) * (all - n - 1);
  }
  return either === 0 ? null : both / either;
}

/** The profile itself, as the list of profiles has it. */
export function summary(random, image, nodes, containers, snapshots, status) {
  const [image_name, image_tag] = image.split(/:(?=[^/]*$)/);
  const admitted = snapshots.filter((one) => one.ordinal !== null);
  const own = nodes.filter((one) => one.collapsed_into === null);
  const key = random.hex(16);
  return {
    key,
    revision: 1,
    is_newest: true,
    image,
    image_name,
    image_tag,
    status,
    stable_reason: status === "stable" ? (admitted.length >= 200 ? "snapshots" : "age") : null,
    stable_at: status === "stable" ? hours(48) : null,
    snapshots: admitted.length,
    containers: containers.length,
    hosts: new Set(containers.map((one) => one.host)).size,
    nodes: own.length,
    kinds: KINDS.map((kind) => {
      const ofKind = own.filter((one) => one.kind === kind);
      return {
        kind,
        nodes: ofKind.length,
        commonality: commonality(ofKind),
        completeness:
          kind === "capability" ? null : random.chance(0.96) ? 0.95 + random.next() * 0.05 : 0.6 + random.next() * 0.3,
      };
    }).filter((one) => one.nodes > 0 || one.completeness !== null),
    commonality: containers.length < 2 ? null : commonality(own),
    coverage: containers.length < 3 ? null : 1 - random.next() ** 3 * 0.4,
    expected_novel_nodes: containers.length < 3 ? null : random.next() * 6,
    overflow: random.chance(0.1) ? random.between(10, 900) : 0,
    digests: random.chance(0.1)
      ? [`sha256:${random.hex(64)}`, `sha256:${random.hex(64)}`]
      : [admitted[0]?.digest ?? `sha256:${random.hex(64)}`],
    tag_reused: false,
    first_window_start: hours(0),
    last_window_end: hours(47),
    updated_at: hours(48.3),
    stable_snapshots: 200,
    stable_hours: 48,
    signals: { critical: 0, high: 0, medium: 0, low: 0, suppressed: 0 },
    href: `profiles/${key}-1.html`,
  };
}

function diff(random, withProfile, nodes, containers) {
  const line = (node, before, after) => ({
    id: node.id,
    parent: node.parent,
    kind: node.kind,
    target: node.target,
    exe: node.exe,
    before,
    before_of: containers,
    after,
    after_of: containers,
    chance: before + after < 5 ? 0.3 : 10 ** -random.between(2, 12),
    certain: before + after >= 5,
  });
  const own = random.shuffled(nodes.filter((one) => one.collapsed_into === null));
  return {
    with: withProfile,
    gained: own.slice(0, 14).map((one) => line(one, 0, one.containers)),
    lost: own.slice(14, 22).map((one) => line({ ...one, id: random.hex(32), target: `${one.target}.old` }, one.containers, 0)),
    changed: own.slice(22, 29).map((one) => line(one, one.containers, Math.ceil(one.containers / 3))),
    left_out: 0,
  };
}

/** `{ page, profile }`: what is in a profile's page. */
export function makeProfile(
  random,
  {
    image = "docker.io/library/nginx:1.27",
    size = 0,
    containers: count = 30,
    hosts = 12,
    status = "stable",
    hostileNames = false,
    versions = [],
    most = 200,
  } = {},
) {
  const containers = fleet(random, count, hosts);
  const snapshots = takeSnapshots(random, containers, most);
  const roots = size > 300 ? application(random, size) : hostileNames ? hostile(random) : nginx(random);
  const nodes = random.shuffled(sightings(random, roots, containers, snapshots));
  const profile = summary(random, image, nodes, containers, snapshots, status);
  const admitted = snapshots.filter((one) => one.ordinal !== null);
  const curve = [];
  for (let at = 1; at <= admitted.length; at += Math.max(1, Math.floor(admitted.length / 40))) {
    const seen = new Set(admitted.slice(0, at).map((one) => one.container));
    const share = 1 - Math.exp(-seen.size / (count / 5));
    curve.push({
      snapshots: at,
      containers: seen.size,
      hosts: Math.min(hosts, seen.size),
      nodes: Math.round(profile.nodes * (0.6 + 0.4 * share)),
      hours: (at / admitted.length) * 47,
      coverage: seen.size < 3 ? null : 0.7 + 0.29 * share,
    });
  }
  const page = {
    name: "profile",
    profile,
    versions,
    nodes,
    nodes_left_out: 0,
    containers,
    snapshots,
    snapshots_left_out: 0,
    later_snapshots: status === "stable" ? 1840 : 0,
    later_hours: status === "stable" ? 312 : 0,
    signals: [],
    signals_left_out: 0,
    running: containers
      .slice(-5)
      .map((one, at) => ({
        ...one,
        snapshot: admitted.at(-1 - at)?.id ?? random.hex(32),
        window_end: hours(72 - at),
        digest: at === 3 ? `sha256:${random.hex(64)}` : profile.digests[0],
        digest_known: at !== 3,
      })),
    curve,
    diffs: versions.slice(0, 3).map((one) => diff(random, one, nodes, count)),
  };
  return { page, profile };
}
