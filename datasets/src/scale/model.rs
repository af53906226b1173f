//! Which snapshots arrive when. Every hour is made from the settings alone, and from when captures learned that a workload
//! is stable.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wsp_datasets::{Fleet, FleetSpec, Snapshot, SpecError};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::snapshot::EncodeError;

/// From the end of a window to its upload.
const UPLOAD_MS: i64 = 5_000;
const HOUR_MS: i64 = 3_600_000;
/// Room for what differs between two files, so that all can have the same size: listings say it before a file is made.
const PADDING: usize = 512;

/// What fleet it is.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) hosts: u32,
    /// Images, of which a few run nearly everywhere and most on few hosts: Zipf's law.
    pub(crate) images: u32,
    /// Containers of each host.
    pub(crate) containers: u16,
    /// Containers that are recorded at the same time.
    pub(crate) slots: u16,
    pub(crate) interval: Duration,
    /// Time between two versions of an image.
    pub(crate) release: Duration,
    pub(crate) start: DateTime<Utc>,
}

/// No file could be made that all others are copies of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("the simulator makes no snapshot to copy")]
    None,
}

/// A snapshot; in the order of the keys, as all windows are equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Upload {
    pub(crate) workload: WorkloadKey,
    start_ms: i64,
    host: u32,
    container: u16,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An image and a version of it.
type Version = (u32, u32);

#[derive(Debug)]
pub(crate) struct Model {
    spec: Spec,
    /// Image of every container of every host.
    images: Vec<u32>,
    /// Start of each host's first window, from the fleet's: they are not in step.
    offsets: Vec<i64>,
    /// Age of each image's first version when the fleet starts.
    phases: Vec<i64>,
    workloads: HashMap<Version, (WorkloadKey, Workload)>,
    versions: HashMap<WorkloadKey, Version>,
    /// Since when captures leave it alone.
    stable: HashMap<Version, DateTime<Utc>>,
    template: Snapshot,
    size: usize,
}

impl Model {
    pub(crate) fn new(spec: Spec) -> Result<Self, TemplateError> {
        // The harmonic sum: the share of the image of rank r is 1 / (r · sum).
        let mut sums = Vec::with_capacity(spec.images as usize);
        let mut sum = 0.0;
        for rank in 1..=spec.images {
            sum += 1.0 / f64::from(rank);
            sums.push(sum);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let count = spec.hosts as usize * usize::from(spec.containers);
        let images = (0..count).map(|_| {
            let drawn = rng.random_range(0.0..sum);
            u32::try_from(sums.partition_point(|sum| *sum < drawn)).unwrap_or(0).min(spec.images - 1)
        });
        let images = images.collect();
        let offsets = (0..spec.hosts).map(|_| rng.random_range(0..millis(spec.interval))).collect();
        let phases = (0..spec.images).map(|_| rng.random_range(0..millis(spec.release))).collect();
        let one = FleetSpec {
            images: 1,
            versions: 1,
            containers: 1,
            snapshots: 2,
            nodes: 1,
            ..FleetSpec::undisturbed()
        };
        let mut template = Fleet::new(one)?.snapshots().nth(1).ok_or(TemplateError::None)?;
        template.nodes.truncate(1);
        template.meta.container.labels.clear();
        let size = template.encode()?.len() + PADDING;
        let (workloads, versions, stable) = Default::default();
        Ok(Self { spec, images, offsets, phases, workloads, versions, stable, template, size })
    }

    /// Bytes of every file.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Workloads that were seen so far.
    pub(crate) fn workloads(&self) -> usize {
        self.workloads.len()
    }

    /// Captures know of stable workloads from a time on.
    pub(crate) fn leave_alone(&mut self, stable: impl Iterator<Item = WorkloadKey>, since: DateTime<Utc>) {
        for key in stable {
            if let Some(version) = self.versions.get(&key) {
                self.stable.entry(*version).or_insert(since);
            }
        }
    }

    /// What is uploaded in an hour (hours since the epoch), in the order of the keys.
    pub(crate) fn uploads(&mut self, hour: i64) -> Vec<Upload> {
        let interval = millis(self.spec.interval);
        let base = self.spec.start.timestamp_millis();
        let (begin, end) = (hour * HOUR_MS, (hour + 1) * HOUR_MS);
        let containers = usize::from(self.spec.containers);
        let mut uploads = Vec::new();
        let mut active = Vec::with_capacity(containers);
        for host in 0..self.spec.hosts {
            let first = base + self.offsets[host as usize];
            // The first window whose upload is in the hour.
            let mut window = (begin - UPLOAD_MS - interval - first).div_euclid(interval);
            window += i64::from(first + window * interval + interval + UPLOAD_MS < begin);
            window = window.max(0);
            loop {
                let start_ms = first + window * interval;
                if start_ms + interval + UPLOAD_MS >= end {
                    break;
                }
                active.clear();
                let own = &self.images[host as usize * containers..][..containers];
                for (container, image) in own.iter().zip(0..).map(|(image, container)| (container, *image)) {
                    let version = (image, self.version(image, start_ms));
                    let left_since = self.stable.get(&version).map(DateTime::timestamp_millis);
                    if left_since.is_none_or(|since| start_ms < since) {
                        active.push((container, version));
                    }
                }
                let slots = usize::from(self.spec.slots).min(active.len());
                let turn = usize::try_from(window).unwrap_or(0) * slots;
                for slot in 0..slots {
                    let (container, version) = active[(turn + slot) % active.len()];
                    let workload = self.workload(version);
                    uploads.push(Upload { workload, start_ms, host, container });
                }
                window += 1;
            }
        }
        uploads.sort_unstable();
        uploads
    }

    fn version(&self, image: u32, at_ms: i64) -> u32 {
        let since = at_ms - self.spec.start.timestamp_millis();
        u32::try_from((since + self.phases[image as usize]).div_euclid(millis(self.spec.release)))
            .unwrap_or(0)
    }

    fn workload(&mut self, version: Version) -> WorkloadKey {
        if let Some((key, _)) = self.workloads.get(&version) {
            return *key;
        }
        let name = format!("registry.example.com/fleet/app-{:05}:1.{}", version.0, version.1);
        // The name is one: the test below reads it.
        let Ok(workload) = Workload::parse(&name) else { return WorkloadKey::UNKEYED };
        let key = workload.key();
        self.workloads.insert(version, (key, workload));
        self.versions.insert(key, version);
        key
    }

    /// The key of an upload.
    pub(crate) fn key(&self, upload: &Upload) -> SnapshotKey {
        let window_end_ms = upload.start_ms + millis(self.spec.interval);
        let uploaded = (window_end_ms + UPLOAD_MS).div_euclid(HOUR_MS) * HOUR_MS;
        let mut random = [0; 10];
        random[3..7].copy_from_slice(&upload.host.to_be_bytes());
        random[7..9].copy_from_slice(&upload.container.to_be_bytes());
        let ms = upload.start_ms.unsigned_abs();
        let id = uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid();
        SnapshotKey {
            uploaded: DateTime::from_timestamp_millis(uploaded).unwrap_or_default(),
            workload: upload.workload,
            window_end_ms,
            id: SnapshotId::new(id),
        }
    }

    /// The snapshot of a key; none where nobody uploaded it.
    pub(crate) fn snapshot(&self, key: &SnapshotKey) -> Option<Snapshot> {
        let id = key.id.as_bytes();
        let host = u32::from_be_bytes(id[9..13].try_into().ok()?);
        let container = u16::from_be_bytes(id[13..15].try_into().ok()?);
        let end = DateTime::from_timestamp_millis(key.window_end_ms)?;
        let start = end.checked_sub_signed(TimeDelta::from_std(self.spec.interval).ok()?)?;
        let version = self.versions.get(&key.workload)?;
        let place = host as usize * usize::from(self.spec.containers) + usize::from(container);
        if self.images.get(place) != Some(&version.0)
            || self.version(version.0, start.timestamp_millis()) != version.1
        {
            return None;
        }
        let (_, workload) = self.workloads.get(version)?;
        let mut snapshot = self.template.clone();
        let meta = &mut snapshot.meta;
        meta.id = key.id;
        meta.image.workload = Some(workload.clone());
        meta.host = format!("host-{host:08}");
        meta.container.id = format!("{place:064x}");
        meta.container.name = Some(format!("container-{place:012}"));
        meta.container.started = Some(self.spec.start - TimeDelta::hours(1));
        (meta.window_start, meta.window_end) = (start, end);
        Some(snapshot)
    }
}

/// A file of a workload: the others are copies of it with their own values in the same places: to copy costs far less than
/// to encode.
#[derive(Debug)]
pub(crate) struct Mold {
    file: Vec<u8>,
    /// Where each of [`values`] stands.
    places: Vec<Vec<usize>>,
}

impl Mold {
    /// Makes a file of the size that all have.
    pub(crate) fn new(snapshot: &Snapshot, size: usize) -> Result<Self, EncodeError> {
        let file = encode(snapshot.clone(), size)?;
        let find = |value: Vec<u8>| {
            let windows = file.windows(value.len().max(1)).enumerate();
            windows.filter(|(_, window)| *window == value).map(|(at, _)| at).collect()
        };
        let places = values(snapshot).into_iter().map(find).collect();
        Ok(Self { file, places })
    }

    /// The file of another snapshot of the workload; none where it does not fit.
    pub(crate) fn cast(&self, snapshot: &Snapshot) -> Option<Vec<u8>> {
        let mut file = self.file.clone();
        for (value, places) in values(snapshot).into_iter().zip(&self.places) {
            for at in places {
                file.get_mut(*at..*at + value.len())?.copy_from_slice(&value);
            }
        }
        wsp_schemas::snapshot::reseal(&mut file).then_some(file)
    }
}

/// What differs between snapshots of a workload, as it stands in files, uncompressed; each is always equally long.
fn values(snapshot: &Snapshot) -> [Vec<u8>; 6] {
    let meta = &snapshot.meta;
    let micros = |time: DateTime<Utc>| time.timestamp_micros().to_le_bytes().to_vec();
    [
        meta.id.to_string().into_bytes(),
        meta.host.clone().into_bytes(),
        meta.container.id.clone().into_bytes(),
        meta.container.name.clone().unwrap_or_default().into_bytes(),
        micros(meta.window_start),
        micros(meta.window_end),
    ]
}

/// Encodes it as a file of that size.
fn encode(mut snapshot: Snapshot, size: usize) -> Result<Vec<u8>, EncodeError> {
    let mut padding = PADDING / 2;
    // A longer length may itself take a byte more: it does not always fit at once.
    for _ in 0..8 {
        snapshot.meta.container.labels.insert("padding".to_owned(), "x".repeat(padding));
        let file = snapshot.encode()?;
        if file.len() == size {
            return Ok(file);
        }
        padding = (padding + size).saturating_sub(file.len());
    }
    snapshot.encode()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wsp_schemas::snapshot::{Limits, decode};

    use super::*;

    fn spec() -> Spec {
        Spec {
            hosts: 50,
            images: 20,
            containers: 12,
            slots: 5,
            interval: Duration::from_mins(30),
            release: Duration::from_hours(7 * 24),
            start: DateTime::from_timestamp(1_793_491_200, 0).unwrap(),
        }
    }

    #[test]
    fn every_window_is_uploaded_once_and_in_the_order_of_the_keys() {
        let mut model = Model::new(spec()).unwrap();
        let hour = spec().start.timestamp() / 3600;
        let mut seen = BTreeSet::new();
        for hour in hour..hour + 24 {
            let uploads = model.uploads(hour);
            let keys: Vec<String> = uploads.iter().map(|upload| model.key(upload).path()).collect();
            assert!(keys.is_sorted());
            for key in keys {
                assert_eq!(SnapshotKey::parse(&key).unwrap().uploaded.timestamp(), hour * 3600);
                assert!(seen.insert(key));
            }
        }
        // Two windows an hour of each slot, less the first and the last of a host.
        assert!((50 * 5 * 46..=50 * 5 * 48).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn a_file_is_a_snapshot_of_its_key_and_has_the_size_that_was_told() {
        let mut model = Model::new(spec()).unwrap();
        let hour = spec().start.timestamp() / 3600 + 3;
        let (mut molds, mut casts) = (HashMap::new(), 0);
        for upload in model.uploads(hour).iter().step_by(7) {
            let key = model.key(upload);
            let expected = model.snapshot(&key).unwrap();
            let file =
                molds.entry(key.workload).or_insert_with(|| Mold::new(&expected, model.size()).unwrap());
            let file = file.cast(&expected).unwrap();
            assert_eq!(file.len(), model.size());
            let snapshot = decode(file.into(), &Limits::default()).unwrap();
            assert_eq!(snapshot.meta.id, key.id);
            assert_eq!(snapshot.meta.image.workload.as_ref().unwrap().key(), key.workload);
            assert_eq!(snapshot.meta.window_end.timestamp_millis(), key.window_end_ms);
            let mut meta = snapshot.meta;
            meta.container.labels.clear();
            assert_eq!(meta, expected.meta);
            casts += 1;
        }
        assert!(casts > 2 * molds.len(), "{casts} files of {} workloads", molds.len());
        let first = model.uploads(hour)[0];
        let strange = SnapshotKey { workload: WorkloadKey::UNKEYED, ..model.key(&first) };
        assert!(model.snapshot(&strange).is_none());
        for window_end_ms in [i64::MIN, i64::MAX, DateTime::<Utc>::MIN_UTC.timestamp_millis()] {
            assert!(model.snapshot(&SnapshotKey { window_end_ms, ..model.key(&first) }).is_none());
        }
    }

    #[test]
    fn what_is_stable_gives_its_slots_to_others() {
        let mut model = Model::new(spec()).unwrap();
        let hour = spec().start.timestamp() / 3600 + 3;
        let before = model.uploads(hour);
        let since = spec().start + TimeDelta::hours(5);
        let key = before[0].workload;
        model.leave_alone([key].into_iter(), since);
        assert_eq!(model.uploads(hour), before);
        let after = model.uploads(hour + 8);
        assert!(!after.iter().any(|upload| upload.workload == key));
        assert_eq!(after.len(), before.len());
    }
}
