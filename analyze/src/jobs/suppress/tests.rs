use chrono::{TimeDelta, Utc};
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;

use super::*;
use crate::jobs::detect::fixture::{
    Program, Shot, app, context, copied, detect, late, learned, merge_at, program, restore, rows, rule_set,
    saved,
};
use crate::rules::Rules;

mod active;
mod exports;
mod refusals;

const PROBE: &str = "path = '/etc/probe.conf'";

fn rules() -> Rules {
    rule_set(&[("probe", PROBE), ("app", "path = '/etc/app.conf'")])
}

/// A health probe: what enters every container from outside.
fn probe() -> Program {
    program("/usr/bin/probe").entered().reads(&["/etc/probe.conf"])
}

/// What each of six containers on six hosts did.
async fn probed() -> Store {
    learned(&vec![vec![app(), probe()]; 6]).await
}

fn workload() -> Workload {
    Workload::parse("app:1").unwrap()
}

fn by_hand(rule: &str, scope: Scope, predicate: &str) -> Suppression {
    Suppression {
        id: id(rule, &scope, predicate),
        state: State::Suggested,
        rule: rule.to_owned(),
        scope,
        predicate: predicate.to_owned(),
        evidence: "{}".to_owned(),
        author: Some("me".to_owned()),
        reason: Some("known".to_owned()),
        changed_at: Utc::now(),
        expires_at: None,
        change: 0,
    }
}

async fn change_to(store: &Store, suppression: Suppression, to: State) -> Changed {
    decide(store, &context(), &[Decision { suppression, to }], Utc::now()).await.unwrap()
}

async fn suggest_all(store: &Store) -> Suggested {
    suggest(store, &context(), &rules(), &Options::default(), Utc::now()).await.unwrap()
}

async fn standing(store: &Store, id: &str) -> Suppression {
    find(&load(store).await.unwrap(), id).unwrap()
}

/// Signals of a rule: how many a suppression hides, and how many none does.
async fn hidden_and_open(store: &Store, rule: &str) -> (usize, usize) {
    let sql = format!(
        "select count(suppressed_by), count(*) - count(suppressed_by) from signals where rule = '{rule}'"
    );
    let found = rows(store, &sql).await.remove(0);
    let (hidden, open) = found.split_once('|').unwrap();
    (hidden.parse().unwrap(), open.parse().unwrap())
}

#[tokio::test]
async fn what_nearly_all_containers_do_is_suggested_with_its_evidence() {
    let store = probed().await;
    late(10, &[app(), probe()]).put(&store).await;
    detect(&store, &rules()).await;
    let suggested = suggest_all(&store).await;
    assert_eq!((suggested.signals, suggested.suggestions.len(), suggested.refused.len()), (14, 2, 0));
    let found = suggested.suggestions.iter().find(|one| one.rule == "probe").unwrap();
    let evidence = &found.evidence;
    assert_eq!(found.image, workload().to_string());
    assert_eq!(
        (evidence.exe.as_str(), evidence.kind.as_str(), evidence.target.as_str()),
        ("/usr/bin/probe", "file", "/etc/probe.conf")
    );
    assert_eq!((evidence.node.containers, evidence.node.eligible, evidence.process.hosts), (6, 6, 6));
    assert_eq!((evidence.signals, evidence.containers, evidence.hosts, evidence.samples.len()), (7, 7, 7, 5));
    assert_eq!((evidence.coverage, evidence.completeness, evidence.revision), (1.0, 1.0, 1));
    assert_eq!(evidence.lineage, ["/usr/bin/probe"]);
    let row = standing(&store, &found.id).await;
    assert_eq!((row.state, &row.predicate), (State::Suggested, &found.predicate));
    assert_eq!(hidden_and_open(&store, "probe").await, (0, 7), "a suggestion hides nothing");
    let again = suggest_all(&store).await;
    assert_eq!((again.suggestions.len(), again.standing), (0, 2));
}

#[tokio::test]
async fn from_a_suggestion_to_hidden_signals_and_back() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let suggested = suggest_all(&store).await;
    let id = suggested.suggestions.iter().find(|one| one.rule == "probe").unwrap().id.clone();

    let changed = change_to(&store, standing(&store, &id).await, State::Accepted).await;
    assert_eq!(changed, Changed { hidden: 6, shown: 0 });
    assert_eq!(hidden_and_open(&store, "probe").await, (6, 0));
    assert_eq!(hidden_and_open(&store, "app").await, (0, 6));
    let marks = rows(&store, "select distinct suppressed_by from signals where rule = 'probe'").await;
    assert_eq!(marks, [id.as_str()]);
    assert_eq!(suggest_all(&store).await.signals, 6, "what is hidden is not looked at");

    late(10, &[app(), probe()]).put(&store).await;
    // The same file, by another program: not what was accepted.
    late(11, &[app().child(program("/bin/cat").reads(&["/etc/probe.conf"]))]).put(&store).await;
    let report = detect(&store, &rules()).await;
    assert_eq!(report.suppressed, 1);
    assert_eq!(hidden_and_open(&store, "probe").await, (7, 1));

    let changed = change_to(&store, standing(&store, &id).await, State::Removed).await;
    assert_eq!(changed, Changed { hidden: 0, shown: 7 });
    assert_eq!(hidden_and_open(&store, "probe").await, (0, 8));
    let again = suggest_all(&store).await;
    assert!(again.suggestions.iter().any(|one| one.id == id), "what was removed may be suggested again");
    assert_eq!(standing(&store, &id).await.state, State::Suggested);
}

#[tokio::test]
async fn a_suggested_suppression_leaves_weak_matches_open() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let id = suggest_all(&store).await.suggestions.iter().find(|one| one.rule == "probe").unwrap().id.clone();
    change_to(&store, standing(&store, &id).await, State::Accepted).await;
    let guessed = program("/bin/sh").child(probe()).guessed();
    Shot { covers_start: false, ..late(10, &[app(), guessed]) }.put(&store).await;
    detect(&store, &rules()).await;
    let open = "select container_name, profile_context, match from signals where rule = 'probe' and suppressed_by is null";
    assert_eq!(rows(&store, open).await, ["c10|known|target"]);
}

#[tokio::test]
async fn what_was_rejected_is_not_proposed_again() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let id = suggest_all(&store).await.suggestions[0].id.clone();
    let changed = change_to(&store, standing(&store, &id).await, State::Rejected).await;
    assert_eq!(changed, Changed::default());
    late(10, &[app(), probe()]).put(&store).await;
    detect(&store, &rules()).await;
    let again = suggest_all(&store).await;
    assert_eq!((again.suggestions.len(), again.standing), (0, 2));
    assert_eq!(standing(&store, &id).await.state, State::Rejected);
}

#[tokio::test]
async fn only_what_is_accepted_can_be_removed() {
    let store = probed().await;
    let never = by_hand("probe", Scope::All, "true");
    let decision = Decision { suppression: never.clone(), to: State::Removed };
    let error = decide(&store, &context(), &[decision], Utc::now()).await.unwrap_err();
    assert!(error.to_string().contains("not there: it cannot be removed"), "{error}");
    change_to(&store, never.clone(), State::Suggested).await;
    let decision = Decision { suppression: never, to: State::Removed };
    let error = decide(&store, &context(), &[decision], Utc::now()).await.unwrap_err();
    assert!(error.to_string().contains("is suggested: it cannot be removed"), "{error}");
}

#[tokio::test]
async fn what_is_raised_after_the_end_of_a_suppression_is_open() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let ends =
        Suppression { expires_at: Some(Utc::now()), ..by_hand("probe", Scope::Workload(workload()), "true") };
    let changed = change_to(&store, ends.clone(), State::Accepted).await;
    assert_eq!(changed.hidden, 6);
    late(10, &[app(), probe()]).put(&store).await;
    detect(&store, &rules()).await;
    assert_eq!(hidden_and_open(&store, "probe").await, (6, 1));
    // Another change makes all marks anew: what was hidden stays so.
    change_to(&store, by_hand("app", Scope::All, "false"), State::Accepted).await;
    assert_eq!(hidden_and_open(&store, "probe").await, (6, 1));
    let longer = Suppression { expires_at: Some(Utc::now() + TimeDelta::days(1)), ..ends };
    assert_eq!(change_to(&store, longer, State::Accepted).await, Changed { hidden: 1, shown: 0 });
}

#[tokio::test]
async fn accepting_twice_changes_nothing() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let one = by_hand("probe", Scope::Workload(workload()), "true");
    assert_eq!(change_to(&store, one.clone(), State::Accepted).await.hidden, 6);
    assert_eq!(change_to(&store, one.clone(), State::Accepted).await, Changed::default());
    let all = load(&store).await.unwrap();
    assert_eq!((all.len(), all[0].state), (1, State::Accepted));
    assert_eq!(refresh(&store, &context()).await.unwrap(), Changed::default());
}

#[tokio::test]
async fn of_several_the_first_accepted_hides() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let narrow = by_hand("probe", Scope::Workload(workload()), PROBE_TARGET);
    let wide = by_hand("probe", Scope::All, "true");
    change_to(&store, narrow.clone(), State::Accepted).await;
    assert_eq!(change_to(&store, wide.clone(), State::Accepted).await, Changed::default());
    let marks = "select distinct suppressed_by from signals where rule = 'probe'";
    assert_eq!(rows(&store, marks).await, [narrow.id.as_str()]);
    change_to(&store, narrow, State::Removed).await;
    assert_eq!(rows(&store, marks).await, [wide.id]);
}

const PROBE_TARGET: &str = "target = '/etc/probe.conf'";

#[tokio::test]
async fn a_preview_tells_what_would_be_hidden_by_image() {
    let store = probed().await;
    Shot { image: "web:2", ..late(20, &[probe()]) }.put(&store).await;
    merge_at(&store, 6).await;
    detect(&store, &rules()).await;
    let seen = |scope| {
        let store = store.clone();
        async move { preview(&store, &context(), "probe", &scope, PROBE_TARGET).await.unwrap() }
    };
    let image = "docker.io/library/app:1".to_owned();
    let all = seen(Scope::All).await;
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        [(image.clone(), 6), ("docker.io/library/web:2".to_owned(), 1)]
    );
    let one = seen(Scope::Workload(workload())).await;
    assert_eq!(one.into_iter().collect::<Vec<_>>(), [(image.clone(), 6)]);
    change_to(
        &store,
        by_hand("probe", Scope::Image("docker.io/library/app".to_owned()), "true"),
        State::Accepted,
    )
    .await;
    assert_eq!(seen(Scope::Workload(workload())).await.len(), 0, "what is hidden is not counted");
}

#[tokio::test]
async fn hostile_predicates_are_errors_and_write_nothing() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let before = saved(&store, "").await;
    let huge = format!("exe IN ({})", vec!["'x'"; 3000].join(", "));
    let many = vec!["true"; 1200].join(" OR ");
    for predicate in [
        "",
        "'; DROP TABLE signals; --",
        "true; DROP TABLE signals",
        "true) OR (true",
        "exe IN (SELECT exe FROM signals)",
        "EXISTS (SELECT 1)",
        "(SELECT true)",
        "exe = 'x' UNION SELECT 1",
        "nodes",
        "exe",
        "lower(nodes, 1) = 'x'",
        "no_such_column = 1",
        "random() > 0.5",
        "now() > time",
        "repeat(exe, 1000000) = 'x'",
        "exe || exe = 'x'",
        "exe ~ target",
        "count(*) > 0",
        "true /*",
        huge.as_str(),
        many.as_str(),
    ] {
        let found = preview(&store, &context(), "probe", &Scope::All, predicate).await;
        assert!(found.is_err(), "{predicate:.80} was taken: {found:?}");
        let active = Active::new(
            &context(),
            &[Suppression { state: State::Accepted, ..by_hand("probe", Scope::All, predicate) }],
        );
        assert_eq!((active.is_empty(), active.broken.len()), (true, 1), "{predicate:.80}");
    }
    assert_eq!(saved(&store, "").await, before);
}

/// Casts and divisions may fail for some rows only.
const FAILING: [&str; 2] = ["CAST(container_name AS INT) > 0", "100 / (nodes - 1) > 0"];

#[tokio::test]
async fn a_predicate_that_fails_for_a_signal_hides_nothing_and_stops_nobody() {
    for predicate in FAILING {
        let store = probed().await;
        // No signal stands yet that it could fail for.
        preview(&store, &context(), "probe", &Scope::All, predicate).await.unwrap();
        let good = by_hand("app", Scope::All, "true");
        let decisions = [by_hand("probe", Scope::All, predicate), good]
            .map(|suppression| Decision { suppression, to: State::Accepted });
        decide(&store, &context(), &decisions, Utc::now()).await.unwrap();
        let report = detect(&store, &rules()).await;
        assert_eq!((report.raised(), report.suppressed), (12, 6), "{predicate}");
        assert_eq!(hidden_and_open(&store, "probe").await, (0, 6));
        assert_eq!(change_to(&store, by_hand("app", Scope::All, "true"), State::Removed).await.shown, 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_at_the_same_time_none_is_lost() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let tasks: Vec<_> = (0..6)
        .map(|at| {
            let store = store.clone();
            let predicate = format!("container_name = 'c{}'", at + 1);
            tokio::spawn(async move {
                change_to(&store, by_hand("probe", Scope::Workload(workload()), &predicate), State::Accepted)
                    .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = load(&store).await.unwrap();
    let mut numbers: Vec<i64> = all.iter().map(|one| one.change).collect();
    numbers.dedup();
    assert_eq!((all.len(), numbers), (6, (1..=6).collect()));
    assert_eq!(hidden_and_open(&store, "probe").await, (6, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_raised_while_a_suppression_is_accepted_is_marked() {
    let learned = probed().await;
    for container in 10..16 {
        late(container, &[app(), probe()]).put(&learned).await;
    }
    for _ in 0..6 {
        let store = copied(&learned).await;
        let (detected, accepted) = (store.clone(), store.clone());
        let detecting = tokio::spawn(async move { detect(&detected, &rules()).await });
        let accepting = tokio::spawn(async move {
            change_to(&accepted, by_hand("probe", Scope::Workload(workload()), "true"), State::Accepted).await
        });
        detecting.await.unwrap();
        accepting.await.unwrap();
        assert_eq!(hidden_and_open(&store, "probe").await, (12, 0));
        // And while one is removed.
        late(20, &[app(), probe()]).put(&store).await;
        let (detected, removed) = (store.clone(), store.clone());
        let detecting = tokio::spawn(async move { detect(&detected, &rules()).await });
        let removing = tokio::spawn(async move {
            change_to(&removed, by_hand("probe", Scope::Workload(workload()), "true"), State::Removed).await
        });
        detecting.await.unwrap();
        removing.await.unwrap();
        assert_eq!(hidden_and_open(&store, "probe").await, (0, 13));
    }
}

#[tokio::test]
async fn a_detection_between_a_change_and_its_marks_does_not_leave_old_signals_unmarked() {
    let store = probed().await;
    detect(&store, &rules()).await;
    // The state of a change that was written, and whose marks were not.
    let signals = saved(&store, "tables/signals").await;
    let one = by_hand("probe", Scope::Workload(workload()), "true");
    change_to(&store, one, State::Accepted).await;
    restore(&store, "tables/signals", &signals).await;
    assert_eq!(hidden_and_open(&store, "probe").await, (0, 6));

    late(10, &[app(), probe()]).put(&store).await;
    assert_eq!(detect(&store, &rules()).await.suppressed, 1);
    refresh(&store, &context()).await.unwrap();
    assert_eq!(hidden_and_open(&store, "probe").await, (7, 0));
}

#[tokio::test]
async fn marks_that_a_stopped_change_did_not_make_are_made_by_the_next_one() {
    let store = probed().await;
    detect(&store, &rules()).await;
    let signals = saved(&store, "tables/signals").await;
    change_to(&store, by_hand("probe", Scope::All, "true"), State::Accepted).await;
    restore(&store, "tables/signals", &signals).await;
    let changed = change_to(&store, by_hand("app", Scope::All, "true"), State::Accepted).await;
    assert_eq!(changed.hidden, 12);
}

#[test]
fn an_id_follows_from_rule_scope_and_predicate() {
    let mut ids = std::collections::BTreeSet::new();
    for rule in ["a", "b"] {
        for scope in [Scope::Workload(workload()), Scope::Image(workload().name().to_owned()), Scope::All] {
            for predicate in ["true", "false"] {
                assert_eq!(id(rule, &scope, predicate), id(rule, &scope, predicate));
                ids.insert(id(rule, &scope, predicate));
            }
        }
    }
    assert_eq!(ids.len(), 12);
}

#[test]
fn a_suppression_is_found_by_the_beginning_of_its_id() {
    let all = ["abcd", "abxy", "ffff"]
        .map(|id| Suppression { id: id.to_owned(), ..by_hand("r", Scope::All, "true") });
    assert_eq!(find(&all, "f").unwrap().id, "ffff");
    assert!(find(&all, "ab").unwrap_err().to_string().contains("2 suppressions"));
    for none in ["", "b", "abcde"] {
        assert!(find(&all, none).unwrap_err().to_string().contains("there is no suppression"));
    }
}
