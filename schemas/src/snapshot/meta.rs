use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use crate::identity::Kind;
use crate::image::Workload;
use crate::keys::SnapshotId;

/// The version of the file format that this library writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The footer entries.
    pub(super) fn to_footer(&self) -> Result<Vec<KeyValue>, serde_json::Error> {
        let format = Format { version: FORMAT_VERSION, min_reader: FORMAT_VERSION, features: Vec::new() };
        Ok(vec![
            KeyValue::new(FORMAT_KEY.to_owned(), serde_json::to_string(&format)?),
            KeyValue::new(SNAPSHOT_KEY.to_owned(), serde_json::to_string(&Stored::from(self))?),
        ])
    }

    /// The footer entry that proves the file undamaged, as it stands there; none where the writer did not make one.
    pub(super) fn stored_check<'a>(entries: &[(&str, &'a str)]) -> Option<&'a str> {
        entries.iter().find(|(key, _)| *key == CHECK_KEY).map(|(_, value)| *value)
    }

    /// Reads the footer entries. The format comes first: a file that this version cannot read says so, whatever else it holds.
    pub(super) fn from_footer(entries: &[(&str, &str)]) -> Result<Self, MetaError> {
        let entry = |name: &'static str| {
            let found = entries.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| *value).ok_or(MetaError::Foreign { missing: name })
        };
        let bad = |reason: String| MetaError::Malformed { reason };
        let format: Format =
            serde_json::from_str(entry(FORMAT_KEY)?).map_err(|error| bad(error.to_string()))?;
        if format.min_reader > FORMAT_VERSION {
            return Err(MetaError::TooNew { needs: format.min_reader });
        }
        if let Some(feature) = format.features.into_iter().next() {
            return Err(MetaError::UnknownFeature { feature, version: format.version });
        }
        let stored: Stored =
            serde_json::from_str(entry(SNAPSHOT_KEY)?).map_err(|error| bad(error.to_string()))?;
        stored.try_into().map_err(bad)
    }
}

/// The value of the footer entry that proves a file undamaged, until it is known.
pub(super) const CHECK_BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The footer entry that proves a file undamaged: BLAKE3, in hex, of the whole file with [`CHECK_BLANK`] in place of these
/// digits. It finds damage, not forgery: who forges rows can forge it too.
pub(super) fn blank_check() -> KeyValue {
    KeyValue::new(CHECK_KEY.to_owned(), CHECK_BLANK.to_owned())
}

/// Hashes a file that has the given check: the content hash, and what the check must be.
pub(super) fn hashes(file: &[u8], check: &str) -> (blake3::Hash, Option<blake3::Hash>) {
    let found = file.windows(check.len().max(1)).rposition(|window| window == check.as_bytes());
    let Some(at) = found.filter(|_| check.len() == CHECK_BLANK.len()) else {
        return (blake3::hash(file), None);
    };
    let (before, after) = (&file[..at], &file[at + check.len()..]);
    let mut whole = blake3::Hasher::new();
    whole.update(before);
    let mut blanked = whole.clone();
    whole.update(check.as_bytes()).update(after);
    blanked.update(CHECK_BLANK.as_bytes()).update(after);
    (whole.finalize(), Some(blanked.finalize()))
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
    #[error("the footer's metadata is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Format {
    version: u32,
    min_reader: u32,
    #[serde(default)]
    features: Vec<String>,
}

/// The stored form; [`SnapshotMeta`] is what the rest of the code sees.
#[derive(Serialize, Deserialize)]
struct Stored {
    snapshot_id: String,
    image_name: Option<String>,
    image_tag: Option<String>,
    image_digest: Option<String>,
    container_id: String,
    container_name: Option<String>,
    container_started_ms: Option<i64>,
    labels: BTreeMap<String, String>,
    host: String,
    window_start_ms: i64,
    window_end_ms: i64,
    covers_start: bool,
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

impl From<&SnapshotMeta> for Stored {
    fn from(meta: &SnapshotMeta) -> Self {
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
            writer: meta.writer.clone(),
            kernel: meta.kernel.clone(),
            path_rules: meta.path_rules,
            sensors: meta.sensors.clone(),
            completeness: meta.completeness.clone(),
            lost: meta.lost.clone(),
            limits_hit: meta.limits_hit.clone(),
        }
    }
}

impl TryFrom<Stored> for SnapshotMeta {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let time = |name: &str, ms: i64| {
            // Delta readers count microseconds from 1970 in 64 bits; nothing sane is outside these years.
            DateTime::from_timestamp_millis(ms)
                .filter(|time| (1970..=2200).contains(&chrono::Datelike::year(time)))
                .ok_or_else(|| format!("{name} {ms} is no time between 1970 and 2200"))
        };
        let workload = match (&stored.image_name, &stored.image_tag) {
            (Some(name), Some(tag)) => {
                Some(Workload::from_columns(name, tag).map_err(|error| error.to_string())?)
            }
            (None, None) => None,
            _ => return Err("only one of image_name and image_tag is there".to_owned()),
        };
        let (window_start, window_end) =
            (time("window_start_ms", stored.window_start_ms)?, time("window_end_ms", stored.window_end_ms)?);
        let length = stored.window_end_ms.saturating_sub(stored.window_start_ms);
        if length <= 0 || i32::try_from(length).is_err() {
            return Err(format!(
                "the window of {length} ms is empty, ends before it starts, or is longer than 24 days"
            ));
        }
        if stored.path_rules < 1 {
            return Err(format!("there are no path rules of version {}", stored.path_rules));
        }
        let known = |kind: &str| Kind::parse(kind).is_some();
        if let Some(kind) = stored.completeness.keys().find(|kind| !known(kind)) {
            return Err(format!("completeness of `{kind}`, which is no kind of node"));
        }
        Ok(Self {
            id: SnapshotId::parse(&stored.snapshot_id).ok_or("snapshot_id is no UUID")?,
            image: Image { workload, digest: stored.image_digest },
            container: Container {
                id: stored.container_id,
                name: stored.container_name,
                started: stored
                    .container_started_ms
                    .map(|ms| time("container_started_ms", ms))
                    .transpose()?,
                labels: stored.labels,
            },
            host: stored.host,
            window_start,
            window_end,
            covers_start: stored.covers_start,
            writer: stored.writer,
            kernel: stored.kernel,
            path_rules: stored.path_rules,
            sensors: stored.sensors,
            completeness: stored.completeness,
            lost: stored.lost,
            limits_hit: stored.limits_hit,
        })
    }
}
