//! Signals, and what hides them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Attribute, NodeSummary};
use crate::jobs::suppress::Evidence;

/// All signals and suppressions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SignalsPage {
    /// Signals, the newest first.
    pub signals: Vec<Signal>,
    /// Signals beyond the bound of a page.
    pub signals_left_out: usize,
    /// By `<key>-<revision>`: what the profile has around the signals' nodes: processes up to the root, and siblings.
    pub around: BTreeMap<String, Vec<NodeSummary>>,
    /// Suggestions and suppressions, the newest first.
    pub suppressions: Vec<Suppression>,
    /// Rules.
    pub rules: Vec<Rule>,
}

/// A detection rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// `low`, `medium`, `high` or `critical`.
    #[cfg_attr(test, ts(type = "Severity"))]
    pub severity: String,
    /// MITRE ATT&CK techniques.
    pub techniques: Vec<String>,
    /// What it means.
    pub description: String,
    /// A suppression may hide its signals.
    pub suppressible: bool,
}

/// A signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Signal {
    /// Its id.
    pub id: String,
    /// When it happened first.
    pub time: String,
    /// When it happened last.
    pub last_seen: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    #[cfg_attr(test, ts(type = "Severity"))]
    pub severity: String,
    /// Id of the rule.
    pub rule: String,
    /// One line for people.
    pub summary: String,
    /// `known`, `unseen`, `learning` or `no_profile`.
    pub context: String,
    /// What is new, for signals of novelty.
    pub novelty: Option<String>,
    /// The suppression that hides it.
    pub suppressed_by: Option<String>,
    /// Name and tag of the image.
    pub image: Option<String>,
    /// `<key>-<revision>` of the profile that judged it.
    pub profile: Option<String>,
    /// Its page, from the folder of `index.html`; null where there is none.
    pub profile_href: Option<String>,
    /// Kind of the node.
    #[cfg_attr(test, ts(type = "Kind | null"))]
    pub kind: Option<String>,
    /// Executable of the process.
    pub exe: Option<String>,
    /// What was done, in one text.
    pub target: Option<String>,
    /// Executables from the root to the process.
    pub lineage: Vec<String>,
    /// Of the node, in the profile.
    pub commonality: Option<f64>,
    /// Of its process, in the profile.
    pub process_commonality: Option<f64>,
    /// How the node was found in the profile; `target`: by executable and target only.
    #[serde(rename = "match")]
    pub match_: Option<String>,
    /// Id of the node in the profile.
    pub node: Option<String>,
    /// Id of the process in the profile.
    pub process: Option<String>,
    /// How often.
    pub events: i64,
    /// Name of the container.
    pub container_name: Option<String>,
    /// Its id.
    pub container_id: Option<String>,
    /// Its host.
    pub host: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What else is known.
    pub attributes: Vec<Attribute>,
    /// Who raised it.
    pub source: String,
    /// The snapshot that it is of.
    pub snapshot: Option<String>,
}

/// A suggestion or suppression, as its last change left it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Suppression {
    /// Its id.
    pub id: String,
    /// Number of its last change.
    pub change: i64,
    /// `suggested`, `accepted`, `rejected` or `removed`.
    #[cfg_attr(test, ts(type = "\"suggested\" | \"accepted\" | \"rejected\" | \"removed\""))]
    pub state: String,
    /// The rule whose signals it hides.
    pub rule: String,
    /// `workload`, `image` or `all`.
    #[cfg_attr(test, ts(type = "\"workload\" | \"image\" | \"all\""))]
    pub scope: String,
    /// The image; null for all.
    pub image: Option<String>,
    /// Which signals: SQL over the columns of one.
    pub predicate: String,
    /// Who decided.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When it was changed.
    pub changed_at: String,
    /// Signals that are raised from then on are not hidden.
    pub expires_at: Option<String>,
    /// How it is known; null for those that were written by hand.
    pub evidence: Option<Evidence>,
    /// Signals of the page that it hides.
    pub hides: usize,
    /// Open signals of the page that it would hide.
    pub would_hide: usize,
    /// The explorer may decide: it is accepted and can be taken back, or it is for one workload and its rule allows suppression.
    pub is_decidable: bool,
    /// Commands that decide on it.
    pub commands: Commands,
}

/// Shell commands; null where the state does not allow it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Commands {
    /// Accepts it.
    pub accept: Option<String>,
    /// Rejects it.
    pub reject: Option<String>,
    /// Takes it back.
    pub remove: Option<String>,
}
