//! Which snapshot files nobody needs in `snapshots/` any more: from the profiles, the ledger and the watermarks alone.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::{SnapshotFolder, SnapshotKey};
use wsp_schemas::store::Store;
use wsp_schemas::tables::{DETECTIONS, SIGNALS};

use super::{Left, Options};
use crate::rows::Reader;
use crate::tables::{
    MERGE_COUNTED, MERGE_WATERMARK, OpenTable, ProfileTables, Selection, TableError, detected_up_to,
};

/// What is known of the store, at one moment.
#[derive(Debug)]
pub(super) struct Judge {
    tables: ProfileTables,
    buckets: u32,
    /// Of every workload that has a profile: whether its newest revision is stable.
    is_stable: HashMap<WorkloadKey, bool>,
    /// Buckets whose ledger, nodes and profiles stand at one batch.
    level: BTreeSet<i32>,
    /// The hour from which uploads may not have been seen by a merge; none where nothing is known.
    merged_before: Option<i64>,
    counted_before: Option<i64>,
    /// The hour from which snapshots may not have been looked at by a detection.
    detected_before: i64,
}

/// What was decided about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its rows belong into `activity`.
    Move {
        /// What it hashed to when a merge read it; none where no merge did.
        content_hash: Option<String>,
    },
    /// It stays.
    Stay(Left),
}

/// What the ledger says of an object.
#[derive(Debug)]
pub(super) struct Decision {
    is_refused: bool,
    content_hash: Option<String>,
}

impl Judge {
    pub(super) async fn new(store: &Store, options: &Options) -> Result<Self, TableError> {
        let missing = || TableError::NoProfiles { store: store.to_string() };
        let tables = ProfileTables::newest(store).await?.ok_or_else(missing)?;
        Ok(Self {
            buckets: tables.ledger.buckets()?,
            is_stable: stable(&tables).await?,
            level: tables.level_buckets().await?,
            merged_before: tables.profiles.application(MERGE_WATERMARK).await?,
            counted_before: tables.ledger.application(MERGE_COUNTED).await?,
            detected_before: detected_before(store, options).await?,
            tables,
        })
    }

    /// How many buckets the store has.
    pub(super) fn buckets(&self) -> u32 {
        self.buckets
    }

    /// What the ledger has of the objects of an hour.
    pub(super) async fn decisions(
        &self,
        hour: DateTime<Utc>,
    ) -> Result<HashMap<String, Decision>, TableError> {
        const COLUMNS: [&str; 3] = ["object_key", "outcome", "content_hash"];
        let folder = format!("{}/", SnapshotFolder::Hour(hour).path());
        let select = Selection { columns: Some(&COLUMNS), workloads: None };
        let mut decisions: HashMap<String, Decision> = HashMap::new();
        for file in self.tables.ledger.files()? {
            let below = file.greatest("object_key").is_some_and(|key| key < folder.as_str());
            let above = file
                .least("object_key")
                .is_some_and(|key| key > folder.as_str() && !key.starts_with(folder.as_str()));
            if below || above {
                continue;
            }
            let mut rows = self.tables.ledger.stream(&file, file.size, select).await?.boxed();
            while let Some(batch) = rows.try_next().await? {
                let read = Reader::new(&batch);
                for row in 0..batch.num_rows() {
                    let key = read.text("object_key", row);
                    let Some(key) = key.filter(|key| key.starts_with(folder.as_str())) else { continue };
                    let is_refused = matches!(read.text("outcome", row), Some("damaged" | "conflict"));
                    let content_hash = read.text("content_hash", row).map(str::to_owned);
                    let decision = Decision { is_refused, content_hash };
                    // What was refused and put back may have been settled since.
                    if decisions.get(key).is_none_or(|known| known.is_refused) {
                        decisions.insert(key.to_owned(), decision);
                    }
                }
            }
        }
        Ok(decisions)
    }

    /// What becomes of an object.
    pub(super) fn verdict(&self, key: &SnapshotKey, decision: Option<&Decision>) -> Verdict {
        let hour = key.uploaded.timestamp().div_euclid(3600);
        let stable = self.is_stable.get(&key.workload).copied();
        match decision {
            _ if !self.level.contains(&key.workload.bucket(self.buckets)) => {
                Verdict::Stay(Left::UnfinishedMerge)
            }
            _ if stable == Some(false) => Verdict::Stay(Left::Learning),
            Some(decision) if decision.is_refused => Verdict::Stay(Left::Refused),
            // A merge does not open what comes after the freeze; that it has seen the hour is enough.
            None if stable.is_none() || self.merged_before.is_none_or(|merged| hour >= merged) => {
                Verdict::Stay(Left::NotMerged)
            }
            // A file that is gone cannot be counted.
            None if self.counted_before.is_none_or(|counted| hour >= counted) => {
                Verdict::Stay(Left::NotCounted)
            }
            _ if hour >= self.detected_before => Verdict::Stay(Left::NotDetected),
            _ => Verdict::Move { content_hash: decision.and_then(|decision| decision.content_hash.clone()) },
        }
    }

    /// Whether a workload's profile is stable.
    pub(super) fn is_stable(&self, workload: WorkloadKey) -> bool {
        self.is_stable.get(&workload) == Some(&true)
    }
}

async fn detected_before(store: &Store, options: &Options) -> Result<i64, TableError> {
    if options.without_detect {
        return Ok(i64::MAX);
    }
    let signals = OpenTable::open(store, &SIGNALS, None).await?;
    let detections = OpenTable::open(store, &DETECTIONS, None).await?;
    Ok(detected_up_to(signals.as_ref(), detections.as_ref()).await?.unwrap_or(i64::MIN))
}

async fn stable(tables: &ProfileTables) -> Result<HashMap<WorkloadKey, bool>, TableError> {
    const COLUMNS: [&str; 3] = ["workload_key", "revision", "status"];
    let select = Selection { columns: Some(&COLUMNS), workloads: None };
    let mut newest: HashMap<WorkloadKey, (i32, bool)> = HashMap::new();
    for file in tables.profiles.files()? {
        for batch in tables.profiles.read(&file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let workload = read.text("workload_key", row).and_then(WorkloadKey::parse);
                let (Some(workload), Some(revision)) = (workload, read.int32("revision", row)) else {
                    continue;
                };
                let is_stable = read.text("status", row) == Some("stable");
                if newest.get(&workload).is_none_or(|(known, _)| *known < revision) {
                    newest.insert(workload, (revision, is_stable));
                }
            }
        }
    }
    Ok(newest.into_iter().map(|(workload, (_, is_stable))| (workload, is_stable)).collect())
}
