//! `detect`: new snapshots are judged, by rules and by what stable profiles do not have; what is worth an alert becomes a
//! signal, with what the profile says of it.
//!
//! Plan from LIST → load the profiles of a bucket → read and judge, some snapshots of one workload at a time → commit signals, then
//! what was judged. A snapshot is judged once: after a merge decided on it, since what a profile learns from is not new.

mod ask;
mod judge;
mod novelty;
mod plan;
pub(crate) mod profile;
#[cfg(feature = "distributed")]
pub(crate) mod remote;
pub(crate) mod signal;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::Limits;
use wsp_schemas::store::Store;
use wsp_schemas::tables::DETECTIONS;

use super::Progress;
use super::fetch::{self, Files, Unfetched};
use super::merge::{MergeError, Problem};
use super::retry::Patience;
use super::suppress;
use crate::engine::Engine;
use crate::overlay;
use crate::rules::Rules;
use crate::session::{self, Resources};
use crate::tables::{Change, DETECT_WATERMARK, OpenTable, ProfileTables, TableError, application};
use judge::{Candidate, Judge, Means, NewThings};
use profile::Profile;
use signal::Signal;

pub use novelty::Novelty;
pub use signal::ProfileContext;

/// What signals of activity that a profile does not have name in place of a rule.
pub const NOVELTY: &str = "novelty";

/// How often a run begins anew because another one was faster.
const CONFLICTS: usize = 60;
/// Snapshots of one workload that are judged together: what a rule says of one row is used for all that say the same.
const TOGETHER: usize = 256;

/// Bytes of snapshots that are held at once, for each core.
const HELD_BYTES: usize = 256 << 20;
/// Workloads whose profiles are held at once.
const WORKLOADS: usize = 1024;

/// What a detection is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signals of one snapshot; more are only counted. The least severe go first.
    pub most_signals: usize,
    /// Uploads are looked for from this long before the hour up to which all were judged.
    pub look_back: Duration,
    /// Look at all uploads, whenever they came.
    pub rescan: bool,
    /// Judge, and write nothing.
    pub dry_run: bool,
    /// Bounds on a snapshot file.
    pub limits: Limits,
    /// Files that each core fetches at the same time; 0 for what suits the store.
    pub concurrency: usize,
    /// Files after which what was found is committed.
    pub files_per_batch: usize,
    /// Cores.
    pub resources: Resources,
    /// Where snapshots are read and judged.
    pub engine: Engine,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            most_signals: 64,
            look_back: Duration::from_secs(48 * 3600),
            rescan: false,
            dry_run: false,
            limits: Limits::default(),
            concurrency: 0,
            files_per_batch: 16_384,
            resources: Resources::default(),
            engine: Engine::default(),
        }
    }
}

/// What a detection did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Objects below `snapshots/` that were listed.
    pub listed: usize,
    /// Snapshots that an earlier run had judged.
    pub known: usize,
    /// Snapshots that no merge has decided on: judged after the next one.
    pub waiting: usize,
    /// Snapshots judged.
    pub judged: usize,
    /// Of these, snapshots that came after their profile's freeze, and were looked up in it.
    pub looked_up: usize,
    /// Signals raised, by rule.
    pub signals: BTreeMap<String, usize>,
    /// Signals raised, by severity.
    pub severities: BTreeMap<&'static str, usize>,
    /// Signals raised, by what the profile says.
    pub contexts: BTreeMap<&'static str, usize>,
    /// Of all, those that a suppression hides.
    pub suppressed: usize,
    /// Signals beyond the limit of one snapshot.
    pub dropped: usize,
    /// Snapshots that cannot be read.
    pub damaged: Vec<Problem>,
    /// Objects that the store did not give: the next run tries again.
    pub unavailable: Vec<Problem>,
    /// Rules that could not be asked about some row, which they then did not match, with the first reason.
    pub failed_rules: BTreeMap<String, String>,
    /// Times that the run began anew because another one was faster.
    pub retries: u32,
}

impl Report {
    /// Everything that was there was judged, whole.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty()
            && self.unavailable.is_empty()
            && self.failed_rules.is_empty()
            && self.dropped == 0
    }

    /// Signals raised.
    pub fn raised(&self) -> usize {
        self.signals.values().sum()
    }

    /// Adds what was written of a part of the snapshots.
    fn add(&mut self, part: Self) {
        let counts = [
            (&mut self.judged, part.judged),
            (&mut self.looked_up, part.looked_up),
            (&mut self.suppressed, part.suppressed),
            (&mut self.dropped, part.dropped),
        ];
        counts.into_iter().for_each(|(all, more)| *all += more);
        part.signals.into_iter().for_each(|(rule, more)| *self.signals.entry(rule).or_default() += more);
        for (all, more) in [(&mut self.severities, part.severities), (&mut self.contexts, part.contexts)] {
            more.into_iter().for_each(|(word, more)| *all.entry(word).or_default() += more);
        }
        self.damaged.extend(part.damaged);
    }

    fn count(&mut self, verdict: &Verdict) {
        if let Some(reason) = &verdict.damage {
            self.damaged
                .push(Problem { object: verdict.candidate.object_key.clone(), reason: reason.clone() });
            return;
        }
        self.judged += 1;
        self.looked_up += usize::from(verdict.candidate.is_late);
        self.dropped += verdict.dropped;
        for signal in &verdict.signals {
            *self.signals.entry(signal.rule.clone()).or_default() += 1;
            *self.severities.entry(signal.severity.as_str()).or_default() += 1;
            *self.contexts.entry(signal.context.as_str()).or_default() += 1;
        }
    }
}

/// A detection that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Objects cannot be listed.
    #[error("the snapshots of {store} cannot be listed")]
    List {
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A rule failed while it was evaluated.
    #[error("the rules cannot be evaluated")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// The cluster failed.
    #[cfg(feature = "distributed")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::JobError),
    /// Rows could not be put together.
    #[error("rows of the tables cannot be built")]
    Rows(#[from] arrow::error::ArrowError),
}

impl From<suppress::SuppressError> for DetectError {
    fn from(error: suppress::SuppressError) -> Self {
        match error {
            suppress::SuppressError::Table(error) => error.into(),
            suppress::SuppressError::Engine(error) => error.into(),
            suppress::SuppressError::Rows(error) => error.into(),
            error => Self::Engine(datafusion::error::DataFusionError::External(Box::new(error))),
        }
    }
}

impl DetectError {
    fn of_listing(error: MergeError) -> Self {
        match error {
            MergeError::Table(error) => error.into(),
            MergeError::List { store, source } | MergeError::Quarantine { object: store, source } => {
                Self::List { store, source }
            }
            MergeError::Engine(error) => error.into(),
            MergeError::Rows(error) => error.into(),
            #[cfg(feature = "distributed")]
            MergeError::Cluster(error) => error.into(),
            // A listing does not.
            error @ MergeError::NotStable { .. } => {
                Self::Engine(datafusion::error::DataFusionError::External(Box::new(error)))
            }
        }
    }

    pub(in crate::jobs) fn table(&self) -> Option<&TableError> {
        match self {
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}

/// What was found out about a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    candidate: Candidate,
    bucket: i32,
    /// Number, and whether it is stable.
    revision: Option<(i32, bool)>,
    nodes: usize,
    novel_nodes: usize,
    dropped: usize,
    signals: Vec<Signal>,
    /// What is new, before it is known what of it was told.
    novelties: Vec<NewThings>,
    /// Signals of it that stand already.
    standing: usize,
    damage: Option<String>,
}

impl Verdict {
    fn damaged(candidate: Candidate, bucket: i32, reason: String) -> Self {
        Self {
            candidate,
            bucket,
            revision: None,
            nodes: 0,
            novel_nodes: 0,
            dropped: 0,
            signals: Vec::new(),
            novelties: Vec::new(),
            standing: 0,
            damage: Some(reason),
        }
    }
}

/// Runs a detection by the rules that `rules` gives: they are read while it is found out what there is to judge.
pub async fn run<E: From<DetectError> + Send + 'static>(
    store: &Store,
    rules: impl Future<Output = Result<Rules, E>> + Send + 'static,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, E> {
    let rules = SpawnedTask::spawn(rules);
    // What a trial writes, it writes in memory.
    let unreadable = |source| DetectError::List { store: store.to_string(), source };
    let store = &overlay::upon(store, options.dry_run).map_err(unreadable)?;
    let mut report = Report::default();
    let mut patience = Patience::new(CONFLICTS);
    let mut prepared = Prepared::of(store, options, progress, &mut report).await;
    let rules = rules.join().await.map_err(|error| ended(&error))??;
    loop {
        let done = match prepared {
            Ok(prepared) => prepared.detect(store, &rules, options, progress, &mut report).await,
            Err(error) => Err(error),
        };
        let Err(error) = done else { return Ok(report) };
        patience.wait(error, DetectError::table).await?;
        progress.stage("another detection was faster: beginning anew");
        report.retries += 1;
        (report.listed, report.known, report.waiting) = (0, 0, 0);
        report.unavailable.clear();
        report.failed_rules.clear();
        prepared = Prepared::of(store, options, progress, &mut report).await;
    }
}

/// The tables as they stand, and what there is to judge.
struct Prepared {
    tables: ProfileTables,
    revisions: HashMap<WorkloadKey, profile::Revision>,
    signals: OpenTable,
    hides: suppress::Current,
    detections: OpenTable,
    plan: plan::Plan,
}

impl Prepared {
    async fn of(
        store: &Store,
        options: &Options,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Self, DetectError> {
        progress.stage("listing snapshots");
        let tables = ProfileTables::open(store).await?;
        let buckets = tables.ledger.buckets()?;
        let context = session::new(&options.resources)?;
        let (signals, hides) = suppress::open_signals(store, &context, buckets).await?;
        for (id, error) in &hides.active.broken {
            tracing::warn!("the suppression {id} hides nothing: {error}");
        }
        let detections = OpenTable::open_or_create(store, &DETECTIONS, buckets).await?;
        let revisions = profile::revisions(&tables).await?;
        let plan = plan::make(store, &tables, &signals, &detections, &revisions, options, report).await?;
        Ok(Self { tables, revisions, signals, hides, detections, plan })
    }

    async fn detect(
        self,
        store: &Store,
        rules: &Rules,
        options: &Options,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(), DetectError> {
        let Self { tables, revisions, mut signals, hides, mut detections, plan } = self;
        progress.total(plan.work.values().map(|work| work.len() as u64).sum(), "snapshots");
        let means = Arc::new(Means::new(rules, options.limits, options.most_signals, Utc::now()));
        let writer = Arc::new(write::Writer {
            rules: rules.hash().to_hex().to_string(),
            detected_at: means.detected_at,
            most_signals: options.most_signals,
            hides,
            at_once: options.resources.partitions(),
        });
        let run =
            Run { store, tables: &tables, revisions: &revisions, options, rules, means: &means, progress };
        let mut waves = waves(plan.work, options).into_iter().peekable();
        if waves.peek().is_none()
            && let Some(hour) = plan.watermark
        {
            let mut change = Change::default();
            change.set(application(DETECT_WATERMARK, hour));
            change.commit(&detections).await?;
        }
        while let Some(wave) = waves.next() {
            progress.stage("judging snapshots");
            let verdicts = run.judge(wave, report).await?;
            progress.stage("committing");
            // With the last of them all is judged, but for what was not there: that is to be found again.
            let held =
                report.unavailable.iter().filter_map(|problem| SnapshotKey::parse(&problem.object).ok());
            let held = held.map(|key| key.uploaded.timestamp().div_euclid(3600)).min();
            let reached = plan.watermark.map(|hour| held.map_or(hour, |held| held.min(hour)));
            let reached =
                reached.filter(|hour| waves.peek().is_none() && plan.stood.is_none_or(|stood| *hour > stood));
            (signals, detections) = writer.commit(signals, detections, verdicts, reached, report).await?;
        }
        Ok(())
    }
}

/// Snapshots of one workload.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Unit {
    bucket: i32,
    workload: WorkloadKey,
    candidates: Vec<Candidate>,
}

/// Units, in batches of about as many files as the options say.
fn waves(work: BTreeMap<(i32, WorkloadKey), Vec<Candidate>>, options: &Options) -> Vec<Vec<Unit>> {
    let (files, together) = (options.files_per_batch, together(&options.engine));
    let mut waves = Vec::new();
    let (mut held, mut workloads) = (0, 0);
    for ((bucket, workload), candidates) in work {
        workloads += 1;
        for candidates in candidates.chunks(together) {
            if waves.is_empty() || held + candidates.len() > files || workloads > WORKLOADS {
                waves.push(Vec::new());
                (held, workloads) = (0, 1);
            }
            held += candidates.len();
            if let Some(wave) = waves.last_mut() {
                wave.push(Unit { bucket, workload, candidates: candidates.to_vec() });
            }
        }
    }
    waves
}

/// Snapshots of a unit.
fn together(engine: &Engine) -> usize {
    match engine {
        Engine::Here => TOGETHER,
        #[cfg(feature = "distributed")]
        Engine::Cluster(_) => remote::TOGETHER,
    }
}

/// What a run works with.
struct Run<'a> {
    store: &'a Store,
    tables: &'a ProfileTables,
    revisions: &'a HashMap<WorkloadKey, profile::Revision>,
    options: &'a Options,
    #[cfg_attr(not(feature = "distributed"), expect(dead_code, reason = "executors are told"))]
    rules: &'a Rules,
    means: &'a Arc<Means>,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Judges units, some at the same time.
    async fn judge(&self, units: Vec<Unit>, report: &mut Report) -> Result<Vec<Verdict>, DetectError> {
        let judged = match &self.options.engine {
            Engine::Here => self.judge_here(units).await?,
            #[cfg(feature = "distributed")]
            Engine::Cluster(cluster) => self.judge_on(cluster, units).await?,
        };
        report.unavailable.extend(judged.unavailable);
        report.failed_rules.extend(judged.failed_rules);
        Ok(judged.verdicts)
    }

    async fn judge_here(&self, units: Vec<Unit>) -> Result<Judged, DetectError> {
        let profiles = self.profiles(&units).await?;
        let workers = self.options.resources.partitions();
        let ahead = fetch::at_once(self.store, self.options.concurrency, 1);
        let files = Files::of(self.store, ahead);
        // A profile is let go with the last unit of its workload.
        let with_profile = |unit: Unit| (profiles.get(&unit.workload).cloned(), unit);
        let units: Vec<_> = units.into_iter().map(with_profile).collect();
        drop(profiles);
        let judged = stream::iter(units).map(|(profile, unit)| {
            let (files, means) = (files.clone(), Arc::clone(self.means));
            async move {
                let judged = judge_units(&files, &means, profile, &unit, ahead).await;
                self.progress.done(unit.candidates.len() as u64);
                judged
            }
        });
        let mut judged = judged.buffer_unordered(workers);
        let mut all = Judged::default();
        while let Some(found) = judged.try_next().await? {
            all.add(found);
        }
        Ok(all)
    }

    async fn profiles(&self, units: &[Unit]) -> Result<HashMap<WorkloadKey, Arc<Profile>>, DetectError> {
        let mut wanted: BTreeMap<i32, BTreeMap<WorkloadKey, profile::Revision>> = BTreeMap::new();
        for unit in units {
            if let Some(revision) = self.revisions.get(&unit.workload) {
                wanted.entry(unit.bucket).or_default().insert(unit.workload, revision.clone());
            }
        }
        let (files, nodes) = (self.tables.nodes.files()?, self.tables.nodes.folder());
        let loaded = stream::iter(wanted).map(|(bucket, wanted)| {
            let keys = wanted.keys().map(ToString::to_string).collect();
            let (nodes, files) = (nodes.clone(), profile::files_of(&files, bucket, &keys));
            async move {
                let task = tokio::spawn(async move { profile::load(&nodes, &files, &wanted).await });
                task.await.map_err(|error| ended(&error))?.map_err(DetectError::from)
            }
        });
        let loaded: Vec<_> =
            loaded.buffer_unordered(self.options.resources.partitions()).try_collect().await?;
        Ok(loaded.into_iter().flatten().map(|(key, profile)| (key, Arc::new(profile))).collect())
    }
}

/// What came of some snapshots.
#[derive(Debug, Default)]
struct Judged {
    verdicts: Vec<Verdict>,
    unavailable: Vec<Problem>,
    failed_rules: BTreeMap<String, String>,
}

impl Judged {
    fn add(&mut self, more: Self) {
        self.verdicts.extend(more.verdicts);
        self.unavailable.extend(more.unavailable);
        self.failed_rules.extend(more.failed_rules);
    }
}

fn ended(error: &tokio::task::JoinError) -> DetectError {
    datafusion::error::DataFusionError::Internal(format!("a task ended early: {error}")).into()
}

/// Judges a unit; where that ends unexpectedly, each of its snapshots by itself, so that one costs itself only.
async fn judge_units(
    files: &Files,
    means: &Arc<Means>,
    profile: Option<Arc<Profile>>,
    unit: &Unit,
    ahead: usize,
) -> Result<Judged, DetectError> {
    let judge = |unit: Unit| {
        let (files, means, profile) = (files.clone(), Arc::clone(means), profile.clone());
        tokio::spawn(judge_unit(files, means, profile, unit, ahead))
    };
    if let Ok(judged) = judge(unit.clone()).await {
        return judged;
    }
    let mut all = Judged::default();
    for candidate in &unit.candidates {
        let alone = Unit { candidates: vec![candidate.clone()], ..unit.clone() };
        match judge(alone).await {
            Ok(judged) => all.add(judged?),
            Err(_) => {
                let reason = "it makes the detection end unexpectedly; -vv tells where".to_owned();
                all.verdicts.push(Verdict::damaged(candidate.clone(), unit.bucket, reason));
            }
        }
    }
    Ok(all)
}

async fn judge_unit(
    files: Files,
    means: Arc<Means>,
    profile: Option<Arc<Profile>>,
    unit: Unit,
    ahead: usize,
) -> Result<Judged, DetectError> {
    let mut judged = Judged::default();
    let begin = || Judge::new(&means, unit.bucket, unit.workload, profile.as_deref());
    let mut judge = begin();
    let fetched = stream::iter(unit.candidates).map(|candidate| {
        let files = &files;
        let limit = means.limits.file_bytes;
        async move {
            let bytes = files.whole(&candidate.object_key, candidate.size, limit).await;
            (candidate, bytes)
        }
    });
    let mut fetched = fetched.buffered(ahead);
    loop {
        let next = fetched.next().await;
        // What is held is bounded, whatever the files hold.
        if next.is_none() || judge.memory() > HELD_BYTES {
            let (verdicts, failed) = std::mem::replace(&mut judge, begin()).finish()?;
            judged.verdicts.extend(verdicts);
            judged.failed_rules.extend(failed);
        }
        match next {
            Some((candidate, Ok(bytes))) => judge.add(candidate, &bytes),
            Some((candidate, Err(error @ Unfetched::TooLarge { .. }))) => {
                judged.verdicts.push(Verdict::damaged(candidate, unit.bucket, error.to_string()));
            }
            Some((candidate, Err(error))) => {
                judged.unavailable.push(Problem { object: candidate.object_key, reason: error.to_string() });
            }
            None => return Ok(judged),
        }
    }
}

#[cfg(test)]
pub(in crate::jobs) mod fixture;
#[cfg(test)]
mod tests;
