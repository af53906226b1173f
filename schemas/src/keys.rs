//! Object keys. No key of the store is built anywhere else.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use uuid::Uuid;

use crate::image::WorkloadKey;
use crate::message::message_is_text;

/// Folder of the snapshot files.
pub const SNAPSHOTS: &str = "snapshots";
/// Folder of rules that a store has beside the shipped ones.
pub const RULES: &str = "rules";
/// An object that is never there: asking for it shows whether a store answers.
pub const PROBE: &str = "snapshots/.reachable";
/// Folder of what could not be read.
pub const QUARANTINE: &str = "quarantine";
/// Folder of the trial objects of `wsp store check`, which takes them out again. Nothing else reads or lists it.
pub const TRIALS: &str = "trials";
/// Folder of the Delta tables.
pub const TABLES: &str = "tables";

/// Identity of a snapshot: a UUIDv7, made when its window opens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(Uuid);

impl SnapshotId {
    /// Takes a UUID of any version.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Reads the hyphenated lower-case form.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::parse_str(text).ok()?;
        (uuid.hyphenated().to_string() == text).then_some(Self(uuid))
    }

    /// The bytes, in an order that sorts as the text does.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the key of a snapshot file says without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey {
    /// Hour of the first try to upload; the key is fixed then and retries reuse it.
    pub uploaded: DateTime<Utc>,
    /// The workload, or [`WorkloadKey::UNKEYED`].
    pub workload: WorkloadKey,
    /// End of the window, milliseconds since the epoch.
    pub window_end_ms: i64,
    /// The snapshot.
    pub id: SnapshotId,
}

message_is_text!(
    SnapshotKey,
    SnapshotKey::path,
    |path| SnapshotKey::parse(path).ok(),
    "it is not the key of a snapshot"
);

/// A key below `snapshots/` that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a snapshot key: `snapshots/date=YYYY-MM-DD/hour=HH/<workload_key>-<window_end_ms>-<snapshot_id>.parquet`"
)]
pub struct KeyError(pub String);

impl SnapshotKey {
    /// The key, from the store's root.
    pub fn path(&self) -> String {
        let Self { uploaded, workload, window_end_ms, id } = self;
        format!(
            "{SNAPSHOTS}/{}/{workload}-{window_end_ms}-{id}.parquet",
            uploaded.format("date=%Y-%m-%d/hour=%H")
        )
    }

    /// Reads a key, from the store's root.
    pub fn parse(path: &str) -> Result<Self, KeyError> {
        Self::try_parse(path).ok_or_else(|| KeyError(path.to_owned()))
    }

    fn try_parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let (snapshots, date, hour, file) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if snapshots != SNAPSHOTS || parts.next().is_some() {
            return None;
        }
        let (date, hour) = (date.strip_prefix("date=")?, hour.strip_prefix("hour=")?);
        let uploaded =
            DateTime::parse_from_rfc3339(&format!("{date}T{hour}:00:00Z")).ok()?.with_timezone(&Utc);
        let mut fields = file.strip_suffix(".parquet")?.splitn(3, '-');
        let key = Self {
            uploaded,
            workload: WorkloadKey::parse(fields.next()?)?,
            window_end_ms: fields.next()?.parse().ok()?,
            id: SnapshotId::parse(fields.next()?)?,
        };
        (key.path() == path).then_some(key)
    }
}

/// The smallest key that a snapshot of that hour can have: keys sort as their hours do.
pub fn snapshots_from(hour: DateTime<Utc>) -> String {
    format!("{SNAPSHOTS}/{}/", hour.format("date=%Y-%m-%d/hour=%H"))
}

/// What a folder of snapshots is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotFolder {
    /// The hours of a day.
    Day(NaiveDate),
    /// The files of an hour.
    Hour(DateTime<Utc>),
}

impl SnapshotFolder {
    /// Reads the key of a folder, from the store's root; none where it is not one of ours.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let (snapshots, date, hour) = (parts.next()?, parts.next()?, parts.next());
        if snapshots != SNAPSHOTS || parts.next().is_some() {
            return None;
        }
        let day = NaiveDate::parse_from_str(date.strip_prefix("date=")?, "%Y-%m-%d").ok()?;
        let folder = match hour {
            None => Self::Day(day),
            Some(hour) => {
                let hour = day.and_hms_opt(hour.strip_prefix("hour=")?.parse().ok()?, 0, 0)?;
                Self::Hour(hour.and_utc())
            }
        };
        (folder.path() == path).then_some(folder)
    }

    /// Its key, from the store's root.
    pub fn path(&self) -> String {
        match self {
            Self::Day(day) => format!("{SNAPSHOTS}/{}", day.format("date=%Y-%m-%d")),
            Self::Hour(hour) => format!("{SNAPSHOTS}/{}", hour.format("date=%Y-%m-%d/hour=%H")),
        }
    }
}

/// Where an unreadable object is kept, beside [`quarantine_reason`]: its own key below `quarantine/`.
pub fn quarantined(path: &str) -> String {
    format!("{QUARANTINE}/{path}")
}

/// Where the reason of a quarantined object stands, as text.
pub fn quarantine_reason(path: &str) -> String {
    format!("{QUARANTINE}/{path}.reason.txt")
}

/// Folder of one run of trials, from the store's root.
pub fn trials(run: Uuid) -> String {
    format!("{TRIALS}/{}", run.hyphenated())
}

/// One trial object of a run.
pub fn trial(run: Uuid, name: &str) -> String {
    format!("{}/{name}", trials(run))
}

/// Folder of one Delta table, from the store's root.
pub fn table(name: &str) -> String {
    format!("{TABLES}/{name}")
}

/// Folder of the log of a Delta table, from the table's folder.
pub const TABLE_LOG: &str = "_delta_log";

/// A time as keys, logs and terminals show it: RFC 3339, UTC, seconds.
pub fn show_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "snapshots/date=2026-11-24/hour=03/0123456789abcdef-1795489200123-0198b5a2-7c1e-7d55-9a3c-6f2e5d4c3b2a.parquet";

    #[test]
    fn keys_round_trip() {
        let key = SnapshotKey::parse(PATH).unwrap();
        assert_eq!(key.path(), PATH);
        assert_eq!(key.workload.to_string(), "0123456789abcdef");
        assert_eq!(key.window_end_ms, 1_795_489_200_123);
        assert_eq!(show_time(key.uploaded), "2026-11-24T03:00:00Z");
    }

    #[test]
    fn folders_round_trip() {
        for path in ["snapshots/date=2026-11-24", "snapshots/date=2026-11-24/hour=03"] {
            assert_eq!(SnapshotFolder::parse(path).unwrap().path(), path);
        }
        for path in [
            "snapshots",
            "snapshots/date=2026-11-4",
            "snapshots/date=2026-11-24/hour=3",
            "snapshots/date=2026-11-24/hour=24",
            "snapshots/date=2026-11-24/hour=03/x",
            "tables/date=2026-11-24",
        ] {
            assert_eq!(SnapshotFolder::parse(path), None, "{path}");
        }
    }

    #[test]
    fn other_keys_are_refused() {
        for path in [
            "snapshots/x.parquet",
            &PATH.replace("hour=03", "hour=3"),
            &PATH.replace("hour=03", "hour=24"),
            &PATH.replace("0123456789abcdef", "0123456789ABCDEF"),
            &PATH.replace(".parquet", ".parquet.tmp"),
            &PATH.replace("-1795489200123", "-+1795489200123"),
            &PATH.replace("6f2e5d4c3b2a", "6F2E5D4C3B2A"),
            &format!("x/{PATH}"),
        ] {
            assert_eq!(SnapshotKey::parse(path), Err(KeyError(path.to_owned())));
        }
    }
}
