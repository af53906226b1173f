use super::snapshot::COLUMNS as FILE;
use crate::table::Type::{Bytes, Int32, IntMap, NodeId, Text, TextList, TextMap, Timestamp};
use crate::table::{Column, Table, optional, required};

/// Columns of a snapshot file that stand in the table under another form: times as timestamps.
const AS_TIMES: [&str; 2] = ["first_seen_ms", "last_seen_ms"];

/// What the table has beside the columns of a snapshot file.
const OWN: [Column; 15] = [
    required(100, "bucket", Int32, "hash of the workload, as in `profiles`"),
    required(101, "date", Text, "day of the upload, from the object's key, `YYYY-MM-DD`"),
    required(
        102,
        "object_key",
        Text,
        "key that the snapshot file had, from the store's root: as in the ledger",
    ),
    required(
        103,
        "workload_key",
        Text,
        "16 hex digits of BLAKE3 over image name and tag; of `unkeyed` snapshots 16 zeros",
    ),
    required(104, "content_hash", Text, "BLAKE3 of the snapshot file, hex: as in the ledger"),
    optional(105, "first_seen", Timestamp, "first time, host's wall clock"),
    optional(106, "last_seen", Timestamp, "last time, host's wall clock"),
    required(110, "path_rules", Int32, "version of the path rules that the paths went through"),
    required(111, "writer", Text, "program and version that wrote the file"),
    required(112, "kernel", Text, "release of the host's kernel"),
    required(113, "sensors", TextList, "sensors that were live, as `kind:hook`"),
    required(
        114,
        "completeness",
        TextMap,
        "by kind: `complete`, `joined_late`, `lossy`; a kind without a live sensor is absent",
    ),
    required(115, "lost", IntMap, "events that were lost, by `kind:cause`"),
    required(116, "limits_hit", TextList, "limits of the recorder that the window ran into"),
    required(
        117,
        "file_rows",
        Int32,
        "node rows of the snapshot file; 0 in the one row of a snapshot without nodes, which has no node",
    ),
];

const COUNT: usize = FILE.len() - AS_TIMES.len() + OWN.len();

/// The columns of a snapshot file that Delta can have, and our own. What makes a node may be null: a snapshot without nodes
/// has a row all the same.
const fn columns() -> [Column; COUNT] {
    let mut columns = [OWN[0]; COUNT];
    let (mut at, mut from, mut is_of_node) = (0, 0, false);
    while from < FILE.len() {
        let mut column = FILE[from];
        from += 1;
        if column.id == 20 {
            is_of_node = true;
        }
        if is_time(column.id) {
            continue;
        }
        if matches!(column.kind, NodeId) {
            column.kind = Bytes;
        }
        column.nullable = column.nullable || is_of_node;
        columns[at] = column;
        at += 1;
    }
    let mut own = 0;
    while own < OWN.len() {
        columns[at] = OWN[own];
        own += 1;
        at += 1;
    }
    columns
}

/// `first_seen_ms` and `last_seen_ms`, by their ids: names cannot be compared in a constant.
const fn is_time(id: i32) -> bool {
    id == 94 || id == 95
}

/// Raw snapshot rows as a Delta table.
pub const ACTIVITY: Table = Table {
    name: "activity",
    doc: "The rows of snapshot files whose time in `snapshots/` is over, as they were: one row a node, sorted by workload and \
          snapshot. Written by `wsp compact`, each snapshot once; the file is deleted when its rows stand here. Columns up to \
          99 are those of the snapshot file, with its meaning.",
    partitions: &["bucket", "date"],
    columns: &columns(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_columns_of_a_snapshot_file_are_there_but_the_offsets() {
        for column in FILE {
            let mine = ACTIVITY.column(column.name);
            assert_eq!(mine.is_none(), AS_TIMES.contains(&column.name), "{}", column.name);
            assert!(mine.is_none_or(|mine| mine.id == column.id), "{}", column.name);
        }
        assert_eq!(ACTIVITY.columns.len(), COUNT);
    }
}
