//! Sequences of merges, compared after each merge with both oracles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wsp_analyze::jobs::merge::{MergeError, Options, Relearned, relearn};
use wsp_analyze::session::Resources;
use wsp_analyze::tables::TableError;
use wsp_schemas::image::Workload;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::store::Store;
use wsp_tests::delta::{Tables, commits, counted, objects, watermark};
use wsp_tests::frames;
use wsp_tests::oracle::{Object, Oracle, Settings};
use wsp_tests::value::{Row, Value, cell_of};

use super::fleets::{Shot, app};
use super::{faulty, merge, options, upload_dated};

/// Texts for people, and the hash, which says nothing but whether rows are equal: other tests compare it.
pub(super) const NOT_COMPUTED: [&str; 2] = ["profile_snapshots.reason", "profiles.content_hash"];
/// What depends on how a merge cuts its work.
const OF_WAVES: [&str; 2] = ["profile_snapshots.batch", "profiles.batch"];

/// Objects that come before a merge, and how it is run.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) objects: Vec<Object>,
    pub(super) as_of: DateTime<Utc>,
    pub(super) settings: Settings,
    /// How far back it looks; none is a sweep.
    pub(super) look_back: Option<TimeDelta>,
    /// Files after which it commits; none leaves it at what it would do.
    pub(super) files_per_batch: Option<usize>,
    pub(super) resources: Resources,
    /// Apps whose profiles are to learn anew before it, and since when.
    pub(super) relearned: Vec<(u8, DateTime<Utc>)>,
}

impl Batch {
    /// A sweep: some uploads are years late.
    pub(super) fn of(settings: &Settings, objects: Vec<Object>, as_of: DateTime<Utc>) -> Self {
        Self {
            objects,
            as_of,
            settings: *settings,
            look_back: None,
            files_per_batch: None,
            resources: Resources::default(),
            relearned: Vec::new(),
        }
    }

    fn options(&self) -> Options {
        let told = options(&self.settings, self.as_of);
        Options {
            rescan: self.look_back.is_none(),
            look_back: self.look_back.map_or(told.look_back, |span| span.to_std().unwrap()),
            files_per_batch: self.files_per_batch.unwrap_or(told.files_per_batch),
            resources: self.resources.clone(),
            ..told
        }
    }

    /// Objects whose keys are of an earlier hour are not looked for.
    async fn looks_from(&self, store: &Store) -> Option<DateTime<Utc>> {
        self.look_back?;
        let begins = self.begins(watermark(store).await.unwrap()?);
        // Hours that are not counted are listed until they are.
        let begins = counted(store).await.unwrap().map_or(begins, |counted| begins.min(counted));
        let from = DateTime::from_timestamp(begins * 3600, 0).unwrap();
        let opened = opened(&Tables::read(store).await.unwrap(), from);
        Some(opened.map_or(from, |since| from.min(since.duration_trunc(TimeDelta::hours(1)).unwrap())))
    }

    /// The hour that the listing of a merge begins with which finds the watermark there.
    fn begins(&self, hour: i64) -> i64 {
        let look_back = TimeDelta::from_std(self.options().look_back).unwrap();
        let from = DateTime::from_timestamp(hour * 3600, 0).unwrap() - look_back;
        from.duration_trunc(TimeDelta::hours(1)).unwrap().timestamp() / 3600
    }
}

/// Runs the merges, compares after each, and shows that one more changes nothing. Gives the tables.
pub(super) async fn compare(batches: &[Batch], covered: &Mutex<Covered>) -> Tables {
    let count = |what: &str| covered.lock().unwrap().count(what);
    let faulty = faulty();
    let store = faulty.store();
    let Some(first) = batches.first() else { return Tables::default() };
    let mut oracle = Oracle::new(first.settings);
    let mut uploaded: Vec<Object> = Vec::new();
    let mut overlooked = BTreeSet::new();
    let mut found = Tables::default();
    let mut ignored = NOT_COMPUTED.to_vec();
    let mut late = Late::default();
    for (number, batch) in batches.iter().enumerate() {
        for object in &batch.objects {
            upload_dated(&faulty, &store, object).await;
            uploaded.push(object.clone());
        }
        let told = batch.options();
        oracle.tell(batch.settings);
        for (which, since) in &batch.relearned {
            let opened = relearn_both(&store, &mut oracle, &app(*which), *since, &told).await;
            count(if opened { "opened anew" } else { "refused to open anew" });
        }
        let from = batch.looks_from(&store).await;
        let hour = |object: &Object| SnapshotKey::parse(&object.key).unwrap().uploaded;
        let (seen, unseen): (Vec<Object>, Vec<Object>) =
            uploaded.iter().cloned().partition(|object| from.is_none_or(|from| hour(object) >= from));

        let before = commits(&store).await.unwrap();
        let counted_before = counted(&store).await.unwrap();
        merge(&store, &told).await.unwrap();
        oracle.merge(&seen, batch.as_of);
        let earlier = std::mem::replace(&mut found, Tables::read(&store).await.unwrap());
        let expected = oracle.tables(&found).unwrap_or_else(|reason| panic!("merge {number}: {reason}"));
        if batch.files_per_batch.is_some() && ignored.len() == NOT_COMPUTED.len() {
            ignored.extend(OF_WAVES);
        }
        if let Some(text) = expected.differences(&found, &ignored) {
            panic!("after merge {number}, from {from:?}\n{text}");
        }
        assert_numbered(&found);

        let reached = watermark(&store).await.unwrap();
        let next = reached.map(|hour| batch.begins(hour));
        late.list(&found, &seen, counted_before.max(next));
        let counted_now = counted(&store).await.unwrap();
        assert!(
            counted_before <= counted_now && next.map(|next| next - 24) <= counted_now,
            "{counted_now:?}"
        );
        assert_eq!(found.late, late.counts, "after merge {number}, with the watermark at {reached:?}");
        if !late.counts.is_empty() {
            count("hours counted after the freeze");
        }
        let newest = uploaded.iter().map(|object| hour(object).timestamp() / 3600).max();
        assert!(reached <= newest, "the watermark {reached:?} is past the newest upload, {newest:?}");
        let settled = keys(&found);
        if overlooked.iter().any(|key| settled.contains(key)) {
            count("found by a sweep");
        }
        overlooked = unseen.into_iter().map(|object| object.key).collect();
        overlooked.retain(|key| !settled.contains(key));
        if !overlooked.is_empty() {
            count("older than the look-back");
        }
        // The first merge's first commit makes the table.
        if commits(&store).await.unwrap()[0] > before[0].max(1) + 1 {
            count("several waves in one merge");
        }
        count(&format!("{} partitions", batch.resources.partitions));
        let changed = number > 0 && batches[number - 1].settings != batch.settings;
        covered.lock().unwrap().note_limits(&earlier, &found, batch, changed);
    }
    // The naive oracle was right about each state; the second one takes longer, and looks at the last.
    assert_frames(&found, &uploaded);
    let Some(told) = batches.last().map(Batch::options) else { return found };
    let before = (commits(&store).await.unwrap(), objects(&store).await.unwrap());
    let report = merge(&store, &told).await.unwrap();
    assert_eq!((report.admitted, report.profiles, report.nodes), (0, 0, 0), "{report:?}");
    let after = (commits(&store).await.unwrap(), objects(&store).await.unwrap());
    assert_eq!(after, before, "a merge that finds nothing new commits nothing and moves nothing");
    found
}

/// Asks both for a new revision, and says whether there is one.
async fn relearn_both(
    store: &Store,
    oracle: &mut Oracle,
    workload: &Workload,
    since: DateTime<Utc>,
    told: &Options,
) -> bool {
    let opened = relearn(store, workload, since, told).await;
    let expected = oracle.relearn(workload, since, told.as_of);
    match (&opened, expected) {
        (Ok(Relearned { since: from, .. }), Some(_)) => assert_eq!(*from, since),
        (Err(MergeError::NotStable { .. } | MergeError::Table(TableError::NoProfiles { .. })), None) => {}
        _ => panic!("{workload} was to be opened as {expected:?}, and was: {opened:?}"),
    }
    assert_eq!(opened.ok().map(|opened| opened.revision), expected);
    expected.is_some()
}

fn assert_frames(found: &Tables, uploaded: &[Object]) {
    if let Some(text) = frames::Expected::of(found, &by_key(uploaded)).unwrap().differences(found) {
        panic!("by dataframes\n{text}");
    }
}

pub(super) fn by_key(objects: &[Object]) -> HashMap<String, bytes::Bytes> {
    objects.iter().map(|object| (object.key.clone(), object.bytes.clone())).collect()
}

/// From when the snapshots of revisions are that were opened since a time and have none: a merge looks for them however long
/// ago they came.
fn opened(tables: &Tables, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let of = |row: &Row| {
        let key = cell_of(row, "workload_key").text().unwrap_or_default().to_owned();
        (key, cell_of(row, "revision").int().unwrap_or_default())
    };
    let newest: BTreeMap<String, i64> =
        tables.profiles.iter().map(of).fold(BTreeMap::new(), |mut newest, (key, revision)| {
            let known = newest.entry(key).or_default();
            *known = revision.max(*known);
            newest
        });
    let empty: BTreeSet<(String, i64)> = tables
        .profiles
        .iter()
        .filter(|row| cell_of(row, "snapshot_count").int() == Some(0))
        .map(of)
        .filter(|(key, revision)| newest.get(key) == Some(revision))
        .collect();
    let opened = tables.ledger.iter().filter(|row| {
        cell_of(row, "outcome").text() == Some("opened")
            && cell_of(row, "decided_at").int() >= Some(after.timestamp_micros())
    });
    let since =
        opened.filter(|row| empty.contains(&of(row))).filter_map(|row| cell_of(row, "window_start").int());
    since.min().and_then(DateTime::from_timestamp_micros)
}

/// What merges must have counted of what came after the freeze.
#[derive(Debug, Default)]
struct Late {
    counts: BTreeMap<(String, i64), i64>,
}

impl Late {
    /// A merge listed these, and is to have counted all hours before.
    fn list(&mut self, found: &Tables, seen: &[Object], before: Option<i64>) {
        let mut newest: BTreeMap<String, (i64, bool)> = BTreeMap::new();
        for profile in &found.profiles {
            let key = cell_of(profile, "workload_key").text().unwrap().to_owned();
            let revision = cell_of(profile, "revision").int().unwrap();
            let is_stable = cell_of(profile, "status").text() == Some("stable");
            newest
                .entry(key)
                .and_modify(|known| *known = (*known).max((revision, is_stable)))
                .or_insert((revision, is_stable));
        }
        let settled = keys(found);
        let mut listed: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for object in seen.iter().filter(|object| !settled.contains(&object.key)) {
            let key = SnapshotKey::parse(&object.key).unwrap();
            let workload = key.workload.to_string();
            // What is left out of a revision that learns came after the freeze of the one before.
            if newest.get(&workload).is_some_and(|(revision, is_stable)| *is_stable || *revision > 1) {
                *listed.entry((workload, key.uploaded.timestamp() / 3600)).or_default() += 1;
            }
        }
        for (place, snapshots) in listed {
            let known = self.counts.get(&place).copied().unwrap_or(0);
            if before.is_some_and(|before| place.1 < before) && snapshots > known {
                self.counts.insert(place, snapshots);
            }
        }
    }
}

/// Object keys that the ledger has.
fn keys(tables: &Tables) -> BTreeSet<String> {
    tables.ledger.iter().filter_map(|row| cell_of(row, "object_key").text().map(str::to_owned)).collect()
}

/// A bucket's batches count from 1, however a merge cuts its work, and a profile names the one that changed it last.
fn assert_numbered(tables: &Tables) {
    let int = |row: &Row, name: &str| cell_of(row, name).int().unwrap();
    let mut batches: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for row in &tables.ledger {
        batches.entry(int(row, "bucket")).or_default().insert(int(row, "batch"));
    }
    for (bucket, numbers) in batches {
        assert!(numbers.iter().copied().eq(1..=numbers.len() as i64), "bucket {bucket} has {numbers:?}");
    }
    for profile in &tables.profiles {
        let of_it = |row: &&Row| {
            ["workload_key", "revision"].iter().all(|name| cell_of(row, name) == cell_of(profile, name))
        };
        let last = tables.ledger.iter().filter(of_it).map(|row| int(row, "batch")).max();
        assert_eq!(last, Some(int(profile, "batch")), "{profile:?}");
    }
}

/// A second object for a snapshot.
#[derive(Debug, Clone, Copy)]
enum Twin {
    Repeated,
    Forged,
    CutOff,
}

/// When a snapshot comes.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    batch: prop::sample::Index,
    /// Kind of its twin, the twin's batch, and how many hours later its key is.
    twin: Option<(Twin, prop::sample::Index, i64)>,
}

impl Arrival {
    /// Puts the objects into their batches.
    pub(super) fn add(&self, shot: &Shot, batches: &mut [Batch]) {
        batches[self.batch.index(batches.len())].objects.push(shot.object());
        if let Some((twin, batch, hours)) = self.twin {
            // Under the same key it would be the same object.
            let hours = if hours == 0 { 1 } else { hours };
            let object = match twin {
                Twin::Repeated => shot.repeated(hours),
                Twin::Forged => shot.forged(hours),
                Twin::CutOff => cut_off(shot.repeated(hours)),
            };
            batches[batch.index(batches.len())].objects.push(object);
        }
    }
}

pub(super) fn arrival() -> impl Strategy<Value = Arrival> {
    let twin = (
        prop_oneof![Just(Twin::Repeated), Just(Twin::Forged), Just(Twin::CutOff)],
        any::<prop::sample::Index>(),
        -1..3_i64,
    );
    (any::<prop::sample::Index>(), prop::option::weighted(0.2, twin))
        .prop_map(|(batch, twin)| Arrival { batch, twin })
}

fn cut_off(object: Object) -> Object {
    let half = object.bytes.len() / 2;
    Object { bytes: object.bytes.slice(..half), ..object }
}

/// What the rows of some tables say that is worth a test, and what happened on the way, to show that the tests came across it.
#[derive(Debug, Default)]
pub(super) struct Covered(BTreeMap<String, usize>);

impl Covered {
    fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn add(&mut self, tables: &Tables) {
        for row in &tables.ledger {
            self.count(&format!("outcome {}", cell_of(row, "outcome")));
        }
        for row in &tables.profiles {
            self.count(&format!("reason {}", cell_of(row, "stable_reason")));
            self.count(&format!("tag_reused {}", cell_of(row, "tag_reused")));
            if cell_of(row, "revision").int() > Some(1) {
                self.count(&format!("a later revision, {}", cell_of(row, "status")));
            }
        }
        for row in &tables.nodes {
            for column in ["phase", "late", "rare", "stable"] {
                self.count(&format!("{column} {}", cell_of(row, column)));
            }
            if cell_of(row, "lossy_count").int() > Some(0) {
                self.count("a lossy sighting");
            }
            if *cell_of(row, "pattern") != Value::Null {
                self.count("a pattern");
            }
            if *cell_of(row, "commonality") == Value::Null {
                self.count("nobody was eligible");
            }
        }
    }

    /// What the limits of a merge did that are told it.
    fn note_limits(&mut self, before: &Tables, after: &Tables, batch: &Batch, changed: bool) {
        let Settings { max_snapshots, learning_time, .. } = batch.settings;
        let Settings { min_snapshots, min_containers, min_age, .. } = batch.settings;
        for profile in &after.profiles {
            let int = |name: &str| cell_of(profile, name).int();
            let count = |name: &str| usize::try_from(int(name).unwrap()).unwrap();
            let (Some(start), Some(end)) = (int("first_window_start"), int("last_window_end")) else {
                continue;
            };
            let learning = *cell_of(profile, "stable_reason") == Value::Null;
            let over = batch.as_of.timestamp_micros() >= start + learning_time.num_microseconds().unwrap();
            if learning && (count("snapshot_count") >= max_snapshots || over) {
                let too_few = [
                    ("min_snapshots", count("snapshot_count") < min_snapshots),
                    ("min_containers", count("container_count") < min_containers),
                    ("min_age", end - start < min_age.num_microseconds().unwrap()),
                ];
                for (name, _) in too_few.into_iter().filter(|(_, is)| *is) {
                    self.count(&format!("kept learning by {name}"));
                }
            }
            let same = |row: &&Row| {
                ["workload_key", "revision", "snapshot_count"]
                    .iter()
                    .all(|name| cell_of(row, name) == cell_of(profile, name))
            };
            let was_learning = |row: &Row| *cell_of(row, "stable_reason") == Value::Null;
            if changed && !learning && before.profiles.iter().find(same).is_some_and(was_learning) {
                self.count("stable by changed limits or the clock alone");
            }
        }
    }

    pub(super) fn assert(&self, wanted: &[&str]) {
        println!("rows: {:?}", self.0);
        for what in wanted {
            assert!(self.0.contains_key(*what), "no case had {what}");
        }
    }
}

pub(super) fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() })
}
