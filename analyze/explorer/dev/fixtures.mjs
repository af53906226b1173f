// Documents of any size from a seed.

import { makeProfile, summary } from "./profile.mjs";
import { hours, Random } from "./random.mjs";
import { addSignals, makeSignals } from "./signals.mjs";

const NAMES = [
  "docker.io/library/nginx",
  "docker.io/library/redis",
  "docker.io/library/postgres",
  "registry.example.com/shop/web",
  "registry.example.com/shop/orders",
  "registry.example.com/billing/invoices",
  "ghcr.io/example/search-indexer",
  "quay.io/prometheus/node-exporter",
];

export function wrap(page, { root = "", mode = { kind: "report" } } = {}) {
  return {
    format: 1,
    writer: "wsp 0.6.0",
    generated_at: hours(96),
    store: "s3://security/profiles",
    store_arguments: "--store s3://security/profiles",
    root,
    mode,
    only_image: null,
    page,
  };
}

/** A list of as many profiles as wanted: numbers only, no pages behind them. */
export function makeProfiles(random, count) {
  const profiles = [];
  while (profiles.length < count) {
    const at = profiles.length;
    const name =
      at < NAMES.length * 4
        ? NAMES[at % NAMES.length]
        : `registry.example.com/${random.pick(["shop", "billing", "search", "media", "platform"])}/${random.pick(["api", "worker", "gateway", "cron", "sync", "render"])}-${Math.floor(at / 8)}`;
    const containers = random.between(1, 60);
    const one = summary(
      random,
      `${name}:${random.between(1, 9)}.${random.between(0, 30)}.${at}`,
      [],
      Array.from({ length: containers }, (_, index) => ({ host: `h${index % 17}` })),
      [],
      random.chance(0.3) ? "learning" : "stable",
    );
    const learning = one.status === "learning";
    one.snapshots = learning ? random.between(1, 199) : random.between(40, 200);
    one.stable_reason = learning ? null : one.snapshots === 200 ? "snapshots" : "age";
    one.first_window_start = hours(0);
    one.last_window_end = hours(learning ? random.between(1, 47) : 48);
    one.kinds = one.kinds.map((kind, index) => ({
      ...kind,
      nodes: [
        random.between(2, 60),
        random.between(10, 900),
        random.between(0, 20),
        random.between(0, 30),
        random.between(0, 4),
        random.between(0, 90),
        random.between(0, 8),
      ][index],
      commonality: random.next() ** 0.4,
    }));
    one.nodes = one.kinds.reduce((sum, kind) => sum + kind.nodes, 0);
    one.commonality = containers < 2 ? null : random.next() ** 0.3;
    one.tag_reused = one.digests.length > 1;
    one.updated_at = hours(random.between(1, 90));
    one.href = null;
    if (random.chance(0.35))
      Object.assign(one.signals, {
        critical: random.below(2),
        high: random.below(5),
        medium: random.below(12),
        low: random.below(60),
        suppressed: random.below(200),
      });
    profiles.push(one);
  }
  return profiles;
}

/** All pages of a report, by their path. */
export function makeReport({ seed = 1, profiles: count = 24, large = 5000, mode = { kind: "report" } } = {}) {
  const random = new Random(seed);
  const older = makeProfile(random, { image: "docker.io/library/nginx:1.26", containers: 24 });
  const newer = makeProfile(random, { image: "docker.io/library/nginx:1.27", containers: 30, versions: [older.profile] });
  const learning = makeProfile(random, {
    image: "docker.io/library/nginx:1.28",
    containers: 4,
    hosts: 2,
    most: 14,
    status: "learning",
    versions: [newer.profile, older.profile],
  });
  const hostile = makeProfile(random, {
    image: "registry.example.com/shop/<script>alert(1)</script>:\u202elatest",
    containers: 12,
    hostileNames: true,
  });
  const big = makeProfile(random, {
    image: "registry.example.com/shop/application:7.4.1",
    containers: 60,
    hosts: 40,
    size: large,
  });
  const one = makeProfile(random, {
    image: "registry.example.com/shop/empty:1.0",
    containers: 1,
    hosts: 1,
    most: 1,
    status: "learning",
  });
  one.page.nodes = [];
  one.page.curve = [];
  one.profile.nodes = 0;
  one.profile.kinds = [];
  // As imports make them that know no lineage: programs side by side, and facts of nobody.
  const flat = makeProfile(random, { image: "quay.io/example/imported:2.0", containers: 8 });
  for (const node of flat.page.nodes) Object.assign(node, { parent: null, root_kind: null, exe: node.kind === "process" ? node.exe : null });
  const all = [newer, older, learning, hostile, big, one, flat];
  newer.page.versions.push(learning.profile);
  addSignals(random, newer, 120);
  addSignals(random, learning, 8);
  addSignals(random, hostile, 20);
  addSignals(random, big, 300);
  const named = { newer, older, learning, hostile, big, empty: one, flat };
  const pages = new Map();
  pages.set("index.html", [
    wrap({ name: "profiles", profiles: [...all.map((each) => each.profile), ...makeProfiles(random, count)] }, { mode }),
    "Profiles",
  ]);
  pages.set("signals.html", [wrap(makeSignals(random, all, { hostileNames: true }), { mode }), "Signals"]);
  for (const each of all) pages.set(each.profile.href, [wrap(each.page, { root: "../", mode }), each.profile.image]);
  return { pages, named };
}
