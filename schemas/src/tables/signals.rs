use crate::table::Type::{Float64, Int32, Int64, Text, TextList, TextMap, Timestamp};
use crate::table::{Table, optional, required};

/// Alerts.
pub const SIGNALS: Table = Table {
    name: "signals",
    doc: "One row an alert: a rule matched, or a stable profile does not have the activity. Written by `wsp detect` and `wsp import`.",
    partitions: &["bucket"],
    columns: &[
        required(1, "bucket", Int32, "hash of the workload"),
        optional(2, "workload_key", Text, "null where the alert names no workload"),
        optional(3, "image_name", Text, "as in `profiles`"),
        optional(4, "image_tag", Text, "as in `profiles`"),
        required(10, "signal_id", Text, "deterministic: a second run makes no twin"),
        required(11, "rule", Text, "id of the rule; `novelty` for unseen activity"),
        required(12, "severity", Text, "`low`, `medium`, `high`, `critical`"),
        required(13, "source", Text, "`wsp`, `falco`, `tetragon`, `kubescape`"),
        required(14, "time", Timestamp, "when it happened"),
        optional(15, "snapshot_id", Text, "snapshot that shows it"),
        optional(16, "container_id", Text, "container"),
        optional(17, "host", Text, "host"),
        optional(18, "node_id", crate::table::Type::Bytes, "node, 16 bytes"),
        optional(19, "lineage", TextList, "executables from the root to the process"),
        required(20, "summary", Text, "one line for people"),
        required(21, "attributes", TextMap, "what the source told"),
        required(30, "profile_context", Text, "`known`, `unseen`, `learning`, `no_profile`"),
        optional(31, "revision", Int32, "revision that it was judged by"),
        optional(32, "commonality", Float64, "of the node in it"),
        optional(33, "suppressed_by", Text, "suppression that hides it; null where none does"),
        required(34, "events", Int64, "how often"),
    ],
};

/// Accepted and proposed filters.
pub const SUPPRESSIONS: Table = Table {
    name: "suppressions",
    doc: "One row a change of a suppression; the last one of an id holds. Written by `wsp suppress`.",
    partitions: &[],
    columns: &[
        required(1, "suppression_id", Text, "deterministic over rule and scope"),
        required(2, "changed_at", Timestamp, "when"),
        required(3, "state", Text, "`suggested`, `accepted`, `rejected`, `removed`"),
        required(4, "rule", Text, "the one rule that it narrows"),
        optional(5, "workload_key", Text, "null for an explicit wider scope"),
        optional(6, "image_name", Text, "as in `profiles`"),
        optional(7, "image_tag", Text, "as in `profiles`"),
        required(8, "predicate", Text, "exact SQL predicate over a signal"),
        required(9, "evidence", Text, "JSON: counts, containers, hosts, sample signals"),
        optional(10, "author", Text, "who changed the state"),
        optional(11, "reason", Text, "why"),
        optional(12, "expires_at", Timestamp, "null for no end"),
    ],
};
