//! Lineages that are not known for certain.

use super::super::fixture::{
    Program, Shot, app, detect, late, learned, learned_from, program, rows, rule_set, shot,
};
use super::novel;

/// The rule `r` is about a file that `cat` reads below a shell.
const RULES: [(&str, &str); 1] = [("r", "path = '/etc/app.conf' AND exe = '/bin/cat'")];
const FOUND: &str = "select container_name, profile_context, match, round(commonality, 2), round(process_commonality, 2) from signals \
     where rule = 'r' and container_name >= 'c90' order by 1";

fn cat() -> Program {
    program("/bin/cat").reads(&["/etc/app.conf"])
}

fn below_shell(cat: Program) -> Program {
    app().child(program("/bin/sh").child(cat))
}

#[tokio::test]
async fn a_guessed_lineage_is_matched_by_executable_and_target() {
    let store = learned(&vec![vec![below_shell(cat())]; 6]).await;
    let joined = |at, roots: &[Program]| Shot { covers_start: false, ..late(at, roots) };
    joined(90, &[cat().guessed()]).put(&store).await;
    joined(91, &[cat().reads(&["/srv/new"]).guessed()]).put(&store).await;
    joined(92, &[program("/bin/nc").guessed()]).put(&store).await;
    detect(&store, &rule_set(&RULES)).await;
    assert_eq!(rows(&store, FOUND).await, ["c90|known|target|1.0|1.0", "c91|known|target|1.0|1.0"]);
    assert_eq!(novel(&store).await, ["file|/srv/new|1", "program|/bin/nc|1"]);
}

#[tokio::test]
async fn a_certain_lineage_must_be_the_profiles_own() {
    let store = learned(&vec![vec![below_shell(cat())]; 6]).await;
    late(90, &[cat()]).put(&store).await;
    detect(&store, &rule_set(&RULES)).await;
    assert_eq!(rows(&store, FOUND).await, ["c90|unseen|null|null|null"]);
    assert_eq!(novel(&store).await, ["lineage|/bin/cat|2"]);
}

#[tokio::test]
async fn a_certain_lineage_is_matched_by_what_the_profile_has_guessed() {
    let shots: Vec<Shot> = (1..7)
        .map(|at| Shot { covers_start: false, ..shot("app:1", at, i64::from(at), &[cat().guessed(), app()]) })
        .collect();
    let store = learned_from(&shots).await;
    late(90, &[below_shell(cat())]).put(&store).await;
    detect(&store, &rule_set(&RULES)).await;
    assert_eq!(rows(&store, FOUND).await, ["c90|known|target|1.0|1.0"]);
    // The shell itself is not in the profile, wherever it hangs.
    assert_eq!(novel(&store).await, ["program|/bin/sh|1"]);
}

#[tokio::test]
async fn what_a_rule_learns_of_the_profile_follows_the_lineage() {
    let store = learned(&vec![vec![below_shell(cat())]; 6]).await;
    Shot { covers_start: false, ..late(90, &[cat().guessed()]) }.put(&store).await;
    late(91, &[cat()]).put(&store).await;
    let file = "kind = 'file' AND exe = '/bin/cat'";
    let rules = [
        ("has", format!("{file} AND in_profile")),
        ("lacks", format!("{file} AND NOT in_profile")),
        ("common", format!("{file} AND commonality >= 0.8")),
    ];
    let rules: Vec<(&str, &str)> = rules.iter().map(|(id, predicate)| (*id, predicate.as_str())).collect();
    detect(&store, &rule_set(&rules)).await;
    let found = "select rule, container_name from signals where rule <> 'novelty' and container_name >= 'c90' order by 1";
    assert_eq!(rows(&store, found).await, ["common|c90", "has|c90", "lacks|c91"]);
}
