//! Suggestions: which open signals are behaviour that nearly all containers of the workload show, and how that is known.
//!
//! "It is in the profile" is no reason: the process and what it did must both be common, in a profile that has seen enough to
//! say so. What is refused is told with the reason, so that nobody has to guess.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use datafusion::prelude::SessionContext;
use serde::{Deserialize, Serialize};
use wsp_schemas::identity::NodeId;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::store::Store;
use wsp_schemas::tables::SIGNALS;

use super::change::{self, Decision};
use super::{Scope, State, SuppressError, Suppression, id, load};
use crate::jobs::detect::NOVELTY;
use crate::jobs::detect::profile::{self, Profile, ProfileNode};
use crate::rows::Reader;
use crate::rules::Rules;
use crate::stats::wilson;
use crate::tables::{OpenTable, ProfileTables, Selection};

/// Ids of signals that an evidence shows.
const SAMPLES: usize = 5;
/// Containers and hosts that it names.
const NAMES: usize = 10;

/// What a suggestion needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Commonality of the process and of what it did, each.
    pub min_commonality: f64,
    /// Containers that the profile learned from.
    pub min_containers: i32,
    /// Hosts that it learned from, and hosts that show the node.
    pub min_hosts: i32,
    /// Coverage of the profile.
    pub min_coverage: f64,
    /// Share of the containers with a lossless snapshot of the kind.
    pub min_completeness: f64,
    /// Only for these signals' workload.
    pub workload: Option<Workload>,
    /// Only for this rule.
    pub rule: Option<String>,
    /// Say what would be suggested, and write nothing.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_commonality: 0.8,
            min_containers: 5,
            min_hosts: 2,
            min_coverage: 0.9,
            min_completeness: 0.95,
            workload: None,
            rule: None,
            dry_run: false,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Suggested {
    /// New suggestions.
    pub suggestions: Vec<Suggestion>,
    /// Suggestions that somebody has decided on, or that stand already.
    pub standing: usize,
    /// Signals for which nothing is suggested, together where the reason is one.
    pub refused: Vec<Refusal>,
    /// Open signals that were looked at.
    pub signals: usize,
}

/// A suggestion.
#[derive(Debug, Clone, Serialize)]
pub struct Suggestion {
    /// Id of the suppression that it becomes where it is accepted.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// The workload.
    pub image: String,
    /// Which of the rule's signals of the workload.
    pub predicate: String,
    /// How it is known.
    pub evidence: Evidence,
}

/// How it is known that signals are known behaviour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Evidence {
    /// Executable of the process.
    pub exe: String,
    /// Kind of the node.
    #[cfg_attr(test, ts(type = "Kind"))]
    pub kind: String,
    /// What it did; where there is a pattern, an example.
    pub target: String,
    /// What the names of the nodes that it stands for look like.
    pub pattern: Option<String>,
    /// Whether executables alone do not say which process it is: a name of a multi-call binary or a script does.
    pub is_named: bool,
    /// Executables from the root to the process.
    pub lineage: Vec<String>,
    /// The node, as the profile has it.
    pub node: Common,
    /// Its process.
    pub process: Common,
    /// Revision of the profile.
    pub revision: i32,
    /// Containers that the profile learned from.
    pub profile_containers: i32,
    /// Hosts that it learned from.
    pub profile_hosts: i32,
    /// Its coverage.
    pub coverage: f64,
    /// Share of its containers with a lossless snapshot of the node's kind.
    pub completeness: f64,
    /// Open signals that it is about.
    pub signals: usize,
    /// Snapshots that they are of.
    pub snapshots: usize,
    /// Containers that they are of.
    pub containers: usize,
    /// Hosts that they are of.
    pub hosts: usize,
    /// Names of some of the containers, and of the hosts.
    pub container_names: Vec<String>,
    /// Some of the hosts.
    pub host_names: Vec<String>,
    /// When the first of them happened.
    #[cfg_attr(test, ts(type = "string"))]
    pub first: DateTime<Utc>,
    /// When the last of them happened.
    #[cfg_attr(test, ts(type = "string"))]
    pub last: DateTime<Utc>,
    /// Ids of some of them.
    pub samples: Vec<String>,
}

/// How common a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Common {
    /// Id, hex.
    pub id: String,
    /// Containers that have it.
    pub containers: i32,
    /// Containers that could have shown it.
    pub eligible: i32,
    /// Share.
    pub commonality: f64,
    /// 95 % Wilson interval of the share.
    pub interval: (f64, f64),
    /// Hosts that have it.
    pub hosts: i32,
}

/// Signals for which nothing is suggested.
#[derive(Debug, Clone, Serialize)]
pub struct Refusal {
    /// The rule.
    pub rule: String,
    /// The workload; none where the signals name none.
    pub image: Option<String>,
    /// Executable of the process.
    pub exe: String,
    /// What it did.
    pub target: String,
    /// How many signals.
    pub signals: usize,
    /// Why.
    pub reason: String,
}

/// Open signals that are about one thing.
#[derive(Debug)]
struct Heap {
    exe: String,
    target: String,
    kind: String,
    lineage: Vec<String>,
    snapshots: BTreeSet<String>,
    containers: BTreeSet<String>,
    names: BTreeSet<String>,
    hosts: BTreeSet<String>,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    samples: Vec<String>,
    signals: usize,
}

/// What signals of one heap have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct About {
    rule: String,
    workload: Option<Workload>,
    context: String,
    how: Option<String>,
    revision: Option<i32>,
    node: Option<NodeId>,
    process: Option<NodeId>,
    /// Of signals without a row of the profile: what they are about.
    unseen: Option<(String, String)>,
    is_own: bool,
}

/// Looks at all open signals.
pub async fn suggest(
    store: &Store,
    context: &SessionContext,
    rules: &Rules,
    options: &Options,
    now: DateTime<Utc>,
) -> Result<Suggested, SuppressError> {
    let tables = ProfileTables::open(store).await?;
    let heaps = heaps(store, options).await?;
    let keys = heaps.keys().filter_map(|about| Some(about.workload.as_ref()?.key()));
    let profiles = profile::of_workloads(&tables, keys).await?;
    let learned = learned(&tables, &profiles).await?;
    let standing: HashMap<String, State> =
        load(store).await?.into_iter().map(|one| (one.id, one.state)).collect();
    let mut found = Suggested::default();
    let mut decisions = Vec::new();
    for (about, heap) in heaps {
        found.signals += heap.signals;
        let profile = about.workload.as_ref().and_then(|workload| profiles.get(&workload.key()));
        let learned = about.workload.as_ref().and_then(|workload| learned.get(&workload.key()));
        match judge(&about, &heap, profile, learned, rules, options) {
            Ok((scope, predicate, evidence)) => {
                let id = id(&about.rule, &scope, &predicate);
                if standing.get(&id).is_some_and(|state| *state != State::Removed) {
                    found.standing += 1;
                    continue;
                }
                let json = serde_json::to_string(&evidence).unwrap_or_default();
                decisions.push(Decision {
                    suppression: Suppression {
                        id: id.clone(),
                        state: State::Suggested,
                        rule: about.rule.clone(),
                        scope: scope.clone(),
                        predicate: predicate.clone(),
                        evidence: json,
                        author: None,
                        reason: None,
                        changed_at: now,
                        expires_at: None,
                        change: 0,
                    },
                    to: State::Suggested,
                });
                let image = scope.to_string();
                found.suggestions.push(Suggestion { id, rule: about.rule, image, predicate, evidence });
            }
            Err(reason) => found.refused.push(Refusal {
                rule: about.rule,
                image: about.workload.map(|workload| workload.to_string()),
                exe: heap.exe,
                target: heap.target,
                signals: heap.signals,
                reason,
            }),
        }
    }
    if !options.dry_run && !decisions.is_empty() {
        change::decide(store, context, &decisions, now).await?;
    }
    Ok(found)
}

/// Open signals, by what they are about.
async fn heaps(store: &Store, options: &Options) -> Result<BTreeMap<About, Heap>, SuppressError> {
    let mut heaps = BTreeMap::new();
    let Some(signals) = OpenTable::open(store, &SIGNALS, None).await? else { return Ok(heaps) };
    let keys = options.workload.as_ref().map(|workload| BTreeSet::from([workload.key().to_string()]));
    for file in signals.files()? {
        if keys.as_ref().is_some_and(|keys| !file.may_hold("workload_key", keys)) {
            continue;
        }
        for batch in signals.read(&file, Selection::default()).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                add(&mut heaps, &read, row, options);
            }
        }
    }
    Ok(heaps)
}

fn add(heaps: &mut BTreeMap<About, Heap>, read: &Reader<'_>, row: usize, options: &Options) {
    let text = |name: &str| read.text(name, row).map(str::to_owned);
    let workload = read.text("image_name", row).zip(read.text("image_tag", row));
    let workload = workload.and_then(|(name, tag)| Workload::from_columns(name, tag).ok());
    let rule = text("rule").unwrap_or_default();
    let is_wanted = read.text("suppressed_by", row).is_none()
        && options.workload.as_ref().is_none_or(|wanted| workload.as_ref() == Some(wanted))
        && options.rule.as_ref().is_none_or(|wanted| *wanted == rule);
    if !is_wanted {
        return;
    }
    let id = |name| read.bytes(name, row).and_then(|id| id.try_into().ok()).map(NodeId::from_bytes);
    let (exe, target) = (text("exe").unwrap_or_default(), text("target").unwrap_or_default());
    let node = id("profile_node_id");
    let about = About {
        rule,
        workload,
        context: text("profile_context").unwrap_or_default(),
        how: text("match"),
        revision: read.int32("revision", row),
        node,
        process: id("profile_process_id"),
        unseen: node.is_none().then(|| (exe.clone(), target.clone())),
        is_own: read.text("source", row) == Some("wsp"),
    };
    let time = read.time("time", row).unwrap_or_default();
    let heap = heaps.entry(about).or_insert_with(|| Heap {
        exe,
        target,
        kind: text("kind").unwrap_or_default(),
        lineage: read.text_list("lineage", row),
        snapshots: BTreeSet::new(),
        containers: BTreeSet::new(),
        names: BTreeSet::new(),
        hosts: BTreeSet::new(),
        first: time,
        last: time,
        samples: Vec::new(),
        signals: 0,
    });
    heap.signals += 1;
    heap.first = heap.first.min(time);
    heap.last = heap.last.max(time);
    heap.snapshots.extend(text("snapshot_id"));
    heap.containers.extend(text("container_id"));
    heap.names.extend(text("container_name"));
    heap.hosts.extend(text("host"));
    if heap.samples.len() < SAMPLES {
        heap.samples.extend(text("signal_id"));
    }
}

/// The suggestion for a heap, or why there is none.
fn judge(
    about: &About,
    heap: &Heap,
    profile: Option<&Profile>,
    learned: Option<&BTreeSet<String>>,
    rules: &Rules,
    options: &Options,
) -> Result<(Scope, String, Evidence), String> {
    if about.rule == NOVELTY {
        return Err("it is not in the profile".to_owned());
    }
    match rules.get(&about.rule).filter(|_| about.is_own) {
        Some(rule) if !rule.suppressible => return Err("signals of the rule are never suppressed".to_owned()),
        None if about.is_own => return Err("the rule is not there any more".to_owned()),
        _ => {}
    }
    let Some(workload) = &about.workload else {
        return Err("it names no image with a tag or digest".to_owned());
    };
    let Some(profile) = profile else { return Err("there is no profile of the image".to_owned()) };
    let revision = &profile.revision;
    if !revision.is_stable {
        return Err("the profile still learns".to_owned());
    }
    let (Some(node), Some(process)) = (about.node, about.process) else {
        return Err(match about.context.as_str() {
            "learning" => {
                "it was raised while the profile learned: only later ones say what it knows".to_owned()
            }
            "no_profile" => "it was raised before there was a profile".to_owned(),
            _ => "it is not in the profile".to_owned(),
        });
    };
    if about.revision != Some(revision.number) {
        let judged = about.revision.unwrap_or_default();
        return Err(format!("it was judged by revision {judged}, the profile is at {}", revision.number));
    }
    if about.how.as_deref() == Some("target") {
        return Err(
            "the match is weak: by executable and target alone, since the lineage is not known".to_owned()
        );
    }
    let find = |id: NodeId| profile.by_id(id).map(|(at, _)| profile.node(at));
    let (Some(node), Some(process)) = (find(node), find(process)) else {
        return Err("the profile does not have it any more".to_owned());
    };
    if revision.containers < options.min_containers {
        let (has, least) = (revision.containers, options.min_containers);
        return Err(format!("the profile is small: it learned from {has} containers, {least} are needed"));
    }
    if revision.hosts < options.min_hosts {
        let (has, least) = (revision.hosts, options.min_hosts);
        return Err(format!("the profile is of {has} hosts, {least} are needed"));
    }
    let coverage = revision.coverage.unwrap_or(0.0);
    if coverage < options.min_coverage {
        return Err(format!("the profile's coverage is {coverage:.2}, {} is needed", options.min_coverage));
    }
    let completeness = |kind: &str| revision.completeness.get(kind).copied().unwrap_or(0.0);
    for kind in [heap.kind.as_str(), "process"] {
        let share = completeness(kind);
        if share < options.min_completeness {
            let least = options.min_completeness;
            return Err(format!(
                "the profile is incomplete: {share:.2} of its containers have a lossless snapshot of {kind} nodes, {least} is needed"
            ));
        }
    }
    for (what, found) in [("process", process), ("node", node)] {
        let share = found.commonality.unwrap_or(0.0);
        if share < options.min_commonality {
            let (n, of, least) = (found.containers, found.eligible, options.min_commonality);
            return Err(format!(
                "the {what} is not common: {n} of {of} containers have it, a share of {least} is needed"
            ));
        }
    }
    if node.hosts < options.min_hosts {
        let (has, least) = (node.hosts, options.min_hosts);
        return Err(format!("{has} hosts show it, {least} are needed"));
    }
    // A profile knows nodes, and a rule may look at what it does not keep: arguments, what was done to a file, counts. So the
    // rule itself must match in as many containers.
    let raising = if about.is_own {
        heap.containers.iter().filter(|id| learned.is_some_and(|learned| learned.contains(*id))).count()
    } else {
        heap.containers.len()
    };
    let needed = if about.is_own {
        at_least(options.min_commonality, node.eligible)
    } else {
        usize::try_from(options.min_containers).unwrap_or_default()
    };
    if raising < needed {
        let of = if about.is_own { " that the profile learned from" } else { "" };
        return Err(format!(
            "the rule matched it in {raising} containers{of}, {needed} are needed: what else it looks at is not common"
        ));
    }
    let hosts = heap.hosts.len();
    if i32::try_from(hosts).is_ok_and(|hosts| hosts < options.min_hosts) {
        return Err(format!("the rule matched it on {hosts} hosts, {} are needed", options.min_hosts));
    }
    // What only looks like it, since its lineage is not known, stays open.
    let predicate = format!(
        "profile_process_id = X'{}' AND profile_node_id = X'{}' AND match <> 'target'",
        process.id, node.id
    );
    let evidence = Evidence {
        exe: heap.exe.clone(),
        kind: heap.kind.clone(),
        target: heap.target.clone(),
        pattern: node.pattern.clone().or_else(|| process.pattern.clone()),
        is_named: process.argv0.is_some() || process.script.is_some(),
        lineage: heap.lineage.clone(),
        node: common(node),
        process: common(process),
        revision: revision.number,
        profile_containers: revision.containers,
        profile_hosts: revision.hosts,
        coverage,
        completeness: completeness(&heap.kind),
        signals: heap.signals,
        snapshots: heap.snapshots.len(),
        containers: heap.containers.len(),
        hosts: heap.hosts.len(),
        container_names: heap.names.iter().take(NAMES).cloned().collect(),
        host_names: heap.hosts.iter().take(NAMES).cloned().collect(),
        first: heap.first,
        last: heap.last,
        samples: heap.samples.clone(),
    };
    Ok((Scope::Workload(workload.clone()), predicate, evidence))
}

/// The least number that is this share of so many.
fn at_least(share: f64, of: i32) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of containers"
    )]
    let least = (share * f64::from(of.max(0))).ceil() as usize;
    least
}

/// The containers that profiles learned from.
async fn learned(
    tables: &ProfileTables,
    profiles: &HashMap<WorkloadKey, Profile>,
) -> Result<HashMap<WorkloadKey, BTreeSet<String>>, SuppressError> {
    const COLUMNS: [&str; 4] = ["workload_key", "revision", "outcome", "container_id"];
    let keys: BTreeSet<String> = profiles.keys().map(ToString::to_string).collect();
    let select = Selection { columns: Some(&COLUMNS), workloads: Some(&keys) };
    let mut learned: HashMap<WorkloadKey, BTreeSet<String>> = HashMap::new();
    for file in tables.ledger.files()?.iter().filter(|file| file.may_hold("workload_key", &keys)) {
        for batch in tables.ledger.read(file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let key = read.text("workload_key", row).and_then(WorkloadKey::parse);
                let Some((key, profile)) = key.and_then(|key| Some((key, profiles.get(&key)?))) else {
                    continue;
                };
                let is_of = read.int32("revision", row) == Some(profile.revision.number);
                if is_of && read.text("outcome", row) == Some("admitted") {
                    learned.entry(key).or_default().extend(read.text("container_id", row).map(str::to_owned));
                }
            }
        }
    }
    Ok(learned)
}

fn common(node: &ProfileNode) -> Common {
    let count = |count: i32| u32::try_from(count).unwrap_or_default();
    Common {
        id: node.id.to_string(),
        containers: node.containers,
        eligible: node.eligible,
        commonality: node.commonality.unwrap_or_default(),
        interval: wilson(count(node.containers), count(node.eligible)).unwrap_or((0.0, 1.0)),
        hosts: node.hosts,
    }
}
