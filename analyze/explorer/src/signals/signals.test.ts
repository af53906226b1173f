import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeSummary, Signal } from "../contract";
import { stepsAround } from "./around";
import { filterSignals, groupSignals } from "./model";

const signal = (id: string, more: Partial<Signal> = {}): Signal => ({
  id,
  time: `2026-07-01T00:00:0${id}.000Z`,
  last_seen: null,
  severity: "low",
  rule: "exec_session",
  summary: "s",
  context: "known",
  novelty: null,
  suppressed_by: null,
  image: "i:1",
  profile: "k-1",
  profile_href: null,
  kind: "process",
  exe: "/bin/sh",
  target: "/bin/sh",
  lineage: ["/bin/sh"],
  commonality: 1,
  process_commonality: 1,
  match: "id",
  node: "n",
  process: "n",
  events: 1,
  container_name: null,
  container_id: `c${id}`,
  host: "h",
  labels: {},
  attributes: [],
  source: "wsp",
  snapshot: null,
  ...more,
});
const around = (id: string, parent: string | null, kind: NodeSummary["kind"], target: string): NodeSummary => ({
  id,
  parent,
  kind,
  target,
  root_kind: null,
  commonality: 1,
  containers: 3,
  eligible: 3,
  phase: "steady",
  stable: true,
  rare: false,
  late: false,
  pattern: null,
});

test("signals about one thing are one group; the worst and unseen come first", () => {
  const groups = groupSignals(
    [
      signal("1"),
      signal("2"),
      signal("3", { severity: "high", node: null, target: "x", context: "known" }),
      signal("4", { severity: "high", node: null, target: "y", context: "unseen" }),
    ],
    "",
  );
  assert.deepEqual(
    groups.map((one) => one.signals.map((each) => each.id)),
    [["4"], ["3"], ["2", "1"]],
  );
  assert.equal(groups[2]?.containers, 2);
  assert.deepEqual(
    groupSignals([signal("1"), signal("2"), signal("3", { target: "x", node: null })], "count").map((one) => one.signals.length),
    [1, 2],
  );
});

test("suppressed ones are shown when asked for", () => {
  const all = [signal("1"), signal("2", { suppressed_by: "s" })];
  assert.equal(filterSignals(all, new Map()).length, 1);
  assert.equal(filterSignals(all, new Map([["suppressed", "yes"]])).length, 2);
  assert.equal(filterSignals(all, new Map([["q", "C1"]])).length, 1);
});

const NODES = [
  around("r", null, "process", "/usr/sbin/nginx"),
  around("w", "r", "process", "worker (/usr/sbin/nginx)"),
  around("f", "w", "file", "/etc/a"),
  around("g", "w", "file", "/etc/b"),
  around("o", "r", "process", "/bin/other"),
];

test("a known file stands below its process, with its siblings", () => {
  const steps = stepsAround(
    signal("1", { kind: "file", target: "/etc/a", node: "f", process: "w", lineage: ["/usr/sbin/nginx", "/usr/sbin/nginx"] }),
    NODES,
  );
  assert.deepEqual(
    steps.map((one) => [one.text, one.role, one.node !== null]),
    [
      ["/usr/sbin/nginx", "above", true],
      ["worker (/usr/sbin/nginx)", "process", true],
      ["/etc/a", "subject", true],
      ["/etc/b", "sibling", true],
    ],
  );
});

test("what the profile does not have is marked: a file, a process, a whole lineage", () => {
  const file = stepsAround(signal("1", { kind: "file", target: "/etc/new", node: null, process: "w" }), NODES);
  assert.deepEqual(
    file.filter((one) => one.node === null).map((one) => one.text),
    ["/etc/new"],
  );
  const process = stepsAround(
    signal("1", { target: "/tmp/x", node: null, process: null, lineage: ["/usr/sbin/nginx", "/tmp/x"] }),
    NODES,
  );
  assert.deepEqual(
    process.map((one) => [one.text, one.node !== null, one.role]),
    [
      ["/usr/sbin/nginx", true, "above"],
      ["/tmp/x", false, "subject"],
      ["worker (/usr/sbin/nginx)", true, "sibling"],
      ["/bin/other", true, "sibling"],
    ],
  );
  const all = stepsAround(
    signal("1", { kind: "connect", target: "tcp 1.2.3.4 1", node: null, process: null, lineage: ["/bin/bash", "/tmp/x"] }),
    NODES,
  );
  assert.deepEqual(
    all.map((one) => [one.text, one.node !== null]),
    [
      ["/bin/bash", false],
      ["/tmp/x", false],
      ["tcp 1.2.3.4 1", false],
    ],
  );
});
