use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use proptest::prelude::*;
use wsp_schemas::identity::{Kind, NodeId, RootKind};
use wsp_schemas::snapshot::{Fact, File, Limits, Node, Phase, Process, SeenBy, Socket, Verified, encode};
use wsp_schemas::text::RawText;
use wsp_schemas::{paths, tables};

use crate::both::decode;
use crate::nodes::{self, WINDOW_MS};

fn round_trip(nodes: &[Node]) -> Verified {
    let meta = nodes::meta(1);
    let file = Bytes::from(encode(&meta, nodes).unwrap());
    let back = decode(file.clone(), &Limits::default()).unwrap();
    assert_eq!(back.meta, meta);
    assert_eq!((back.size, back.content_hash), (file.len(), blake3_of(&file)));
    assert_eq!(back.rows.num_rows(), nodes.len());
    assert_eq!(*back.rows.schema(), tables::SNAPSHOT.arrow_schema());
    // By kind, and as they came within one.
    let by_kind = Kind::ALL.iter().flat_map(|kind| nodes.iter().filter(|node| node.fact.kind() == *kind));
    for (row, node) in by_kind.enumerate() {
        assert_same(&back.rows, row, node);
    }
    back
}

fn blake3_of(file: &[u8]) -> blake3::Hash {
    assert_eq!(wsp_schemas::content_hash(file), blake3::hash(file).to_hex().as_str());
    blake3::hash(file)
}

fn text(rows: &RecordBatch, name: &str, row: usize) -> Option<RawText> {
    let column = rows[name].as_string::<i32>();
    column.is_valid(row).then(|| RawText::from_escaped(column.value(row)).unwrap())
}

fn texts(rows: &RecordBatch, name: &str, row: usize) -> Option<Vec<RawText>> {
    let column = rows[name].as_list::<i32>();
    column.is_valid(row).then(|| {
        column
            .value(row)
            .as_string::<i32>()
            .iter()
            .map(|value| RawText::from_escaped(value.unwrap()).unwrap())
            .collect()
    })
}

fn ints(rows: &RecordBatch, name: &str, row: usize) -> Option<Vec<i64>> {
    let column = rows[name].as_list::<i32>();
    column.is_valid(row).then(|| column.value(row).as_primitive::<Int64Type>().values().to_vec())
}

fn flag(rows: &RecordBatch, name: &str, row: usize) -> Option<bool> {
    let column = rows[name].as_boolean();
    column.is_valid(row).then(|| column.value(row))
}

fn int32(rows: &RecordBatch, name: &str, row: usize) -> Option<i32> {
    let column = rows[name].as_primitive::<Int32Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn int64(rows: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = rows[name].as_primitive::<Int64Type>();
    column.is_valid(row).then(|| column.value(row))
}

/// Every attribute of a node stands in its column, and the columns of other kinds are null.
fn assert_same(rows: &RecordBatch, row: usize, node: &Node) {
    let raw = |text: &str| RawText::from(text);
    let id = |name: &str| {
        let column = rows[name].as_fixed_size_binary();
        column.is_valid(row).then(|| NodeId::from_bytes(column.value(row).try_into().unwrap()))
    };
    assert_eq!((id("node_id"), id("parent_id")), (Some(node.id()), node.parent));
    assert_eq!(text(rows, "kind", row), Some(raw(node.fact.kind().as_str())));
    assert_eq!(text(rows, "exe", row), node.exe);
    assert_eq!(text(rows, "phase", row), Some(raw(node.phase.as_str())));
    assert_eq!(text(rows, "origin", row), Some(raw(node.seen_by.as_str())));
    assert_eq!(flag(rows, "lineage_complete", row), Some(node.lineage_complete));
    assert_eq!(int64(rows, "events", row), Some(node.events));
    assert_eq!(int32(rows, "first_seen_ms", row), Some(node.first_seen_ms));
    assert_eq!(int32(rows, "last_seen_ms", row), Some(node.last_seen_ms));

    let file = if let Fact::File(file) = &node.fact { Some(file) } else { None };
    assert_eq!(text(rows, "path", row), file.map(|file| file.path.clone()));
    assert_eq!(text(rows, "path_raw", row), file.and_then(|file| file.path_raw.clone()));
    assert_eq!(text(rows, "path_source", row), file.map(|file| raw(file.path_source)));
    assert_eq!(
        texts(rows, "access", row),
        file.map(|file| file.access.iter().map(|access| raw(access)).collect())
    );
    assert_eq!(int32(rows, "mode", row), file.and_then(|file| file.mode));

    let process = if let Fact::Process(process) = &node.fact { Some(process) } else { None };
    let origin =
        file.map(|file| file.file_origin).or_else(|| process.and_then(|process| process.file_origin));
    assert_eq!(text(rows, "file_origin", row), origin.map(raw));
    assert_eq!(
        text(rows, "root_kind", row),
        process.and_then(|process| process.root_kind).map(|kind| raw(kind.as_str()))
    );
    for (name, value) in [
        ("exec_from", process.and_then(|process| process.exec_from.clone())),
        ("script", process.and_then(|process| process.script.clone())),
        ("argv0", process.and_then(|process| process.argv0.clone())),
        ("comm", process.map(|process| process.comm.clone())),
        ("cwd", process.map(|process| process.cwd.clone())),
    ] {
        assert_eq!(text(rows, name, row), value, "{name}");
    }
    for (name, value) in [
        ("shebang", process.map(|process| process.shebang)),
        ("cred_change", process.map(|process| process.cred_change)),
        ("tty", process.map(|process| process.tty)),
        ("ns_changed", process.map(|process| process.ns_changed)),
        ("written_in_window", process.map(|process| process.written_in_window)),
    ] {
        assert_eq!(flag(rows, name, row), value, "{name}");
    }
    assert_eq!(texts(rows, "args", row), process.map(|process| process.args.clone()));
    assert_eq!(
        texts(rows, "stdio", row),
        process.map(|process| process.stdio.iter().map(|end| raw(end)).collect())
    );
    let wide = |ids: &[u32]| ids.iter().copied().map(i64::from).collect::<Vec<_>>();
    assert_eq!(ints(rows, "uids", row), process.map(|process| wide(&process.uids)));
    assert_eq!(ints(rows, "gids", row), process.map(|process| wide(&process.gids)));
    assert_eq!(int64(rows, "args_overflow", row), process.map(|process| process.args_overflow));
    assert_eq!(int64(rows, "processes", row), process.map(|process| process.processes));

    let dns =
        if let Fact::Dns { name, rtype } = &node.fact { Some((name.clone(), raw(rtype))) } else { None };
    assert_eq!(text(rows, "dns_name", row).zip(text(rows, "dns_type", row)), dns);
    let socket =
        if let Fact::Connect(socket) | Fact::Listen(socket) = &node.fact { Some(socket) } else { None };
    assert_eq!(text(rows, "protocol", row), socket.map(|socket| raw(&socket.protocol)));
    assert_eq!(text(rows, "address", row), socket.map(|socket| socket.address.clone()));
    assert_eq!(int32(rows, "port", row), socket.map(|socket| i32::from(socket.port)));
    assert_eq!(text(rows, "name_source", row), socket.and_then(|socket| socket.name_source).map(raw));
    let ips = socket.filter(|socket| !socket.remote_ips.is_empty());
    assert_eq!(
        texts(rows, "remote_ips", row),
        ips.map(|socket| socket.remote_ips.iter().map(|ip| raw(ip)).collect())
    );
    let name =
        if let Fact::Syscall(name) | Fact::Capability(name) = &node.fact { Some(raw(name)) } else { None };
    assert_eq!(text(rows, "name", row), name);
}

#[test]
fn every_kind_of_node_with_hostile_strings() {
    round_trip(&nodes::hostile());
}

#[test]
fn a_file_as_recorders_write_it() {
    for seed in 0..4 {
        round_trip(&nodes::nodes(seed));
    }
}

#[test]
fn a_window_in_which_nothing_happened() {
    let back = round_trip(&[]);
    assert_eq!(back.rows.num_columns(), tables::SNAPSHOT.columns.len());
}

#[test]
fn more_rows_than_are_decoded_at_a_time() {
    round_trip(&nodes::sized(7, 600, 12_000));
}

#[test]
fn a_footer_that_leaves_out_all_it_can() {
    let mut meta = nodes::meta(3);
    meta.image = wsp_schemas::snapshot::Image::default();
    meta.container = wsp_schemas::snapshot::Container { id: "c".to_owned(), ..Default::default() };
    (meta.covers_start, meta.sensors, meta.limits_hit, meta.lost) =
        (false, Vec::new(), Vec::new(), Vec::new());
    meta.completeness.clear();
    for nodes in [nodes::hostile(), Vec::new()] {
        let back = decode(Bytes::from(encode(&meta, &nodes).unwrap()), &Limits::default()).unwrap();
        assert_eq!((back.meta, back.rows.num_rows()), (meta.clone(), nodes.len()));
    }
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let file = |seed| encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap();
    assert_eq!(file(5), file(5));
}

/// A node before its place in the tree is known.
#[derive(Debug, Clone)]
struct Seed {
    owner: Option<usize>,
    fact: Fact,
    numbers: (i64, i32, i32),
    flags: (bool, bool, bool),
}

fn raw() -> impl Strategy<Value = RawText> {
    prop_oneof![
        "[a-z/.]{0,12}".prop_map(|text| RawText::from(text.as_str())),
        proptest::collection::vec(1_u8.., 0..24).prop_map(RawText::from),
        ".{0,16}".prop_map(|text| RawText::from(text.as_str())),
    ]
}

fn normal() -> impl Strategy<Value = RawText> {
    raw().prop_map(|text| RawText::from(paths::normalise(text.as_bytes()).as_ref()))
}

fn process() -> impl Strategy<Value = Fact> {
    let some = || proptest::option::of(raw());
    let ids = || proptest::collection::vec(any::<u32>(), 0..3);
    let names = (
        some(),
        proptest::option::of(normal()),
        some(),
        proptest::collection::vec(raw(), 0..4),
        raw(),
        raw(),
    );
    (names, ids(), ids(), any::<[bool; 5]>(), any::<bool>(), 0..1000_i64).prop_map(
        |(names, uids, gids, flags, init, count)| {
            let (exec_from, script, argv0, args, comm, cwd) = names;
            let [shebang, cred_change, tty, ns_changed, written_in_window] = flags;
            Fact::Process(Box::new(Process {
                root_kind: Some(if init { RootKind::Init } else { RootKind::ExecSession }),
                exec_from,
                shebang: shebang && script.is_some(),
                script,
                argv0,
                args,
                args_overflow: count,
                comm,
                cwd,
                uids,
                gids,
                cred_change,
                tty,
                stdio: if tty { vec!["tty"; 3] } else { Vec::new() },
                ns_changed,
                written_in_window,
                file_origin: init.then_some("image"),
                processes: count,
            }))
        },
    )
}

fn socket() -> impl Strategy<Value = Socket> {
    let ips = proptest::collection::vec("[0-9a-f:.]{2,20}", 0..4);
    ("[a-z0-9]{1,6}", raw(), any::<u16>(), ips, any::<bool>()).prop_map(
        |(protocol, address, port, remote_ips, named)| Socket {
            protocol,
            address,
            port,
            remote_ips,
            name_source: named.then_some("dns"),
        },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let access = proptest::sample::subsequence(vec!["read", "write", "create", "unlink"], 0..4);
    let file = (normal(), proptest::option::of(raw()), access, proptest::option::of(any::<i32>())).prop_map(
        |(path, path_raw, access, mode)| {
            Fact::File(File { path, path_raw, access, mode, path_source: "argument", file_origin: "tmpfs" })
        },
    );
    prop_oneof![
        3 => process(),
        3 => file,
        1 => (raw(), "[A-Z]{1,5}").prop_map(|(name, rtype)| Fact::Dns { name, rtype }),
        1 => socket().prop_map(Fact::Connect),
        1 => socket().prop_map(Fact::Listen),
        1 => "[a-z_0-9]{1,12}".prop_map(Fact::Syscall),
        1 => "CAP_[A-Z]{1,8}".prop_map(Fact::Capability),
    ]
}

/// Any valid tree: owners are processes that come earlier or later in the file, exes and ids follow from the place.
fn tree() -> impl Strategy<Value = Vec<Node>> {
    let seed = (
        proptest::option::of(0..8_usize),
        fact(),
        (1..=i64::MAX, 0..=WINDOW_MS, 0..=WINDOW_MS),
        any::<(bool, bool, bool)>(),
    );
    let seeds = proptest::collection::vec(seed, 0..24);
    (seeds, proptest::collection::vec(normal(), 8), any::<bool>()).prop_map(|(seeds, exes, backwards)| {
        let seeds =
            seeds.into_iter().map(|(owner, fact, numbers, flags)| Seed { owner, fact, numbers, flags });
        let mut processes: Vec<(NodeId, Option<RawText>)> = Vec::new();
        let (mut nodes, mut seen) = (Vec::new(), HashSet::new());
        for (n, Seed { owner, mut fact, numbers: (events, a, b), flags }) in seeds.enumerate() {
            let owner = owner.and_then(|at| processes.get(at).cloned());
            let exe = match &mut fact {
                Fact::Process(process) => {
                    process.root_kind = process.root_kind.filter(|_| owner.is_none());
                    Some(exes[n % exes.len()].clone())
                }
                _ => owner.as_ref().and_then(|(_, exe)| exe.clone()),
            };
            let node = Node {
                fact,
                parent: owner.map(|(id, _)| id),
                exe,
                phase: if flags.0 { Phase::Startup } else { Phase::Steady },
                seen_by: if flags.1 { SeenBy::Runtime } else { SeenBy::Initial },
                lineage_complete: flags.2,
                events,
                first_seen_ms: a.min(b),
                last_seen_ms: a.max(b),
            };
            if seen.insert(node.id()) {
                if matches!(node.fact, Fact::Process(_)) {
                    processes.push((node.id(), node.exe.clone()));
                }
                nodes.push(node);
            }
        }
        if backwards {
            nodes.reverse();
        }
        nodes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_valid_tree(nodes in tree()) {
        round_trip(&nodes);
    }
}
