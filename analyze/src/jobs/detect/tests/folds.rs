//! Names that a profile has a pattern for.

use wsp_schemas::store::Store;

use super::super::fixture::{Program, app, detect, late, learned, program, rows, rule_set};
use super::novel;
use crate::rules::Rules;

fn number(at: u32) -> u32 {
    at.wrapping_mul(2_654_435_761) % 1_000_000
}

/// As many containers, each with what is made of its own number.
async fn crowd(containers: u32, tree: impl Fn(u32) -> Program) -> Store {
    learned(&(1..=containers).map(|at| vec![tree(number(at))]).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn a_name_that_matches_a_folded_pattern_is_known() {
    let job = |n: u32| app().reads(&[&format!("/tmp/job-{n}.lock")]);
    let store = crowd(60, job).await;
    assert_eq!(
        rows(&store, "select pattern from nodes where pattern is not null").await,
        ["job-[0-9]+\\.lock"]
    );
    late(90, &[job(4_711_000)]).put(&store).await;
    late(91, &[app().reads(&["/tmp/job-x.lock"])]).put(&store).await;
    late(92, &[app().reads(&["/tmp/job-17.lock.bak"])]).put(&store).await;
    late(93, &[app().reads(&["/var/job-17.lock"])]).put(&store).await;
    late(94, &[app().child(program("/bin/sh").reads(&["/tmp/job-17.lock"]))]).put(&store).await;
    detect(&store, &rule_set(&[("r", "path = '/tmp/job-4711000.lock'")])).await;
    assert_eq!(
        novel(&store).await,
        [
            "file|/var/job-17.lock|1",
            "known_folder|/tmp/job-17.lock.bak|1",
            "known_folder|/tmp/job-x.lock|1",
            "program|/bin/sh|2",
        ]
    );
    let found = "select profile_context, match, round(commonality, 2), profile_node_id = node_id from signals where rule = 'r'";
    assert_eq!(rows(&store, found).await, ["known|pattern|1.0|false"]);
}

#[tokio::test]
async fn what_was_folded_is_spoken_for_by_its_pattern() {
    let job = |n: u32| app().reads(&[&format!("/tmp/job-{n}.lock")]);
    let store = crowd(60, job).await;
    late(90, &[job(number(7))]).put(&store).await;
    let path = format!("path = '/tmp/job-{}.lock'", number(7));
    detect(&store, &rule_set(&[("r", &path)])).await;
    let found = "select container_name, match, round(commonality, 2) from signals order by 1";
    assert_eq!(rows(&store, found).await, ["c7|pattern|1.0", "c90|pattern|1.0"]);
}

#[tokio::test]
async fn what_hangs_below_a_folded_process_is_found() {
    let job = |n: u32| {
        app().child(
            program(&format!("/usr/lib/job-{n}")).reads(&["/etc/job.conf"]).child(program("/bin/date")),
        )
    };
    let store = crowd(60, job).await;
    let patterns =
        "select pattern from nodes where pattern is not null and kind = 'process' and target like '/usr/%'";
    assert_eq!(rows(&store, patterns).await, ["/usr/lib/job-[0-9]+"]);
    late(90, &[job(4_711_000)]).put(&store).await;
    late(
        91,
        &[app().child(
            program("/usr/lib/job-4712000").reads(&["/etc/job.conf", "/srv/x"]).child(program("/bin/nc")),
        )],
    )
    .put(&store)
    .await;
    detect(&store, &rule_set(&[("r", "path = '/etc/job.conf' and container_name >= 'c90'")])).await;
    assert_eq!(novel(&store).await, ["file|/srv/x|1", "program|/bin/nc|1"]);
    let found = "select profile_context, match, round(commonality, 2), round(process_commonality, 2) from signals where rule = 'r'";
    assert_eq!(rows(&store, found).await, ["known|pattern|1.0|1.0", "known|pattern|1.0|1.0"]);
}

#[tokio::test]
async fn names_and_addresses_are_folded_too() {
    let job = |n: u32| {
        app()
            .asks(&[&format!("shard-{n}.cache.svc.example.com")])
            .connects(&format!("198.51.{}.{}", n % 200, n / 200 % 200), 6379)
    };
    let store = crowd(60, job).await;
    let patterns = rows(&store, "select kind from nodes where pattern is not null order by 1").await;
    assert_eq!(patterns, ["connect", "dns"]);
    late(90, &[job(4_711_000)]).put(&store).await;
    late(91, &[app().asks(&["shard-x.cache.svc.example.com"]).connects("198.51.7.7", 22)]).put(&store).await;
    detect(&store, &Rules::default()).await;
    assert_eq!(novel(&store).await, ["network|shard-x.cache.svc.example.com A|2"]);
}

#[tokio::test]
async fn small_crowds_are_expected() {
    let job = |n: u32| app().reads(&[&format!("/tmp/job-{n}.lock")]);
    let store = crowd(30, job).await;
    assert_eq!(rows(&store, "select count(*) from nodes where pattern is not null").await, ["0"]);
    late(90, &[job(4_711_000)]).put(&store).await;
    late(91, &[app().reads(&["/tmp/other"])]).put(&store).await;
    // Who else uses such a name is not expected to.
    late(92, &[app().child(program("/bin/sh").reads(&["/tmp/job-17.lock"]))]).put(&store).await;
    detect(&store, &rule_set(&[("r", "path = '/tmp/job-4711000.lock'")])).await;
    assert_eq!(novel(&store).await, ["known_folder|/tmp/other|1", "program|/bin/sh|2"]);
    // It is expected, not known: no row of the profile speaks for it.
    let found = "select profile_context, match from signals where rule = 'r'";
    assert_eq!(rows(&store, found).await, ["unseen|null"]);
}

#[tokio::test]
async fn a_few_names_are_no_crowd() {
    let job = |n: u32| app().reads(&[&format!("/tmp/job-{n}.lock")]);
    let store = crowd(8, job).await;
    late(90, &[job(4_711_000)]).put(&store).await;
    detect(&store, &Rules::default()).await;
    assert_eq!(novel(&store).await, ["known_folder|/tmp/job-4711000.lock|1"]);
}
