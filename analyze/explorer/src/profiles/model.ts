// The list of profiles: filtered, grouped by image, sorted.

import { openSignals, warningsOf } from "../base/widgets";
import type { State } from "../base/address";
import type { Kind, Profile } from "../contract";

export type Group = { readonly image: string; readonly profiles: Profile[] };

const has = (profile: Profile, flag: string): boolean => {
  switch (flag) {
    case "learning":
    case "stable":
      return profile.status === flag;
    case "signals":
      return openSignals(profile.signals) > 0;
    case "warnings":
      return warningsOf(profile).length > 0;
    default:
      return true;
  }
};

export function filterProfiles(profiles: readonly Profile[], state: State): Profile[] {
  const words = (state.get("q") ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const flags = (state.get("only") ?? "").split(",").filter((flag) => flag !== "");
  const statuses: readonly string[] = flags.filter((flag) => flag === "learning" || flag === "stable");
  const others = flags.filter((flag) => !statuses.includes(flag));
  return profiles.filter((profile) => {
    if (statuses.length > 0 && !statuses.includes(profile.status)) return false;
    if (!others.every((flag) => has(profile, flag))) return false;
    const text = `${profile.image} ${profile.key} ${profile.digests.join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

const kindCount = (profile: Profile, kind: Kind): number => profile.kinds.find((one) => one.kind === kind)?.nodes ?? 0;

/** Weighted, so that one critical signal comes before any number of low ones. */
const signalWeight = ({ signals }: Profile): number =>
  signals.critical * 1e12 + signals.high * 1e8 + signals.medium * 1e4 + signals.low;

export const COLUMNS: { readonly [name: string]: (profile: Profile) => number | string | null } = {
  image: (one) => one.image,
  status: (one) => (one.status === "stable" ? 1e6 : 0) + one.snapshots,
  snapshots: (one) => one.snapshots,
  containers: (one) => one.containers,
  hosts: (one) => one.hosts,
  nodes: (one) => one.nodes,
  process: (one) => kindCount(one, "process"),
  file: (one) => kindCount(one, "file"),
  dns: (one) => kindCount(one, "dns"),
  connect: (one) => kindCount(one, "connect"),
  listen: (one) => kindCount(one, "listen"),
  syscall: (one) => kindCount(one, "syscall"),
  capability: (one) => kindCount(one, "capability"),
  commonality: (one) => one.commonality,
  coverage: (one) => one.coverage,
  signals: signalWeight,
  updated: (one) => one.updated_at,
};

const collator = new Intl.Collator("en", { numeric: true });

function comparison(sort: string): (a: Profile, b: Profile) => number {
  const isDown = sort.startsWith("-");
  const value = COLUMNS[sort.replace(/^-/, "")];
  const byName = (a: Profile, b: Profile) => collator.compare(b.image_tag, a.image_tag) || b.revision - a.revision;
  if (!value) return byName;
  return (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return byName(a, b);
    if (x === null) return 1;
    if (y === null) return -1;
    const compared = typeof x === "number" && typeof y === "number" ? x - y : collator.compare(String(x), String(y));
    return isDown ? -compared : compared;
  };
}

/** Within a group as asked; groups by their first one. Without a wish: by name, the newest version first. */
export function groupProfiles(profiles: readonly Profile[], sort: string): Group[] {
  const compare = comparison(sort);
  const groups = new Map<string, Profile[]>();
  for (const profile of profiles) {
    const group = groups.get(profile.image_name);
    if (group) group.push(profile);
    else groups.set(profile.image_name, [profile]);
  }
  const sorted = [...groups].map(([image, members]) => ({ image, profiles: members.sort(compare) }));
  const isKnown = COLUMNS[sort.replace(/^-/, "")] !== undefined;
  return sorted.sort(
    (a, b) => (isKnown ? compare(a.profiles[0] as Profile, b.profiles[0] as Profile) : 0) || collator.compare(a.image, b.image),
  );
}
