//! What a live page asks for, and is told.

use serde::{Deserialize, Serialize};

/// A decision: the body of `POST api/suppressions/<id>`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// What becomes of it.
    pub decision: DecisionKind,
    /// Number of the change that was shown: what was changed meanwhile is refused.
    pub change: i64,
    /// The predicate as it was shown.
    pub predicate: String,
    /// Who decides.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// RFC 3339: signals that are raised from then on are not hidden.
    pub expires_at: Option<String>,
}

/// What becomes of a suggestion or suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum DecisionKind {
    /// Its signals are hidden.
    Accept,
    /// It is not proposed again.
    Reject,
    /// Its signals are open again.
    Remove,
}

/// What came of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DecisionAnswer {
    /// Signals that are hidden now and were not.
    pub hidden: u32,
    /// Signals that are open again.
    pub shown: u32,
}

/// The answer to a request that is refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Refusal {
    /// What was refused, and why.
    pub error: String,
    /// What to do.
    pub hint: Option<String>,
}
