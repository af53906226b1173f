use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use crate::identity::Kind;
use crate::image::Workload;
use crate::keys::SnapshotId;

/// The version of the file format that this library writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;

/// A node first seen within this time of its container's start has the phase `startup`.
pub const STARTUP: Duration = Duration::from_secs(180);

const FORMAT_KEY: &str = "wsp.format";
const SNAPSHOT_KEY: &str = "wsp.snapshot";
const CHECK_KEY: &str = "wsp.blake3";

/// What a snapshot file says about itself, in its footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The snapshot.
    pub id: SnapshotId,
    /// What ran.
    pub image: Image,
    /// Where it ran.
    pub container: Container,
    /// Name of the host that recorded.
    pub host: String,
    /// Start of the window, whole milliseconds.
    pub window_start: DateTime<Utc>,
    /// End of the window, whole milliseconds; after its start.
    pub window_end: DateTime<Utc>,
    /// The container's first exec is in the window.
    pub covers_start: bool,
    /// Program and version that wrote the file.
    pub writer: String,
    /// `uname -r` of the host.
    pub kernel: String,
    /// Version of the path rules that all paths went through.
    pub path_rules: i32,
    /// Sensors that were live; a kind without one could not be seen at all.
    pub sensors: Vec<Sensor>,
    /// For every kind that has a live sensor, how much of it the window saw.
    pub completeness: BTreeMap<String, Completeness>,
    /// Events that were lost, by kind and cause.
    pub lost: Vec<Loss>,
    /// Limits of the recorder that the window ran into, by name.
    pub limits_hit: Vec<String>,
}

/// The image that a container was made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Name and tag; none where the runtime tells neither a tag nor a digest (`unkeyed`).
    pub workload: Option<Workload>,
    /// Digest of its manifest or index.
    pub digest: Option<String>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// The runtime's name.
    pub name: Option<String>,
    /// When it started, host's wall clock, whole milliseconds.
    pub started: Option<DateTime<Utc>>,
    /// Allow-listed labels.
    pub labels: BTreeMap<String, String>,
}

/// A source of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sensor {
    /// The kind of node that it sees.
    pub kind: String,
    /// The kernel hook.
    pub hook: String,
}

/// How much of one kind a window saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// Everything, from the container's first exec.
    Complete,
    /// Everything since the window opened, over a container that ran already.
    JoinedLate,
    /// Something was lost.
    Lossy,
}

impl Completeness {
    /// The name that the ledger has.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::JoinedLate => "joined_late",
            Self::Lossy => "lossy",
        }
    }
}

/// Events that are not in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Kind of event.
    pub kind: String,
    /// Why.
    pub cause: String,
    /// How many.
    pub events: u64,
}

impl SnapshotMeta {
    /// The footer entries of a file without or with rows.
    pub(super) fn to_footer(&self, no_rows: bool) -> Result<Vec<KeyValue>, serde_json::Error> {
        let format = Format { version: FORMAT_VERSION, min_reader: FORMAT_VERSION, features: Vec::new() };
        Ok(vec![
            KeyValue::new(FORMAT_KEY.to_owned(), serde_json::to_string(&format)?),
            KeyValue::new(SNAPSHOT_KEY.to_owned(), serde_json::to_string(&Version2::of(self, no_rows))?),
        ])
    }

    /// The footer entry that proves the file undamaged, as it stands there; none where the writer did not make one.
    pub(super) fn stored_check<'a>(entries: &[(&str, &'a str)]) -> Option<&'a str> {
        entries.iter().find(|(key, _)| *key == CHECK_KEY).map(|(_, value)| *value)
    }
}

/// What a footer says of a snapshot. The constant columns have the rest, unless it has that too.
pub(super) struct Said {
    pub(super) path_rules: i32,
    writer: String,
    kernel: String,
    sensors: Vec<Sensor>,
    completeness: BTreeMap<String, Completeness>,
    lost: Vec<Loss>,
    limits_hit: Vec<String>,
    constants: Option<Constants>,
}

impl Said {
    /// Reads the footer entries. The format comes first: a file that this version cannot read says so, whatever else it holds.
    pub(super) fn from_footer(entries: &[(&str, &str)]) -> Result<Self, MetaError> {
        let entry = |name: &'static str| {
            let found = entries.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value).ok_or(MetaError::Foreign { missing: name })
        };
        let bad = |reason: String| MetaError::Malformed { reason };
        let json = |error: serde_json::Error| bad(error.to_string());
        let format: Format = serde_json::from_str(entry(FORMAT_KEY)?).map_err(json)?;
        if format.min_reader > FORMAT_VERSION {
            return Err(MetaError::TooNew { needs: format.min_reader });
        }
        if let Some(feature) = format.features.into_iter().next() {
            return Err(MetaError::UnknownFeature { feature, version: format.version });
        }
        let snapshot = entry(SNAPSHOT_KEY)?;
        let said: Self = match format.version {
            ..=1 => serde_json::from_str::<Version1>(snapshot).map_err(json)?.into(),
            _ => serde_json::from_str::<Version2>(snapshot).map_err(json)?.try_into().map_err(bad)?,
        };
        if said.path_rules < 1 {
            return Err(bad(format!("there are no path rules of version {}", said.path_rules)));
        }
        let known = |kind: &str| Kind::parse(kind).is_some();
        if let Some(kind) = said.completeness.keys().find(|kind| !known(kind)) {
            return Err(bad(format!("completeness of `{kind}`, which is no kind of node")));
        }
        Ok(said)
    }

    /// The whole, with what the rows say where the footer does not.
    pub(super) fn with(
        self,
        rows: impl FnOnce() -> Result<Constants, String>,
    ) -> Result<SnapshotMeta, MetaError> {
        let constants = self.constants.map_or_else(rows, Ok);
        let constants = constants.and_then(Constants::checked);
        let Checked { id, image, container, host, window_start, window_end, covers_start } =
            constants.map_err(|reason| MetaError::Malformed { reason })?;
        let Self { path_rules, writer, kernel, sensors, completeness, lost, limits_hit, .. } = self;
        Ok(SnapshotMeta {
            id,
            image,
            container,
            host,
            window_start,
            window_end,
            covers_start,
            writer,
            kernel,
            path_rules,
            sensors,
            completeness,
            lost,
            limits_hit,
        })
    }
}

/// The value of the footer entry that proves a file undamaged, until it is known.
pub(super) const CHECK_BLANK: &str = "00000000000000000000000000000000";
/// Digits of that entry in files of version 1.
const LONG_CHECK: usize = 64;

/// The footer entry that proves a file undamaged: the first half of BLAKE3, in hex, of the whole file with [`CHECK_BLANK`] in
/// place of these digits. It finds damage, not forgery: who forges rows can forge it too.
pub(super) fn blank_check() -> KeyValue {
    KeyValue::new(CHECK_KEY.to_owned(), CHECK_BLANK.to_owned())
}

/// Writes that entry anew, where values of a file of this version were changed in place. False where it has none.
pub fn reseal(file: &mut [u8]) -> bool {
    // It is the last of the footer's: its name, the type of its value (text) and the length, and the value.
    let entry = [CHECK_KEY.as_bytes(), &[0x18, 0x20]].concat();
    let found = file.windows(entry.len()).rposition(|window| window == entry);
    let Some(start) = found.map(|at| at + entry.len()) else { return false };
    let place = start..start + CHECK_BLANK.len();
    let Some(value) = file.get_mut(place.clone()) else { return false };
    value.copy_from_slice(CHECK_BLANK.as_bytes());
    let check = blake3::hash(file).to_hex();
    file[place].copy_from_slice(&check.as_bytes()[..CHECK_BLANK.len()]);
    true
}

/// Hashes a file: its content hash, and whether it is the one that the check is of.
pub(super) fn hashes(file: &[u8], check: Option<&str>) -> (blake3::Hash, bool) {
    let Some(check) = check else { return (blake3::hash(file), true) };
    let found = file.windows(check.len().max(1)).rposition(|window| window == check.as_bytes());
    let Some(at) = found.filter(|_| [CHECK_BLANK.len(), LONG_CHECK].contains(&check.len())) else {
        return (blake3::hash(file), false);
    };
    let (before, after) = (&file[..at], &file[at + check.len()..]);
    let mut whole = blake3::Hasher::new();
    whole.update(before);
    let mut blanked = whole.clone();
    whole.update(check.as_bytes()).update(after);
    blanked.update(&[b'0'; LONG_CHECK][..check.len()]).update(after);
    (whole.finalize(), blanked.finalize().to_hex().starts_with(check))
}

/// Why a footer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Parquet, but not written by this project.
    #[error("not a snapshot file: its footer has no `{missing}`")]
    Foreign {
        /// The entry that is not there.
        missing: &'static str,
    },
    /// Written by a later version.
    #[error(
        "the file needs at least format version {needs}, this version reads up to {FORMAT_VERSION}: upgrade wsp"
    )]
    TooNew {
        /// Lowest version that reads it.
        needs: u32,
    },
    /// Written with a feature of a later version.
    #[error(
        "the file (format version {version}) uses the feature `{feature}`, which this version does not have: upgrade wsp"
    )]
    UnknownFeature {
        /// Name of the feature.
        feature: String,
        /// Version that wrote it.
        version: u32,
    },
    /// An entry that does not hold what it must.
    #[error("the metadata is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Format {
    version: u32,
    min_reader: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
}

/// What the constant columns hold.
#[derive(Serialize, Deserialize)]
pub(super) struct Constants {
    pub(super) snapshot_id: String,
    pub(super) image_name: Option<String>,
    pub(super) image_tag: Option<String>,
    pub(super) image_digest: Option<String>,
    pub(super) container_id: String,
    pub(super) container_name: Option<String>,
    pub(super) container_started_ms: Option<i64>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) host: String,
    pub(super) window_start_ms: i64,
    pub(super) window_end_ms: i64,
    pub(super) covers_start: bool,
}

/// The entry `wsp.snapshot` of version 1.
#[derive(Deserialize)]
struct Version1 {
    #[serde(flatten)]
    constants: Constants,
    writer: String,
    kernel: String,
    path_rules: i32,
    sensors: Vec<Sensor>,
    completeness: BTreeMap<String, Completeness>,
    #[serde(default)]
    lost: Vec<Loss>,
    #[serde(default)]
    limits_hit: Vec<String>,
}

/// The entry `wsp.snapshot` of version 2: nothing stands in it twice, and nothing that the columns have.
#[derive(Serialize, Deserialize)]
struct Version2 {
    #[serde(skip_serializing_if = "Option::is_none")]
    constants: Option<Constants>,
    writer: String,
    kernel: String,
    path_rules: i32,
    /// Kind and hook.
    sensors: Vec<(String, String)>,
    /// Kinds by their completeness.
    completeness: BTreeMap<Completeness, Vec<String>>,
    /// Kind, cause and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<(String, String, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limits_hit: Vec<String>,
}

impl From<Version1> for Said {
    fn from(stored: Version1) -> Self {
        let Version1 { constants, writer, kernel, path_rules, sensors, completeness, lost, limits_hit } =
            stored;
        let constants = Some(constants);
        Self { path_rules, writer, kernel, sensors, completeness, lost, limits_hit, constants }
    }
}

impl TryFrom<Version2> for Said {
    type Error = String;

    fn try_from(stored: Version2) -> Result<Self, String> {
        let mut completeness = BTreeMap::new();
        for (how, kinds) in stored.completeness {
            for kind in kinds {
                if completeness.contains_key(&kind) {
                    return Err(format!("completeness of `{kind}` is there twice"));
                }
                completeness.insert(kind, how);
            }
        }
        Ok(Self {
            path_rules: stored.path_rules,
            writer: stored.writer,
            kernel: stored.kernel,
            sensors: stored.sensors.into_iter().map(|(kind, hook)| Sensor { kind, hook }).collect(),
            completeness,
            lost: stored.lost.into_iter().map(|(kind, cause, events)| Loss { kind, cause, events }).collect(),
            limits_hit: stored.limits_hit,
            constants: stored.constants,
        })
    }
}

impl Version2 {
    fn of(meta: &SnapshotMeta, no_rows: bool) -> Self {
        let mut completeness: BTreeMap<Completeness, Vec<String>> = BTreeMap::new();
        for (kind, how) in &meta.completeness {
            completeness.entry(*how).or_default().push(kind.clone());
        }
        Self {
            constants: no_rows.then(|| Constants::of(meta)),
            writer: meta.writer.clone(),
            kernel: meta.kernel.clone(),
            path_rules: meta.path_rules,
            sensors: meta.sensors.iter().map(|sensor| (sensor.kind.clone(), sensor.hook.clone())).collect(),
            completeness,
            lost: meta.lost.iter().map(|loss| (loss.kind.clone(), loss.cause.clone(), loss.events)).collect(),
            limits_hit: meta.limits_hit.clone(),
        }
    }
}

/// What constants say, once they are known to be such as they must be.
struct Checked {
    id: SnapshotId,
    image: Image,
    container: Container,
    host: String,
    window_start: DateTime<Utc>,
    window_end: DateTime<Utc>,
    covers_start: bool,
}

impl Constants {
    fn of(meta: &SnapshotMeta) -> Self {
        let workload = meta.image.workload.as_ref();
        Self {
            snapshot_id: meta.id.to_string(),
            image_name: workload.map(|workload| workload.name().to_owned()),
            image_tag: workload.map(|workload| workload.tag().to_owned()),
            image_digest: meta.image.digest.clone(),
            container_id: meta.container.id.clone(),
            container_name: meta.container.name.clone(),
            container_started_ms: meta.container.started.map(|time| time.timestamp_millis()),
            labels: meta.container.labels.clone(),
            host: meta.host.clone(),
            window_start_ms: meta.window_start.timestamp_millis(),
            window_end_ms: meta.window_end.timestamp_millis(),
            covers_start: meta.covers_start,
        }
    }

    fn checked(self) -> Result<Checked, String> {
        let time = |name: &str, ms: i64| {
            // Delta readers count microseconds from 1970 in 64 bits; nothing sane is outside these years.
            DateTime::from_timestamp_millis(ms)
                .filter(|time| (1970..=2200).contains(&chrono::Datelike::year(time)))
                .ok_or_else(|| format!("{name} {ms} is no time between 1970 and 2200"))
        };
        let workload = match (&self.image_name, &self.image_tag) {
            (Some(name), Some(tag)) => {
                Some(Workload::from_columns(name, tag).map_err(|error| error.to_string())?)
            }
            (None, None) => None,
            _ => return Err("only one of image_name and image_tag is there".to_owned()),
        };
        let (window_start, window_end) =
            (time("window_start_ms", self.window_start_ms)?, time("window_end_ms", self.window_end_ms)?);
        let length = self.window_end_ms.saturating_sub(self.window_start_ms);
        if length <= 0 || i32::try_from(length).is_err() {
            return Err(format!(
                "the window of {length} ms is empty, ends before it starts, or is longer than 24 days"
            ));
        }
        Ok(Checked {
            id: SnapshotId::parse(&self.snapshot_id).ok_or("snapshot_id is no UUID")?,
            image: Image { workload, digest: self.image_digest },
            container: Container {
                id: self.container_id,
                name: self.container_name,
                started: self.container_started_ms.map(|ms| time("container_started_ms", ms)).transpose()?,
                labels: self.labels,
            },
            host: self.host,
            window_start,
            window_end,
            covers_start: self.covers_start,
        })
    }
}

/// Whole milliseconds of a column's microseconds.
pub(super) fn millis(name: &str, micros: i64) -> Result<i64, String> {
    if micros % 1000 == 0 { Ok(micros / 1000) } else { Err(format!("`{name}` is not whole milliseconds")) }
}
