//! What a scan reads, as messages: it can run where the data are.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::snapshot::Limits;

use crate::jobs::merge::admit::{Rules, Standing};
use crate::jobs::merge::ledger::Seen;

/// How snapshots are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScanSpec {
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
    /// Files that are fetched at the same time, by each partition.
    pub(crate) concurrency: usize,
}

/// One workload's part. It is never split: admission goes in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Number of the workload in the scan.
    pub(crate) number: u32,
    /// Its key; none for snapshots of no known workload.
    pub(crate) workload: Option<String>,
    /// Where its revision stands.
    pub(crate) standing: Standing,
    /// New objects, in order of (window end, id, key).
    pub(crate) candidates: Vec<Candidate>,
    /// Files with its present node rows.
    pub(crate) learned: Vec<LearnedFile>,
}

impl Unit {
    /// The message as bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads the message.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What it costs to read, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        1 + self.candidates.iter().map(|candidate| candidate.size).sum::<u64>()
    }
}

/// An object that may hold a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// Its key.
    pub(crate) key: String,
    pub(crate) size: u64,
    /// End of its window, as the key says.
    pub(crate) window_end: DateTime<Utc>,
    /// When the store got it, by the store's clock.
    pub(crate) stored_at: DateTime<Utc>,
    pub(crate) known: Known,
}

/// What the ledger says of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Known {
    /// Nothing.
    New,
    /// A snapshot of this id was admitted, with this content hash.
    Twin(String),
    /// An object of this key was refused with this content hash: what stands there may be it.
    Refused(Option<String>),
    /// It was admitted: read it again.
    Admitted { ordinal: u32, content_hash: String },
}

/// A file of `profile_nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LearnedFile {
    /// Its key, from the store's root.
    pub(crate) key: String,
    pub(crate) bucket: i32,
    pub(crate) revision: i32,
}

/// What a scan says of one unit, beside its node rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct UnitReport {
    /// By position in [`Unit::candidates`]; candidates that are not here were not opened: they came too late.
    pub(crate) findings: Vec<(u32, Finding)>,
    /// Why and when the revision becomes stable, if it does.
    pub(crate) freeze: Option<(String, DateTime<Utc>)>,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Finding {
    /// Admitted under an ordinal.
    Admitted { ordinal: u32, about: About },
    /// There already, with the same content.
    Duplicate(About),
    /// Another snapshot of this id was admitted.
    Conflict(About),
    /// A snapshot of no known workload.
    Unkeyed(About),
    /// Its window cannot be where it says.
    OutOfRange { reason: String, about: About },
    /// Whole, but not of this revision.
    Late,
    /// Its content cannot be used, now or later.
    Damaged { reason: String, content_hash: Option<String> },
    /// The same object as was refused before.
    RefusedBefore,
    /// The store did not give it.
    Unavailable(String),
    /// It was admitted, and cannot be read again.
    Lost(String),
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) content_hash: String,
    pub(crate) image_name: Option<String>,
    pub(crate) image_tag: Option<String>,
    pub(crate) seen: Seen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_survives_the_way() {
        let candidate = |known| Candidate {
            key: "x".to_owned(),
            size: 7,
            window_end: DateTime::from_timestamp(1_794_000_000, 0).unwrap(),
            stored_at: DateTime::from_timestamp(1_795_000_000, 123_000_000).unwrap(),
            known,
        };
        let unit = Unit {
            number: 3,
            workload: Some("0123456789abcdef".to_owned()),
            standing: Standing {
                snapshots: 9,
                first_start: DateTime::from_timestamp_micros(1_795_000_000_000_001),
                containers: ["h\0c".to_owned()].into(),
                ..Standing::default()
            },
            candidates: vec![
                candidate(Known::New),
                candidate(Known::Twin("00".to_owned())),
                candidate(Known::Refused(None)),
                candidate(Known::Admitted { ordinal: 8, content_hash: "11".to_owned() }),
            ],
            learned: vec![LearnedFile { key: "y".to_owned(), bucket: 2, revision: 1 }],
        };
        assert_eq!(Unit::decode(&unit.encode().unwrap()).unwrap(), unit);
        assert!(Unit::decode(b"{}").is_err());
    }
}
