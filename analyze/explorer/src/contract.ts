// What a page shows. Made from `analyze/src/explorer/contract`, which says what everything means: WSP_BLESS=1 cargo test -p wsp-analyze contract

export type Kind = "process" | "file" | "dns" | "connect" | "listen" | "syscall" | "capability";

export type Severity = "low" | "medium" | "high" | "critical";

export type Phase = "startup" | "steady";

export type Document = { 
/** Version of the contract. */
format: number, 
/** Program that wrote it, and its version. */
writer: string, 
/** When it was made. */
generated_at: string, 
/** URL of the store, without credentials. */
store: string, 
/** Arguments that name it to a command, quoted for a shell. */
store_arguments: string, 
/** Way from the page to the folder of `index.html`: empty, or `../`. */
root: string, 
/** How it is looked at. */
mode: Mode, 
/** The image that all of it is limited to, as it was named. */
only_image: string | null, 
/** What it shows. */
page: Page, };

export type Mode = { "kind": "report" } | { "kind": "live", 
/** A token allows decisions. */
may_write: boolean, };

export type Page = { "name": "profiles" } & ProfilesPage | { "name": "profile" } & ProfilePage | { "name": "signals" } & SignalsPage;

export type Attribute = { 
/** Name of the column. */
name: string, 
/** One value, or those of a list. */
values: Array<string>, };

export type ProfilesPage = { 
/** By image name, tag and revision. */
profiles: Array<Profile>, };

export type Profile = { 
/** 16 hex digits: of name and tag. */
key: string, 
/** Revision, from 1. */
revision: number, 
/** No later revision of this image is there. */
is_newest: boolean, 
/** Name and tag together. */
image: string, 
/** Normalised name. */
image_name: string, 
/** Tag, or `@` and a digest. */
image_tag: string, 
/** `learning` or `stable`. */
status: "learning" | "stable", 
/** Why it is stable: `snapshots` or `age`. */
stable_reason: string | null, 
/** Since when it is stable. */
stable_at: string | null, 
/** Snapshots that it learned from. */
snapshots: number, 
/** Their containers. */
containers: number, 
/** Their hosts. */
hosts: number, 
/** Its nodes; a pattern is one. */
nodes: number, 
/** By kind, those that have nodes or a sensor. */
kinds: Array<KindSummary>, 
/** Similarity of its containers, 0 to 1; null for fewer than two. */
commonality: number | null, 
/** Share of a next container's nodes that is known; null below three containers. */
coverage: number | null, 
/** Nodes of a next container that are not known. */
expected_novel_nodes: number | null, 
/** Sightings of siblings beyond what a profile keeps. */
overflow: number, 
/** Image digests that were seen. */
digests: Array<string>, 
/** More than one image was seen under the tag. */
tag_reused: boolean, 
/** Start of the first window. */
first_window_start: string | null, 
/** End of the last window. */
last_window_end: string | null, 
/** When a merge last changed it. */
updated_at: string | null, 
/** Snapshots after which a profile is stable, unless merges say otherwise. */
stable_snapshots: number, 
/** Hours after which it is, unless merges say otherwise. */
stable_hours: number, 
/** Signals of the image. */
signals: SignalCounts, 
/** Its page, from the folder of `index.html`; null where there is none. */
href: string | null, };

export type KindSummary = { 
/** The kind. */
kind: Kind, 
/** How many. */
nodes: number, 
/** Similarity of the containers in this kind. */
commonality: number | null, 
/** Share of the containers with a lossless snapshot of the kind; null where no sensor was live. */
completeness: number | null, };

export type SignalCounts = { 
/** Open and critical. */
critical: number, 
/** Open and high. */
high: number, 
/** Open and medium. */
medium: number, 
/** Open and low. */
low: number, 
/** Hidden. */
suppressed: number, };

export type ProfilePage = { 
/** The profile. */
profile: Profile, 
/** Its other revisions, and profiles of the image's other tags, newest first. */
versions: Array<Profile>, 
/** Its nodes, in no order. */
nodes: Array<Node>, 
/** Nodes beyond the bound of a page. */
nodes_left_out: number, 
/** Containers of its snapshots. */
containers: Array<Container>, 
/** What merges decided on: those that were admitted by ordinal, then others. */
snapshots: Array<Snapshot>, 
/** Snapshots beyond the bound of a page. */
snapshots_left_out: number, 
/** Snapshots that came after it was stable; they are not listed. */
later_snapshots: number, 
/** Hours in which those were uploaded. */
later_hours: number, 
/** Signals of the image, the newest first. */
signals: Array<Signal>, 
/** Signals beyond the bound of a page. */
signals_left_out: number, 
/** Containers of the newest snapshots in the store. */
running: Array<Running>, 
/** What it knew after so many snapshots. */
curve: Array<CurvePoint>, 
/** It beside others. */
diffs: Array<Diff>, };

export type NodeSummary = { 
/** 32 hex digits. */
id: string, 
/** The parent process, or the process that did it; null at a root. It may name a node that is not there. */
parent: string | null, 
/** The kind. */
kind: Kind, 
/** What it is, in one text. */
target: string, 
/** `init` or `exec_session`, at a root. */
root_kind: string | null, 
/** Share of the containers that could have shown it. */
commonality: number | null, 
/** Containers that have it … */
containers: number, 
/** … of those that could have shown it. */
eligible: number, 
/** When it is seen: `startup` or `steady`. */
phase: Phase, 
/** Its commonality is known well, and does not change; null below six containers. */
stable: boolean | null, 
/** In one container. */
rare: boolean, 
/** First seen in the last quarter of the containers; null below five. */
late: boolean | null, 
/** What the names of the nodes that it stands for look like. */
pattern: string | null, };

export type Node = { 
/** Executable of the process. */
exe: string | null, 
/** Lower end of the Wilson 95 % interval of its commonality. */
low: number | null, 
/** Upper end. */
high: number | null, 
/** Snapshots that have it. */
snapshots: number, 
/** Share of the snapshots that could have. */
snapshot_commonality: number | null, 
/** Hosts that have it. */
hosts: number, 
/** Lossy snapshots that have it. */
lossy: number, 
/** False below an ancestor that could only be guessed. */
lineage_complete: boolean, 
/** How often. */
events: number, 
/** First time. */
first_seen: string | null, 
/** Last time. */
last_seen: string | null, 
/** Ordinals of the snapshots that have it: a bitset, little-endian bytes, base64. */
members: string, 
/** Of the first and second half of the containers; null below six. */
halves: Halves | null, 
/** How many nodes a pattern stands for. */
collapsed_nodes: number | null, 
/** The pattern that stands for it. */
collapsed_into: string | null, 
/** What else is known of it. */
attributes: Array<Attribute>, 
/** 32 hex digits. */
id: string, 
/** The parent process, or the process that did it; null at a root. It may name a node that is not there. */
parent: string | null, 
/** The kind. */
kind: Kind, 
/** What it is, in one text. */
target: string, 
/** `init` or `exec_session`, at a root. */
root_kind: string | null, 
/** Share of the containers that could have shown it. */
commonality: number | null, 
/** Containers that have it … */
containers: number, 
/** … of those that could have shown it. */
eligible: number, 
/** When it is seen: `startup` or `steady`. */
phase: Phase, 
/** Its commonality is known well, and does not change; null below six containers. */
stable: boolean | null, 
/** In one container. */
rare: boolean, 
/** First seen in the last quarter of the containers; null below five. */
late: boolean | null, 
/** What the names of the nodes that it stands for look like. */
pattern: string | null, };

export type Halves = { 
/** Of the first half that have it … */
first: number, 
/** … of how many. */
first_of: number, 
/** Of the second half … */
second: number, 
/** … of how many. */
second_of: number, 
/** Fisher's exact p that both halves are alike. */
p: number, };

export type Container = { 
/** Its id. */
id: string, 
/** Its name. */
name: string | null, 
/** Its host. */
host: string, 
/** When it started. */
started: string | null, 
/** Labels that the capture may keep. */
labels: { [key in string]: string }, };

export type Snapshot = { 
/** Its place among those admitted; null for others. */
ordinal: number | null, 
/** Its id. */
id: string, 
/** `admitted`, `duplicate`, `conflict`, `damaged`, … */
outcome: string, 
/** Why it was not admitted. */
reason: string | null, 
/** Place of its container in `containers`. */
container: number | null, 
/** Start of its window. */
window_start: string | null, 
/** End of its window. */
window_end: string | null, 
/** The container started in it. */
covers_start: boolean, 
/** By kind: `complete`, `joined_late`, `lossy`; a kind without a live sensor is absent. */
completeness: { [key in string]: string }, 
/** Rows of its file. */
rows: number | null, 
/** Bytes of its file. */
size: number | null, 
/** Digest of the image. */
digest: string | null, 
/** Key of its file. */
object_key: string, };

export type Running = { 
/** Its id. */
id: string, 
/** Its name. */
name: string | null, 
/** Its host. */
host: string, 
/** When it started. */
started: string | null, 
/** Labels that the capture may keep. */
labels: { [key in string]: string }, 
/** Its newest snapshot. */
snapshot: string, 
/** When that one ended. */
window_end: string, 
/** Digest of its image. */
digest: string | null, 
/** The profile has seen the digest; null where one of them is not known. */
digest_known: boolean | null, };

export type CurvePoint = { 
/** Snapshots. */
snapshots: number, 
/** Their containers. */
containers: number, 
/** Their hosts. */
hosts: number, 
/** Nodes that they showed. */
nodes: number, 
/** Hours from the start of the first window to the end of the last. */
hours: number, 
/** Coverage as it was known then. */
coverage: number | null, };

export type Diff = { 
/** The other one. */
with: Profile, 
/** Nodes that only this one has. */
gained: Array<DiffNode>, 
/** Nodes that only the other one has. */
lost: Array<DiffNode>, 
/** Nodes that both have, in other shares of their containers. */
changed: Array<DiffNode>, 
/** Nodes beyond the bound of a page. */
left_out: number, };

export type DiffNode = { 
/** 32 hex digits. */
id: string, 
/** The process that it is of. */
parent: string | null, 
/** The kind. */
kind: Kind, 
/** What it is, in one text. */
target: string, 
/** Executable of the process. */
exe: string | null, 
/** Containers of the other profile that have it … */
before: number, 
/** … of how many. */
before_of: number, 
/** Containers of this one that have it … */
after: number, 
/** … of how many. */
after_of: number, 
/** How probable it is that nothing changed. */
chance: number, 
/** That is below 5 %. */
certain: boolean, };

export type SignalsPage = { 
/** Signals, the newest first. */
signals: Array<Signal>, 
/** Signals beyond the bound of a page. */
signals_left_out: number, 
/** By `<key>-<revision>`: what the profile has around the signals' nodes: processes up to the root, and siblings. */
around: { [key in string]: Array<NodeSummary> }, 
/** Suggestions and suppressions, the newest first. */
suppressions: Array<Suppression>, 
/** Rules. */
rules: Array<Rule>, };

export type Rule = { 
/** Its id. */
id: string, 
/** One line for people. */
title: string, 
/** `low`, `medium`, `high` or `critical`. */
severity: Severity, 
/** MITRE ATT&CK techniques. */
techniques: Array<string>, 
/** What it means. */
description: string, 
/** A suppression may hide its signals. */
suppressible: boolean, };

export type Signal = { 
/** Its id. */
id: string, 
/** When it happened first. */
time: string, 
/** When it happened last. */
last_seen: string | null, 
/** `low`, `medium`, `high` or `critical`. */
severity: Severity, 
/** Id of the rule. */
rule: string, 
/** One line for people. */
summary: string, 
/** `known`, `unseen`, `learning` or `no_profile`. */
context: string, 
/** What is new, for signals of novelty. */
novelty: string | null, 
/** The suppression that hides it. */
suppressed_by: string | null, 
/** Name and tag of the image. */
image: string | null, 
/** `<key>-<revision>` of the profile that judged it. */
profile: string | null, 
/** Its page, from the folder of `index.html`; null where there is none. */
profile_href: string | null, 
/** Kind of the node. */
kind: Kind | null, 
/** Executable of the process. */
exe: string | null, 
/** What was done, in one text. */
target: string | null, 
/** Executables from the root to the process. */
lineage: Array<string>, 
/** Of the node, in the profile. */
commonality: number | null, 
/** Of its process, in the profile. */
process_commonality: number | null, 
/** How the node was found in the profile; `target`: by executable and target only. */
match: string | null, 
/** Id of the node in the profile. */
node: string | null, 
/** Id of the process in the profile. */
process: string | null, 
/** How often. */
events: number, 
/** Name of the container. */
container_name: string | null, 
/** Its id. */
container_id: string | null, 
/** Its host. */
host: string | null, 
/** Its labels. */
labels: { [key in string]: string }, 
/** What else is known. */
attributes: Array<Attribute>, 
/** Who raised it. */
source: string, 
/** The snapshot that it is of. */
snapshot: string | null, };

export type Suppression = { 
/** Its id. */
id: string, 
/** Number of its last change. */
change: number, 
/** `suggested`, `accepted`, `rejected` or `removed`. */
state: "suggested" | "accepted" | "rejected" | "removed", 
/** The rule whose signals it hides. */
rule: string, 
/** `workload`, `image` or `all`. */
scope: "workload" | "image" | "all", 
/** The image; null for all. */
image: string | null, 
/** Which signals: SQL over the columns of one. */
predicate: string, 
/** Who decided. */
author: string | null, 
/** Why. */
reason: string | null, 
/** When it was changed. */
changed_at: string, 
/** Signals that are raised from then on are not hidden. */
expires_at: string | null, 
/** How it is known; null for those that were written by hand. */
evidence: Evidence | null, 
/** Signals of the page that it hides. */
hides: number, 
/** Open signals of the page that it would hide. */
would_hide: number, 
/** The explorer may decide: it is accepted and can be taken back, or it is for one workload and its rule allows suppression. */
is_decidable: boolean, 
/** Commands that decide on it. */
commands: Commands, };

export type Commands = { 
/** Accepts it. */
accept: string | null, 
/** Rejects it. */
reject: string | null, 
/** Takes it back. */
remove: string | null, };

export type Evidence = { 
/** Executable of the process. */
exe: string, 
/** Kind of the node. */
kind: Kind, 
/** What it did; where there is a pattern, an example. */
target: string, 
/** What the names of the nodes that it stands for look like. */
pattern: string | null, 
/** Whether executables alone do not say which process it is: a name of a multi-call binary or a script does. */
is_named: boolean, 
/** Executables from the root to the process. */
lineage: Array<string>, 
/** The node, as the profile has it. */
node: Common, 
/** Its process. */
process: Common, 
/** Revision of the profile. */
revision: number, 
/** Containers that the profile learned from. */
profile_containers: number, 
/** Hosts that it learned from. */
profile_hosts: number, 
/** Its coverage. */
coverage: number, 
/** Share of its containers with a lossless snapshot of the node's kind. */
completeness: number, 
/** Open signals that it is about. */
signals: number, 
/** Snapshots that they are of. */
snapshots: number, 
/** Containers that they are of. */
containers: number, 
/** Hosts that they are of. */
hosts: number, 
/** Names of some of the containers, and of the hosts. */
container_names: Array<string>, 
/** Some of the hosts. */
host_names: Array<string>, 
/** When the first of them happened. */
first: string, 
/** When the last of them happened. */
last: string, 
/** Ids of some of them. */
samples: Array<string>, };

export type Common = { 
/** Id, hex. */
id: string, 
/** Containers that have it. */
containers: number, 
/** Containers that could have shown it. */
eligible: number, 
/** Share. */
commonality: number, 
/** 95 % Wilson interval of the share. */
interval: [number, number], 
/** Hosts that have it. */
hosts: number, };

export type DecisionRequest = { 
/** What becomes of it. */
decision: DecisionKind, 
/** Number of the change that was shown: what was changed meanwhile is refused. */
change: number, 
/** The predicate as it was shown. */
predicate: string, 
/** Who decides. */
author: string | null, 
/** Why. */
reason: string | null, 
/** RFC 3339: signals that are raised from then on are not hidden. */
expires_at: string | null, };

export type DecisionKind = "accept" | "reject" | "remove";

export type DecisionAnswer = { 
/** Signals that are hidden now and were not. */
hidden: number, 
/** Signals that are open again. */
shown: number, };

export type Refusal = { 
/** What was refused, and why. */
error: string, 
/** What to do. */
hint: string | null, };
