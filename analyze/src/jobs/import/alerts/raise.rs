//! Alerts become signals, each with what the profile of its image says.
//!
//! Another tool tells executables, not nodes. An alert is matched to the one process of the profile that has its executable
//! and all the executables above it, up to where the container begins; where the tool does not tell them all, or several
//! processes have them, the match is weak, and nothing is suggested for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use datafusion::prelude::SessionContext;
use serde::Serialize;
use wsp_schemas::identity::Kind;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::store::Store;

use super::{Alert, AlertProcess, Target};
use crate::jobs::detect::DetectError;
use crate::jobs::detect::profile::{self, How, Profile, ProfileNode, Sibling};
use crate::jobs::detect::signal::{self, Context, ProfileContext, Signal};
use crate::jobs::merge::DEFAULT_BUCKETS;
use crate::jobs::retry::Patience;
use crate::jobs::suppress;
use crate::node::{Identity, target};
use crate::tables::{Change, OpenTable, ProfileTables, Selection, TableError, partition_value};

/// How often it begins anew because something else was faster.
const CONFLICTS: usize = 60;

/// What came of alerts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Raised {
    /// Signals written.
    pub written: usize,
    /// Alerts whose signals stand already, or that were there twice.
    pub present: usize,
    /// Of those written, by what the profile says.
    pub contexts: BTreeMap<&'static str, usize>,
    /// Of those written, how many a suppression hides.
    pub suppressed: usize,
}

/// Writes alerts into `signals`.
pub async fn raise(
    store: &Store,
    context: &SessionContext,
    alerts: &[Alert],
    now: DateTime<Utc>,
) -> Result<Raised, DetectError> {
    let mut patience = Patience::new(CONFLICTS);
    loop {
        match attempt(store, context, alerts, now).await {
            Ok(raised) => return Ok(raised),
            Err(error) => patience.wait(error, DetectError::table).await?,
        }
    }
}

async fn attempt(
    store: &Store,
    context: &SessionContext,
    alerts: &[Alert],
    now: DateTime<Utc>,
) -> Result<Raised, DetectError> {
    let tables = match ProfileTables::open(store).await {
        Ok(tables) => Some(tables),
        Err(TableError::NoProfiles { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let buckets = match &tables {
        Some(tables) => tables.ledger.buckets()?,
        None => DEFAULT_BUCKETS,
    };
    let (signals, hides) = suppress::open_signals(store, context, buckets).await?;
    let buckets = signals.buckets()?;
    let profiles = match &tables {
        Some(tables) => {
            let keys = alerts.iter().filter_map(|alert| Some(alert.image.as_ref()?.key()));
            profile::of_workloads(tables, keys).await?
        }
        None => HashMap::new(),
    };
    let mut raised = Raised::default();
    let mut by_bucket: BTreeMap<i32, Vec<Signal>> = BTreeMap::new();
    for alert in alerts {
        let signal = of(alert, &profiles, buckets, now);
        by_bucket.entry(signal.bucket).or_default().push(signal);
    }
    let mut change = Change::default();
    for (bucket, mut found) in by_bucket {
        let mut standing = standing(&signals, bucket, &found).await?;
        let all = found.len();
        found.retain(|signal| standing.insert(signal.id.clone()));
        raised.present += all - found.len();
        raised.written += found.len();
        for signal in &found {
            *raised.contexts.entry(signal.context.as_str()).or_default() += 1;
        }
        for found in found.chunks(signal::ROWS_AT_ONCE) {
            let (rows, hidden) = hides.mark(&signal::to_batch(found)?)?;
            raised.suppressed += hidden;
            change.add(&signals, vec![partition_value("bucket", &bucket)], &rows).await?;
        }
    }
    if raised.written > 0 {
        change.set(hides.applied());
        // Two imports of one file would not see each other's signals.
        change.commit_next(&signals).await?;
    }
    Ok(raised)
}

/// Ids of signals of these tools that stand already.
async fn standing(signals: &OpenTable, bucket: i32, found: &[Signal]) -> Result<HashSet<String>, TableError> {
    let sources: BTreeSet<&str> = found.iter().map(|signal| &*signal.source).collect();
    let select = Selection { columns: Some(&["signal_id", "source"]), workloads: None };
    let mut standing = HashSet::new();
    for file in signals.files()?.iter().filter(|file| file.bucket() == Some(bucket)) {
        for batch in signals.read(file, select).await? {
            let read = crate::rows::Reader::new(&batch);
            let ids = (0..batch.num_rows())
                .filter(|row| read.text("source", *row).is_some_and(|source| sources.contains(source)))
                .filter_map(|row| read.text("signal_id", row).map(str::to_owned));
            standing.extend(ids);
        }
    }
    Ok(standing)
}

/// What an alert is about, as nodes have it.
struct About {
    exe: String,
    kind: Kind,
    argv0: Option<String>,
    name: Option<String>,
    form: Option<String>,
    port: Option<i32>,
}

impl About {
    fn new(alert: &Alert) -> Option<Self> {
        let process = alert.process.as_ref()?;
        let exe = process.exe.as_ref()?.to_escaped();
        let text = |text: &wsp_schemas::text::RawText| Some(text.to_escaped());
        let (kind, name, form, port) = match &alert.target {
            None => (Kind::Process, None, None, None),
            Some(Target::File { path, .. }) => (Kind::File, text(path), None, None),
            Some(Target::Dns { name, rtype }) => (Kind::Dns, text(name), rtype.clone(), None),
            Some(Target::Connect { protocol, address, port }) => {
                (Kind::Connect, text(address), Some(protocol.clone()), Some(i32::from(*port)))
            }
            Some(Target::Listen { protocol, address, port }) => {
                (Kind::Listen, text(address), Some(protocol.clone()), Some(i32::from(*port)))
            }
            Some(Target::Syscall(name)) => (Kind::Syscall, Some(name.clone()), None, None),
            Some(Target::Capability(name)) => (Kind::Capability, Some(name.clone()), None, None),
        };
        let argv0 = process.argv0.as_ref().filter(|_| kind == Kind::Process).map(|argv0| argv0.to_escaped());
        Some(Self { exe, kind, argv0, name, form, port })
    }

    fn identity(&self) -> Identity<'_> {
        Identity {
            kind: self.kind,
            exe: Some(&self.exe),
            argv0: self.argv0.as_deref(),
            script: None,
            name: self.name.as_deref(),
            form: self.form.as_deref(),
            port: self.port,
        }
    }

    /// The same, for every record type where none is told.
    fn identities(&self) -> Vec<Identity<'_>> {
        match (self.kind, &self.form) {
            (Kind::Dns, None) => {
                ["A", "AAAA"].map(|form| Identity { form: Some(form), ..self.identity() }).to_vec()
            }
            _ => vec![self.identity()],
        }
    }
}

/// Whether a process of the profile may be the one that an alert tells: `above` are those above it, the nearest first.
fn may_be(told: &AlertProcess, known: &ProfileNode, above: &[&ProfileNode]) -> bool {
    let told_up: Vec<String> = told.ancestors.iter().rev().map(|exe| exe.to_escaped()).collect();
    let root = above.last().unwrap_or(&known).root_kind;
    let argv0 = told.argv0.as_ref().map(|argv0| argv0.to_escaped());
    if told.root.is_some_and(|kind| root != Some(kind)) || argv0.as_deref() != known.argv0.as_deref() {
        return false;
    }
    if told.is_whole && told_up.len() != above.len() {
        return false;
    }
    told_up.len() <= above.len()
        && told_up.iter().zip(above).all(|(told, known)| {
            // A name alone is the last part of a path.
            told == known.exe() || (!told.contains('/') && known.exe().rsplit('/').next() == Some(told))
        })
}

/// Whether an alert says enough for a process to be the only one that it can mean.
fn is_certain(told: &AlertProcess, known: &ProfileNode) -> bool {
    // An entrypoint and what somebody runs by hand look alike where the kind of root is not told; so do a script and its interpreter.
    let is_root_told = told.root.is_some() || !told.ancestors.is_empty();
    told.is_whole && is_root_told && known.script.is_none()
}

/// The rows of the profile for process and node.
fn find(alert: &Alert, profile: &Profile) -> (Option<Context>, Option<Context>) {
    let (Some(about), Some(process)) = (About::new(alert), &alert.process) else { return (None, None) };
    let fits: Vec<usize> = profile
        .processes(&about.exe)
        .filter(|(at, above)| may_be(process, profile.node(*at), above))
        .map(|(at, _)| at)
        .collect();
    let sibling = |identity| Sibling { identity, root_kind: None, script: None };
    let nodes = |process: usize| match about.kind {
        Kind::Process => Some(process),
        _ => about.identities().into_iter().find_map(|identity| profile.fact_of(process, &sibling(identity))),
    };
    let context = |at: usize, how: How| {
        let node = profile.node(at);
        Context { id: node.id, commonality: node.commonality, how }
    };
    let found: Vec<(usize, usize)> =
        fits.iter().filter_map(|process| Some((*process, nodes(*process)?))).collect();
    match (&fits[..], &found[..]) {
        ([_], [(at, node)]) if is_certain(process, profile.node(*at)) => {
            (Some(context(*at, How::Lineage)), Some(context(*node, How::Lineage)))
        }
        (_, [(process, node), ..]) => {
            (Some(context(*process, How::Target)), Some(context(*node, How::Target)))
        }
        ([process, ..], []) => (Some(context(*process, How::Target)), None),
        ([], []) => (None, None),
    }
}

fn of(alert: &Alert, profiles: &HashMap<WorkloadKey, Profile>, buckets: u32, now: DateTime<Utc>) -> Signal {
    let key = alert.image.as_ref().map_or(WorkloadKey::UNKEYED, |image| image.key());
    let profile = profiles.get(&key);
    let (process, node) = profile.map_or((None, None), |profile| find(alert, profile));
    let context = match profile.map(|profile| profile.revision.is_stable) {
        None => ProfileContext::NoProfile,
        Some(false) => ProfileContext::Learning,
        Some(true) if node.is_some() => ProfileContext::Known,
        Some(true) => ProfileContext::Unseen,
    };
    // What a profile that learns has, it may lose its meaning by.
    let (process, node) = if context == ProfileContext::Learning { (None, None) } else { (process, node) };
    let about = About::new(alert);
    let mut lineage: Vec<String> =
        alert.process.iter().flat_map(|process| &process.ancestors).map(|exe| exe.to_escaped()).collect();
    let exe = alert.process.as_ref().and_then(|process| process.exe.as_ref().or(process.name.as_ref()));
    let exe = exe.map(|exe| exe.to_escaped());
    lineage.extend(exe.clone());
    Signal {
        bucket: key.bucket(buckets),
        workload_key: alert.image.as_ref().map(|_| key.to_string()),
        workload: alert.image.clone(),
        id: alert.id.clone(),
        // Another tool may call a rule as one of ours is called.
        rule: format!("{}:{}", alert.source.as_str(), alert.rule),
        severity: alert.severity,
        source: alert.source.as_str().into(),
        time: alert.time,
        last_seen: None,
        snapshot_id: None,
        window: None,
        container_id: alert.container_id.clone(),
        container_name: alert.container_name.clone(),
        image_digest: alert.image_digest.clone(),
        host: alert.host.clone(),
        labels: alert.labels.clone(),
        kind: about.as_ref().map(|about| about.kind),
        target: about.as_ref().map(|about| target(&about.identity())),
        exe,
        node_id: None,
        process_id: None,
        lineage,
        summary: alert.summary.clone(),
        attributes: alert.attributes.clone(),
        context,
        revision: profile.map(|profile| profile.revision.number),
        profile_node: node,
        profile_process: process,
        novelty: None,
        nodes: 1,
        told: Vec::new(),
        events: 1,
        suppressed_by: None,
        detected_at: now,
        batch: None,
    }
}

#[cfg(test)]
#[path = "raise_tests.rs"]
mod raise_tests;
