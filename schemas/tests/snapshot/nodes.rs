//! A snapshot as a web server's container would give it: deterministic, with the shares of kinds and the lengths of
//! text that real recordings have. Tests and benchmarks share it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use wsp_schemas::identity::{Kind, NodeId, RootKind};
use wsp_schemas::image::Workload;
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{
    Completeness, Container, Fact, File, Image, Loss, Node, Phase, Process, SeenBy, Sensor, SnapshotMeta,
    Socket,
};
use wsp_schemas::text::RawText;

/// Length of every window made here.
pub const WINDOW_MS: i32 = 1_800_000;

/// Small, seeded, and the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }
}

/// The footer of a healthy half hour.
pub fn meta(seed: u64) -> SnapshotMeta {
    let start = DateTime::<Utc>::from_timestamp_millis(1_795_489_200_123).unwrap()
        + TimeDelta::minutes(seed as i64 % 1000);
    let hex = |len: usize, n: u64| {
        format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4)[..len].to_owned()
    };
    SnapshotMeta {
        id: SnapshotId::new(Uuid::from_u128(0x0198_b5a2_7c1e_7d55_9a3c_6f2e_0000_0000 + u128::from(seed))),
        image: Image {
            workload: Some(Workload::parse("ghcr.io/acme/shop/web-frontend:1.24.3").unwrap()),
            digest: Some(format!("sha256:{}", hex(64, 1))),
        },
        container: Container {
            id: hex(64, seed + 7),
            name: Some(format!("web-frontend-{}-{}", hex(10, 3), hex(5, seed + 9))),
            started: Some(start - TimeDelta::seconds(2)),
            labels: BTreeMap::from([
                ("namespace".to_owned(), "shop".to_owned()),
                ("pod".to_owned(), format!("web-frontend-{}-{}", hex(10, 3), hex(5, seed + 9))),
            ]),
        },
        host: format!("node-{:04}.eu-west-1.compute.internal", seed % 5000),
        window_start: start,
        window_end: start + TimeDelta::milliseconds(i64::from(WINDOW_MS)),
        covers_start: true,
        writer: "wsp-capture 0.1.0".to_owned(),
        kernel: "6.12.41-cloud-amd64".to_owned(),
        path_rules: wsp_schemas::paths::RULES_VERSION,
        sensors: [
            ("process", "tp_btf/sched_process_exec"),
            ("file", "fentry/security_file_open"),
            ("dns", "cgroup_skb/ingress"),
        ]
        .map(|(kind, hook)| Sensor { kind: kind.to_owned(), hook: hook.to_owned() })
        .to_vec(),
        completeness: BTreeMap::from([
            ("process".to_owned(), Completeness::Complete),
            ("file".to_owned(), Completeness::Lossy),
            ("dns".to_owned(), Completeness::JoinedLate),
        ]),
        lost: vec![Loss { kind: "file".to_owned(), cause: "ring_full".to_owned(), events: 12 }],
        limits_hit: vec!["files_per_process".to_owned()],
    }
}

/// About 330 nodes: mostly files, two dozen processes, a little network.
pub fn nodes(seed: u64) -> Vec<Node> {
    sized(seed, 24, 275)
}

/// A tree of so many processes with so many files, and some sockets and names.
pub fn sized(seed: u64, processes: usize, files: usize) -> Vec<Node> {
    let mut random = Random::new(seed);
    let mut out: Vec<Node> = Vec::new();
    let mut owners: Vec<(NodeId, RawText)> = Vec::new();
    for n in 0..processes {
        let (exe, argv0, script) = match n % 4 {
            0 => ("/usr/sbin/nginx", None, None),
            1 => ("/bin/busybox", Some(["sh", "cat", "sed", "find"][n / 4 % 4]), None),
            2 => ("/usr/bin/dash", None, Some("/docker-entrypoint.d/10-listen-on-ipv6-by-default.sh")),
            _ => ("/usr/bin/python3.11", None, None),
        };
        let parent = (n > 0).then(|| owners[random.below(owners.len() as u64) as usize].0);
        let process = Process {
            root_kind: parent.is_none().then_some(RootKind::Init),
            exec_from: (n % 3 == 0).then(|| "/usr/bin/dash".into()),
            script: script.map(RawText::from),
            shebang: script.is_some(),
            argv0: argv0.map(RawText::from),
            args: (0..=n % 3)
                .map(|k| RawText::from(format!("{exe} -c /etc/app/{n}/{k}.conf --workers 4").into_bytes()))
                .collect(),
            args_overflow: 0,
            comm: exe.rsplit('/').next().unwrap().into(),
            cwd: "/srv/www".into(),
            uids: vec![0, 101],
            gids: vec![0],
            stdio: vec!["null", "pipe", "pipe"],
            file_origin: Some("image"),
            processes: 1 + random.below(4) as i64,
            ..Process::default()
        };
        let exe = RawText::from(
            format!("{exe}{}", if n < 8 { String::new() } else { format!("-{n}") }).into_bytes(),
        );
        let node = node(&mut random, Fact::Process(Box::new(process)), parent, Some(exe.clone()));
        owners.push((node.id(), exe));
        out.push(node);
    }
    for n in 0..files {
        let (owner, exe) = owners[random.below(owners.len() as u64) as usize].clone();
        let pick = random.below(1000);
        let path = match n % 8 {
            0 => format!(
                "/usr/lib/x86_64-linux-gnu/lib{}.so.{}",
                ["ssl", "crypto", "pcre2-8", "z", "c", "m"][n % 6],
                pick % 90
            ),
            1 => format!("/etc/nginx/conf.d/site-{pick}.conf"),
            2 => format!(
                "/usr/lib/python3/dist-packages/acme/handlers/__pycache__/module_{pick}.cpython-311.pyc"
            ),
            3 => "/proc/<pid>/status".to_owned(),
            4 => format!("/var/cache/nginx/proxy_temp/{}/{:02}/000000{pick:04}", pick % 10, pick % 100),
            5 => format!("/srv/www/static/assets/img/{pick}.webp"),
            6 => "/var/run/secrets/kubernetes.io/serviceaccount/..<time>/token".to_owned(),
            _ => format!("/usr/share/zoneinfo/Europe/{pick}"),
        };
        let file = File {
            path: RawText::from(path.into_bytes()),
            path_raw: (n % 8 == 3).then(|| RawText::from(format!("/proc/{}/status", 1 + pick).into_bytes())),
            access: if n % 8 == 4 { vec!["read", "write", "create"] } else { vec!["read"] },
            mode: (n % 8 == 4).then_some(0o600),
            path_source: "kernel",
            file_origin: ["image", "image", "upper", "volume"][n % 4],
        };
        out.push(node(&mut random, Fact::File(file), Some(owner), Some(exe)));
    }
    for (n, (owner, exe)) in owners.into_iter().enumerate() {
        let name: RawText = format!("service-{}.shop.svc.cluster.local", n % 9).as_str().into();
        let socket = Socket {
            protocol: "tcp".to_owned(),
            address: name.clone(),
            port: 8443,
            remote_ips: vec![format!("10.42.{}.17", n % 9)],
            name_source: Some("dns"),
        };
        out.push(node(
            &mut random,
            Fact::Dns { name, rtype: "A".to_owned() },
            Some(owner),
            Some(exe.clone()),
        ));
        if n % 2 == 0 {
            out.push(node(&mut random, Fact::Connect(socket), Some(owner), Some(exe)));
        }
    }
    let mut seen = std::collections::HashSet::new();
    out.retain(|node| seen.insert(node.id()));
    out
}

fn node(random: &mut Random, fact: Fact, parent: Option<NodeId>, exe: Option<RawText>) -> Node {
    // Most of what a container does, it does first in its first seconds.
    let first =
        if random.below(4) > 0 { random.below(20_000) } else { random.below(WINDOW_MS as u64) } as i32;
    let last =
        if random.below(3) == 0 { first } else { first + random.below((WINDOW_MS - first) as u64) as i32 };
    Node {
        fact,
        parent,
        exe,
        phase: if first < 180_000 { Phase::Startup } else { Phase::Steady },
        seen_by: SeenBy::Runtime,
        lineage_complete: true,
        events: 1 + if random.below(3) == 0 { random.below(5000) } else { random.below(6) } as i64,
        first_seen_ms: first,
        last_seen_ms: last,
    }
}

/// One node of every kind, with text that breaks careless code: bytes that are no UTF-8, quotes, newlines, terminal
/// escapes, backslashes, text that looks like the escape itself, bidirectional overrides.
pub fn hostile() -> Vec<Node> {
    let nasty = || {
        RawText::from(
            b"/tmp/\xff\xfe \"it's\" \\ \\\\xff \\x41\r\n\x1b[31;1m\x07\xe2\x80\xae$(reboot)`;'\xc3".to_vec(),
        )
    };
    let fields = |fact, parent, exe: Option<RawText>| Node {
        fact,
        parent,
        exe,
        phase: Phase::Steady,
        seen_by: SeenBy::Initial,
        lineage_complete: false,
        events: i64::MAX,
        first_seen_ms: 0,
        last_seen_ms: WINDOW_MS,
    };
    let process = |root_kind, script: Option<RawText>| {
        Fact::Process(Box::new(Process {
            root_kind,
            exec_from: Some(nasty()),
            shebang: script.is_some(),
            script,
            argv0: Some(nasty()),
            args: vec![nasty(), RawText::default()],
            args_overflow: 3,
            comm: nasty(),
            cwd: nasty(),
            uids: vec![0, u32::MAX],
            gids: Vec::new(),
            cred_change: true,
            tty: true,
            stdio: vec!["tty", "none", "file"],
            ns_changed: true,
            written_in_window: true,
            file_origin: Some("memfd"),
            processes: 1,
        }))
    };
    let socket = |protocol: &str, port| Socket {
        protocol: protocol.to_owned(),
        address: nasty(),
        port,
        remote_ips: vec!["2001:db8::1".to_owned(), "192.0.2.7".to_owned()],
        name_source: None,
    };
    let init = fields(process(Some(RootKind::Init), None), None, Some(nasty()));
    let session = fields(process(Some(RootKind::ExecSession), Some(nasty())), None, Some(nasty()));
    let owner = Some(init.id());
    let child = fields(process(None, None), owner, Some("/bin/sh".into()));
    let file = File {
        path: nasty(),
        path_raw: Some(nasty()),
        access: vec!["read", "unlink"],
        mode: Some(-1),
        path_source: "truncated",
        file_origin: "unknown",
    };
    let mut out = vec![init, session, child, fields(Fact::File(file.clone()), owner, Some(nasty()))];
    out.push(fields(Fact::File(file), None, None));
    out.push(fields(Fact::Dns { name: nasty(), rtype: "TYPE65".to_owned() }, owner, Some(nasty())));
    out.push(fields(Fact::Connect(socket("unix", 0)), owner, Some(nasty())));
    out.push(fields(Fact::Listen(socket("ip132", u16::MAX)), owner, Some(nasty())));
    out.push(fields(Fact::Syscall("clone3".to_owned()), owner, Some(nasty())));
    out.push(fields(Fact::Capability("CAP_SYS_ADMIN".to_owned()), owner, Some(nasty())));
    debug_assert_eq!(
        out.iter().map(|node| node.fact.kind()).collect::<std::collections::HashSet<Kind>>().len(),
        7
    );
    out
}
