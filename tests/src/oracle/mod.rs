//! What a sequence of merges must make of a store, computed the naive way: whole snapshots in memory, plain maps, one
//! workload after the other, everything anew. Written from the tables' declarations and their prose; this crate's library
//! does not depend on `wsp-analyze`, so it cannot share its code.

mod nodes;
mod profiles;
mod stats;

use std::collections::{BTreeMap, HashSet};

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
    /// Objects that were decided on and stay where they are, or went to quarantine.
    decided: HashSet<String>,
    revisions: BTreeMap<WorkloadKey, Revision>,
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

impl Revision {
    fn deadline(&self, settings: &Settings) -> Option<DateTime<Utc>> {
        Some(self.admitted.first()?.meta.window_start + settings.learning_time)
    }

    /// It is full, or a window that ends then came too late for it.
    fn is_closed(&self, window_end: DateTime<Utc>, settings: &Settings) -> bool {
        self.admitted.len() >= settings.max_snapshots
            || self.deadline(settings).is_some_and(|deadline| window_end > deadline)
    }
}

/// Nothing was recorded before 2020, nor more than a day after both the merge and the upload.
fn is_out_of_range(window_end: DateTime<Utc>, as_of: DateTime<Utc>, stored: DateTime<Utc>) -> bool {
    window_end.year() < 2020 || window_end > as_of.max(stored) + TimeDelta::hours(24)
}

impl Oracle {
    /// Before any merge.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ledger: Vec::new(),
            batches: BTreeMap::new(),
            decided: HashSet::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// One merge over all objects of the store; those that earlier merges moved to quarantine may be among them.
    pub fn merge(&mut self, objects: &[Object], as_of: DateTime<Utc>) {
        let mut uploads: BTreeMap<WorkloadKey, Vec<(SnapshotKey, &Object)>> =
            self.revisions.keys().map(|workload| (*workload, Vec::new())).collect();
        let mut rows: Vec<Row> = Vec::new();
        for object in objects.iter().filter(|object| !self.decided.contains(&object.key)) {
            if let Ok(key) = SnapshotKey::parse(&object.key) {
                uploads.entry(key.workload).or_default().push((key, object));
            }
        }
        for (workload, mut uploads) in uploads {
            uploads.sort_by_key(|(key, object)| (key.window_end_ms, key.id, object.key.clone()));
            let mut revision = self.revisions.remove(&workload).unwrap_or_default();
            if revision.frozen.is_none() {
                self.learn(workload, &mut revision, &uploads, as_of, &mut rows);
            }
            if !revision.admitted.is_empty() {
                self.revisions.insert(workload, revision);
            }
        }
        self.number(rows, as_of);
    }

    /// Takes the uploads of a workload in order of (window end, id, key), and freezes it where its time has come. What comes when
    /// it is closed is left alone, and still proves the time.
    fn learn(
        &mut self,
        workload: WorkloadKey,
        revision: &mut Revision,
        uploads: &[(SnapshotKey, &Object)],
        as_of: DateTime<Utc>,
        rows: &mut Vec<Row>,
    ) {
        let settings = self.settings;
        let admitted_before: HashSet<SnapshotId> =
            revision.admitted.iter().map(|snapshot| snapshot.meta.id).collect();
        let mut proved = None;
        for (key, object) in uploads {
            let end = DateTime::from_timestamp_millis(key.window_end_ms).unwrap_or_default();
            let impossible = is_out_of_range(end, as_of, object.stored);
            if revision.is_closed(end, &settings) && !impossible && !admitted_before.contains(&key.id) {
                proved = proved.max(Some(end.min(object.stored)));
                continue;
            }
            self.decided.insert(object.key.clone());
            let mut row = self.about_object(key, object);
            let snapshot = decode(object.bytes.clone(), &Limits::default())
                .ok()
                .filter(|snapshot| agrees(key, snapshot));
            let twin = revision.admitted.iter().find(|snapshot| snapshot.meta.id == key.id);
            let outcome = match &snapshot {
                None => "damaged",
                Some(snapshot) if snapshot.meta.image.workload.is_none() => "unkeyed",
                Some(snapshot) => match twin {
                    Some(twin) if twin.content_hash == snapshot.content_hash => "duplicate",
                    Some(_) => "conflict",
                    None if impossible => "out_of_range",
                    None => "admitted",
                },
            };
            row.insert("outcome".to_owned(), outcome.into());
            row.extend(snapshot.iter().flat_map(about_snapshot));
            if let (Some(snapshot), "admitted") = (snapshot, outcome) {
                proved = proved.max(Some(end.min(object.stored)));
                row.insert("revision".to_owned(), 1.into());
                row.insert("ordinal".to_owned(), revision.admitted.len().into());
                revision.admitted.push(snapshot);
            }
            rows.push(row);
        }
        if revision.admitted.len() >= settings.max_snapshots {
            revision.frozen = Some("snapshots");
        } else if revision
            .deadline(&settings)
            .is_some_and(|deadline| as_of >= deadline || proved > Some(deadline))
        {
            revision.frozen = Some("age");
        }
        if let (Some(reason), Some(name)) = (revision.frozen, revision.workload()) {
            rows.push(row([
                ("bucket", workload.bucket(settings.buckets).into()),
                ("workload_key", workload.to_string().into()),
                ("image_name", name.name().into()),
                ("image_tag", name.tag().into()),
                ("revision", 1.into()),
                ("outcome", "frozen".into()),
                ("reason", reason.into()),
                ("window_end", profiles::stable_at(revision, settings.learning_time).into()),
            ]));
        }
        if revision.frozen.is_some() || revision.admitted.len() > admitted_before.len() {
            revision.changed =
                (self.batches.get(&workload.bucket(settings.buckets)).unwrap_or(&0) + 1, as_of);
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

    fn about_object(&self, key: &SnapshotKey, object: &Object) -> Row {
        let known = Some(key.workload).filter(|workload| *workload != WorkloadKey::UNKEYED);
        row([
            ("bucket", key.workload.bucket(self.settings.buckets).into()),
            ("workload_key", known.map(|key| key.to_string()).into()),
            ("object_key", object.key.as_str().into()),
            ("object_size", object.bytes.len().into()),
            ("content_hash", wsp_schemas::content_hash(&object.bytes).into()),
            ("snapshot_id", key.id.to_string().into()),
        ])
    }

    /// The tables that merges must have left. What was folded into what is taken from the tables that they did leave, and
    /// must hold together: every pattern's members are those of what is folded into it, and its scores follow from them.
    pub fn tables(&self, found: &Tables) -> Result<Tables, String> {
        let mut tables = Tables { ledger: self.ledger.clone(), ..Tables::default() };
        for (workload, revision) in &self.revisions {
            let place = self.place(*workload, revision);
            let rows = nodes::rows(&place, &revision.admitted);
            let rows = nodes::folded(rows, found, &revision.admitted)?;
            tables.profiles.push(profiles::row_of(&place, revision, &rows, self.settings.learning_time));
            tables.nodes.extend(rows);
        }
        Ok(tables)
    }

    /// The columns that place a row.
    fn place(&self, workload: WorkloadKey, revision: &Revision) -> Row {
        let name = revision.workload();
        row([
            ("bucket", workload.bucket(self.settings.buckets).into()),
            ("workload_key", workload.to_string().into()),
            ("image_name", name.map(Workload::name).into()),
            ("image_tag", name.map(Workload::tag).into()),
            ("revision", 1.into()),
            ("status", if revision.frozen.is_some() { "stable" } else { "learning" }.into()),
        ])
    }
}

impl Revision {
    fn workload(&self) -> Option<&Workload> {
        self.admitted.first()?.meta.image.workload.as_ref()
    }
}

/// The key of an object says what its content says.
fn agrees(key: &SnapshotKey, snapshot: &Verified) -> bool {
    let meta = &snapshot.meta;
    let workload = meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, Workload::key);
    (key.workload, key.id, key.window_end_ms) == (workload, meta.id, meta.window_end.timestamp_millis())
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
