//! `check`: proves on trial objects that a store does what snapshots and tables rely on.
//!
//! Everything rests on put-if-absent: a Delta commit is one object that exactly one writer may create. A store that lets two
//! writers win loses the commit of one of them, and nobody is told.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use wsp_schemas::store::Store;

use super::Progress;
pub use crate::trial::LeftBehind;
use crate::trial::{Finding, Request, Trial};

/// How thorough a check is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Objects that are written, listed and read for the simple properties.
    pub samples: usize,
    /// Races for one key.
    pub rounds: usize,
    /// Writers in a race.
    pub writers: usize,
    /// How far the store's clock may be from ours.
    pub max_skew: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { samples: 10, rounds: 20, writers: 8, max_skew: Duration::from_secs(300) }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The store.
    pub store: String,
    /// Prefix of the trial objects.
    pub trials: String,
    /// One entry a property.
    pub checks: Vec<Check>,
    /// How long requests took.
    pub latency: Vec<Latency>,
    /// The store's clock minus ours; null where that was not found out.
    pub clock_skew_ms: Option<i64>,
    /// Trial objects that could not be removed.
    pub left_behind: Vec<LeftBehind>,
}

impl Report {
    /// The store has every property, and nothing was left in it.
    pub fn is_ok(&self) -> bool {
        self.left_behind.is_empty() && self.checks.iter().all(|check| check.outcome == Outcome::Ok)
    }
}

/// One property, tried.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The property.
    pub property: Property,
    /// Whether the store has it.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What a store without the property means for profiles.
    pub meaning: &'static str,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The store has the property.
    Ok,
    /// It has not.
    Failed,
    /// Nothing could be written, or the check was stopped.
    NotTried,
}

/// Median latency of one kind of request.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// `put`, `create`, `get`, `list`.
    pub request: &'static str,
    /// Milliseconds.
    pub median_ms: f64,
    /// Requests that were timed, one after the other.
    pub requests: usize,
}

/// What a store must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// What was written is read back, also after it was written again.
    Write,
    /// An object that is not there is told apart from an error.
    Absence,
    /// A listing shows what was just written, with its size.
    List,
    /// Parts of an object are read.
    Range,
    /// A second put-if-absent of a key fails and changes nothing.
    Create,
    /// Of several writers at the same time, one creates a key.
    Race,
    /// Objects are moved.
    Rename,
    /// A deleted object is gone.
    Delete,
    /// Times of objects are close to our clock.
    Clock,
}

impl Property {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::Write,
        Self::Absence,
        Self::List,
        Self::Range,
        Self::Create,
        Self::Race,
        Self::Rename,
        Self::Delete,
        Self::Clock,
    ];

    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Write => "write, read back",
            Self::Absence => "missing is told apart",
            Self::List => "list what was just written",
            Self::Range => "read a range",
            Self::Create => "put if absent",
            Self::Race => "put if absent, in a race",
            Self::Rename => "copy and rename",
            Self::Delete => "delete",
            Self::Clock => "clock",
        }
    }

    /// What goes wrong without it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Write => "snapshots and tables cannot be kept here",
            Self::Absence => "a table that was never made looks like a store that is broken",
            Self::List => "a merge would overlook snapshots, or open a table at an old version",
            Self::Range => "tables cannot be queried",
            Self::Create | Self::Race => "two merges could both commit: profiles would lose snapshots",
            Self::Rename => "damaged snapshots could not be moved to quarantine",
            Self::Delete => "old snapshots and table files could not be removed",
            Self::Clock => "profiles would become stable too early or too late",
        }
    }
}

/// Tries all properties. The trial objects are removed at the end, whatever happened; also when `stop` comes first.
pub async fn run(
    store: &Store,
    options: &Options,
    progress: &dyn Progress,
    stop: impl Future<Output = ()>,
) -> Report {
    let mut checker = Checker { trial: Trial::new(store), options, findings: Vec::new(), skew: None };
    tokio::select! {
        () = stop => {}
        () = checker.all(progress) => {}
    }
    progress.stage("cleaning up");
    let left_behind = checker.trial.clean_up().await;
    checker.report(left_behind)
}

pub(super) struct Checker<'a> {
    pub(super) trial: Trial<'a>,
    pub(super) options: &'a Options,
    /// In the order of [`Property::ALL`], as far as it got.
    findings: Vec<Finding>,
    pub(super) skew: Option<TimeDelta>,
}

impl Checker<'_> {
    async fn all(&mut self, progress: &dyn Progress) {
        for property in Property::ALL {
            progress.stage(property.title());
            let finding = match property {
                Property::Write => self.write().await,
                Property::Absence => self.absence().await,
                Property::List => self.list().await,
                Property::Range => self.range().await,
                Property::Create => self.create().await,
                Property::Race => self.race().await,
                Property::Rename => self.rename().await,
                Property::Delete => self.delete().await,
                Property::Clock => self.clock().await,
            };
            // Where nothing can be written, the others would say the same again, after their time-outs.
            let useless = property == Property::Write && finding.is_err();
            self.findings.push(finding);
            if useless {
                return;
            }
        }
    }

    fn report(&self, left_behind: Vec<LeftBehind>) -> Report {
        let mut tried = self.findings.iter();
        let checks = Property::ALL.into_iter().map(|property| {
            let (outcome, detail) = match tried.next() {
                Some(Ok(seen)) => (Outcome::Ok, seen.clone()),
                Some(Err(wrong)) => (Outcome::Failed, wrong.clone()),
                None => (Outcome::NotTried, "not tried".to_owned()),
            };
            Check { property, outcome, detail, meaning: property.meaning() }
        });
        let latency = Request::ALL.into_iter().filter_map(|request| {
            let (median, requests) = self.trial.median(request)?;
            Some(Latency { request: request.as_str(), median_ms: median.as_secs_f64() * 1000.0, requests })
        });
        Report {
            store: self.trial.store().to_string(),
            trials: self.trial.prefix(),
            checks: checks.collect(),
            latency: latency.collect(),
            clock_skew_ms: self.skew.map(|skew| skew.num_milliseconds()),
            left_behind,
        }
    }
}
