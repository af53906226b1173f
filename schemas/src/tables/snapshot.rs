use crate::table::Type::{Bool, Int32, Int64, IntList, NodeId, Text, TextList, TextMap, Timestamp};
use crate::table::{Column, Storage, Table, optional, required};

/// Columns that have one value in all rows of a snapshot file; the metadata of a file of no rows has them instead.
pub const CONSTANT_COLUMNS: [&str; 12] = [
    "snapshot_id",
    "image_name",
    "image_tag",
    "image_digest",
    "container_id",
    "container_name",
    "container_started",
    "host",
    "labels",
    "window_start",
    "window_end",
    "covers_start",
];

/// The one constant column that a file may lack although it is never null: then there are none.
pub(crate) const LABELS: &str = CONSTANT_COLUMNS[8];

pub(super) const COLUMNS: [Column; 53] = [
    required(1, "snapshot_id", Text, "UUIDv7 of the snapshot"),
    optional(2, "image_name", Text, "registry and repository in normal form; null where neither tag nor digest is known (`unkeyed`)"),
    optional(3, "image_tag", Text, "tag, or `@sha256:…` where the reference has none; null as `image_name`"),
    optional(4, "image_digest", Text, "digest of the image's manifest or index (`sha256:…`); null where the runtime does not tell"),
    required(5, "container_id", Text, "the runtime's id"),
    optional(6, "container_name", Text, "the runtime's name; null where it has none"),
    optional(7, "container_started", Timestamp, "start of the container, host's wall clock; null where unknown"),
    required(8, "host", Text, "name of the host that recorded"),
    required(9, "labels", TextMap, "allow-listed labels: pod, namespace, …; keys sorted, empty where there are none"),
    required(10, "window_start", Timestamp, "start of the window, host's wall clock"),
    required(11, "window_end", Timestamp, "end of the window, host's wall clock"),
    required(12, "covers_start", Bool, "true where the container's first exec is in the window").stored(Storage::Runs),
    required(20, "node_id", NodeId, "identity of the node: 16 bytes of BLAKE3, see `FORMAT.md`; once in a file").stored(Storage::Plain),
    optional(21, "parent_id", NodeId, "parent process of a process, owning process of everything else; null at a root, and where the source of the recording knows no process").stored(Storage::Packed),
    required(22, "kind", Text, "`process`, `file`, `dns`, `connect`, `listen`, `syscall`, `capability`"),
    optional(23, "exe", Text, "executable of the owning process, normalised; null where the source knows no process").stored(Storage::Text),
    optional(30, "path", Text, "file: path after the path rules").stored(Storage::Packed),
    optional(31, "access", TextList, "file: what was done: `read`, `write`, `create`, `append`, `truncate`, `lookup` (O_PATH), `exec` (its code was mapped), `unlink`, `rmdir`, `rename_from`, `rename_to`, `link_from`, `link_to`, `symlink`, `mkdir`, `mknod`, `chmod`, `chown`").stored(Storage::Packed),
    optional(32, "mode", Int32, "file: permission bits that were set (chmod, create); null where none were"),
    optional(33, "path_raw", Text, "file: one path before the rules; null where equal to `path`").stored(Storage::Text),
    optional(34, "path_source", Text, "file: `kernel` (from the open file), `argument` (as the process named it: racy, links not resolved), `truncated` (only the end of a path too long to walk)"),
    optional(35, "file_origin", Text, "file, process: what holds the file (of a process: its executable): `image`, `copied_up`, `upper`, `volume`, `tmpfs`, `memfd`, `pseudo`, `deleted`, `unknown`"),
    optional(40, "dns_name", Text, "dns: the name asked for, lower case, no trailing dot").stored(Storage::Text),
    optional(41, "dns_type", Text, "dns: record type, `A`, `AAAA`, `SRV`, …; `TYPE<n>` where it has no name"),
    optional(50, "protocol", Text, "connect, listen: `tcp`, `udp`, `unix`, or `ip<n>` by protocol number"),
    optional(51, "address", Text, "connect: the remote, as name where the container's own resolver gave one, else IP address; listen: own address, `self` where neither a wildcard nor loopback; unix: path, or `@name`"),
    optional(52, "port", Int32, "connect: remote port; listen: own port; 0 for unix"),
    optional(53, "remote_ips", TextList, "connect: up to 16 addresses behind a name; null where `address` is one"),
    optional(54, "name_source", Text, "connect: `dns` where `address` is a name from an answer to this container; null else"),
    optional(60, "name", Text, "syscall, capability: its name").stored(Storage::Packed),
    optional(70, "root_kind", Text, "process: `init` or `exec_session` at a root; null below"),
    optional(71, "exec_from", Text, "process: the executable that this one replaced by an exec in place; null where none"),
    optional(72, "script", Text, "process: path of the script that an interpreter ran, after the path rules; null where none is known"),
    optional(73, "shebang", Bool, "process: true where a `#!` line chose the exe: then `script` is part of the identity").stored(Storage::Runs),
    optional(74, "argv0", Text, "process: name that a multi-call binary was called by: then part of the identity; null for other binaries"),
    optional(75, "args", TextList, "process: up to 8 different command lines, secrets scrubbed, each quoted as a shell would read it").stored(Storage::Packed),
    optional(76, "args_overflow", Int64, "process: different command lines beyond those in `args`"),
    optional(77, "comm", Text, "process: task name at exec"),
    optional(78, "cwd", Text, "process: working directory at exec, after the path rules"),
    optional(79, "uids", IntList, "process: effective user ids that ran it, ids of the initial user namespace"),
    optional(80, "cred_change", Bool, "process: true where real and effective user id differed at exec").stored(Storage::Runs),
    optional(81, "tty", Bool, "process: true where it had a controlling terminal").stored(Storage::Runs),
    optional(82, "stdio", TextList, "process: what stdin, stdout, stderr were at its first exec: `none`, `tty`, `pipe`, `socket`, `null`, `file`"),
    optional(83, "ns_changed", Bool, "process: true where it ran in another mount namespace than the container's init").stored(Storage::Runs),
    optional(84, "written_in_window", Bool, "process: true where its executable was opened for writing earlier in the window").stored(Storage::Runs),
    required(90, "phase", Text, "`startup` (first seen within 180 s of the container's start) or `steady`"),
    required(91, "origin", Text, "`runtime` (seen happening) or `initial` (read from /proc when the window opened)"),
    required(92, "lineage_complete", Bool, "false below an ancestor that /proc could only guess, and beyond the depth limit of 64").stored(Storage::Runs),
    required(93, "events", Int64, "how often in the window, at least 1").stored(Storage::Split),
    required(94, "first_seen_ms", Int32, "first time, milliseconds from `window_start`").stored(Storage::Split),
    required(95, "last_seen_ms", Int32, "last time, milliseconds from `window_start`; from `first_seen_ms` to the end of the window").stored(Storage::Split),
    optional(96, "gids", IntList, "process: effective group ids that ran it"),
    optional(97, "processes", Int64, "process: how many processes of the system were this node; null where not counted"),
];

/// A snapshot file.
pub const SNAPSHOT: Table = Table {
    name: "snapshot",
    doc: "One row a node: what one container did in one window. Written by `wsp-capture`, one Parquet file a snapshot; the \
          file's metadata (`wsp.snapshot`) has sensors, completeness and loss. A column without any value is left out of a file.",
    partitions: &[],
    columns: &COLUMNS,
};
