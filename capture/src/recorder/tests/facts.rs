use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

use super::*;
use crate::event::StdioKind;

fn only(tree: &Snapshot, kind: Kind) -> Vec<&Fact> {
    tree.nodes.iter().map(|node| &node.fact).filter(|fact| fact.kind() == kind).collect()
}

fn dns(socket: u64, id: u16, name: &str, answers: &[&str]) -> Body {
    let mut packet = if answers.is_empty() { Packet::new_query(id) } else { Packet::new_reply(id) };
    packet.questions.push(Question::new(
        Name::new_unchecked(name),
        QTYPE::TYPE(TYPE::A),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    for answer in answers {
        let address = answer.parse::<std::net::Ipv4Addr>().unwrap().into();
        packet.answers.push(ResourceRecord::new(
            Name::new_unchecked(name),
            CLASS::IN,
            1,
            RData::A(A { address }),
        ));
    }
    Body::Dns { socket, answer: !answers.is_empty(), tcp: false, message: packet.build_bytes_vec().unwrap() }
}

#[test]
fn opens_of_one_file_are_one_node() {
    let copied = FilePath { origin: Origin::CopiedUp, ..file("/proc/self/task/7/x") };
    let tree = script()
        .exec(100, "/bin/a", "a")
        .open(100, "/proc/12/stat", 0)
        .open(100, "/proc/13/stat", 0o2001)
        .open(100, "/etc/x", 0)
        .event(100, Body::Open { file: FilePath { origin: Origin::CopiedUp, ..file("/etc/x") }, flags: 2 })
        .event(100, Body::Open { file: FilePath { truncated: true, ..copied }, flags: 0 })
        .born();
    insta::assert_debug_snapshot!(only(&tree, Kind::File), @r#"
    [
        File(
            File {
                path: "/etc/x",
                path_raw: None,
                access: [
                    "read",
                    "write",
                ],
                mode: None,
                path_source: "kernel",
                file_origin: "copied_up",
            },
        ),
        File(
            File {
                path: "/proc/<pid>/stat",
                path_raw: Some(
                    "/proc/12/stat",
                ),
                access: [
                    "append",
                    "read",
                    "write",
                ],
                mode: None,
                path_source: "kernel",
                file_origin: "image",
            },
        ),
        File(
            File {
                path: "/proc/self/task/7/x",
                path_raw: None,
                access: [
                    "read",
                ],
                mode: None,
                path_source: "truncated",
                file_origin: "copied_up",
            },
        ),
    ]
    "#);
}

#[test]
fn connections_go_by_the_name_that_the_container_was_given() {
    let tree = script()
        .exec(100, "/bin/a", "a")
        .event(100, dns(1, 7, "Db.Example.com", &[]))
        .event(100, dns(1, 7, "db.example.com", &["192.0.2.1", "192.0.2.2", "127.0.0.1"]))
        .connect(100, "192.0.2.1", 5432)
        .connect(100, "192.0.2.2", 5432)
        .connect(100, "192.0.2.3", 5432)
        .connect(100, "127.0.0.1", 80)
        .event(100, dns(2, 8, "forged.example", &["192.0.2.9"]))
        .connect(100, "192.0.2.9", 443)
        .born();
    insta::assert_snapshot!(tree.tree(), @r#"
    [init] /bin/a
      dns db.example.com A
      connect tcp 127.0.0.1:80 []
      connect tcp 192.0.2.3:5432 []
      connect tcp 192.0.2.9:443 []
      connect tcp db.example.com:5432 ["192.0.2.1", "192.0.2.2"] x2
    "#);
}

#[test]
fn unix_sockets_have_their_path() {
    let unix = |address| Body::Connect {
        remote: Endpoint { protocol: Transport::Unix, address, port: 9 },
        result: -111,
    };
    let mut exec = exec(1, "/bin/a", "a");
    exec.cwd = "/srv".into();
    let tree = script()
        .event(100, Body::Exec(exec))
        .event(100, unix(Address::Path("run/x.sock".into())))
        .event(100, unix(Address::Abstract((&b"\x00\xff"[..]).into())))
        .born();
    assert_eq!(
        tree.tree(),
        "[init] /bin/a\n  connect unix ./run/x.sock:0 []\n  connect unix @\0\\xff:0 []\n"
    );
}

#[test]
fn hostile_names_survive() {
    let path: RawText = (&b"/tmp/a\n\x1b[31m\xff\\x"[..]).into();
    let mut exec = exec(1, "/bin/a", "a");
    exec.exe.path = (&b"/tmp/\xfe"[..]).into();
    exec.argv = vec![(&b"\xfd"[..]).into()];
    let tree = script()
        .event(100, Body::Exec(exec))
        .event(100, Body::Open { file: FilePath { path: path.clone(), ..FilePath::default() }, flags: 0 })
        .born();
    assert_eq!(tree.nodes[0].exe, Some((&b"/tmp/\xfe"[..]).into()));
    assert!(matches!(&tree.nodes[1].fact, Fact::File(file) if file.path == path));
}

#[test]
fn attributes_of_processes() {
    let with = |ns_pid, argv: &str, uids, mnt_ns| {
        let mut exec = exec(ns_pid, "/bin/su", argv);
        (exec.uids, exec.gids, exec.mnt_ns, exec.tty) = (uids, [5, 6, 5], mnt_ns, ns_pid == 3);
        exec.stdio = [StdioKind::Null, StdioKind::Pipe, StdioKind::Tty];
        Body::Exec(exec)
    };
    let tree = script()
        .exec(100, "/bin/init", "init")
        .open(100, "/bin/su", 0o1101)
        .fork(100, 101)
        .event(101, with(2, "su --password x", [1000, 0, 0], 42))
        .fork(100, 102)
        .event(102, with(3, "su -", [0, 0, 0], 43))
        .event(102, Body::Title { argv: vec!["su: waiting".into()] })
        .born();
    let process = tree.process("/bin/su");
    let args: Vec<String> = process.args.iter().map(RawText::to_escaped).collect();
    assert_eq!(args, ["su --password '***'", "su -", "'su: waiting'"]);
    assert_eq!((&process.uids[..], &process.gids[..]), (&[0][..], &[6][..]));
    assert!(process.cred_change && process.tty && process.ns_changed && process.written_in_window);
    assert_eq!(process.stdio, ["null", "pipe", "tty"]);
    assert_eq!((process.file_origin, process.processes), (Some("image"), 2));
    assert!(!tree.process("[init]").written_in_window && !tree.process("[init]").ns_changed);
}

#[test]
fn what_is_no_dns_is_counted_and_harmless() {
    let garbage = |answer| Body::Dns { socket: 1, answer, tcp: false, message: vec![0xc0; 30] };
    let tree = script().exec(100, "/bin/a", "a").event(100, garbage(false)).event(100, garbage(true)).born();
    assert_eq!(tree.nodes.len(), 1);
    assert_eq!(
        tree.meta.lost.iter().map(|loss| (loss.kind.as_str(), loss.events)).collect::<Vec<_>>(),
        [("dns", 1)]
    );
}

#[test]
fn the_executable_is_not_an_initial_file() {
    let open = |path| Body::InitialFile { file: file(path), flags: 0 };
    let tree = script()
        .initial(100, None, "/bin/a", "a")
        .event(100, open("/bin/a"))
        .event(100, open("/lib/x.so"))
        .joined();
    assert_eq!(tree.tree(), "[init] /bin/a initial\n  file /lib/x.so read initial\n");
}
