//! Suppressions: filters on one rule, proposed with evidence from a profile, accepted by people.
//!
//! A suppression hides nothing by itself: signals stay in their table, marked by the suppression that hides them. Which one
//! that is follows from the signal and the suppressions alone ([`Active`]), so that marks can always be made anew.

mod active;
mod change;
mod export;
mod preview;
mod suggest;

use chrono::{DateTime, Utc};
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;
use wsp_schemas::tables::SUPPRESSIONS;

use crate::predicate::PredicateError;
use crate::rows::Reader;
use crate::rules::Rules;
use crate::tables::{OpenTable, Selection, TableError};

pub use active::{Active, columns};
pub use change::{Changed, Current, Decision, decide, open_signals, refresh};
pub use export::{Export, Exported, export};
pub use preview::{Matches, matches, preview};
pub use suggest::{Common, Evidence, Options, Refusal, Suggested, Suggestion, suggest};

/// What has become of a suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Proposed; it hides nothing.
    Suggested,
    /// It hides what it matches.
    Accepted,
    /// Somebody said no: it is not proposed again.
    Rejected,
    /// It was accepted, and hides nothing any more.
    Removed,
}

impl State {
    const ALL: [Self; 4] = [Self::Suggested, Self::Accepted, Self::Rejected, Self::Removed];

    /// Its word in the column `state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suggested => "suggested",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Removed => "removed",
        }
    }
}

impl State {
    /// Whether a suppression may become this from a state; from none where it is not there.
    fn may_follow(self, from: Option<Self>) -> bool {
        match self {
            Self::Suggested => from.is_none_or(|from| from == Self::Removed),
            Self::Accepted => true,
            Self::Rejected => from == Some(Self::Suggested),
            Self::Removed => from == Some(Self::Accepted),
        }
    }
}

/// Whose signals a suppression may hide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those of one image and tag.
    Workload(Workload),
    /// Those of all tags of an image: its name.
    Image(String),
    /// Those of all images.
    All,
}

impl Scope {
    /// Its word in the column `scope`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Workload(_) => "workload",
            Self::Image(_) => "image",
            Self::All => "all",
        }
    }

    fn image_name(&self) -> Option<&str> {
        match self {
            Self::Workload(workload) => Some(workload.name()),
            Self::Image(name) => Some(name),
            Self::All => None,
        }
    }

    fn image_tag(&self) -> Option<&str> {
        match self {
            Self::Workload(workload) => Some(workload.tag()),
            Self::Image(_) | Self::All => None,
        }
    }

    /// Whether a signal of an image is in it.
    pub fn has(&self, name: Option<&str>, tag: Option<&str>) -> bool {
        match self {
            Self::Workload(workload) => Some(workload.name()) == name && Some(workload.tag()) == tag,
            Self::Image(image) => Some(image.as_str()) == name,
            Self::All => true,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Workload(workload) => workload.fmt(f),
            Self::Image(name) => write!(f, "{name}, all tags"),
            Self::All => f.write_str("all images"),
        }
    }
}

/// A suppression, as its last change left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Follows from rule, scope and predicate.
    pub id: String,
    /// What became of it.
    pub state: State,
    /// The one rule that it narrows.
    pub rule: String,
    /// Whose signals it may hide.
    pub scope: Scope,
    /// Which of them, in SQL over a row of `signals`.
    pub predicate: String,
    /// JSON.
    pub evidence: String,
    /// Who changed it last.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When it was changed last.
    pub changed_at: DateTime<Utc>,
    /// Signals that are raised from then on are not hidden.
    pub expires_at: Option<DateTime<Utc>>,
    /// Number of that change.
    pub change: i64,
}

/// Something that cannot be done with suppressions.
#[derive(Debug, thiserror::Error)]
pub enum SuppressError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The predicate.
    #[error(transparent)]
    Predicate(#[from] PredicateError),
    /// There is none of that id.
    #[error("there is no suppression `{id}`")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// Several begin so.
    #[error("`{id}` is the beginning of {count} suppressions")]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// How many.
        count: usize,
    },
    /// It is in another state.
    #[error("the suppression `{id}` is {state}: it cannot be {to}")]
    State {
        /// Which one.
        id: String,
        /// Its state.
        state: &'static str,
        /// What was asked for.
        to: &'static str,
    },
    /// The rule does not let anything be hidden.
    #[error("signals of the rule `{rule}` are never suppressed")]
    NotSuppressible {
        /// The rule.
        rule: String,
    },
    /// There is no such rule.
    #[error("there is no rule `{rule}`")]
    UnknownRule {
        /// The rule.
        rule: String,
    },
    /// Evaluation failed.
    #[error("a predicate cannot be evaluated")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// Rows could not be put together.
    #[error("rows of the tables cannot be built")]
    Rows(#[from] arrow::error::ArrowError),
}

impl SuppressError {
    fn table(&self) -> Option<&TableError> {
        match self {
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}

/// Refuses rules whose signals are never hidden, and those that are not there. Rules of other tools are theirs.
pub fn may_hide(rules: &Rules, rule: &str) -> Result<(), SuppressError> {
    match rules.get(rule) {
        Some(found) if !found.suppressible => Err(SuppressError::NotSuppressible { rule: rule.to_owned() }),
        None if !rule.contains(':') => Err(SuppressError::UnknownRule { rule: rule.to_owned() }),
        _ => Ok(()),
    }
}

/// The id that follows from what a suppression is.
pub fn id(rule: &str, scope: &Scope, predicate: &str) -> String {
    let mut hash = blake3::Hasher::new();
    let fields =
        [rule, scope.as_str(), scope.image_name().unwrap_or(""), scope.image_tag().unwrap_or(""), predicate];
    for field in ["wsp suppression 1"].iter().chain(&fields) {
        hash.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
    }
    let mut bytes = [0; 8];
    hash.finalize_xof().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All suppressions of a store, as their last changes left them; the number of the last change.
pub async fn load(store: &Store) -> Result<Vec<Suppression>, TableError> {
    match OpenTable::open(store, &SUPPRESSIONS, None).await? {
        Some(table) => read(&table).await,
        None => Ok(Vec::new()),
    }
}

async fn read(table: &OpenTable) -> Result<Vec<Suppression>, TableError> {
    let mut newest: std::collections::BTreeMap<String, Suppression> = std::collections::BTreeMap::new();
    for file in table.files()? {
        for batch in table.read(&file, Selection::default()).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let found = of_row(&read, row)?;
                if newest.get(&found.id).is_none_or(|known| known.change < found.change) {
                    newest.insert(found.id.clone(), found);
                }
            }
        }
    }
    let mut all: Vec<_> = newest.into_values().collect();
    all.sort_by_key(|suppression| suppression.change);
    Ok(all)
}

fn of_row(read: &Reader<'_>, row: usize) -> Result<Suppression, TableError> {
    let text = |name: &str| read.text(name, row).unwrap_or_default();
    let owned = |name: &str| read.text(name, row).map(str::to_owned);
    let state = State::ALL.into_iter().find(|state| state.as_str() == text("state"));
    let (name, tag) = (read.text("image_name", row), read.text("image_tag", row));
    let scope = match (text("scope"), name, tag) {
        ("workload", Some(name), Some(tag)) => Workload::from_columns(name, tag).ok().map(Scope::Workload),
        ("image", Some(name), _) => Some(Scope::Image(name.to_owned())),
        ("all", ..) => Some(Scope::All),
        _ => None,
    };
    Ok(Suppression {
        id: text("suppression_id").to_owned(),
        state: state.ok_or_else(|| read.unknown(SUPPRESSIONS.name, "state", text("state")))?,
        rule: text("rule").to_owned(),
        scope: scope.ok_or_else(|| read.unknown(SUPPRESSIONS.name, "scope", text("scope")))?,
        predicate: text("predicate").to_owned(),
        evidence: text("evidence").to_owned(),
        author: owned("author"),
        reason: owned("reason"),
        changed_at: read.time("changed_at", row).unwrap_or_default(),
        expires_at: read.time("expires_at", row),
        change: read.int64("change", row).unwrap_or_default(),
    })
}

/// The suppression whose id begins so.
pub fn find(all: &[Suppression], id: &str) -> Result<Suppression, SuppressError> {
    let found: Vec<_> = all.iter().filter(|one| !id.is_empty() && one.id.starts_with(id)).collect();
    match found[..] {
        [one] => Ok(one.clone()),
        [] => Err(SuppressError::Unknown { id: id.to_owned() }),
        _ => Err(SuppressError::Ambiguous { id: id.to_owned(), count: found.len() }),
    }
}

#[cfg(test)]
mod tests;
