// Signals of a profile, the part of its tree around them, and suggestions to hide what is known.

import { HOSTILE } from "./behaviour.mjs";
import { hours } from "./random.mjs";

export const RULES = [
  ["exec_session", "Somebody entered the container from outside", "low", ["T1609"]],
  ["exec_session_with_terminal", "Somebody entered the container with a terminal", "medium", ["T1609"]],
  ["shell_spawned_by_server", "A server started a shell", "high", ["T1059.004", "T1190"]],
  ["credentials_read", "A tool read private keys, credentials or password hashes", "high", ["T1552.001", "T1003.008"]],
  ["miner_pool_contacted", "A mining pool was contacted", "critical", ["T1496"]],
  ["exec_of_written_file", "A file was executed that the container had written", "high", ["T1105"]],
  ["etc_written", "A file below /etc was changed", "medium", ["T1565.001"]],
  ["novelty", "Activity that the stable profile does not have", "medium", []],
].map(([id, title, severity, techniques]) => ({
  id,
  title,
  severity,
  techniques,
  suppressible: id !== "miner_pool_contacted",
  description: `${title}. Look at the session, the parent and connections of the same process.\nBackups and entrypoints are the usual benign causes.`,
}));

export function lineageOf(node, byId) {
  const lineage = [];
  let at = node.kind === "process" ? node : byId.get(node.parent);
  while (at) {
    lineage.unshift(at.exe);
    at = byId.get(at.parent);
  }
  return lineage;
}

function signal(random, made, node, rule, count) {
  const { page, profile } = made;
  const byId = (made.byId ??= new Map(page.nodes.map((one) => [one.id, one])));
  const known = node.containers > 1;
  const container = random.pick(page.containers);
  const process = node.kind === "process" ? node : byId.get(node.parent);
  const at = 50 + random.next() * 40;
  return {
    id: random.hex(16),
    time: hours(at),
    last_seen: hours(at + 0.4),
    severity: rule.severity,
    rule: rule.id,
    summary:
      rule.id === "novelty"
        ? `${node.exe ?? "?"} did what no container of the profile did: ${node.target}`
        : `${rule.title}: ${node.target}`,
    context: profile.status === "learning" ? "learning" : known ? "known" : "unseen",
    novelty: rule.id === "novelty" ? random.pick(["program", "network", "file", "lineage"]) : null,
    suppressed_by: null,
    image: profile.image,
    profile: `${profile.key}-${profile.revision}`,
    profile_href: profile.href,
    kind: node.kind,
    exe: node.exe,
    target: known ? node.target : `${node.target}${node.kind === "file" ? ".new" : ""}`,
    lineage: lineageOf(node, byId),
    commonality: known ? node.commonality : null,
    process_commonality: process?.commonality ?? null,
    match: known && random.chance(0.1) ? "target" : known ? "id" : null,
    node: known ? node.id : null,
    process: process?.id ?? null,
    events: random.between(1, count),
    container_name: container.name,
    container_id: container.id,
    host: container.host,
    labels: container.labels,
    attributes: [{ name: "access", values: ["read"] }, ...node.attributes],
    source: "wsp",
    snapshot: page.snapshots[0]?.id ?? null,
  };
}

/** Puts signals on a profile's page. */
export function addSignals(random, made, count) {
  const { page, profile } = made;
  const interesting = page.nodes.filter(
    (one) => one.collapsed_into === null && ["process", "file", "connect", "dns"].includes(one.kind),
  );
  const about = random
    .shuffled(interesting)
    .sort((a, b) => (a.root_kind === "exec_session" ? 0 : 1) - (b.root_kind === "exec_session" ? 0 : 1))
    .slice(0, Math.max(6, Math.ceil(count / 12)));
  for (let at = 0; at < count; at += 1) {
    const node = random.pick(about);
    const rules = node.kind === "process" ? [0, 1, 2, 5] : node.kind === "file" ? [3, 6, 7] : [7, 7, 4];
    const one = signal(random, made, node, RULES[rules[parseInt(node.id[0], 16) % rules.length]], 20);
    page.signals.push(one);
    profile.signals[one.severity] += 1;
  }
  page.signals.sort((a, b) => b.time.localeCompare(a.time));
}

function around(made) {
  const byId = new Map(made.page.nodes.map((one) => [one.id, one]));
  const wanted = new Set();
  for (const one of made.page.signals) {
    for (let id = one.process; id && byId.has(id); id = byId.get(id).parent) wanted.add(id);
    const siblings = made.page.nodes.filter((node) => node.parent === one.process && node.collapsed_into === null).slice(0, 12);
    for (const sibling of siblings) wanted.add(sibling.id);
    if (one.node) wanted.add(one.node);
  }
  return made.page.nodes
    .filter((one) => wanted.has(one.id))
    .map(({ id, parent, kind, target, root_kind, commonality, containers, eligible, phase, stable, rare, late, pattern }) => ({
      id,
      parent,
      kind,
      target,
      root_kind,
      commonality,
      containers,
      eligible,
      phase,
      stable,
      rare,
      late,
      pattern,
    }));
}

function suppression(random, made, sample, state) {
  const { page, profile } = made;
  const byId = new Map(page.nodes.map((one) => [one.id, one]));
  const id = random.hex(16);
  const node = byId.get(sample.node) ?? byId.get(sample.process);
  const process = byId.get(sample.process) ?? node;
  const common = (one) => ({
    id: one.id,
    containers: one.containers,
    eligible: one.eligible,
    commonality: one.commonality ?? 1,
    interval: [one.low ?? 0.9, one.high ?? 1],
    hosts: one.hosts,
  });
  const about = page.signals.filter((one) => one.rule === sample.rule && one.target === sample.target);
  const suggested = state === "suggested";
  return {
    id,
    change: random.below(1000),
    state,
    rule: sample.rule,
    scope: "workload",
    image: profile.image,
    predicate: `process_node_id = '${process.id}'\n  AND node_id = '${node.id}'\n  AND target = '${sample.target.replaceAll("'", "''")}'`,
    author: suggested ? null : "security@example.com",
    reason: suggested ? null : "health probes of the cluster",
    changed_at: hours(72),
    expires_at: state === "accepted" ? hours(24 * 120) : null,
    evidence: {
      exe: sample.exe ?? "",
      kind: node.kind,
      target: sample.target,
      pattern: node.pattern,
      lineage: sample.lineage,
      node: common(node),
      process: common(process),
      revision: 1,
      profile_containers: profile.containers,
      profile_hosts: profile.hosts,
      coverage: profile.coverage ?? 0.97,
      completeness: 0.98,
      signals: about.length,
      snapshots: about.length,
      containers: new Set(about.map((one) => one.container_id)).size,
      hosts: new Set(about.map((one) => one.host)).size,
      container_names: [...new Set(about.map((one) => one.container_name ?? one.container_id.slice(0, 12)))].slice(0, 8),
      host_names: [...new Set(about.map((one) => one.host))].slice(0, 8),
      first: about.at(-1)?.time ?? sample.time,
      last: about[0]?.time ?? sample.time,
      samples: about.slice(0, 5).map((one) => one.id),
    },
    hides: state === "accepted" ? about.length : 0,
    would_hide: state === "accepted" ? 0 : about.length,
    is_decidable: !random.chance(0.1),
    commands: {
      accept:
        suggested || state === "rejected"
          ? `wsp suppress accept ${id} --store s3://security/profiles --author "$USER" --reason "…"`
          : null,
      reject: suggested ? `wsp suppress reject ${id} --store s3://security/profiles --author "$USER" --reason "…"` : null,
      remove: state === "accepted" ? `wsp suppress remove ${id} --store s3://security/profiles --author "$USER"` : null,
    },
  };
}

/** `signals.html` of some profiles, and signals that no profile judged. */
export function makeSignals(random, all, { hostileNames = false } = {}) {
  const signals = all.flatMap((made) => made.page.signals);
  const suppressions = [];
  for (const made of all) {
    const groups = new Map(
      made.page.signals.filter((one) => one.context === "known").map((one) => [`${one.rule} ${one.target}`, one]),
    );
    let at = 0;
    for (const sample of groups.values()) {
      const state = ["suggested", "suggested", "accepted", "suggested", "rejected", "removed"][at % 6];
      const one = suppression(random, made, sample, state);
      suppressions.push(one);
      if (state === "accepted") {
        for (const hidden of made.page.signals.filter((each) => each.rule === sample.rule && each.target === sample.target))
          hidden.suppressed_by = one.id;
      }
      at += 1;
    }
  }
  for (let at = 0; at < 6; at += 1) {
    const base = signals[at % Math.max(1, signals.length)];
    if (base)
      signals.push({
        ...base,
        id: random.hex(16),
        context: "no_profile",
        profile: null,
        profile_href: null,
        node: null,
        process: null,
        commonality: null,
        process_commonality: null,
        image: "ghcr.io/example/unknown:edge",
        source: "falco",
        rule: "falco:Terminal shell in container",
        suppressed_by: null,
      });
  }
  if (hostileNames && signals[0]) {
    for (const text of HOSTILE)
      signals.push({
        ...signals[0],
        id: random.hex(16),
        target: text,
        summary: text,
        exe: text,
        lineage: [text, text],
        container_name: text,
        host: text,
        labels: { [text]: text },
        attributes: [{ name: text, values: [text] }],
        context: "unseen",
        node: null,
        suppressed_by: null,
      });
  }
  return {
    name: "signals",
    signals: signals.sort((a, b) => b.time.localeCompare(a.time)),
    signals_left_out: 0,
    around: Object.fromEntries(all.map((made) => [`${made.profile.key}-${made.profile.revision}`, around(made)])),
    suppressions,
    rules: RULES,
  };
}
