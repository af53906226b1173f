//! A container's life as a fuzzer tells it: few processes, few names, so that things meet.

use arbitrary::Arbitrary;
use bytes::Bytes;
use uuid::Uuid;
use wsp_schemas::args::ArgsMode;
use wsp_schemas::identity::Kind;
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{Container, Image, Limits, Sensor, decode, encode};
use wsp_schemas::text::RawText;

use crate::event::{
    Address, Body, BootTime, CgroupId, Clock, Endpoint, Event, Exec, FilePath, Key, LostCause, LostKind,
    Origin, Pid, StdioKind, Transport,
};
use crate::recorder::{ClosedWindow, Met, Options, Recorder, Setting};

/// Windows of one story: writing and reading snapshots takes most of the time.
const WINDOWS: usize = 3;

#[derive(Debug, Arbitrary)]
pub(super) struct Story<'a> {
    running: bool,
    init: Option<u8>,
    args: u8,
    max_nodes: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Arbitrary)]
struct Step<'a> {
    /// Time may stand still, go back, or leap.
    after: i16,
    pid: u8,
    what: What<'a>,
}

#[derive(Debug, Arbitrary)]
enum What<'a> {
    Fork { child: u8 },
    Exec(Program<'a>),
    Exit,
    Open { path: Text<'a>, flags: u32, truncated: bool, origin: u8 },
    InitialFile { path: Text<'a>, flags: u32 },
    Connect { end: End<'a> },
    Listen { end: End<'a> },
    InitialListen { end: End<'a> },
    Dns { socket: u8, answer: bool, message: &'a [u8] },
    Question { socket: u8, id: u8, name: &'a [u8] },
    Answer { socket: u8, id: u8, name: &'a [u8], address: [u8; 4] },
    InitialProcess { parent: Option<u8>, guess: bool, program: Program<'a> },
    Title { argv: Vec<Text<'a>> },
    Lost { kind: u8, cause: u8, events: u64 },
    Turn,
}

#[derive(Debug, Arbitrary)]
struct Program<'a> {
    exe: Text<'a>,
    script: Option<Text<'a>>,
    argv: Vec<Text<'a>>,
    cwd: Text<'a>,
    uids: [u32; 3],
    tty: bool,
    null: bool,
    ns_pid: u8,
    pid_ns_level: u8,
    mnt_ns: u8,
    started: Option<u16>,
}

/// One of few, or anything.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Text<'a> {
    Known(u8),
    Any(&'a [u8]),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum End<'a> {
    Ip { address: std::net::IpAddr, port: u16, udp: bool },
    Near { last: u8, port: u8 },
    Path(Text<'a>),
    Abstract(Text<'a>),
}

impl Story<'_> {
    /// Nothing panics, no window has more nodes than allowed, and every snapshot passes all checks of its reader.
    pub(super) fn play(self) {
        let args = [ArgsMode::Scrubbed, ArgsMode::Hashed, ArgsMode::Off][usize::from(self.args) % 3];
        let options = Options { args, max_nodes: usize::from(self.max_nodes), ..Options::default() };
        let met = if self.running { Met::Running } else { Met::Unstarted };
        let mut now = 1_000_000_000_000;
        let mut recorder = Recorder::new(options, met, self.init.map(pid), BootTime(now));
        let mut windows = 0;
        for step in self.steps {
            now = u64::saturating_add_signed(now, i64::from(step.after) * 10_000_000);
            let Some(body) = body(step.what) else {
                if windows < WINDOWS {
                    windows += 1;
                    check(recorder.turn(BootTime(now)), &options);
                }
                continue;
            };
            recorder.record(&Event {
                at: BootTime(now),
                cgroup: CgroupId(1),
                pid: pid(step.pid),
                key: Key::NONE,
                body,
            });
        }
        check(recorder.turn(BootTime(now)), &options);
    }
}

fn check(window: ClosedWindow, options: &Options) {
    let sensor = |kind: Kind| Sensor { kind: kind.as_str().to_owned(), hook: "fuzz".to_owned() };
    let setting = Setting {
        id: SnapshotId::new(Uuid::from_u128(0x0198_b5a2_7c1e_7d55_9a3c_6f2e_5d4c_3b2a)),
        image: Image::default(),
        container: Container { id: "c".to_owned(), ..Container::default() },
        host: "h".to_owned(),
        kernel: "k".to_owned(),
        sensors: Kind::ALL.map(sensor).to_vec(),
        clock: Clock { wall_at_boot_ns: 1_795_000_000_000_000_000 },
    };
    let (meta, nodes) = window.into_snapshot(&setting);
    assert!(nodes.len() <= options.max_nodes, "{} nodes of {}", nodes.len(), options.max_nodes);
    let file = encode(&meta, &nodes).expect("a recorder's snapshot can be written");
    let read =
        decode(Bytes::from(file), &Limits::default()).expect("what was written can be read and verified");
    assert_eq!((read.rows.num_rows(), &read.meta), (nodes.len(), &meta));
}

/// None for a turn.
fn body(what: What<'_>) -> Option<Body> {
    Some(match what {
        What::Turn => return None,
        What::Fork { child } => Body::Fork { child: pid(child) },
        What::Exec(program) => Body::Exec(Box::new(exec(program))),
        What::Exit => Body::Exit,
        What::Open { path, flags, truncated, origin } => Body::Open {
            file: FilePath { path: text(path), origin: from(&ORIGINS, origin), truncated, argument: false },
            flags,
        },
        What::InitialFile { path, flags } => {
            Body::InitialFile { file: FilePath { path: text(path), ..FilePath::default() }, flags }
        }
        What::Connect { end } => Body::Connect { remote: endpoint(end), result: 0 },
        What::Listen { end } => Body::Listen { local: endpoint(end) },
        What::InitialListen { end } => Body::InitialListen { local: endpoint(end) },
        What::Dns { socket, answer, message } => dns(socket, answer, message.to_vec()),
        What::Question { socket, id, name } => dns(socket, false, message(id, name, None)),
        What::Answer { socket, id, name, address } => dns(socket, true, message(id, name, Some(address))),
        What::InitialProcess { parent, guess, program } => Body::InitialProcess {
            parent: parent.map(pid),
            parent_is_guess: guess,
            exec: Box::new(exec(program)),
        },
        What::Title { argv } => Body::Title { argv: argv.into_iter().map(text).collect() },
        What::Lost { kind, cause, events } => {
            Body::Lost { kind: from(&LOST, kind), cause: from(&CAUSES, cause), events }
        }
    })
}

const ORIGINS: [Origin; 9] = [
    Origin::Image,
    Origin::CopiedUp,
    Origin::Upper,
    Origin::Volume,
    Origin::Tmpfs,
    Origin::Memfd,
    Origin::Pseudo,
    Origin::Deleted,
    Origin::Unknown,
];
const LOST: [LostKind; 7] = [
    LostKind::Exec,
    LostKind::Fork,
    LostKind::Exit,
    LostKind::Open,
    LostKind::Connect,
    LostKind::Listen,
    LostKind::Dns,
];
const CAUSES: [LostCause; 4] =
    [LostCause::RingFull, LostCause::MapFull, LostCause::Undecodable, LostCause::Late];
const NAMES: [&str; 12] = [
    "/bin/busybox",
    "/usr/bin/python3",
    "sh",
    "app.py",
    "/proc/77/status",
    "/sys/fs/cgroup/kubepods.slice/kubepods-pod0f9a.slice/x",
    "..",
    "",
    "/dev/fd/3",
    "/dev/null",
    "--password",
    "postgres://u:p@h/d",
];

fn from<T: Copy, const N: usize>(all: &[T; N], at: u8) -> T {
    all[usize::from(at) % N]
}

/// Few of them.
fn pid(of: u8) -> Pid {
    Pid(u32::from(of % 16))
}

fn text(text: Text<'_>) -> RawText {
    match text {
        Text::Known(at) => from(&NAMES, at).into(),
        Text::Any(bytes) => bytes.into(),
    }
}

fn exec(program: Program<'_>) -> Exec {
    let argv: Vec<RawText> = program.argv.into_iter().map(text).collect();
    Exec {
        exe: FilePath { path: text(program.exe), ..FilePath::default() },
        script: program.script.map(text),
        argv_truncated: argv.len() > 8,
        comm: argv.first().cloned().unwrap_or_default(),
        argv,
        cwd: text(program.cwd),
        uids: program.uids,
        gids: program.uids,
        tty: program.tty,
        stdio: [if program.null { StdioKind::Null } else { StdioKind::Pipe }; 3],
        ns_pid: u32::from(program.ns_pid),
        pid_ns_level: u32::from(program.pid_ns_level),
        mnt_ns: u32::from(program.mnt_ns),
        started: program.started.map(|at| BootTime(1_000_000_000_000 + u64::from(at) * 10_000_000)),
    }
}

fn endpoint(end: End<'_>) -> Endpoint {
    let unix = |address| Endpoint { protocol: Transport::Unix, address, port: 0 };
    match end {
        End::Ip { address, port, udp } => {
            let protocol = if udp { Transport::Udp } else { Transport::Tcp };
            Endpoint { protocol, address: Address::Ip(address), port }
        }
        End::Near { last, port } => Endpoint {
            protocol: Transport::Tcp,
            address: Address::Ip([192, 0, 2, last % 4].into()),
            port: port.into(),
        },
        End::Path(name) => unix(Address::Path(text(name))),
        End::Abstract(name) => unix(Address::Abstract(text(name))),
    }
}

fn dns(socket: u8, answer: bool, message: Vec<u8>) -> Body {
    Body::Dns { socket: u64::from(socket % 4), answer, tcp: false, message }
}

/// A message about a name of one label, with an address where it is an answer.
fn message(id: u8, name: &[u8], address: Option<[u8; 4]>) -> Vec<u8> {
    let name = &name[..name.len().min(63)];
    let mut out = vec![0, id % 4, 1, 0, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0];
    out.push(u8::try_from(name.len()).unwrap_or_default());
    out.extend_from_slice(name);
    if !name.is_empty() {
        out.push(0);
    }
    out.extend_from_slice(&[0, 1, 0, 1]);
    if let Some(address) = address {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend_from_slice(&address);
    }
    out
}
