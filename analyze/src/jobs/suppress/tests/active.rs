//! Which suppression hides a signal, for any signals and suppressions.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::image::Workload;

use super::super::{Active, Scope, State, Suppression, columns};
use super::by_hand;
use crate::jobs::detect::fixture::{context, epoch};
use crate::jobs::detect::profile::How;
use crate::jobs::detect::signal::{Context, ProfileContext, Signal, to_batch};
use crate::predicate::Predicate;
use crate::rules::Severity;

fn time(seconds: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::seconds(seconds)
}

pub(super) fn signal(rule: &str, image: Option<&str>, exe: &str) -> Signal {
    Signal {
        bucket: 0,
        workload_key: None,
        workload: image.map(|image| Workload::parse(image).unwrap()),
        id: "0".to_owned(),
        rule: rule.to_owned(),
        severity: Severity::Low,
        source: "wsp".into(),
        time: time(0),
        last_seen: None,
        snapshot_id: None,
        window: None,
        container_id: None,
        container_name: None,
        image_digest: None,
        host: None,
        labels: BTreeMap::new(),
        kind: Some(Kind::File),
        exe: Some(exe.to_owned()),
        target: Some("/etc/x".to_owned()),
        node_id: None,
        process_id: None,
        lineage: vec![exe.to_owned()],
        summary: String::new(),
        attributes: BTreeMap::new(),
        context: ProfileContext::Known,
        revision: Some(1),
        profile_node: None,
        profile_process: None,
        novelty: None,
        nodes: 1,
        told: Vec::new(),
        events: 1,
        suppressed_by: None,
        detected_at: time(0),
        batch: None,
    }
}

const RULES: [&str; 3] = ["r1", "r2", "it's"];
const IMAGES: [Option<&str>; 5] =
    [Some("app:1"), Some("app:2"), Some("web:1"), Some("other.example/app:1"), None];
const EXES: [&str; 3] = ["/bin/a", "/bin/b", "x' OR 1 = 1"];

fn signals() -> impl Strategy<Value = Vec<Signal>> {
    let one = (
        prop::sample::select(&RULES[..]),
        prop::sample::select(&IMAGES[..]),
        prop::sample::select(&EXES[..]),
        prop::sample::select(vec!["wsp", "falco", "tetragon"]),
        0..4_i64,
        any::<bool>(),
        prop::option::of(prop::sample::select(vec![0.5, 0.9])),
    );
    let one = one.prop_map(|(rule, image, exe, source, raised, was_hidden, share)| {
        let context = share.map(|share| Context {
            id: NodeId::from_bytes([7; 16]),
            commonality: Some(share),
            how: How::Id,
        });
        Signal {
            source: source.into(),
            detected_at: time(raised),
            suppressed_by: was_hidden.then(|| "before".to_owned()),
            profile_node: context,
            ..signal(rule, image, exe)
        }
    });
    prop::collection::vec(one, 0..12)
}

fn predicate() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "true",
        "false",
        "NULL",
        "1 = 1 OR rule <> 'x'",
        "suppressed_by IS NULL",
        "exe = '/bin/a'",
        "exe = 'x'' OR 1 = 1'",
        "image_name IS NULL",
        "image_tag = '1'",
        "source = 'falco'",
        "rule = 'r1'",
        "commonality >= 0.8",
        "profile_node_id = X'07070707070707070707070707070707'",
        "lineage[1] LIKE '/bin/%'",
        "true -- all of them",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}\n) AND ({b}\n)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}\n) OR ({b}\n)")),
            inner.prop_map(|a| format!("NOT ({a}\n)")),
        ]
    })
}

fn suppressions() -> impl Strategy<Value = Vec<Suppression>> {
    let scope = prop_oneof![
        prop::sample::select(vec!["app:1", "app:2", "web:1"])
            .prop_map(|image| Scope::Workload(Workload::parse(image).unwrap())),
        Just(Scope::Image("docker.io/library/app".to_owned())),
        Just(Scope::Image("docker.io/library/app' OR '1' = '1".to_owned())),
        Just(Scope::All),
    ];
    let state = prop::sample::select(vec![
        State::Accepted,
        State::Accepted,
        State::Suggested,
        State::Rejected,
        State::Removed,
    ]);
    let one = (prop::sample::select(&RULES[..]), scope, predicate(), state, prop::option::of(0..4_i64));
    let one = one.prop_map(|(rule, scope, predicate, state, end)| Suppression {
        state,
        expires_at: end.map(time),
        ..by_hand(rule, scope, &predicate)
    });
    prop::collection::vec(one, 0..8).prop_map(|mut all| {
        // Two of one id do not stand beside each other.
        for (at, one) in all.iter_mut().enumerate() {
            one.id = format!("{at}");
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_signal_is_hidden_by_the_first_that_is_accepted_for_its_rule_and_scope_and_by_no_other(
        signals in signals(),
        suppressions in suppressions(),
    ) {
        let context = context();
        let rows = to_batch(&signals).unwrap();
        let active = Active::new(&context, &suppressions);
        prop_assert!(active.broken.is_empty(), "{:?}", active.broken);
        let hiding = active.hiding(&rows).unwrap();
        prop_assert_eq!(hiding.len(), signals.len());
        for (row, (signal, hides)) in signals.iter().zip(&hiding).enumerate() {
            let (name, tag) = match &signal.workload {
                Some(workload) => (Some(workload.name()), Some(workload.tag())),
                None => (None, None),
            };
            let is_in = |one: &&Suppression| {
                one.state == State::Accepted
                    && one.rule == signal.rule
                    && one.expires_at.is_none_or(|end| signal.detected_at < end)
                    && match &one.scope {
                        Scope::Workload(workload) => Some((workload.name(), workload.tag())) == name.zip(tag),
                        Scope::Image(image) => Some(image.as_str()) == name,
                        Scope::All => true,
                    }
            };
            let holds = |one: &&Suppression| {
                let predicate = Predicate::parse(&context, &columns(), &one.predicate).unwrap();
                predicate.holds(&rows.slice(row, 1)).unwrap().value(0)
            };
            let first = suppressions.iter().filter(is_in).find(holds).map(|one| one.id.clone());
            prop_assert_eq!(&first, hides);
        }
    }
}

#[test]
fn no_signals_are_no_error() {
    let one = Suppression { state: State::Accepted, ..by_hand("r1", Scope::All, "true") };
    let active = Active::new(&context(), &[one]);
    assert_eq!(active.hiding(&to_batch::<Signal>(&[]).unwrap()).unwrap(), Vec::<Option<String>>::new());
}
