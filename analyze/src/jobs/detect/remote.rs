//! Judging on executors: units go there as messages, and what was found comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use wsp_schemas::snapshot::Limits;
use wsp_schemas::tables::PROFILE_NODES;

use super::judge::{Means, NewThings};
use super::profile::{self, Revision};
use super::{DetectError, Judged, Run, Unit, Verdict, judge_units};
use crate::cluster::{Cluster, Work};
use crate::engine::EngineError;
use crate::jobs::fetch::{self, Files};
use crate::jobs::merge::Problem;
use crate::predicate::Predicate;
use crate::rules::{self, Origin, Rule, Rules, Severity};
use crate::session::{self, Resources};
use crate::tables::{FileRef, Folder};

/// Snapshots of a unit: its profile is read for all of them once.
pub(super) const TOGETHER: usize = 8 * super::TOGETHER;

/// What a snapshot weighs whose size nobody said.
const TYPICAL_BYTES: u64 = 16 << 10;

/// What all units are judged with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JudgeWork {
    rules: Vec<RuleText>,
    limits: Limits,
    most_signals: usize,
    detected_at: DateTime<Utc>,
    /// Files that a unit fetches at the same time.
    at_once: usize,
}

/// What decides on a signal and stands in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RuleText {
    id: String,
    title: String,
    severity: Severity,
    predicate: String,
}

/// A unit, and where its profile is.
#[derive(Debug, Serialize, Deserialize)]
struct JudgeUnit {
    unit: Unit,
    revision: Option<Revision>,
    nodes: Vec<FileRef>,
}

/// A piece of what was found, small enough to be sent as one, whatever a snapshot holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Without what is new.
    Verdict(Box<Verdict>),
    /// What is new in one place of the snapshot of the verdict before.
    New(Box<NewThings>),
    Unavailable(Problem),
    FailedRule(String, String),
}

impl Run<'_> {
    /// Has executors judge.
    pub(super) async fn judge_on(
        &self,
        cluster: &Cluster,
        units: Vec<Unit>,
    ) -> std::result::Result<Judged, DetectError> {
        let files = self.tables.nodes.files()?;
        let snapshots: usize = units.iter().map(|unit| unit.candidates.len()).sum();
        let units = units.into_iter().map(|unit| {
            let revision = self.revisions.get(&unit.workload).cloned();
            let key = BTreeSet::from([unit.workload.to_string()]);
            let nodes = revision.as_ref().map(|_| profile::files_of(&files, unit.bucket, &key));
            // A folder's listing says no sizes.
            let bytes =
                unit.candidates.iter().map(|candidate| candidate.size.unwrap_or(TYPICAL_BYTES)).sum::<u64>();
            (bytes, JudgeUnit { unit, revision, nodes: nodes.unwrap_or_default() })
        });
        let rules = self.rules.iter().map(|rule| RuleText {
            id: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity,
            predicate: rule.predicate.text().to_owned(),
        });
        let work = Work::Judge(JudgeWork {
            rules: rules.collect(),
            limits: self.options.limits,
            most_signals: self.options.most_signals,
            detected_at: self.means.detected_at,
            at_once: fetch::at_once(self.store, self.options.concurrency, 1),
        });
        let ledger = self.tables.ledger.id()?;
        let answers = cluster.ask(work, units.collect(), Some(&ledger), &self.options.resources).await?;
        self.progress.done(snapshots as u64);
        let mut judged = Judged::default();
        for answer in answers.into_iter().flatten() {
            match answer {
                Answer::Verdict(verdict) => judged.verdicts.push(*verdict),
                Answer::New(things) => {
                    let verdict = judged.verdicts.last_mut();
                    let verdict =
                        verdict.ok_or_else(|| exec_datafusion_err!("what is new has no snapshot"))?;
                    verdict.novelties.push(*things);
                }
                Answer::Unavailable(problem) => judged.unavailable.push(problem),
                Answer::FailedRule(rule, reason) => {
                    judged.failed_rules.insert(rule, reason);
                }
            }
        }
        Ok(judged)
    }
}

/// Judges units, for a job elsewhere.
#[derive(Debug)]
pub(crate) struct Judging {
    means: Arc<Means>,
    files: Files,
    nodes: Folder,
    at_once: usize,
}

impl Judging {
    /// With a job's rules, on this node's store.
    pub(crate) fn new(work: &JudgeWork, objects: &Arc<dyn ObjectStore>) -> Result<Self> {
        let context = session::new(&Resources::default())?;
        let mut of_job = Rules::default();
        for rule in &work.rules {
            let predicate = Predicate::parse(&context, &rules::columns(), &rule.predicate);
            let predicate = predicate
                .map_err(|error| exec_datafusion_err!("the rule {} cannot be read here: {error}", rule.id))?;
            of_job.insert(Rule {
                id: rule.id.clone(),
                title: rule.title.clone(),
                severity: rule.severity,
                techniques: Vec::new(),
                description: String::new(),
                suppressible: true,
                predicate,
                examples: Vec::new(),
                origin: Origin::User("the job".to_owned()),
            });
        }
        Ok(Self {
            means: Arc::new(Means::new(&of_job, work.limits, work.most_signals, work.detected_at)),
            files: Files::through(Arc::clone(objects)),
            nodes: Folder::of(Arc::clone(objects), &PROFILE_NODES),
            at_once: work.at_once,
        })
    }

    /// What was found about the snapshots of a unit, as messages; and how many there are.
    pub(crate) async fn answer(&self, unit: &[u8]) -> Result<(Vec<Vec<u8>>, usize)> {
        let unreadable = |error: serde_json::Error| exec_datafusion_err!("a unit cannot be read: {error}");
        let JudgeUnit { unit, revision, nodes } = serde_json::from_slice(unit).map_err(unreadable)?;
        let failed = |error: DetectError| exec_datafusion_err!("{}", crate::one_line::one_line(&error));
        let profile = match revision {
            Some(revision) => {
                let wanted = BTreeMap::from([(unit.workload, revision)]);
                let loaded = profile::load(&self.nodes, &nodes, &wanted).await;
                loaded.map_err(|error| failed(error.into()))?.remove(&unit.workload).map(Arc::new)
            }
            None => None,
        };
        let mut answers = Vec::with_capacity(unit.candidates.len());
        for candidates in unit.candidates.chunks(super::TOGETHER) {
            let part = Unit { candidates: candidates.to_vec(), ..unit };
            let judged = judge_units(&self.files, &self.means, profile.clone(), &part, self.at_once).await;
            let Judged { verdicts, unavailable, failed_rules } = judged.map_err(failed)?;
            let verdicts = verdicts.into_iter().flat_map(|mut verdict| {
                let novelties = std::mem::take(&mut verdict.novelties);
                let novelties = novelties.into_iter().map(|things| Answer::New(Box::new(things)));
                std::iter::once(Answer::Verdict(Box::new(verdict))).chain(novelties)
            });
            let unavailable = unavailable.into_iter().map(Answer::Unavailable);
            let failed_rules =
                failed_rules.into_iter().map(|(rule, reason)| Answer::FailedRule(rule, reason));
            for answer in verdicts.chain(unavailable).chain(failed_rules) {
                answers.push(serde_json::to_vec(&answer).map_err(unreadable)?);
            }
        }
        Ok((answers, unit.candidates.len()))
    }
}

impl From<EngineError> for DetectError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Here(error) => Self::Engine(error),
            EngineError::Cluster(error) => Self::Cluster(error),
        }
    }
}
