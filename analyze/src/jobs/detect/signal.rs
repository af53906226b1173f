//! One signal, as the table has it.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use arrow::array::{BinaryArray, RecordBatch};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::image::Workload;
use wsp_schemas::tables::SIGNALS;

use super::novelty::Novelty;
use super::profile::How;
use crate::rows::Builder;
use crate::rules::Severity;

/// What a profile says of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProfileContext {
    /// The stable profile does not have it.
    Unseen,
    /// The profile still learns.
    Learning,
    /// There is no profile.
    NoProfile,
    /// The stable profile has it.
    Known,
}

impl ProfileContext {
    /// Its word in the column `profile_context`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Learning => "learning",
            Self::NoProfile => "no_profile",
            Self::Known => "known",
        }
    }
}

/// Signals that are put into rows at once: their texts together stay far below 2 GiB.
pub(crate) const ROWS_AT_ONCE: usize = 16_384;

/// Bytes of a text that comes from a container: above what paths and names have.
const TEXT_BYTES: usize = 8192;

/// A text, cut where it is longer than that.
pub(crate) fn bounded(text: &str, bytes: usize) -> Cow<'_, str> {
    let end = text.floor_char_boundary(bytes);
    if end < text.len() { format!("{}…", &text[..end]).into() } else { text.into() }
}

/// A row of `signals`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Signal {
    pub(crate) bucket: i32,
    pub(crate) workload_key: Option<String>,
    pub(crate) workload: Option<Workload>,
    pub(crate) id: String,
    pub(crate) rule: String,
    pub(crate) severity: Severity,
    pub(crate) source: Cow<'static, str>,
    pub(crate) time: DateTime<Utc>,
    pub(crate) last_seen: Option<DateTime<Utc>>,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) window: Option<(DateTime<Utc>, DateTime<Utc>)>,
    pub(crate) container_id: Option<String>,
    pub(crate) container_name: Option<String>,
    pub(crate) image_digest: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) kind: Option<Kind>,
    pub(crate) exe: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) node_id: Option<NodeId>,
    pub(crate) process_id: Option<NodeId>,
    pub(crate) lineage: Vec<String>,
    pub(crate) summary: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) context: ProfileContext,
    pub(crate) revision: Option<i32>,
    pub(crate) profile_node: Option<Context>,
    pub(crate) profile_process: Option<Context>,
    pub(crate) novelty: Option<Novelty>,
    pub(crate) nodes: i32,
    /// Of a novelty: what it tells for the first time, each in 16 hex digits.
    pub(crate) told: Vec<String>,
    pub(crate) events: i64,
    pub(crate) suppressed_by: Option<String>,
    pub(crate) detected_at: DateTime<Utc>,
    pub(crate) batch: Option<i64>,
}

/// The profile's row for a node.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Context {
    pub(crate) id: NodeId,
    #[serde(with = "exact")]
    pub(crate) commonality: Option<f64>,
    pub(crate) how: How,
}

/// A number as its bits: what is read from decimal digits may differ in the last one.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        number.map(f64::to_bits).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(f64::from_bits))
    }
}

/// An id that follows from what the signal is about.
pub(crate) fn id(rule: &str, about: &[&[u8]]) -> String {
    let mut hash = blake3::Hasher::new();
    for field in [b"wsp signal 1".as_slice(), rule.as_bytes()].iter().chain(about) {
        hash.update(&(field.len() as u64).to_le_bytes()).update(field);
    }
    let mut bytes = [0; 16];
    hash.finalize_xof().fill(&mut bytes);
    NodeId::from_bytes(bytes).to_string()
}

/// Rows of the table.
pub(crate) fn to_batch<S: Borrow<Signal>>(signals: &[S]) -> Result<RecordBatch, ArrowError> {
    let mut rows = Builder::new(signals.len());
    let all = || signals.iter().map(Borrow::borrow);
    let text = |get: fn(&Signal) -> Option<&str>| all().map(get);
    let ids = |get: fn(&Signal) -> Option<NodeId>| -> std::sync::Arc<BinaryArray> {
        let ids = all().map(|signal| get(signal).map(|id| id.as_bytes().to_vec()));
        std::sync::Arc::new(ids.collect::<BinaryArray>())
    };
    rows.int32("bucket", all().map(|signal| Some(signal.bucket)));
    rows.text("workload_key", text(|signal| signal.workload_key.as_deref()));
    rows.text("image_name", text(|signal| signal.workload.as_ref().map(|image| image.name())));
    rows.text("image_tag", text(|signal| signal.workload.as_ref().map(|image| image.tag())));
    rows.text("signal_id", text(|signal| Some(&signal.id)));
    rows.text("rule", text(|signal| Some(&signal.rule)));
    rows.text("severity", text(|signal| Some(signal.severity.as_str())));
    rows.text("source", text(|signal| Some(&signal.source)));
    rows.time("time", all().map(|signal| Some(signal.time)));
    rows.text("snapshot_id", text(|signal| signal.snapshot_id.as_deref()));
    rows.text("container_id", text(|signal| signal.container_id.as_deref()));
    rows.text("host", text(|signal| signal.host.as_deref()));
    rows.array("node_id", ids(|signal| signal.node_id));
    fn cut(text: &str) -> Cow<'_, str> {
        bounded(text, TEXT_BYTES)
    }
    rows.text_list("lineage", all().map(|signal| signal.lineage.iter().map(|exe| cut(exe))));
    rows.text_list("told", all().map(|signal| &signal.told));
    rows.text("summary", all().map(|signal| Some(cut(&signal.summary))));
    rows.text_map("attributes", all().map(|signal| Some(&signal.attributes)))?;
    rows.text("profile_context", text(|signal| Some(signal.context.as_str())));
    rows.int32("revision", all().map(|signal| signal.revision));
    rows.float("commonality", all().map(|signal| signal.profile_node.and_then(|node| node.commonality)));
    rows.text("suppressed_by", text(|signal| signal.suppressed_by.as_deref()));
    rows.int64("events", all().map(|signal| Some(signal.events)));
    rows.text("kind", text(|signal| signal.kind.map(Kind::as_str)));
    rows.text("exe", all().map(|signal| signal.exe.as_deref().map(cut)));
    rows.text("target", all().map(|signal| signal.target.as_deref().map(cut)));
    rows.array("process_id", ids(|signal| signal.process_id));
    rows.array("profile_node_id", ids(|signal| signal.profile_node.map(|node| node.id)));
    rows.array("profile_process_id", ids(|signal| signal.profile_process.map(|node| node.id)));
    rows.float(
        "process_commonality",
        all().map(|signal| signal.profile_process.and_then(|node| node.commonality)),
    );
    rows.text("match", text(|signal| signal.profile_node.map(|node| node.how.as_str())));
    rows.text("novelty", text(|signal| signal.novelty.map(Novelty::as_str)));
    rows.int32("nodes", all().map(|signal| Some(signal.nodes)));
    rows.time("last_seen", all().map(|signal| signal.last_seen));
    rows.time("window_start", all().map(|signal| signal.window.map(|window| window.0)));
    rows.time("window_end", all().map(|signal| signal.window.map(|window| window.1)));
    rows.text("container_name", text(|signal| signal.container_name.as_deref()));
    rows.text("image_digest", text(|signal| signal.image_digest.as_deref()));
    rows.text_map("labels", all().map(|signal| Some(&signal.labels)))?;
    rows.time("detected_at", all().map(|signal| Some(signal.detected_at)));
    rows.int64("batch", all().map(|signal| signal.batch));
    rows.finish(&SIGNALS)
}
