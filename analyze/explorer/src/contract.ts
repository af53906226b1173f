// What a page shows. Declared in `analyze/src/explorer/contract.rs`; made from it by a test. Optional texts are null, never absent.
// Times are RFC 3339 in UTC ("2026-07-01T12:30:00.123Z"). Texts from containers are shown as text, whatever they hold.

export type Kind = "process" | "file" | "dns" | "connect" | "listen" | "syscall" | "capability";

/** A page and its data. */
export type Document = {
  /** Raised when a reader of an older contract would misread this one. */
  format: number,
  /** Program that wrote it, and its version. */
  writer: string,
  generated_at: string,
  /** URL of the store, without credentials. */
  store: string,
  /** Way from this page to the folder of `index.html`: "" or "../". */
  root: string,
  /** `report`: files, commands to copy. `live`: a server. */
  mode: Mode,
  /** An image name and maybe tag that all of the report is limited to. */
  only_image: string | null,
  page: Page,
};

export type Mode = { "kind": "report" } | { "kind": "live", may_write: boolean };

export type Page =
  | ({ "name": "profiles" } & ProfilesPage)
  | ({ "name": "profile" } & ProfilePage)
  | ({ "name": "signals" } & SignalsPage);

/** `index.html` */
export type ProfilesPage = { profiles: Profile[], };

/** A revision of an image's profile. */
export type Profile = {
  /** 16 hex digits: of name and tag. */
  key: string,
  revision: number,
  /** No later revision of this image is there. */
  is_newest: boolean,
  /** Name and tag together. */
  image: string, image_name: string, image_tag: string,
  status: "learning" | "stable",
  /** `snapshots` or `age`, where it is stable. */
  stable_reason: string | null,
  stable_at: string | null,
  snapshots: number, containers: number, hosts: number, nodes: number,
  /** In the order of `Kind`; only kinds that have nodes or a completeness. */
  kinds: KindSummary[],
  /** Aggregate similarity of its containers, 0 to 1; null for fewer than two. */
  commonality: number | null,
  /** Share of a next container's nodes that is known; null below three containers. */
  coverage: number | null,
  expected_novel_nodes: number | null,
  /** Sightings of siblings beyond what a profile keeps. */
  overflow: number,
  digests: string[],
  /** More than one image digest was seen under the tag. */
  tag_reused: boolean,
  first_window_start: string | null,
  last_window_end: string | null,
  updated_at: string,
  /** When it becomes stable, by default: snapshots, hours. */
  stable_snapshots: number, stable_hours: number,
  /** Open signals by severity, and those that suppressions hide. */
  signals: SignalCounts,
  /** Its page, from the folder of `index.html`; null where there is none. */
  href: string | null,
};

export type KindSummary = {
  kind: Kind, nodes: number,
  commonality: number | null,
  /** Share of the containers with a lossless snapshot of the kind; null where no sensor was live. */
  completeness: number | null,
};

export type SignalCounts = { critical: number, high: number, medium: number, low: number, suppressed: number, };

/** `profiles/<key>-<revision>.html` */
export type ProfilePage = {
  profile: Profile,
  /** Other revisions, and other tags of the same image name. */
  versions: Profile[],
  /** Parents before children is not promised. */
  nodes: Node[],
  /** Folded nodes beyond the bound of a page. */
  nodes_left_out: number,
  containers: Container[],
  /** Those that a merge decided on, admitted ones by ordinal first. */
  snapshots: Snapshot[],
  /** Snapshots that came after it was stable, and in how many hours; they are not listed. */
  later_snapshots: number, later_hours: number,
  signals: Signal[], signals_left_out: number,
  running: Running[],
  curve: CurvePoint[],
  diffs: Diff[],
};

/** A node of the profile. `members`: bitset over ordinals of snapshots, little-endian bytes, base64. */
export type Node = {
  /** 32 hex digits. */
  id: string,
  /** The parent process, or the process that did it; null at a root. May name a node that is not there. */
  parent: string | null,
  kind: Kind,
  /** What the node is, in one text. */
  target: string,
  exe: string | null,
  /** `init` or `exec_session` at a root. */
  root_kind: string | null,
  commonality: number | null, low: number | null, high: number | null,
  /** Containers that have it, and that could have shown it. */
  containers: number, eligible: number,
  snapshots: number, snapshot_commonality: number | null,
  hosts: number,
  lossy: number,
  stable: boolean | null, rare: boolean, late: boolean | null,
  phase: "startup" | "steady",
  lineage_complete: boolean,
  events: number,
  first_seen: string | null, last_seen: string | null,
  members: string,
  /** Containers of the first and of the second half that have it, of how many; null below 6 containers. */
  halves: Halves | null,
  /** What the names of the nodes that it stands for look like. */
  pattern: string | null,
  collapsed_nodes: number | null,
  /** The pattern that stands for it. */
  collapsed_into: string | null,
  /** Everything else that is known of it, for people: name and values. */
  attributes: Attribute[],
};

export type Halves = { first: number, first_of: number, second: number, second_of: number, p: number, };
export type Attribute = { name: string, values: string[], };

export type Container = { id: string, name: string | null, host: string, started: string | null, labels: { [key in string]: string }, };

export type Snapshot = {
  /** Null where it was not admitted. */
  ordinal: number | null,
  id: string,
  /** `admitted`, `duplicate`, `conflict`, `damaged`, `out_of_range`, … */
  outcome: string, reason: string | null,
  /** Index into `containers`. */
  container: number | null,
  window_start: string | null, window_end: string | null,
  covers_start: boolean,
  /** By kind: `complete`, `joined_late`, `lossy`; a kind without a live sensor is absent. */
  completeness: { [key in string]: string },
  rows: number | null, size: number | null, digest: string | null, object_key: string,
};

/** A container with a snapshot among the newest. */
export type Running = {
  id: string, name: string | null, host: string, started: string | null, labels: { [key in string]: string },
  /** Of its newest snapshot. */
  snapshot: string, window_end: string, digest: string | null,
  /** The digest is one that the profile has seen. */
  digest_known: boolean | null,
};

/** What the profile knew after so many snapshots. */
export type CurvePoint = { snapshots: number, containers: number, hosts: number, nodes: number, hours: number, coverage: number | null, };

/** This profile beside another: `gained` are nodes that only this one has. */
export type Diff = {
  with: Profile,
  gained: DiffNode[], lost: DiffNode[], changed: DiffNode[],
  /** Nodes that do not fit on a page. */
  left_out: number,
};

export type DiffNode = {
  id: string, parent: string | null, kind: Kind, target: string, exe: string | null,
  /** In the other profile, and in this one: containers that have it, of how many. */
  before: number, before_of: number, after: number, after_of: number,
  /** How probable it is that nothing changed. */
  chance: number,
  certain: boolean,
};

/** `signals.html` */
export type SignalsPage = {
  signals: Signal[], signals_left_out: number,
  /** By `<key>-<revision>`: the profile's part of the tree around the signals' nodes: their processes up to the root, and siblings. */
  around: { [key in string]: AroundNode[] },
  suppressions: Suppression[],
  rules: Rule[],
};

export type AroundNode = {
  id: string, parent: string | null, kind: Kind, target: string, root_kind: string | null,
  commonality: number | null, containers: number, eligible: number,
  phase: "startup" | "steady", stable: boolean | null, rare: boolean, late: boolean | null, pattern: string | null,
};

export type Rule = { id: string, title: string, severity: Severity, techniques: string[], description: string, suppressible: boolean, };
export type Severity = "low" | "medium" | "high" | "critical";

export type Signal = {
  id: string, time: string, last_seen: string | null,
  severity: Severity, rule: string, summary: string,
  /** `known`, `unseen`, `learning`, `no_profile`. */
  context: string,
  /** Why it is new, for signals of novelty. */
  novelty: string | null,
  /** Id of the suppression that hides it. */
  suppressed_by: string | null,
  image: string | null,
  /** `<key>-<revision>` of the profile that judged it. */
  profile: string | null, profile_href: string | null,
  kind: Kind | null, exe: string | null, target: string | null,
  /** Executables from the root to the process. */
  lineage: string[],
  /** Of the node, and of its process, in the profile. */
  commonality: number | null, process_commonality: number | null,
  /** `target`: found by executable and target only. */
  match: string | null,
  /** Ids in the profile, where it has them. */
  node: string | null, process: string | null,
  events: number,
  container_name: string | null, container_id: string | null, host: string | null,
  labels: { [key in string]: string },
  attributes: Attribute[],
  source: string, snapshot: string | null,
};

/** A suggestion or suppression, as its last change left it. */
export type Suppression = {
  id: string,
  state: "suggested" | "accepted" | "rejected" | "removed",
  rule: string,
  scope: "workload" | "image" | "all",
  image: string | null,
  /** SQL, over the columns of a signal. */
  predicate: string,
  author: string | null, reason: string | null,
  changed_at: string, expires_at: string | null,
  evidence: Evidence | null,
  /** Signals that it hides, and open ones that it would. */
  hides: number, would_hide: number,
  /** Scope is one workload: the explorer decides on nothing wider. */
  is_decidable: boolean,
  /** Shell commands that do the same. */
  commands: Commands,
};

export type Commands = { accept: string | null, reject: string | null, remove: string | null, };

/** How it is known. */
export type Evidence = {
  exe: string, kind: Kind, target: string, pattern: string | null, lineage: string[],
  node: Common, process: Common,
  revision: number, profile_containers: number, profile_hosts: number, coverage: number, completeness: number,
  signals: number, snapshots: number, containers: number, hosts: number,
  container_names: string[], host_names: string[],
  first: string, last: string,
  /** Ids of some signals. */
  samples: string[],
};

export type Common = { id: string, containers: number, eligible: number, commonality: number, low: number, high: number, hosts: number, };

/** `POST api/suppressions/<id>`, with `Authorization: Bearer <token>` and `Content-Type: application/json`. */
export type DecisionRequest = {
  decision: "accept" | "reject" | "remove",
  /** As it was shown: what was changed meanwhile is refused. */
  predicate: string,
  author: string | null, reason: string | null, expires_at: string | null,
};
/** Its answer: signals that are hidden now and were not, and the other way around. */
export type DecisionAnswer = { hidden: number, shown: number, };
/** Every answer that is not 2xx. */
export type Refusal = { error: string, hint: string | null, };
