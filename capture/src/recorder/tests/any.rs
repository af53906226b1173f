use proptest::prelude::*;

use super::*;

fn pid() -> impl Strategy<Value = Pid> {
    (0_u32..12).prop_map(|n| Pid(100 + n))
}

fn path() -> impl Strategy<Value = FilePath> {
    let origins = prop_oneof![Just(Origin::Image), Just(Origin::Memfd), Just(Origin::Unknown)];
    let text = prop_oneof![
        "/(bin|proc|etc|tmp)/[a-c0-9]{1,2}(/task/[0-9])?".prop_map(|text| RawText::from(text.as_str())),
        proptest::collection::vec(1_u8.., 0..12).prop_map(RawText::from),
        Just(RawText::from("/bin/busybox")),
    ];
    (text, origins, any::<bool>()).prop_map(|(path, origin, truncated)| FilePath {
        path,
        origin,
        truncated,
        argument: false,
    })
}

fn exec() -> impl Strategy<Value = Box<Exec>> {
    let text = || proptest::collection::vec(1_u8.., 0..8).prop_map(RawText::from);
    (
        path(),
        proptest::option::of(text()),
        proptest::collection::vec(text(), 0..3),
        text(),
        0_u32..3,
        0_u32..2,
        proptest::option::of(0_u64..100),
    )
        .prop_map(|(exe, script, argv, cwd, ns_pid, level, started)| {
            let started = started.map(|n| at(1000 + n * 10));
            Box::new(Exec {
                exe,
                script,
                argv,
                cwd,
                ns_pid,
                pid_ns_level: level,
                started,
                mnt_ns: ns_pid,
                ..Exec::default()
            })
        })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let text = || proptest::collection::vec(any::<u8>(), 0..8).prop_map(RawText::from);
    let address = prop_oneof![
        any::<std::net::IpAddr>().prop_map(Address::Ip),
        text().prop_map(Address::Path),
        text().prop_map(Address::Abstract),
    ];
    let protocol =
        prop_oneof![Just(Transport::Tcp), Just(Transport::Unix), any::<u16>().prop_map(Transport::Other)];
    (protocol, address, any::<u16>()).prop_map(|(protocol, address, port)| Endpoint {
        protocol,
        address,
        port,
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        3 => pid().prop_map(|child| Body::Fork { child }),
        3 => exec().prop_map(Body::Exec),
        1 => Just(Body::Exit),
        3 => (path(), any::<u32>()).prop_map(|(file, flags)| Body::Open { file, flags }),
        1 => endpoint().prop_map(|remote| Body::Connect { remote, result: 0 }),
        1 => endpoint().prop_map(|local| Body::Listen { local }),
        1 => endpoint().prop_map(|local| Body::InitialListen { local }),
        1 => (0_u64..3, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(socket, answer, message)| Body::Dns { socket, answer, tcp: false, message }),
        1 => (proptest::option::of(pid()), any::<bool>(), exec())
            .prop_map(|(parent, parent_is_guess, exec)| Body::InitialProcess { parent, parent_is_guess, exec }),
        1 => (path(), any::<u32>()).prop_map(|(file, flags)| Body::InitialFile { file, flags }),
        1 => proptest::collection::vec("[a-z ]{0,5}", 0..3)
            .prop_map(|argv| Body::Title { argv: argv.iter().map(|arg| RawText::from(arg.as_str())).collect() }),
        1 => Just(Body::Lost { kind: LostKind::Fork, cause: LostCause::MapFull, events: 2 }),
        1 => Just(Body::ContainerGone),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, in however many windows: every file is one that a merge accepts. `snapshot`
    /// encodes, decodes and so verifies.
    #[test]
    fn every_sequence_becomes_a_valid_file(
        events in proptest::collection::vec((0_u64..500, pid(), body()), 0..80),
        turns in proptest::collection::vec(0_usize..80, 0..3),
        max_nodes in prop_oneof![Just(100_000_usize), 0_usize..12],
        unstarted in any::<bool>(),
    ) {
        let met = if unstarted { Met::Unstarted } else { Met::Running };
        let mut recorder = Recorder::new(Options { max_nodes, ..Options::default() }, met, None, at(1100));
        for (n, (ms, pid, body)) in events.into_iter().enumerate() {
            if turns.contains(&n) {
                let tree = snapshot(recorder.turn(at(1100 + n as u64)));
                prop_assert!(tree.nodes.len() <= max_nodes);
            }
            recorder.record(&Event { at: at(1000 + ms), cgroup: CGROUP, pid, key: Key::NONE, body });
        }
        let tree = snapshot(recorder.turn(at(1400)));
        prop_assert!(tree.nodes.len() <= max_nodes);
        // Owners come before what they own.
        let mut seen = HashSet::new();
        for node in &tree.nodes {
            prop_assert!(node.parent.is_none_or(|parent| seen.contains(&parent)));
            seen.insert(node.id());
        }
    }
}
