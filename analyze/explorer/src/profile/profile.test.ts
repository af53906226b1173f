import assert from "node:assert/strict";
import { test } from "node:test";
import type { Node } from "../contract";
import { applyFilter, matches, parseFilter } from "./filter";
import { layOutIcicle } from "./icicle/layout";
import { membersOf } from "./members";
import { ancestry, buildModel, type Model } from "./model";
import { Openness } from "./open";
import { stepFor, typeahead, visibleRows, type Row } from "./rows";
import { ticks } from "./tabs/learning";
import { beside, followed, layOut, nameOf } from "./tree/layout";

const node = (id: string, parent: string | null, kind: Node["kind"], target: string, more: Partial<Node> = {}): Node => ({
  id,
  parent,
  kind,
  target,
  exe: null,
  root_kind: parent === null && kind === "process" ? "init" : null,
  commonality: 1,
  low: 0.8,
  high: 1,
  containers: 4,
  eligible: 4,
  snapshots: 4,
  snapshot_commonality: 1,
  hosts: 2,
  lossy: 0,
  stable: true,
  rare: false,
  late: false,
  phase: "startup",
  lineage_complete: true,
  events: 10,
  first_seen: null,
  last_seen: null,
  members: "Dw==",
  halves: null,
  pattern: null,
  collapsed_nodes: null,
  collapsed_into: null,
  attributes: [],
  ...more,
});

const NODES = [
  node("f2", "b", "file", "/etc/shadow", { commonality: 0.25, rare: true, phase: "steady" }),
  node("a", null, "process", "/usr/sbin/nginx"),
  node("b", "a", "process", "/usr/bin/cat", { stable: false }),
  node("f1", "a", "file", "/etc/nginx/nginx.conf", { attributes: [{ name: "access", values: ["read"] }] }),
  node("p", "a", "file", "/tmp/*", { pattern: "[0-9]+", collapsed_nodes: 2 }),
  node("m1", "a", "file", "/tmp/1", { collapsed_into: "p" }),
  node("m2", "a", "file", "/tmp/2", { collapsed_into: "p" }),
  node("d", null, "dns", "example.com A", { commonality: null, eligible: 0 }),
  node("lost", "nowhere", "process", "/bin/lost", { root_kind: null }),
];
const filterOf = (hash: string) => parseFilter(new Map(new URLSearchParams(hash)));
const keys = (model: Model, hash = "", chosen = "") =>
  [...applyFilter(model, filterOf(hash), chosen).kept].map((one) => one.key).sort();

test("facts are grouped below their process, members below their pattern, the rest at the top", () => {
  const model = buildModel(NODES);
  assert.deepEqual(
    model.roots.map((one) => one.key),
    ["/dns", "a", "lost"],
  );
  assert.deepEqual(
    model.items.get("a")?.children.map((one) => one.key),
    ["a/file", "b"],
  );
  assert.deepEqual(
    model.items.get("p")?.children.map((one) => one.key),
    ["m1", "m2"],
  );
  assert.equal(model.items.get("lost")?.isDetached, true);
  assert.equal(model.folded, 2);
  assert.deepEqual(
    ancestry(model.items.get("f2")!).map((one) => one.key),
    ["a", "b", "b/file", "f2"],
  );
  assert.equal(model.items.get("f2")?.level, 4);
});

test("parents in a circle lose nothing", () => {
  const model = buildModel([
    node("x", "y", "process", "x"),
    node("y", "x", "process", "y"),
    node("self", "self", "process", "self"),
    node("q", null, "file", "q", { collapsed_into: "q" }),
    node("z", "y", "file", "z"),
  ]);
  const rows = visibleRows(model, applyFilter(model, filterOf(""), ""), () => true);
  assert.deepEqual(rows.flatMap((row) => row.item.node?.id ?? []).sort(), ["q", "self", "x", "y", "z"]);
});

test("a filter keeps what leads to what it keeps", () => {
  const model = buildModel(NODES);
  assert.deepEqual(keys(model, "q=SHADOW"), ["a", "b", "b/file", "f2"]);
  assert.deepEqual(keys(model, "q=nginx+read"), ["a", "a/file", "f1"]);
  assert.deepEqual(keys(model, "kinds=dns"), ["/dns", "d"]);
  assert.deepEqual(keys(model, "max=0.5"), ["a", "b", "b/file", "f2"]);
  assert.deepEqual(keys(model, "flags=rare"), ["a", "b", "b/file", "f2"]);
  assert.deepEqual(keys(model, "flags=unstable"), ["a", "b"]);
  assert.deepEqual(keys(model, "q=nothing-has-this"), []);
  assert.deepEqual(keys(model, "q=nothing-has-this", "f1"), ["a", "a/file", "f1"]);
  const shown = applyFilter(model, filterOf("kinds=file"), "");
  assert.deepEqual([shown.matching, shown.total, shown.below.get("a/file")], [3, 7, 2]);
  assert.ok(!shown.matched.has(model.items.get("a")!));
});

test("unknown commonality is outside of every range, and nothing is inside of some", () => {
  assert.ok(!matches(node("x", null, "file", "x", { commonality: null }), filterOf("min=0.1")));
  assert.ok(matches(node("x", null, "file", "x", { commonality: null }), filterOf("")));
  assert.ok(matches(node("x", null, "file", "x", { commonality: 0 }), filterOf("max=0.5")));
  assert.equal(filterOf("min=x&max=7").least, 0);
  assert.equal(filterOf("min=x&max=7").most, 1);
});

test("flags of one question are alternatives, of two questions both hold", () => {
  const late = node("x", null, "file", "x", { late: true, phase: "steady" });
  assert.ok(matches(late, filterOf("flags=startup,steady")));
  assert.ok(matches(late, filterOf("flags=late,steady")));
  assert.ok(!matches(late, filterOf("flags=late,startup")));
});

test("processes are open at first, groups are not, and a hidden node is revealed", () => {
  const model = buildModel(NODES);
  const open = new Openness(model);
  const shown = applyFilter(model, filterOf(""), "");
  const rows = () => visibleRows(model, shown, (item) => open.has(item)).map((row) => row.item.key);
  assert.deepEqual(rows(), ["/dns", "a", "a/file", "b", "b/file", "lost"]);
  assert.ok(open.reveal(model.items.get("m2")!));
  assert.ok(rows().includes("m2"));
  assert.ok(!open.reveal(model.items.get("m2")!));
  open.nothing();
  assert.deepEqual(rows(), ["/dns", "a", "lost"]);
});

test("order of siblings", () => {
  const names = (sort: "name" | "events", isDown: boolean) =>
    buildModel(NODES, { name: sort, isDown })
      .items.get("a/file")
      ?.children.map((one) => one.key);
  assert.deepEqual(names("name", false), ["f1", "p"]);
  assert.deepEqual(names("name", true), ["p", "f1"]);
});

test("keys move along rows, open and close", () => {
  const model = buildModel(NODES);
  const open = new Openness(model);
  const shown = applyFilter(model, filterOf(""), "");
  const rows = visibleRows(model, shown, (item) => open.has(item));
  const at = (key: string) => rows.findIndex((row) => row.item.key === key);
  assert.deepEqual(stepFor("ArrowDown", rows, 0), { to: 1 });
  assert.deepEqual(stepFor("ArrowUp", rows, 0), { to: 0 });
  assert.deepEqual(stepFor("End", rows, 0), { to: rows.length - 1 });
  assert.deepEqual(stepFor("ArrowRight", rows, at("a/file")), { open: true });
  assert.deepEqual(stepFor("ArrowLeft", rows, at("a")), { open: false });
  assert.deepEqual(stepFor("ArrowLeft", rows, at("b/file")), { to: at("b") });
  assert.equal(stepFor("x", rows, 0), null);
  assert.equal(stepFor("e", rows, -1), null);
  assert.deepEqual(stepFor("ArrowDown", rows, -1), { to: 0 });
  const name = (row: Row) => row.item.node?.target ?? "files";
  assert.equal(typeahead(rows, at("a"), "cat", name), at("b"));
  assert.equal(typeahead(rows, at("a"), "zzz", name), null);
});

test("subtrees have heights of their own, and a parent follows its children", () => {
  const model = buildModel(NODES);
  const shown = applyFilter(model, filterOf(""), "");
  const layout = layOut(
    model,
    shown,
    () => true,
    (text) => text.length * 7,
  );
  const ranges = [...layout.byKey.values()].filter((one) => one.item.parent?.key === "a").map((one) => [one.top, one.bottom]);
  for (let at = 1; at < ranges.length; at += 1) assert.ok(ranges[at]![0]! >= ranges[at - 1]![1]!);
  const a = layout.byKey.get("a")!;
  assert.equal(followed(a, -1000, 1000), a.y);
  assert.equal(followed(a, a.bottom + 500, a.bottom + 1000), a.bottom - a.height);
  assert.equal(layout.byKey.get("m1")?.item.parent?.key, "p");
  assert.equal(beside(layout.roots, { left: -10, right: 2000, top: 0, bottom: 500 }), null);
  assert.ok((beside(layout.roots, { left: -10, right: 30, top: a.top + a.height + 5, bottom: a.bottom })?.x ?? 0) > 30);
  const closed = layOut(
    model,
    shown,
    () => false,
    (text) => text.length * 7,
  );
  assert.ok(!closed.byKey.has("a/file") && closed.byKey.has("/dns"));
});

test("a program is called by its name, a script by its own", () => {
  const called = (target: string) => nameOf(buildModel([node("x", null, "process", target)]).roots[0]!);
  assert.equal(called("/usr/bin/dash"), "dash");
  assert.equal(called("/usr/bin/dash /docker-entrypoint.d/10-x.sh"), "10-x.sh (dash)");
  assert.equal(called("ls (/bin/busybox)"), "ls (/bin/busybox)");
});

test("bands are as wide as they have nodes, without those that are folded", () => {
  const model = buildModel(NODES);
  const { root, byKey } = layOutIcicle(model, applyFilter(model, filterOf(""), ""), "nodes");
  assert.equal(root.value, 7);
  assert.equal(byKey.get("a")?.value, 5);
  assert.ok(!byKey.has("m1"));
  assert.equal(byKey.get("a")?.y0, 1);
  assert.equal(layOutIcicle(model, applyFilter(model, filterOf("q=none-at-all"), ""), "events").root.value, 0);
});

test("who has a node follows from its bits", () => {
  const container = (id: string, host: string) => ({ id, name: null, host, started: null, labels: {} });
  const snapshot = (ordinal: number | null, at: number | null, state: string | null = "complete") => ({
    ordinal,
    id: `s${ordinal}`,
    outcome: "admitted",
    reason: null,
    container: at,
    window_start: null,
    window_end: null,
    covers_start: true,
    completeness: state === null ? {} : { file: state },
    rows: 1,
    size: 1,
    digest: null,
    object_key: "",
  });
  const found = membersOf(
    node("x", null, "file", "x", { members: Buffer.from([0b101]).toString("base64") }),
    [snapshot(2, 0), snapshot(0, 0), snapshot(1, 1, "joined_late"), snapshot(null, 2), snapshot(3, 2, "lossy"), snapshot(4, 3, null)],
    [container("c0", "h0"), container("c1", "h1"), container("c2", "h1"), container("c3", "h1")],
  );
  assert.deepEqual(
    found.strip.map((one) => one.has),
    [true, false, true, false, false],
  );
  assert.deepEqual(
    found.containers.map((one) => [one.container.id, one.snapshots]),
    [["c0", 2]],
  );
  assert.deepEqual(
    found.without.map((one) => one.id),
    ["c1"],
  );
  assert.deepEqual(
    found.blind.map((one) => one.id),
    ["c2", "c3"],
  );
  assert.deepEqual(found.hosts, [{ host: "h0", containers: 1 }]);
});

test("ticks are round and reach as far as there are values", () => {
  assert.deepEqual(ticks(1), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(ticks(124), [0, 50, 100]);
  assert.deepEqual(ticks(0), [0]);
});
