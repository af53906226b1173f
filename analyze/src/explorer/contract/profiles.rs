//! The list of profiles.

use serde::Serialize;

/// All profiles.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProfilesPage {
    /// By image name, tag and revision.
    pub profiles: Vec<Profile>,
}

/// A revision of an image's profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Profile {
    /// 16 hex digits: of name and tag.
    pub key: String,
    /// Revision, from 1.
    pub revision: i32,
    /// No later revision of this image is there.
    pub is_newest: bool,
    /// Name and tag together.
    pub image: String,
    /// Normalised name.
    pub image_name: String,
    /// Tag, or `@` and a digest.
    pub image_tag: String,
    /// `learning` or `stable`.
    #[cfg_attr(test, ts(type = "\"learning\" | \"stable\""))]
    pub status: String,
    /// Why it is stable: `snapshots` or `age`.
    pub stable_reason: Option<String>,
    /// Since when it is stable.
    pub stable_at: Option<String>,
    /// Snapshots that it learned from.
    pub snapshots: i32,
    /// Their containers.
    pub containers: i32,
    /// Their hosts.
    pub hosts: i32,
    /// Its nodes; a pattern is one.
    pub nodes: i64,
    /// By kind, those that have nodes or a sensor.
    pub kinds: Vec<KindSummary>,
    /// Similarity of its containers, 0 to 1; null for fewer than two.
    pub commonality: Option<f64>,
    /// Share of a next container's nodes that is known; null below three containers.
    pub coverage: Option<f64>,
    /// Nodes of a next container that are not known.
    pub expected_novel_nodes: Option<f64>,
    /// Sightings of siblings beyond what a profile keeps.
    pub overflow: i64,
    /// Image digests that were seen.
    pub digests: Vec<String>,
    /// More than one image was seen under the tag.
    pub tag_reused: bool,
    /// Start of the first window.
    pub first_window_start: Option<String>,
    /// End of the last window.
    pub last_window_end: Option<String>,
    /// When a merge last changed it.
    pub updated_at: Option<String>,
    /// Snapshots after which a profile is stable, unless merges say otherwise.
    pub stable_snapshots: u32,
    /// Hours after which it is, unless merges say otherwise.
    pub stable_hours: u32,
    /// Signals of the image.
    pub signals: SignalCounts,
    /// Its page, from the folder of `index.html`; null where there is none.
    pub href: Option<String>,
}

/// Nodes of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct KindSummary {
    /// The kind.
    #[cfg_attr(test, ts(type = "Kind"))]
    pub kind: String,
    /// How many.
    pub nodes: i64,
    /// Similarity of the containers in this kind.
    pub commonality: Option<f64>,
    /// Share of the containers with a lossless snapshot of the kind; null where no sensor was live.
    pub completeness: Option<f64>,
}

/// Open signals by severity, and those that suppressions hide.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SignalCounts {
    /// Open and critical.
    pub critical: i64,
    /// Open and high.
    pub high: i64,
    /// Open and medium.
    pub medium: i64,
    /// Open and low.
    pub low: i64,
    /// Hidden.
    pub suppressed: i64,
}
