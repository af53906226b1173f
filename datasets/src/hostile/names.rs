//! Names that attack whoever shows, quotes or splits them. All of this is valid, and must survive unchanged.

use wsp_schemas::identity::{Kind, RootKind};
use wsp_schemas::paths::normalise;
use wsp_schemas::snapshot::{Fact, File, Node, Phase, Process, SeenBy, Socket};
use wsp_schemas::text::RawText;

use super::{Gallery, GalleryError, Outcome};

/// Bytes that a container may have as file names: everything but NUL.
pub const HOSTILE_PATHS: [&[u8]; 22] = [
    b"/tmp/'; DROP TABLE profiles; --",
    b"/tmp/\"quoted\" `ticks` $(reboot) ${HOME}",
    b"/tmp/<script>alert(1)</script><img src=x onerror=alert(1)>",
    b"/tmp/new\nline\r\nand\ttab",
    b"/tmp/\x1b[2J\x1b[31mred\x1b]0;title\x07",
    b"/tmp/bell\x07 backspace\x08 delete\x7f",
    b"/tmp/not utf-8 \xff\xfe\xc3\x28",
    b"/tmp/cut short \xe2\x82",
    b"/tmp/back\\slash \\x41 \\n \\\\",
    b"/tmp/\xe2\x80\xaegnp.exe right to left",
    b"/tmp/zero\xe2\x80\x8bwidth \xef\xbb\xbfbom",
    b"/tmp/a%2Fb%00c?query#fragment",
    b"/tmp/../../etc/passwd",
    b"//double//slash/",
    b"/tmp/,comma;semicolon|pipe\ttab,\"csv\"",
    b"/tmp/=cmd|' /C calc'!A0",
    b"/tmp/{name} {{template}} {}",
    b"/tmp/date=2026-01-01/hour=00/x.parquet",
    b"/tmp/<pid>/<uid>/<id>",
    b"/tmp/ leading and trailing space ",
    b"/tmp/na\xc3\xafve \xe2\x82\xac \xf0\x9f\x92\xa9",
    b"",
];

pub(super) fn add(g: &mut Gallery) -> Result<(), GalleryError> {
    let mut snapshot = g.fresh();
    snapshot.meta.host = "host'; --\n<b>\u{1b}[31m".to_owned();
    snapshot.meta.container.name = Some("../../name \"with\" everything\n".to_owned());
    snapshot.meta.container.labels.insert("pod\n\u{202e}".to_owned(), "a=b,c=\"d\"'\\".to_owned());
    snapshot.nodes = nodes();
    let what = "nothing: names with quotes, newlines, terminal escapes, markup, and bytes that are no UTF-8";
    g.add("hostile-names", snapshot.key.path(), what, None, Outcome::Admitted, snapshot.encode()?);
    Ok(())
}

fn node(fact: Fact, owner: Option<&Node>) -> Node {
    Node {
        fact,
        parent: owner.map(Node::id),
        exe: owner.and_then(|owner| owner.exe.clone()),
        phase: Phase::Startup,
        seen_by: SeenBy::Runtime,
        lineage_complete: true,
        events: 1,
        first_seen_ms: 0,
        last_seen_ms: 1,
    }
}

fn process(exe: &[u8], parent: Option<&Node>, args: RawText) -> Node {
    let process = Process {
        root_kind: parent.is_none().then_some(RootKind::Init),
        args: vec![args],
        comm: exe[..exe.len().min(15)].into(),
        cwd: exe.into(),
        ..Process::default()
    };
    Node { exe: Some(exe.into()), ..node(Fact::Process(Box::new(process)), parent) }
}

fn nodes() -> Vec<Node> {
    let root = process(b"/bin/sh", None, "sh -c 'echo \"\n\u{1b}[0m'".into());
    let mut nodes = vec![root.clone()];
    let long = [b"/tmp/".as_slice(), &[b'x'; 4091]].concat();
    for path in HOSTILE_PATHS.into_iter().chain([long.as_slice()]) {
        let normal = normalise(path).into_owned();
        let file = |path: RawText| {
            Fact::File(File {
                path,
                access: vec!["read"],
                path_source: "kernel",
                file_origin: "upper",
                ..File::default()
            })
        };
        nodes.push(node(file(normal.as_slice().into()), Some(&root)));
        let child = process(&normal, Some(&root), path.into());
        nodes.push(node(file("/etc/passwd".into()), Some(&child)));
        nodes.push(child);
        let socket = Socket { protocol: "unix".to_owned(), address: path.into(), ..Socket::default() };
        nodes.push(node(Fact::Connect(socket), Some(&root)));
        nodes.push(node(Fact::Dns { name: path.into(), rtype: "TXT".to_owned() }, Some(&root)));
    }
    // Rows in no particular order: owners need not come first.
    nodes.sort_by_key(|node| node.fact.kind() != Kind::File);
    nodes
}
