//! What is not suggested, and the reason that is told.

use chrono::{TimeDelta, Utc};
use wsp_schemas::identity::Kind;
use wsp_schemas::store::Store;

use super::super::{Options, suggest};
use super::{PROBE, probe, probed, rules, workload};
use crate::jobs::detect::fixture::{
    Program, Shot, app, context, detect, epoch, late, learned, learned_from, merge_at, program, rule,
    rule_set, shot, store,
};
use crate::jobs::merge;
use crate::rules::Rules;

/// Why nothing is suggested for the rule `probe`, or that something is.
async fn reasons_with(store: &Store, rules: &Rules) -> Vec<String> {
    let found = suggest(store, &context(), rules, &Options::default(), Utc::now()).await.unwrap();
    let refused =
        found.refused.into_iter().filter(|refusal| refusal.rule == "probe").map(|refusal| refusal.reason);
    let suggested =
        found.suggestions.iter().filter(|one| one.rule == "probe").map(|_| "suggested".to_owned());
    let mut reasons: Vec<String> = refused.chain(suggested).collect();
    reasons.sort();
    reasons
}

async fn reasons(store: &Store) -> Vec<String> {
    detect(store, &rules()).await;
    reasons_with(store, &rules()).await
}

fn six(change: impl Fn(u32, &mut Shot)) -> Vec<Shot> {
    (1..7)
        .map(|at| {
            let mut shot = shot("app:1", at, i64::from(at), &[app(), probe()]);
            change(at, &mut shot);
            shot
        })
        .collect()
}

#[tokio::test]
async fn of_a_profile_that_learns() {
    let store = store();
    for shot in six(|_, _| {}) {
        shot.put(&store).await;
    }
    merge_at(&store, 100).await;
    assert_eq!(reasons(&store).await, ["the profile still learns"]);
    // Once it is stable, what was raised before does not count.
    merge_at(&store, 6).await;
    late(10, &[app()]).put(&store).await;
    merge_at(&store, 6).await;
    let found = reasons(&store).await;
    assert_eq!(found, ["it was raised while the profile learned: only later ones say what it knows"]);
    late(11, &[app(), probe()]).put(&store).await;
    assert_eq!(reasons(&store).await.len(), 2);
}

#[tokio::test]
async fn of_a_small_profile() {
    let store = learned(&vec![vec![app(), probe()]; 4]).await;
    assert_eq!(reasons(&store).await, ["the profile is small: it learned from 4 containers, 5 are needed"]);
}

#[tokio::test]
async fn of_a_profile_of_one_host() {
    let store = learned_from(&six(|_, shot| shot.host = 1)).await;
    assert_eq!(reasons(&store).await, ["the profile is of 1 hosts, 2 are needed"]);
}

#[tokio::test]
async fn of_a_profile_that_has_not_seen_enough() {
    let store = learned_from(&six(|at, shot| {
        let paths: Vec<String> = (0..10).map(|n| format!("/srv/{n}/{at}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        shot.roots[0] = app().reads(&paths);
    }))
    .await;
    let found = reasons(&store).await;
    assert!(found.len() == 1 && found[0].starts_with("the profile's coverage is 0."), "{found:?}");
}

#[tokio::test]
async fn of_an_incomplete_profile() {
    for kind in [Kind::File, Kind::Process] {
        let store = learned_from(&six(|at, shot| {
            if at == 3 {
                shot.lossy = vec![kind];
            }
        }))
        .await;
        let found = reasons(&store).await;
        assert_eq!(
            found,
            [format!(
                "the profile is incomplete: 0.83 of its containers have a lossless snapshot of {kind} nodes, 0.95 is needed"
            )]
        );
    }
    // What is lost of other kinds does not matter.
    let store = learned_from(&six(|at, shot| {
        if at == 3 {
            shot.lossy = vec![Kind::Connect];
        }
    }))
    .await;
    assert_eq!(reasons(&store).await, ["suggested"]);
}

#[tokio::test]
async fn of_a_process_that_is_not_common() {
    let store = learned_from(&six(|at, shot| shot.roots.truncate(if at > 4 { 1 } else { 2 }))).await;
    let found = reasons(&store).await;
    assert_eq!(found, ["the process is not common: 4 of 6 containers have it, a share of 0.8 is needed"]);
}

#[tokio::test]
async fn of_what_a_common_process_seldom_does() {
    let store = learned_from(&six(|at, shot| {
        if at > 4 {
            shot.roots[1].facts.clear();
        }
    }))
    .await;
    let found = reasons(&store).await;
    assert_eq!(found, ["the node is not common: 4 of 6 containers have it, a share of 0.8 is needed"]);
}

#[tokio::test]
async fn of_what_one_host_shows() {
    let store = learned_from(&six(|at, shot| {
        shot.host = at / 6;
        shot.roots.truncate(if at == 6 { 1 } else { 2 });
    }))
    .await;
    assert_eq!(reasons(&store).await, ["1 hosts show it, 2 are needed"]);
}

#[tokio::test]
async fn of_a_weak_match() {
    let store = probed().await;
    // Nothing is raised for what was learned from.
    detect(&store, &rule_set(&[])).await;
    Shot { covers_start: false, ..late(10, &[app(), program("/bin/sh").child(probe()).guessed()]) }
        .put(&store)
        .await;
    let found = reasons(&store).await;
    let weak = "the match is weak: by executable and target alone, since the lineage is not known";
    assert_eq!(found, [weak]);
}

#[tokio::test]
async fn of_a_rule_that_is_never_suppressed_or_gone() {
    let store = probed().await;
    let mut never = rule("probe", "high", PROBE);
    never.suppressible = false;
    let mut rules = Rules::default();
    rules.insert(never);
    detect(&store, &rules).await;
    assert_eq!(reasons_with(&store, &rules).await, ["signals of the rule are never suppressed"]);
    assert_eq!(reasons_with(&store, &Rules::default()).await, ["the rule is not there any more"]);
}

#[tokio::test]
async fn of_what_is_not_in_the_profile() {
    let store = probed().await;
    detect(&store, &rule_set(&[])).await;
    let other: Program = program("/usr/bin/other").entered().reads(&["/etc/probe.conf"]);
    late(10, &[app(), other]).put(&store).await;
    detect(&store, &rules()).await;
    let found = suggest(&store, &context(), &rules(), &Options::default(), Utc::now()).await.unwrap();
    let mut refused: Vec<(String, String)> = found
        .refused
        .into_iter()
        .map(|refusal| (refusal.rule, refusal.reason))
        .filter(|(rule, _)| rule != "app")
        .collect();
    refused.sort();
    let reason = "it is not in the profile".to_owned();
    assert_eq!(refused, [("novelty".to_owned(), reason.clone()), ("probe".to_owned(), reason)]);
}

#[tokio::test]
async fn of_what_else_a_rule_looks_at() {
    let rules = rule_set(&[("probe", "path = '/etc/probe.conf' AND any_like(args, '%--all%')")]);
    let store = learned_from(&six(|at, shot| {
        if at > 2 {
            shot.roots[1] = probe().args("probe --all");
        }
    }))
    .await;
    for at in 10..20 {
        late(at, &[app(), probe().args("probe --all")]).put(&store).await;
    }
    detect(&store, &rules).await;
    let reason = "the rule matched it in 4 containers that the profile learned from, 5 are needed: what else it looks at is not common";
    assert_eq!(reasons_with(&store, &rules).await, [reason]);
}

#[tokio::test]
async fn of_no_image() {
    let store = probed().await;
    detect(&store, &rule_set(&[])).await;
    Shot { image: "", digest: "", ..late(10, &[probe()]) }.put(&store).await;
    merge_at(&store, 6).await;
    assert_eq!(reasons(&store).await, ["it names no image with a tag or digest"]);
}

#[tokio::test]
async fn of_an_older_revision() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let options = merge::Options { max_snapshots: 6, as_of: epoch(), ..merge::Options::default() };
    let since = epoch() + TimeDelta::hours(10);
    merge::relearn(&store, &workload(), since, &options).await.unwrap();
    assert_eq!(reasons_with(&store, &rules()).await, ["the profile still learns"]);
    for shot in six(|_, shot| shot.start += 600) {
        shot.put(&store).await;
    }
    assert_eq!(merge_at(&store, 6).await.frozen, 1);
    assert_eq!(reasons_with(&store, &rules()).await, ["it was judged by revision 1, the profile is at 2"]);
    // What is raised by the new one can be suggested.
    let found = reasons(&store).await;
    assert_eq!(found, ["it was judged by revision 1, the profile is at 2", "suggested"]);
}

#[tokio::test]
async fn options_choose_the_signals_and_a_trial_writes_nothing() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let before = crate::jobs::detect::fixture::saved(&store, "").await;
    let suggested = |options: Options| {
        let store = store.clone();
        async move {
            let options = Options { dry_run: true, ..options };
            suggest(&store, &context(), &rules(), &options, Utc::now()).await.unwrap().suggestions.len()
        }
    };
    assert_eq!(suggested(Options::default()).await, 2);
    assert_eq!(suggested(Options { rule: Some("probe".to_owned()), ..Options::default() }).await, 1);
    let other = wsp_schemas::image::Workload::parse("app:2").unwrap();
    assert_eq!(suggested(Options { workload: Some(other), ..Options::default() }).await, 0);
    assert_eq!(suggested(Options { workload: Some(workload()), ..Options::default() }).await, 2);
    assert_eq!(suggested(Options { min_containers: 7, ..Options::default() }).await, 0);
    assert_eq!(crate::jobs::detect::fixture::saved(&store, "").await, before);
}
