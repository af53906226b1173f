use std::collections::BTreeMap;

use wsp_schemas::snapshot::{Fact, Node};

use crate::catalogue::archetypes::ARCHETYPES;
use crate::catalogue::{Class, Group, build};
use crate::spec::FleetSpec;

fn attacks(spec: &FleetSpec, image: usize) -> BTreeMap<String, Group> {
    let groups = build(spec, image, 0).groups.into_iter();
    groups.filter(|group| group.class == Class::Attack).map(|group| (group.name.clone(), group)).collect()
}

/// A node that another group has already would be left out in silence.
#[test]
fn every_kind_is_whole_in_every_image() {
    let spec = FleetSpec::default();
    let sizes = |image| -> BTreeMap<String, usize> {
        attacks(&spec, image).into_iter().map(|(name, group)| (name, group.nodes.len())).collect()
    };
    let first = sizes(0);
    for (image, archetype) in ARCHETYPES.iter().enumerate() {
        assert_eq!(sizes(image), first, "{}", archetype.name);
    }
    insta::assert_debug_snapshot!(first);
}

/// Hosts without a DNS sensor see something of each kind.
#[test]
fn no_kind_is_of_names_alone() {
    for (name, group) in attacks(&FleetSpec::default(), 0) {
        assert!(group.nodes.iter().any(|node| !matches!(node.node.fact, Fact::Dns { .. })), "{name}");
    }
}

#[test]
fn the_traits_that_rules_look_for_are_there() {
    let of = attacks(&FleetSpec::default(), 3);
    let any = |name: &str, is: &dyn Fn(&Node) -> bool| of[name].nodes.iter().any(|node| is(&node.node));
    let process = |name: &str, is: &dyn Fn(&wsp_schemas::snapshot::Process) -> bool| {
        any(name, &|node| matches!(&node.fact, Fact::Process(process) if is(process)))
    };
    assert!(process("memfd-execution", &|process| process.file_origin == Some("memfd")));
    assert!(process("shm-execution", &|process| process.written_in_window));
    assert!(process("namespace-escape", &|process| process.ns_changed));
    assert!(process("setuid-escalation", &|process| process.cred_change));
    assert!(any("setuid-escalation", &|node| {
        matches!(&node.fact, Fact::File(file) if file.mode == Some(0o4755) && file.access == ["chmod"])
    }));
    for (kind, capability) in [("process-injection", "CAP_SYS_PTRACE"), ("kernel-module", "CAP_SYS_MODULE")] {
        assert!(any(kind, &|node| matches!(&node.fact, Fact::Capability(name) if name == capability)));
    }
    for kind in ["exfiltration", "metadata-theft"] {
        assert!(!any(kind, &|node| matches!(node.fact, Fact::Process(_))), "{kind}");
    }
}

#[test]
fn tunnels_differ_by_seed_and_image() {
    let labels = |seed, image| -> Vec<String> {
        let spec = FleetSpec { seed, ..FleetSpec::default() };
        attacks(&spec, image)["dns-tunnel"].nodes.iter().map(|node| node.label.clone()).collect()
    };
    let first = labels(1, 0);
    assert_eq!(first, labels(1, 0));
    assert!(first.len() > 120 && first != labels(2, 0) && first != labels(1, 7));
}
