//! Snapshots of earlier path rules: once read, they are what a recorder with the present rules would have written.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use wsp_schemas::identity::{NodeId, RootKind};
use wsp_schemas::paths::{RULES_VERSION, normalise_as};
use wsp_schemas::snapshot::{
    Fact, File, Limits, Node, Phase, Process, Scan, Scanner, SeenBy, Socket, encode, renew,
};
use wsp_schemas::tables::{CONSTANT_COLUMNS, SNAPSHOT};
use wsp_schemas::text::RawText;

use crate::both::decode;
use crate::nodes::meta;

/// What a recorder with rules of some version makes of a container.
struct Recorder {
    rules: i32,
    nodes: Vec<Node>,
    at: i32,
}

impl Recorder {
    fn normal(&self, path: &[u8]) -> RawText {
        normalise_as(self.rules, path).into_owned().into()
    }

    fn add(&mut self, fact: Fact, parent: Option<&Node>, exe: RawText) -> Node {
        self.at += 1;
        let node = Node {
            fact,
            parent: parent.map(Node::id),
            exe: Some(exe),
            phase: Phase::Startup,
            seen_by: SeenBy::Runtime,
            lineage_complete: true,
            events: i64::from(self.at),
            first_seen_ms: self.at,
            last_seen_ms: self.at * 2,
        };
        self.nodes.push(node.clone());
        node
    }

    fn process(&mut self, parent: Option<&Node>, exe: &[u8], script: Option<&[u8]>, cwd: &[u8]) -> Node {
        let process = Process {
            root_kind: parent.is_none().then_some(RootKind::Init),
            exec_from: Some(self.normal(b"/proc/self/fd/9")),
            script: script.map(|script| self.normal(script)),
            shebang: script.is_some(),
            cwd: self.normal(cwd),
            comm: "x".into(),
            ..Process::default()
        };
        let exe = self.normal(exe);
        self.add(Fact::Process(Box::new(process)), parent, exe)
    }

    fn owned(&mut self, owner: &Node, fact: Fact) {
        self.add(fact, Some(owner), owner.exe.clone().unwrap());
    }

    fn file(&mut self, owner: &Node, raw: &[u8]) {
        let path = self.normal(raw);
        let path_raw = (path.as_bytes() != raw).then(|| raw.into());
        let file = File { path, path_raw, path_source: "kernel", file_origin: "pseudo", ..File::default() };
        self.owned(owner, Fact::File(file));
    }

    fn connect(&mut self, owner: &Node, protocol: &str, address: RawText) {
        let socket = Socket { protocol: protocol.to_owned(), address, ..Socket::default() };
        self.owned(owner, Fact::Connect(socket));
    }
}

/// A container whose paths the rules of version 2 change: of the processes, of what they touch, and of what hangs below.
fn record(rules: i32) -> Vec<Node> {
    let mut recorder = Recorder { rules, nodes: Vec::new(), at: 0 };
    let init = recorder.process(None, b"/sbin/init", None, b"/");
    let below = recorder.process(Some(&init), b"/proc/7/fd/3", None, b"/dev/pts/1");
    let deeper = recorder.process(Some(&below), b"/bin/sh", Some(b"/dev/pts/2"), b"/srv");
    for owner in [&init, &below, &deeper] {
        recorder.file(owner, b"/dev/pts/3");
        recorder.file(owner, b"/proc/12/fd/4");
        recorder.file(owner, b"/etc/passwd");
        recorder.file(owner, b"/sys/devices/system/cpu/cpu3/\xff\\");
        recorder.owned(owner, Fact::Dns { name: "dm-1".into(), rtype: "A".into() });
        recorder.owned(owner, Fact::Syscall("read".to_owned()));
        recorder.owned(owner, Fact::Capability("CAP_CHOWN".to_owned()));
        let path = recorder.normal(b"/tmp/hsperfdata_x/17");
        recorder.connect(owner, "unix", path);
        // No paths, whatever they look like.
        recorder.connect(owner, "unix", "@/tmp/hsperfdata_x/17".into());
        recorder.connect(owner, "tcp", "pts/17".into());
    }
    recorder.nodes
}

/// Every node column of every node, by id and place in the file.
fn columns(nodes: &[Node], rules: i32) -> BTreeMap<&'static str, ArrayRef> {
    let mut meta = meta(1);
    meta.path_rules = rules;
    let file = Bytes::from(encode(&meta, nodes).unwrap());
    let mut scanner = Scanner::default();
    let scan = scanner.scan(&file, &Limits::default()).unwrap();
    let again = scanner.scan(&file, &Limits::default()).unwrap();
    assert_eq!(scan.numbers(), again.numbers(), "read with what the scanner remembers");
    let places: Vec<(usize, usize)> = (0..scan.len()).map(|row| (0, row)).collect();
    let column = |name| Scan::gather(name, &[&scan], &places);
    let ids = column("node_id").unwrap();
    for (row, number) in scan.numbers().iter().enumerate() {
        let id = NodeId::from_bytes(ids.as_binary::<i32>().value(row).try_into().unwrap());
        assert_eq!(scanner.node(*number), Some(id));
    }
    SNAPSHOT
        .columns
        .iter()
        .filter(|column| !CONSTANT_COLUMNS.contains(&column.name))
        .map(|declared| (declared.name, column(declared.name).unwrap()))
        .collect()
}

/// Rows of a file are sorted by what they are, so those of both versions need not have the same order.
fn by_events(columns: &BTreeMap<&'static str, ArrayRef>) -> BTreeMap<&'static str, ArrayRef> {
    let order = arrow::compute::sort_to_indices(&columns["events"], None, None).unwrap();
    let take = |column: &ArrayRef| arrow::compute::take(column, &order, None).unwrap();
    columns.iter().map(|(name, column)| (*name, take(column))).collect()
}

#[test]
fn an_earlier_version_reads_as_the_present_one() {
    let (old, new) = (record(1), record(RULES_VERSION));
    assert_ne!(old, new);
    let (old, new) = (by_events(&columns(&old, 1)), by_events(&columns(&new, RULES_VERSION)));
    for (name, column) in &new {
        assert_eq!(&old[name], column, "{name}");
    }
}

#[test]
fn nothing_changes_where_the_rules_agree() {
    let nodes = crate::nodes::nodes(3);
    let (old, new) = (columns(&nodes, 1), columns(&nodes, RULES_VERSION));
    assert_eq!(old, new);
}

#[test]
fn rows_of_one_node_keep_one_number() {
    let mut recorder = Recorder { rules: 1, nodes: Vec::new(), at: 0 };
    let init = recorder.process(None, b"/sbin/init", None, b"/");
    for n in 0..3 {
        recorder.file(&init, format!("/dev/pts/{n}").as_bytes());
    }
    let mut meta = meta(1);
    meta.path_rules = 1;
    let file = Bytes::from(encode(&meta, &recorder.nodes).unwrap());
    let mut scanner = Scanner::default();
    let scan = scanner.scan(&file, &Limits::default()).unwrap();
    let mut numbers = scan.numbers().to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((scan.len(), numbers.len()), (4, 2));
    assert_eq!((0..4).map(|row| scan.events(row)).sum::<i64>(), 1 + 2 + 3 + 4);
}

#[test]
fn decoded_rows_stay_as_they_were_recorded() {
    let mut meta = meta(1);
    meta.path_rules = 1;
    let file = Bytes::from(encode(&meta, &record(1)).unwrap());
    let rows = wsp_schemas::snapshot::decode(file, &Limits::default()).unwrap().rows;
    let paths = |rows: &arrow::array::RecordBatch| {
        let column = rows["path"].as_string::<i32>();
        column.iter().flatten().filter(|path| *path == "/dev/pts/3").count()
    };
    assert_eq!(paths(&rows), 3);
    let renewed = renew(&rows).unwrap().unwrap();
    assert_eq!((paths(&renewed), renewed.num_rows()), (0, rows.num_rows()));
    assert_eq!(
        arrow::compute::sum(renewed["events"].as_primitive::<Int64Type>()),
        arrow::compute::sum(rows["events"].as_primitive::<Int64Type>())
    );
    assert!(renew(&renewed).unwrap().is_none(), "twice is once");
}

#[test]
fn a_file_must_have_gone_through_the_rules_that_it_names() {
    let refused = |rules: i32, change: fn(&mut Fact) -> bool| {
        let mut nodes = record(rules);
        let changed = nodes.iter_mut().map(|node| change(&mut node.fact)).filter(|changed| *changed).count();
        assert!(changed > 0);
        let mut meta = meta(1);
        meta.path_rules = rules;
        decode(Bytes::from(encode(&meta, &nodes).unwrap()), &Limits::default()).unwrap_err().to_string()
    };
    let error = refused(1, |fact| match fact {
        Fact::File(file) if file.path.as_bytes() == b"/etc/passwd" => {
            file.path = "/proc/12/maps".into();
            true
        }
        _ => false,
    });
    assert!(error.contains("`path` did not go through the path rules"), "{error}");
    let error = refused(RULES_VERSION, |fact| match fact {
        Fact::Connect(socket)
            if socket.protocol == "unix" && !socket.address.as_bytes().starts_with(b"@") =>
        {
            socket.address = "/tmp/hsperfdata_x/17".into();
            true
        }
        _ => false,
    });
    assert!(error.contains("`address` did not go through the path rules"), "{error}");
}
