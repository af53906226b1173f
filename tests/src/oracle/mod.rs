//! What a sequence of merges must make of a store, computed the naive way: whole snapshots in memory, plain maps, one
//! workload after the other, everything anew. Written from the tables' declarations and their prose; this crate's library
//! does not depend on `wsp-analyze`, so it cannot share its code.

mod nodes;
mod profiles;
mod stats;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::snapshot::{Limits, Verified, decode};

use crate::delta::Tables;
use crate::value::{Row, Value};

/// An object below `snapshots/`, as a listing and a read give it.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its content.
    pub bytes: Bytes,
    /// When the store got it.
    pub stored: DateTime<Utc>,
}

/// What merges are told.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// A profile is stable with this many snapshots.
    pub max_snapshots: usize,
    /// A profile is stable this long after the start of its first window.
    pub learning_time: TimeDelta,
    /// Buckets of the store.
    pub buckets: u32,
}

/// The naive merge.
#[derive(Debug)]
pub struct Oracle {
    settings: Settings,
    ledger: Vec<Row>,
    batches: BTreeMap<i32, i64>,
    /// Objects that were decided on and stay where they are.
    decided: HashSet<String>,
    /// Content of every admitted snapshot; within a merge, of the first object of each.
    contents: HashMap<SnapshotId, String>,
    revisions: BTreeMap<Workload, Revision>,
}

/// A profile revision.
#[derive(Debug, Default)]
struct Revision {
    /// By ordinal.
    admitted: Vec<Verified>,
    frozen: Option<&'static str>,
    /// The batch that changed it last, and its clock.
    changed: (i64, DateTime<Utc>),
}

/// A snapshot that is to be admitted, with its ledger row.
struct Candidate {
    row: Row,
    snapshot: Verified,
    stored: DateTime<Utc>,
}

impl Oracle {
    /// Before any merge.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ledger: Vec::new(),
            batches: BTreeMap::new(),
            decided: HashSet::new(),
            contents: HashMap::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// One merge over all objects of the store; those that earlier merges moved to quarantine may be among them.
    pub fn merge(&mut self, objects: &[Object], as_of: DateTime<Utc>) {
        let mut objects: Vec<&Object> =
            objects.iter().filter(|object| !self.decided.contains(&object.key)).collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let mut rows: Vec<Row> = Vec::new();
        let mut candidates: BTreeMap<Workload, Vec<Candidate>> = BTreeMap::new();
        for object in objects {
            if let Some(candidate) = self.judge(object, as_of, &mut rows)
                && let Some(workload) = candidate.snapshot.meta.image.workload.clone()
            {
                candidates.entry(workload).or_default().push(candidate);
            }
        }
        for (workload, revision) in &self.revisions {
            if revision.frozen.is_none() {
                candidates.entry(workload.clone()).or_default();
            }
        }
        for (workload, candidates) in candidates {
            self.learn(&workload, candidates, as_of, &mut rows);
        }
        self.number(rows, as_of);
    }

    /// Refuses an object, leaves it alone, or hands it on.
    fn judge(&mut self, object: &Object, as_of: DateTime<Utc>, rows: &mut Vec<Row>) -> Option<Candidate> {
        let key = SnapshotKey::parse(&object.key).ok();
        let stable = |key: &WorkloadKey| {
            self.revisions
                .iter()
                .any(|(workload, revision)| workload.key() == *key && revision.frozen.is_some())
        };
        if key.is_some_and(|key| stable(&key.workload)) {
            return None;
        }
        let mut row = self.about_object(object, key.as_ref());
        let mut refuse = |outcome: &str, mut row: Row| {
            row.insert("outcome".to_owned(), outcome.into());
            rows.push(row);
        };
        self.decided.insert(object.key.clone());
        let Some(snapshot) = decode(object.bytes.clone(), &Limits::default()).ok().filter(|snapshot| {
            key.is_some_and(|key| {
                let meta = &snapshot.meta;
                let workload = meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, Workload::key);
                (key.workload, key.id, key.window_end_ms)
                    == (workload, meta.id, meta.window_end.timestamp_millis())
            })
        }) else {
            refuse("damaged", row);
            return None;
        };
        row.extend(about_snapshot(&snapshot));
        if snapshot.meta.image.workload.is_none() {
            refuse("unkeyed", row);
            return None;
        }
        // Nothing was recorded before 2020, nor more than a day after both the merge and the upload.
        let end = snapshot.meta.window_end;
        if end.year() < 2020 || end > as_of.max(object.stored) + TimeDelta::hours(24) {
            refuse("out_of_range", row);
            return None;
        }
        let content = wsp_schemas::content_hash(&object.bytes);
        match self.contents.get(&snapshot.meta.id) {
            Some(first) => {
                refuse(if *first == content { "duplicate" } else { "conflict" }, row);
                None
            }
            None => {
                self.contents.insert(snapshot.meta.id, content);
                Some(Candidate { row, snapshot, stored: object.stored })
            }
        }
    }

    /// Admits what a workload may have, in order of (window end, id), and freezes it where its time has come.
    fn learn(
        &mut self,
        workload: &Workload,
        mut candidates: Vec<Candidate>,
        as_of: DateTime<Utc>,
        rows: &mut Vec<Row>,
    ) {
        candidates.sort_by_key(|candidate| (candidate.snapshot.meta.window_end, candidate.snapshot.meta.id));
        let settings = self.settings;
        let revision = self.revisions.entry(workload.clone()).or_default();
        let before = rows.len();
        let mut clock = as_of;
        for Candidate { mut row, snapshot, stored } in candidates {
            clock = clock.max(snapshot.meta.window_end.min(stored));
            let first = revision.admitted.first().unwrap_or(&snapshot).meta.window_start;
            if revision.admitted.len() < settings.max_snapshots
                && snapshot.meta.window_end <= first + settings.learning_time
            {
                row.insert("outcome".to_owned(), "admitted".into());
                row.insert("revision".to_owned(), 1.into());
                row.insert("ordinal".to_owned(), revision.admitted.len().into());
                rows.push(row);
                revision.admitted.push(snapshot);
            } else {
                // It came too late: nothing was decided on it.
                self.contents.remove(&snapshot.meta.id);
                self.decided.remove(row.get("object_key").and_then(Value::text).unwrap_or_default());
            }
        }
        let old = revision
            .admitted
            .first()
            .is_some_and(|first| clock >= first.meta.window_start + settings.learning_time);
        revision.frozen = match revision.frozen {
            None if revision.admitted.len() >= settings.max_snapshots => Some("snapshots"),
            None if old => Some("age"),
            known => known,
        };
        if let Some(reason) = revision.frozen {
            let key = workload.key();
            rows.push(row([
                ("bucket", key.bucket(settings.buckets).into()),
                ("workload_key", key.to_string().into()),
                ("image_name", workload.name().into()),
                ("image_tag", workload.tag().into()),
                ("revision", 1.into()),
                ("outcome", "frozen".into()),
                ("reason", reason.into()),
                ("window_end", profiles::stable_at(revision, settings.learning_time).into()),
            ]));
        }
        if rows.len() > before {
            revision.changed =
                (self.batches.get(&workload.key().bucket(settings.buckets)).unwrap_or(&0) + 1, as_of);
        }
    }

    /// Every bucket that has something new counts one batch more.
    fn number(&mut self, rows: Vec<Row>, as_of: DateTime<Utc>) {
        let mut touched = BTreeMap::new();
        for mut row in rows {
            let bucket = row.get("bucket").and_then(Value::int).and_then(|bucket| i32::try_from(bucket).ok());
            let bucket = bucket.unwrap_or_default();
            let batch = self.batches.get(&bucket).unwrap_or(&0) + 1;
            touched.insert(bucket, batch);
            row.insert("batch".to_owned(), batch.into());
            row.insert("decided_at".to_owned(), as_of.into());
            self.ledger.push(row);
        }
        self.batches.extend(touched);
    }

    fn about_object(&self, object: &Object, key: Option<&SnapshotKey>) -> Row {
        let workload = key.map_or(WorkloadKey::UNKEYED, |key| key.workload);
        let known = Some(workload).filter(|workload| *workload != WorkloadKey::UNKEYED);
        row([
            ("bucket", workload.bucket(self.settings.buckets).into()),
            ("workload_key", known.map(|key| key.to_string()).into()),
            ("object_key", object.key.as_str().into()),
            ("object_size", object.bytes.len().into()),
            ("content_hash", wsp_schemas::content_hash(&object.bytes).into()),
            ("snapshot_id", key.map(|key| key.id.to_string()).into()),
        ])
    }

    /// The tables that merges must have left. What was folded into what is taken from the tables that they did leave, and
    /// checked: see [`Oracle::check_folds`].
    pub fn tables(&self, found: &Tables) -> Result<Tables, String> {
        let mut tables = Tables { ledger: self.ledger.clone(), ..Tables::default() };
        for (workload, revision) in self.revisions.iter().filter(|(_, one)| !one.admitted.is_empty()) {
            let place = self.place(workload, revision);
            let rows = nodes::rows(&place, &revision.admitted);
            let rows = nodes::folded(rows, found, &revision.admitted)?;
            tables.profiles.push(profiles::row_of(&place, revision, &rows, self.settings.learning_time));
            tables.nodes.extend(rows);
        }
        Ok(tables)
    }

    /// The columns that place a row.
    fn place(&self, workload: &Workload, revision: &Revision) -> Row {
        let key = workload.key();
        row([
            ("bucket", key.bucket(self.settings.buckets).into()),
            ("workload_key", key.to_string().into()),
            ("image_name", workload.name().into()),
            ("image_tag", workload.tag().into()),
            ("revision", 1.into()),
            ("status", if revision.frozen.is_some() { "stable" } else { "learning" }.into()),
        ])
    }
}

fn row<const N: usize>(cells: [(&str, Value); N]) -> Row {
    cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn about_snapshot(snapshot: &Verified) -> Row {
    let meta = &snapshot.meta;
    let workload = meta.image.workload.as_ref();
    let states = meta.completeness.iter().map(|(kind, state)| (kind.clone(), state.as_str().into()));
    let labels = meta.container.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    row([
        ("image_name", workload.map(Workload::name).into()),
        ("image_tag", workload.map(Workload::tag).into()),
        ("snapshot_id", meta.id.to_string().into()),
        ("rows", snapshot.rows.num_rows().into()),
        ("completeness", Value::Map(states.collect())),
        ("container_id", meta.container.id.as_str().into()),
        ("container_name", meta.container.name.as_deref().into()),
        ("container_started", meta.container.started.into()),
        ("host", meta.host.as_str().into()),
        ("window_start", meta.window_start.into()),
        ("window_end", meta.window_end.into()),
        ("covers_start", meta.covers_start.into()),
        ("image_digest", meta.image.digest.as_deref().into()),
        ("labels", Value::Map(labels.collect())),
        ("path_rules", meta.path_rules.into()),
    ])
}
