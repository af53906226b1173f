import assert from "node:assert/strict";
import { test } from "node:test";
import { changed, formatState, parseState } from "./address";
import { Bitset } from "./bitset";
import { stepOf } from "./commonality";
import { bytes, duration, exactTime, number, probability, share, time } from "./format";
import { cutMiddle, quoted, shellWord, splitPath, visible } from "./text";

test("hidden characters are shown as escapes, others stay", () => {
  assert.equal(visible("/tmp/\u202egpj.exe"), "/tmp/\\u{202e}gpj.exe");
  assert.equal(visible("a\nb\tc\u0000\u001b[31m\u007f\u0085"), "a\\u{a}b\\u{9}c\\u{0}\\u{1b}[31m\\u{7f}\\u{85}");
  assert.equal(visible("zero\u200bwidth\u2066\ufeff\u00ad\u2028"), "zero\\u{200b}width\\u{2066}\\u{feff}\\u{ad}\\u{2028}");
  assert.equal(visible("tag\u{e0041}"), "tag\\u{e0041}");
  assert.equal(visible("lone \ud800 surrogate"), "lone \\u{d800} surrogate");
  assert.equal(visible("файл שלום 日本 \\xff <b>&"), "файл שלום 日本 \\xff <b>&");
});

test("long texts are cut in their middle, between whole characters", () => {
  assert.equal(cutMiddle("abcdef", 6), "abcdef");
  assert.equal(cutMiddle("abcdefghij", 6), "ab…hij");
  const cut = cutMiddle("😀".repeat(20), 5);
  assert.equal([...cut].length, 5);
  assert.ok(!/[\ud800-\udbff](?![\udc00-\udfff])/.test(cut));
});

test("paths and literals", () => {
  assert.deepEqual(splitPath("/usr/bin/dash"), { folder: "/usr/bin/", base: "dash" });
  assert.deepEqual(splitPath("dash"), { folder: "", base: "dash" });
  assert.equal(quoted("it's"), "'it''s'");
  assert.equal(shellWord("s3://bucket/prefix"), "s3://bucket/prefix");
  assert.equal(shellWord("/my store; rm 'x'"), "'/my store; rm '\\''x'\\'''");
});

test("shares are never rounded to all or nothing", () => {
  assert.equal(share(1), "100\u202f%");
  assert.equal(share(0.9999), "99.9\u202f%");
  assert.equal(share(0.996), "99.6\u202f%");
  assert.equal(share(0.0001), "0.1\u202f%");
  assert.equal(share(0), "0\u202f%");
  assert.equal(share(null), "unknown");
});

test("numbers, sizes, times", () => {
  assert.equal(number(0), "0");
  assert.equal(number(1234567), "1\u202f234\u202f567");
  assert.equal(number(-1234.5), "−1\u202f234.5");
  assert.equal(bytes(999), "999\u202fB");
  assert.equal(bytes(27_900), "27.9\u202fkB");
  assert.equal(duration(0.5), "30\u202fmin");
  assert.equal(duration(47), "47\u202fh");
  assert.equal(duration(312), "13\u202fd");
  assert.equal(time("2026-07-01T12:30:00.123Z"), "2026-07-01 12:30");
  assert.equal(exactTime("2026-07-01T12:30:00.120Z"), "2026-07-01 12:30:00.12 UTC");
  assert.equal(exactTime("2026-07-01T12:30:00Z"), "2026-07-01 12:30:00 UTC");
  assert.equal(exactTime("2026-07-01T12:30:00.000Z"), "2026-07-01 12:30:00 UTC");
  assert.equal(probability(0.2345), "0.23");
  assert.equal(probability(3e-9), "1e−8");
});

test("bits are little-endian over ordinals", () => {
  const bits = Bitset.decode(Buffer.from([0b1000_0001, 0b10]).toString("base64"));
  assert.deepEqual(bits.ordinals(), [0, 7, 9]);
  assert.equal(bits.size, 3);
  assert.ok(bits.has(9) && !bits.has(8) && !bits.has(4000));
  assert.equal(Bitset.decode("not base64!").size, 0);
  assert.equal(Bitset.decode("").size, 0);
});

test("steps of commonality: unknown is none of them, nothing is one", () => {
  assert.equal(stepOf(null), null);
  assert.equal(stepOf(0), 0);
  assert.equal(stepOf(0.05), 1);
  assert.equal(stepOf(0.95), 5);
  assert.equal(stepOf(1), 5);
});

test("one state has one address, whatever is in it", () => {
  const state = parseState("#view=table&q=a%26b%20%23c&node=00ff");
  assert.equal(state.get("q"), "a&b #c");
  assert.deepEqual(
    parseState(`#${formatState(state)}`),
    new Map([
      ["node", "00ff"],
      ["q", "a&b #c"],
      ["view", "table"],
    ]),
  );
  assert.equal(
    formatState(
      new Map([
        ["b", "2"],
        ["a", "1"],
        ["c", ""],
      ]),
    ),
    "a=1&b=2",
  );
  assert.equal(formatState(changed(state, { q: null, view: "", node: "1" })), "node=1");
});
