import assert from "node:assert/strict";
import { test } from "node:test";
import type { Profile } from "../contract";
import { filterProfiles, groupProfiles } from "./model";

const profile = (image: string, more: Partial<Profile> = {}): Profile => {
  const [image_name = "", image_tag = ""] = image.split(":");
  return {
    key: "0",
    revision: 1,
    is_newest: true,
    image,
    image_name,
    image_tag,
    status: "stable",
    stable_reason: "age",
    stable_at: null,
    snapshots: 1,
    containers: 1,
    hosts: 1,
    nodes: 1,
    kinds: [],
    commonality: null,
    coverage: null,
    expected_novel_nodes: null,
    overflow: 0,
    digests: [],
    tag_reused: false,
    first_window_start: null,
    last_window_end: null,
    updated_at: "",
    stable_snapshots: 200,
    stable_hours: 48,
    signals: { critical: 0, high: 0, medium: 0, low: 0, suppressed: 0 },
    href: null,
    ...more,
  };
};

const ALL = [
  profile("b:1.9"),
  profile("b:1.10", { commonality: 0.5 }),
  profile("a:1", { commonality: 0.9, status: "learning", signals: { critical: 0, high: 1, medium: 0, low: 0, suppressed: 0 } }),
  profile("c:1", { tag_reused: true, signals: { critical: 0, high: 0, medium: 0, low: 500, suppressed: 0 } }),
];
const order = (sort: string) => groupProfiles(ALL, sort).flatMap((group) => group.profiles.map((one) => one.image));

test("images by name, their newest version first", () => assert.deepEqual(order(""), ["a:1", "b:1.10", "b:1.9", "c:1"]));

test("sorted by a column, unknown values last in both directions", () => {
  assert.deepEqual(order("-commonality"), ["a:1", "b:1.10", "b:1.9", "c:1"]);
  assert.deepEqual(order("commonality"), ["b:1.10", "b:1.9", "a:1", "c:1"]);
});

test("one high signal comes before many low ones", () => assert.deepEqual(order("-signals").slice(0, 2), ["a:1", "c:1"]));

test("filters", () => {
  const found = (hash: string) => filterProfiles(ALL, new Map(new URLSearchParams(hash))).map((one) => one.image);
  assert.deepEqual(found("only=learning"), ["a:1"]);
  assert.deepEqual(
    found("only=learning,stable"),
    ALL.map((one) => one.image),
  );
  assert.deepEqual(found("only=warnings"), ["c:1"]);
  assert.deepEqual(found("only=signals,stable"), ["c:1"]);
  assert.deepEqual(found("q=B 1.1"), ["b:1.10"]);
});
