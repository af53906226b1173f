//! Judges snapshots of one workload: by every rule, and by what its stable profile does not have.
//!
//! Containers of one workload behave alike. So a node is looked up in the profile once, and a rule is asked once for all rows
//! that say the same of a node and its process, and for rules about what a process did in all, where it did as much. Only
//! rules about the snapshot itself are asked each time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{DecodeError, Limits, NodeColumn, Scan, Scanner};

use super::ask::{RuleGroup, Variants};
use super::novelty::{Found, Group, Lookup, Novelty, id_of, told};
use super::profile::Profile;
use super::signal::{self, Context, ProfileContext, Signal};
use super::{NOVELTY, Verdict};
use crate::behaviour::activity::{self, Activities};
use crate::behaviour::{self, DependsOn, Shown, above, process_of};
use crate::jobs::judgement::disagreement;
use crate::node::{Identity, target};
use crate::one_line::one_line;
use crate::rules::{Rule, Rules, Severity};

/// Places with something new in one snapshot.
const MOST_GROUPS: usize = 1000;
/// New nodes of one place that are told apart.
const MOST_THINGS: usize = 1000;
/// Bytes of one attribute of a signal, and texts in one.
const ATTRIBUTE_BYTES: usize = 1024;
const ATTRIBUTE_TEXTS: usize = 20;

const EXE: NodeColumn = NodeColumn::named("exe");
const ARGS: NodeColumn = NodeColumn::named("args");
const ACCESS: NodeColumn = NodeColumn::named("access");
const STDIO: NodeColumn = NodeColumn::named("stdio");
const FILE_ORIGIN: NodeColumn = NodeColumn::named("file_origin");
const PATH_RAW: NodeColumn = NodeColumn::named("path_raw");
const CWD: NodeColumn = NodeColumn::named("cwd");
const REMOTE_IPS: NodeColumn = NodeColumn::named("remote_ips");

/// What all snapshots of a run are judged with.
#[derive(Debug)]
pub(super) struct Means {
    /// Rules by what decides on them, and the columns that they look at.
    of_node: RuleGroup,
    of_activity: RuleGroup,
    of_snapshot: RuleGroup,
    /// Some rule looks at what a process did in all.
    asks_activity: bool,
    pub(super) limits: Limits,
    pub(super) most_signals: usize,
    pub(super) detected_at: DateTime<Utc>,
}

impl Means {
    pub(super) fn new(
        rules: &Rules,
        limits: Limits,
        most_signals: usize,
        detected_at: DateTime<Utc>,
    ) -> Self {
        let mut means = Self {
            of_node: RuleGroup::default(),
            of_activity: RuleGroup::default(),
            of_snapshot: RuleGroup::default(),
            asks_activity: false,
            limits,
            most_signals,
            detected_at,
        };
        for rule in rules.iter() {
            let columns = rule.predicate.columns().iter();
            match columns.map(|column| DependsOn::of(column)).max() {
                None | Some(DependsOn::Node) => means.of_node.add(rule),
                Some(DependsOn::Activity) => means.of_activity.add(rule),
                Some(DependsOn::Snapshot) => means.of_snapshot.add(rule),
            }
        }
        means.asks_activity = means.of_activity.asks_activity() || means.of_snapshot.asks_activity();
        means
    }
}

/// A snapshot that is to be judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Candidate {
    pub(super) object_key: String,
    pub(super) key: SnapshotKey,
    /// None where the listing did not say.
    pub(super) size: Option<u64>,
    /// It came after the freeze: what its profile does not have is new.
    pub(super) is_late: bool,
}

/// Snapshots of one workload that are judged together.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    means: &'a Means,
    bucket: i32,
    workload: WorkloadKey,
    profile: Option<&'a Profile>,
    lookup: Option<Lookup<'a>>,
    scanner: Scanner,
    state: foldhash::fast::RandomState,
    /// Of rows that say the same of a node and its process …
    of_node: Variants,
    /// … and whose process did as much.
    of_activity: Variants,
    read: Vec<Read>,
    /// Bytes of it.
    held: usize,
    verdicts: Vec<Verdict>,
}

/// A row that a rule matches; none for the container as a whole.
type Match<'a> = (Option<usize>, &'a Arc<Rule>);

/// A snapshot that was read.
#[derive(Debug)]
struct Read {
    candidate: Candidate,
    scan: Scan,
    /// Empty where no rule asks.
    activity: Activities,
    /// Variants by row, of those that rules about nodes, and about activity, may hold for.
    of_node: Vec<(usize, usize)>,
    of_activity: Vec<(usize, usize)>,
}

impl Read {
    fn memory(&self) -> usize {
        let variants = self.of_node.len() + self.of_activity.len();
        self.scan.memory() + self.activity.memory() + variants * size_of::<(usize, usize)>()
    }
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        means: &'a Means,
        bucket: i32,
        workload: WorkloadKey,
        profile: Option<&'a Profile>,
    ) -> Self {
        Self {
            means,
            bucket,
            workload,
            profile,
            lookup: profile.filter(|profile| profile.revision.is_stable).map(Lookup::new),
            scanner: Scanner::default(),
            state: foldhash::fast::RandomState::default(),
            of_node: Variants::default(),
            of_activity: Variants::default(),
            read: Vec::new(),
            held: 0,
            verdicts: Vec::new(),
        }
    }

    /// Reads a snapshot. One that cannot be read gets its verdict at once.
    pub(super) fn add(&mut self, candidate: Candidate, bytes: &Bytes) {
        match self.scan(&candidate, bytes) {
            Ok(scan) => {
                let read = self.varied(candidate, scan);
                self.held += read.memory();
                self.read.push(read);
            }
            Err(reason) => self.verdicts.push(Verdict::damaged(candidate, self.bucket, reason)),
        }
    }

    fn scan(&mut self, candidate: &Candidate, bytes: &Bytes) -> Result<Scan, String> {
        let scan = self.scanner.scan(bytes, &self.means.limits);
        let scan = scan.map_err(|error: DecodeError| one_line(&error))?;
        match disagreement(&candidate.key, &scan.meta) {
            Some(reason) => Err(reason),
            None => Ok(scan),
        }
    }

    /// Finds out which rows say what others said.
    fn varied(&mut self, candidate: Candidate, scan: Scan) -> Read {
        let Means { of_node, of_activity, .. } = self.means;
        let snapshot = self.read.len();
        let own = scan.fingerprints(&self.state);
        // What is below a process tells of it, too.
        let said = |row: usize| match (scan.kind(row), scan.owner(row)) {
            (Kind::Process, _) | (_, None) => own[row],
            (_, Some(owner)) => self.state.hash_one((own[row], own[owner])),
        };
        let asked = |group: &RuleGroup| -> Vec<usize> {
            (0..scan.len()).filter(|row| group.asks(Some(scan.kind(*row)))).collect()
        };
        let rows = asked(of_node);
        let variant = |row| (row, self.of_node.of(scan.numbers()[row], said(row), (snapshot, Some(row))));
        let variants = rows.into_iter().map(variant).collect();
        let activity = if self.means.asks_activity { activity::of(&scan) } else { Activities::default() };
        let rows = asked(of_activity);
        let variant = |row| {
            let did = process_of(&scan, row).and_then(|process| activity.get(process));
            let said = self.state.hash_one((said(row), did));
            (row, self.of_activity.of(scan.numbers()[row], said, (snapshot, Some(row))))
        };
        let variants_of_activity = rows.into_iter().map(variant).collect();
        Read { candidate, of_node: variants, of_activity: variants_of_activity, activity, scan }
    }

    /// Memory that it takes, about.
    pub(super) fn memory(&self) -> usize {
        self.held + self.scanner.memory() + self.of_node.memory() + self.of_activity.memory()
    }

    /// Judges what was read; also gives rules that could not be asked about some row, with the first error of each.
    pub(super) fn finish(mut self) -> Result<(Vec<Verdict>, BTreeMap<String, String>), DataFusionError> {
        let mut failed = BTreeMap::new();
        let read = std::mem::take(&mut self.read);
        let contexts: Vec<behaviour::Context> = read.iter().map(|read| self.context_of(&read.scan)).collect();
        let shown: Vec<Shown<'_>> = read
            .iter()
            .zip(&contexts)
            .map(|(read, context)| Shown { scan: &read.scan, context: *context, activity: &read.activity })
            .collect();
        let means = self.means;
        let Means { of_node, of_activity, of_snapshot, .. } = means;
        let by_node = of_node.holding(&shown, self.of_node.firsts(), self.lookup.as_mut(), &mut failed)?;
        let firsts = self.of_activity.firsts();
        let by_activity = of_activity.holding(&shown, firsts, self.lookup.as_mut(), &mut failed)?;
        let mut rows = Vec::new();
        if !of_snapshot.is_empty() {
            for (at, read) in read.iter().enumerate() {
                let is_asked = |row: &usize| of_snapshot.asks(Some(read.scan.kind(*row)));
                rows.extend((0..read.scan.len()).filter(is_asked).map(|row| (at, Some(row))));
            }
        }
        let by_row = of_snapshot.holding(&shown, &rows, self.lookup.as_mut(), &mut failed)?;
        let mut matches: Vec<Vec<Match<'_>>> = vec![Vec::new(); read.len()];
        for (at, read) in read.iter().enumerate() {
            for (variants, holding, group) in
                [(&read.of_node, &by_node, of_node), (&read.of_activity, &by_activity, of_activity)]
            {
                for (row, variant) in variants {
                    matches[at].extend(holding[*variant].iter().map(|rule| (Some(*row), group.rule(*rule))));
                }
            }
        }
        for ((at, row), rules) in rows.iter().zip(by_row) {
            matches[*at].extend(rules.iter().map(|rule| (*row, of_snapshot.rule(*rule))));
        }
        // The container as a whole, which any rule may be about.
        let whole: Vec<behaviour::Place> = (0..read.len()).map(|at| (at, None)).collect();
        for group in [of_node, of_activity, of_snapshot].into_iter().filter(|group| group.asks(None)) {
            for (at, rules) in group.holding(&shown, &whole, None, &mut failed)?.into_iter().enumerate() {
                matches[at].extend(rules.iter().map(|rule| (None, group.rule(*rule))));
            }
        }
        let mut verdicts = std::mem::take(&mut self.verdicts);
        for (read, matches) in read.iter().zip(matches) {
            verdicts.push(self.verdict(&read.candidate, &read.scan, matches));
        }
        Ok((verdicts, failed))
    }

    fn context_of(&self, scan: &Scan) -> behaviour::Context {
        let known = self.profile.filter(|profile| profile.revision.is_stable);
        let known = known.map(|profile| &profile.revision.digests).filter(|digests| !digests.is_empty());
        let digest_is_new =
            known.zip(scan.meta.image.digest.as_ref()).map(|(digests, digest)| !digests.contains(digest));
        behaviour::Context { digest_is_new }
    }

    fn verdict(&mut self, candidate: &Candidate, scan: &Scan, matches: Vec<Match<'_>>) -> Verdict {
        let mut groups = match &mut self.lookup {
            Some(lookup) if candidate.is_late => lookup.groups(scan),
            _ => Vec::new(),
        };
        let novel_nodes = groups.iter().map(|group| group.rows.len()).sum();
        // What is dropped is the least of it; what the profile has goes first among equals. Of what is new, it is not known here
        // what was told before: that is limited where it is.
        let mut ranked: Vec<(bool, Match<'_>)> = Vec::new();
        for (row, rule) in matches {
            let is_known = match (&mut self.lookup, row) {
                (Some(lookup), Some(row)) => matches!(lookup.find(scan, row), Found::Row(..)),
                _ => false,
            };
            ranked.push((is_known, (row, rule)));
        }
        ranked.sort_by_key(|(is_known, (row, rule))| (Reverse(rule.severity), *is_known, *row));
        let mut dropped = ranked.len().saturating_sub(self.means.most_signals);
        ranked.truncate(self.means.most_signals);
        let signals = ranked.into_iter().map(|(_, (row, rule))| self.of_rule(scan, row, rule)).collect();
        groups.sort_by_key(Group::worst);
        dropped += groups.len().saturating_sub(MOST_GROUPS);
        groups.truncate(MOST_GROUPS);
        let novelties = groups.iter().map(|group| self.of_novelty(scan, group)).collect();
        Verdict {
            novelties,
            standing: 0,
            candidate: candidate.clone(),
            bucket: self.bucket,
            revision: self.profile.map(|profile| (profile.revision.number, profile.revision.is_stable)),
            nodes: scan.len(),
            novel_nodes,
            dropped,
            signals,
            damage: None,
        }
    }

    fn of_rule(&mut self, scan: &Scan, row: Option<usize>, rule: &Rule) -> Signal {
        let mut signal = self.signal(scan, row, &rule.id, rule.severity);
        signal.summary = match (&signal.target, &signal.exe) {
            (Some(target), Some(exe)) if signal.kind != Some(Kind::Process) => {
                format!("{}: {exe}, {target}", rule.title)
            }
            (Some(target), _) => format!("{}: {target}", rule.title),
            (None, _) => rule.title.clone(),
        };
        signal
    }

    fn of_novelty(&mut self, scan: &Scan, group: &Group) -> NewThings {
        let mut base = self.signal(scan, Some(group.anchor), NOVELTY, group.worst().severity());
        base.context = ProfileContext::Unseen;
        base.profile_node = None;
        let things = group.rows.iter().map(|(novelty, row)| NewThing {
            told: told(scan, *novelty, *row),
            novelty: *novelty,
            node: id_of(scan, *row),
            kind: scan.kind(*row),
            target: signal::bounded(&target(&Identity::of(scan, *row)), ATTRIBUTE_BYTES).into_owned(),
            first: at(scan, scan.first_seen_ms(*row)),
            last: at(scan, scan.last_seen_ms(*row)),
            events: scan.events(*row),
            is_anchor: *row == group.anchor,
        });
        NewThings { base, things: things.take(MOST_THINGS).collect(), all: group.rows.len() }
    }

    /// A signal about a row, or about a snapshot as a whole.
    fn signal(&mut self, scan: &Scan, row: Option<usize>, rule: &str, severity: Severity) -> Signal {
        let meta = &scan.meta;
        let node = row.map(|row| id_of(scan, row));
        let process = row.and_then(|row| process_of(scan, row));
        let mut lineage: Vec<String> = process
            .into_iter()
            .flat_map(|process| std::iter::once(process).chain(above(scan, process)))
            .map(|row| scan.text(EXE, row).unwrap_or_default().to_owned())
            .collect();
        lineage.reverse();
        let found = |judge: &mut Self, row| {
            let lookup = judge.lookup.as_mut()?;
            let Found::Row(at, how) = lookup.find(scan, row) else { return None };
            let node = lookup.profile().node(at);
            Some(Context { id: node.id, commonality: node.commonality, how })
        };
        let profile_node = row.and_then(|row| found(self, row));
        let profile_process = process.and_then(|row| found(self, row));
        let context = match self.profile.map(|profile| profile.revision.is_stable) {
            None => ProfileContext::NoProfile,
            Some(false) => ProfileContext::Learning,
            Some(true) if profile_node.is_some() => ProfileContext::Known,
            Some(true) => ProfileContext::Unseen,
        };
        let identity = row.map(|row| Identity::of(scan, row));
        let about: [&[u8]; 2] =
            [meta.id.as_bytes(), node.as_ref().map_or(&[], |id| id.as_bytes().as_slice())];
        Signal {
            bucket: self.bucket,
            workload_key: Some(self.workload.to_string()),
            workload: meta.image.workload.clone(),
            id: signal::id(rule, &about),
            rule: rule.to_owned(),
            severity,
            source: "wsp".into(),
            time: row.map_or(meta.window_start, |row| at(scan, scan.first_seen_ms(row))),
            last_seen: row.map(|row| at(scan, scan.last_seen_ms(row))),
            snapshot_id: Some(meta.id.to_string()),
            window: Some((meta.window_start, meta.window_end)),
            container_id: Some(meta.container.id.clone()),
            container_name: meta.container.name.clone(),
            image_digest: meta.image.digest.clone(),
            host: Some(meta.host.clone()),
            labels: meta.container.labels.clone(),
            kind: identity.map(|identity| identity.kind),
            exe: identity.and_then(|identity| identity.exe).map(str::to_owned),
            target: identity.map(|identity| target(&identity)),
            node_id: node,
            process_id: process.map(|row| id_of(scan, row)),
            lineage,
            summary: String::new(),
            attributes: row.map(|row| attributes(scan, row, process)).unwrap_or_default(),
            context,
            revision: self.profile.map(|profile| profile.revision.number),
            profile_node,
            profile_process,
            novelty: None,
            nodes: 1,
            told: Vec::new(),
            events: row.map_or(1, |row| scan.events(row)),
            suppressed_by: None,
            detected_at: self.means.detected_at,
            batch: None,
        }
    }
}

fn at(scan: &Scan, ms: i32) -> DateTime<Utc> {
    scan.meta.window_start + TimeDelta::milliseconds(i64::from(ms))
}

/// What is new in one place of a snapshot, before it is known what of it was told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NewThings {
    /// A signal about the process that it hangs from.
    base: Signal,
    things: Vec<NewThing>,
    /// How many there are, should they be more than are kept.
    all: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct NewThing {
    told: String,
    novelty: Novelty,
    node: NodeId,
    kind: Kind,
    target: String,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    events: i64,
    is_anchor: bool,
}

impl NewThings {
    /// Whether any of it was not told.
    pub(super) fn has_news(&self, known: &HashSet<String>) -> bool {
        self.things.iter().any(|thing| !known.contains(&thing.told))
    }

    /// How bad it is, were nothing of it told.
    pub(super) fn severity(&self) -> Severity {
        self.base.severity
    }

    /// The container that shows it.
    pub(super) fn container(&self) -> &str {
        self.base.container_id.as_deref().unwrap_or_default()
    }

    /// The signal about what was not told of the container; none where all was. `known` is what was told, and gets what is now.
    pub(super) fn signal(mut self, known: &mut HashSet<String>) -> Option<Signal> {
        let more = self.all - self.things.len();
        let is_new: Vec<bool> = self.things.iter().map(|thing| !known.contains(&thing.told)).collect();
        let mut is_new = is_new.into_iter();
        self.things.retain(|_| is_new.next() == Some(true));
        let things = &self.things;
        // The process itself stands for what hangs from it; of what a known process did, the worst.
        let stands = things.iter().min_by_key(|thing| (!thing.is_anchor, thing.novelty, thing.first))?;
        let worst = things.iter().map(|thing| thing.novelty).min()?;
        let nodes = things.len() + more;
        let mut signal = self.base;
        let about =
            [signal.snapshot_id.as_deref().unwrap_or_default().as_bytes(), stands.node.as_bytes().as_slice()];
        signal.id = signal::id(NOVELTY, &about);
        signal.severity = worst.severity();
        signal.novelty = Some(worst);
        signal.node_id = Some(stands.node);
        signal.kind = Some(stands.kind);
        signal.target = Some(stands.target.clone());
        signal.time = things.iter().map(|thing| thing.first).min().unwrap_or(signal.time);
        signal.last_seen = things.iter().map(|thing| thing.last).max();
        signal.events = things.iter().map(|thing| thing.events).fold(0, i64::saturating_add);
        signal.nodes = i32::try_from(nodes).unwrap_or(i32::MAX);
        let mut listed: Vec<_> = things.iter().collect();
        listed.sort_by_key(|thing| thing.novelty);
        let mut lines: Vec<String> = listed
            .iter()
            .take(ATTRIBUTE_TEXTS)
            .map(|thing| format!("{} {}", thing.kind.as_str(), thing.target))
            .collect();
        if nodes > lines.len() {
            lines.push(format!("and {} more", nodes - lines.len()));
        }
        let lines = signal::bounded(&lines.join("\n"), ATTRIBUTE_BYTES * 4).into_owned();
        signal.attributes.insert("new".to_owned(), lines);
        let exe = signal.exe.as_deref().unwrap_or_default();
        let what = if stands.kind == Kind::Process {
            stands.target.clone()
        } else {
            format!("{exe}, {}", stands.target)
        };
        signal.summary = match nodes {
            1 => format!("{}: {what}", worst.words()),
            nodes => format!("{}: {what}; {nodes} new nodes in all", worst.words()),
        };
        let told: BTreeSet<String> = things.iter().map(|thing| thing.told.clone()).collect();
        known.extend(told.iter().cloned());
        signal.told = told.into_iter().collect();
        Some(signal)
    }
}

/// What else the snapshot says of a node and its process.
fn attributes(scan: &Scan, row: usize, process: Option<usize>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, text: String| {
        if !text.is_empty() {
            found.insert(name.to_owned(), signal::bounded(&text, ATTRIBUTE_BYTES).into_owned());
        }
    };
    let list = |column, row| {
        let texts: Vec<&str> = scan.texts(column, row).take(ATTRIBUTE_TEXTS).collect();
        texts.join("\n")
    };
    let text = |column, row| scan.text(column, row).unwrap_or_default().to_owned();
    if let Some(process) = process {
        add("args", list(ARGS, process));
        add("cwd", text(CWD, process));
        add("stdio", list(STDIO, process).replace('\n', " "));
        add("exe_origin", text(FILE_ORIGIN, process));
    }
    if process != Some(row) {
        add("access", list(ACCESS, row).replace('\n', " "));
        add("file_origin", text(FILE_ORIGIN, row));
        add("path_raw", text(PATH_RAW, row));
        add("remote_ips", list(REMOTE_IPS, row).replace('\n', " "));
    }
    found
}
