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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A profile is stable with this many snapshots.
    pub max_snapshots: usize,
    /// A profile is stable this long after the start of its first window.
    pub learning_time: TimeDelta,
    /// But it goes on learning until it has this many snapshots,
    pub min_snapshots: usize,
    /// has seen this many containers,
    pub min_containers: usize,
    /// and its windows span this long.
    pub min_age: TimeDelta,
    /// Buckets of the store.
    pub buckets: u32,
}

impl Settings {
    /// What a merge does that is told nothing.
    pub const DEFAULT: Self = Self {
        max_snapshots: 200,
        learning_time: TimeDelta::hours(48),
        min_snapshots: 0,
        min_containers: 0,
        min_age: TimeDelta::zero(),
        buckets: 16,
    };
}

/// The naive merge.
#[derive(Debug)]
pub struct Oracle {
    settings: Settings,
    ledger: Vec<Row>,
    batches: BTreeMap<i32, i64>,
    /// Objects that were decided on and stay where they are, or went to quarantine.
    decided: HashSet<String>,
    /// By number.
    revisions: BTreeMap<WorkloadKey, Vec<Revision>>,
}

/// A profile revision.
#[derive(Debug, Default)]
struct Revision {
    /// Windows that start before are not of it.
    since: Option<DateTime<Utc>>,
    /// By ordinal.
    admitted: Vec<Verified>,
    /// Why it was frozen, and when in event time.
    frozen: Option<(&'static str, DateTime<Utc>)>,
    /// The batch that changed it last, and its clock.
    changed: (i64, DateTime<Utc>),
}

impl Revision {
    fn deadline(&self, settings: &Settings) -> Option<DateTime<Utc>> {
        Some(self.admitted.first()?.meta.window_start + settings.learning_time)
    }

    /// It has all that it needs to be frozen.
    fn has_enough(&self, settings: &Settings) -> bool {
        let (Some(first), Some(last)) = (self.admitted.first(), self.last_end()) else { return false };
        self.admitted.len() >= settings.min_snapshots
            && nodes::containers(&self.admitted).len() >= settings.min_containers
            && last - first.meta.window_start >= settings.min_age
    }

    fn last_end(&self) -> Option<DateTime<Utc>> {
        self.admitted.iter().map(|snapshot| snapshot.meta.window_end).max()
    }

    /// It is full, or a window that ends then came too late for it.
    fn is_closed(&self, window_end: DateTime<Utc>, settings: &Settings) -> bool {
        self.has_enough(settings)
            && (self.admitted.len() >= settings.max_snapshots
                || self.deadline(settings).is_some_and(|deadline| window_end > deadline))
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

    /// What the merges that follow are told.
    pub fn tell(&mut self, settings: Settings) {
        self.settings = settings;
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
            let mut revisions = self.revisions.remove(&workload).unwrap_or_default();
            let mut newest = revisions.pop().unwrap_or_default();
            if newest.frozen.is_none() {
                self.learn(workload, &revisions, &mut newest, &uploads, as_of, &mut rows);
            }
            if !revisions.is_empty() || !newest.admitted.is_empty() {
                revisions.push(newest);
                self.revisions.insert(workload, revisions);
            }
        }
        self.number(rows, as_of);
    }

    /// Begins a new revision of a stable profile and gives its number; none where there is no such profile, which is an error and
    /// changes nothing.
    pub fn relearn(
        &mut self,
        workload: &Workload,
        since: DateTime<Utc>,
        as_of: DateTime<Utc>,
    ) -> Option<i32> {
        let key = workload.key();
        let changed = (self.next_batch(key), as_of);
        let revisions = self.revisions.get_mut(&key)?;
        revisions.last()?.frozen?;
        revisions.push(Revision { since: Some(since), changed, ..Revision::default() });
        let number = revisions.len();
        self.number(vec![self.about_revision(workload, number, "opened", ("window_start", since))], as_of);
        i32::try_from(number).ok()
    }

    /// The ledger's row about a revision itself.
    fn about_revision(
        &self,
        workload: &Workload,
        number: usize,
        outcome: &str,
        (time, at): (&str, DateTime<Utc>),
    ) -> Row {
        row([
            ("bucket", workload.key().bucket(self.settings.buckets).into()),
            ("workload_key", workload.key().to_string().into()),
            ("image_name", workload.name().into()),
            ("image_tag", workload.tag().into()),
            ("revision", number.into()),
            ("outcome", outcome.into()),
            (time, at.into()),
        ])
    }

    fn next_batch(&self, workload: WorkloadKey) -> i64 {
        self.batches.get(&workload.bucket(self.settings.buckets)).unwrap_or(&0) + 1
    }

    /// Takes the uploads of a workload in order of (window end, id, key), and freezes it where its time has come. What comes when
    /// it is closed, or is of an earlier revision's time, is left alone, and still proves the time.
    fn learn(
        &mut self,
        workload: WorkloadKey,
        earlier: &[Revision],
        revision: &mut Revision,
        uploads: &[(SnapshotKey, &Object)],
        as_of: DateTime<Utc>,
        rows: &mut Vec<Row>,
    ) {
        let settings = self.settings;
        let number = earlier.len() + 1;
        let identity = |snapshot: &Verified| (snapshot.meta.id, snapshot.content_hash.to_string());
        let of_before = earlier.iter().flat_map(|revision| &revision.admitted);
        let mut admitted: HashMap<SnapshotId, String> =
            of_before.chain(&revision.admitted).map(identity).collect();
        let admitted_before: HashSet<SnapshotId> = admitted.keys().copied().collect();
        let known = revision.admitted.len();
        let mut proved = None;
        for (key, object) in uploads {
            let end = DateTime::from_timestamp_millis(key.window_end_ms).unwrap_or_default();
            let impossible = is_out_of_range(end, as_of, object.stored);
            if revision.is_closed(end, &settings) && !impossible && !admitted_before.contains(&key.id) {
                proved = proved.max(Some(end.min(object.stored)));
                continue;
            }
            let snapshot = decode(object.bytes.clone(), &Limits::default())
                .ok()
                .filter(|snapshot| agrees(key, snapshot));
            let outcome = match &snapshot {
                None => "damaged",
                Some(snapshot) if snapshot.meta.image.workload.is_none() => "unkeyed",
                Some(snapshot) => match admitted.get(&key.id) {
                    Some(twin) if *twin == snapshot.content_hash.to_string() => "duplicate",
                    Some(_) => "conflict",
                    None if impossible => "out_of_range",
                    None => {
                        proved = proved.max(Some(end.min(object.stored)));
                        if revision.since.is_some_and(|since| snapshot.meta.window_start < since) {
                            continue;
                        }
                        "admitted"
                    }
                },
            };
            self.decided.insert(object.key.clone());
            let mut row = self.about_object(key, object);
            row.insert("outcome".to_owned(), outcome.into());
            row.extend(snapshot.iter().flat_map(about_snapshot));
            if let (Some(snapshot), "admitted") = (snapshot, outcome) {
                row.insert("revision".to_owned(), number.into());
                row.insert("ordinal".to_owned(), revision.admitted.len().into());
                admitted.insert(key.id, snapshot.content_hash.to_string());
                revision.admitted.push(snapshot);
            }
            rows.push(row);
        }
        revision.frozen = revision.reason_to_freeze(&settings, as_of, proved);
        if let (Some((reason, at)), Some(name)) = (revision.frozen, revision.workload()) {
            let mut row = self.about_revision(name, number, "frozen", ("window_end", at));
            row.insert("reason".to_owned(), reason.into());
            rows.push(row);
        }
        if revision.frozen.is_some() || revision.admitted.len() > known {
            revision.changed = (self.next_batch(workload), as_of);
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
        // Which hours are counted depends on how far back merges look, which it is not told.
        let mut tables =
            Tables { ledger: self.ledger.clone(), late: found.late.clone(), ..Tables::default() };
        for (workload, revisions) in &self.revisions {
            let name = revisions.iter().find_map(Revision::workload);
            for (revision, number) in revisions.iter().zip(1..) {
                let place = self.place(*workload, name, number, revision);
                let rows = nodes::rows(&place, &revision.admitted);
                let rows = nodes::folded(rows, found, &place, &revision.admitted)?;
                tables.profiles.push(profiles::row_of(&place, revision, &rows));
                tables.nodes.extend(rows);
            }
        }
        Ok(tables)
    }

    /// The columns that place a row.
    fn place(&self, workload: WorkloadKey, name: Option<&Workload>, number: i32, revision: &Revision) -> Row {
        row([
            ("bucket", workload.bucket(self.settings.buckets).into()),
            ("workload_key", workload.to_string().into()),
            ("image_name", name.map(Workload::name).into()),
            ("image_tag", name.map(Workload::tag).into()),
            ("revision", number.into()),
            ("status", if revision.frozen.is_some() { "stable" } else { "learning" }.into()),
        ])
    }
}

impl Revision {
    /// Why it becomes stable now and since when, if it does. `proved`: the latest time that uploads prove to have come.
    fn reason_to_freeze(
        &self,
        settings: &Settings,
        as_of: DateTime<Utc>,
        proved: Option<DateTime<Utc>>,
    ) -> Option<(&'static str, DateTime<Utc>)> {
        let deadline = self.deadline(settings).filter(|_| self.has_enough(settings))?;
        if self.admitted.len() >= settings.max_snapshots {
            return Some(("snapshots", self.last_end()?));
        }
        (as_of >= deadline || proved > Some(deadline)).then_some(("age", deadline))
    }

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
