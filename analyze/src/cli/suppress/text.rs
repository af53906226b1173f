//! Suppressions as people read them. All that comes from a container goes through [`for_display`].

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wsp_schemas::keys::show_time;
use wsp_schemas::text::for_display;

use crate::cli::output::rows;
use crate::jobs::suppress::{Common, Evidence, Scope, State, Suggested, Suppression};

/// Refusals that are told one by one.
const REFUSALS: usize = 30;

/// `at`: arguments that name the store, for commands that are told.
pub(super) fn suggested(found: &Suggested, dry_run: bool, at: &str) -> String {
    let mut text = format!(
        "{} open signals: {} suggestions{}",
        found.signals,
        found.suggestions.len(),
        if dry_run { "; nothing was written" } else { "" }
    );
    if found.standing > 0 {
        text += &format!("\n{} more were decided on, or stand already", found.standing);
    }
    for one in &found.suggestions {
        text += &format!(
            "\n\n{}  {}  {}\n{}",
            one.id,
            for_display(&one.rule),
            for_display(&one.image),
            evidence(&one.evidence)
        );
        text += &format!("\n  where {}", for_display(&one.predicate));
    }
    if !found.suggestions.is_empty() && !dry_run {
        text += &format!("\n\nwsp suppress accept ID {} accepts one", for_display(at));
    }
    if !found.refused.is_empty() {
        text += &format!("\n\nnothing is suggested for {} more:", found.refused.len());
        let mut refused: Vec<_> = found.refused.iter().collect();
        refused.sort_by_key(|refusal| std::cmp::Reverse(refusal.signals));
        for refusal in refused.iter().take(REFUSALS) {
            let what = if refusal.exe == refusal.target || refusal.target.is_empty() {
                refusal.exe.clone()
            } else {
                format!("{}, {}", refusal.exe, refusal.target)
            };
            text += &format!(
                "\n  {}, {}: {} ({} signals)\n    {}",
                for_display(&refusal.rule),
                for_display(refusal.image.as_deref().unwrap_or("no image")),
                for_display(&what),
                refusal.signals,
                for_display(&refusal.reason)
            );
        }
        if refused.len() > REFUSALS {
            text += &format!("\n  … and {} more; --json has them all", refused.len() - REFUSALS);
        }
    }
    text
}

fn evidence(evidence: &Evidence) -> String {
    let lineage: Vec<_> = evidence.lineage.iter().map(|exe| for_display(exe).into_owned()).collect();
    let common = |what: &str, node: &Common| {
        format!(
            "\n  {what}: {} of {} containers have it ({:.2}, {:.2} to {:.2}), on {} hosts",
            node.containers, node.eligible, node.commonality, node.interval.0, node.interval.1, node.hosts
        )
    };
    let mut text = format!("  {}", lineage.join(" → "));
    if evidence.kind != "process" {
        text += &format!(" → {} {}", evidence.kind, for_display(&evidence.target));
        text += &common("process", &evidence.process);
    }
    if let Some(pattern) = &evidence.pattern {
        text += &format!("\n  stands for all that look like {}", for_display(pattern));
    }
    text += &common(&evidence.kind, &evidence.node);
    text += &format!(
        "\n  profile: revision {}, {} containers, {} hosts, coverage {:.2}, {:.2} of the containers lossless\
         \n  signals: {} of {} snapshots, {} containers, {} hosts, {} to {}",
        evidence.revision,
        evidence.profile_containers,
        evidence.profile_hosts,
        evidence.coverage,
        evidence.completeness,
        evidence.signals,
        evidence.snapshots,
        evidence.containers,
        evidence.hosts,
        show_time(evidence.first),
        show_time(evidence.last),
    );
    text
}

pub(super) fn list(all: &[Suppression]) -> String {
    rows(
        ["id", "state", "rule", "scope", "what", "author", "reason", "changed", "expires"],
        all.iter().map(|one| {
            let evidence: Value = serde_json::from_str(&one.evidence).unwrap_or_default();
            let text = |name: &str| evidence.get(name).and_then(Value::as_str).map(str::to_owned);
            let what = match (text("exe"), text("target")) {
                (Some(exe), Some(target)) if exe != target => format!("{exe}, {target}"),
                (Some(exe), _) => exe,
                _ => one.predicate.clone(),
            };
            [
                one.id.clone(),
                state(one).to_owned(),
                one.rule.clone(),
                one.scope.to_string(),
                what,
                one.author.clone().unwrap_or_default(),
                one.reason.clone().unwrap_or_default(),
                show_time(one.changed_at),
                one.expires_at.map(show_time).unwrap_or_default(),
            ]
        }),
    )
}

/// What has become of it; it is expired where it hides nothing more.
fn state(one: &Suppression) -> &'static str {
    let is_over = one.expires_at.is_some_and(|end| end <= chrono::Utc::now());
    if one.state == State::Accepted && is_over { "expired" } else { one.state.as_str() }
}

pub(super) fn one(one: &Suppression) -> String {
    let evidence: Value = serde_json::from_str(&one.evidence).unwrap_or_default();
    let evidence = serde_json::to_string_pretty(&evidence).unwrap_or_default();
    let evidence: Vec<_> = evidence.lines().map(|line| for_display(line).into_owned()).collect();
    let mut text = format!(
        "{}  {}\nrule       {}\nscope      {}",
        one.id,
        state(one),
        for_display(&one.rule),
        for_display(&one.scope.to_string())
    );
    text += &format!("\nwhere      {}", for_display(&one.predicate));
    for (name, value) in [("author", &one.author), ("reason", &one.reason)] {
        if let Some(value) = value {
            text += &format!("\n{name:<11}{}", for_display(value));
        }
    }
    text += &format!("\nchanged    {}", show_time(one.changed_at));
    if let Some(end) = one.expires_at {
        text += &format!("\nexpires    {}", show_time(end));
    }
    text + &format!("\n\n{}", evidence.join("\n"))
}

pub(super) fn as_json(one: &Suppression) -> Value {
    json!({
        "id": one.id,
        "state": one.state,
        "rule": one.rule,
        "scope": one.scope.as_str(),
        "image": one.scope.to_string(),
        "predicate": one.predicate,
        "evidence": serde_json::from_str::<Value>(&one.evidence).unwrap_or_default(),
        "author": one.author,
        "reason": one.reason,
        "changed_at": one.changed_at,
        "expires_at": one.expires_at,
    })
}

pub(super) fn preview(rule: &str, scope: &Scope, hidden: &BTreeMap<String, usize>) -> String {
    let total: usize = hidden.values().sum();
    let mut text = format!(
        "of the open signals of the rule {}, {}, it hides {total}",
        for_display(rule),
        for_display(&scope.to_string())
    );
    for (image, count) in hidden {
        text += &format!("\n  {count:>6}  {}", for_display(image));
    }
    if total == 0 {
        text += "\n  `wsp signals --each --format json` has what can stand in a predicate";
    }
    text
}
