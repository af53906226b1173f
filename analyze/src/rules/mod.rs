//! Rules: what is worth an alert, whatever a profile says.
//!
//! One file a rule, TOML with an SQL predicate over the columns of `behaviour` (`schemas/TABLES.md`). Shipped ones are in
//! `analyze/rules`; a folder or the store's `rules/` adds others, and replaces one of the same id.

pub mod example;
mod file;
mod load;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use wsp_schemas::tables::BEHAVIOUR;

use crate::predicate::Predicate;

pub use file::{RuleError, parse};
pub use load::{LoadError, files, load, shipped};

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Id: what signals and suppressions name it by.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// How bad it is where nothing excuses it.
    pub severity: Severity,
    /// MITRE ATT&CK techniques.
    pub techniques: Vec<String>,
    /// What it means, and what to look at.
    pub description: String,
    /// Whether a suppression may hide its signals.
    pub suppressible: bool,
    /// What it matches.
    pub predicate: Predicate,
    /// What it must match, and must not.
    pub examples: Vec<example::Example>,
    /// Where it is from.
    pub origin: Origin,
}

/// How bad a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// Somebody should look now.
    High,
    /// Hardly ever anything but an attack.
    Critical,
}

impl Severity {
    /// From the least to the greatest.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

/// Where a rule is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This program.
    Shipped,
    /// A file, or an object of the store.
    User(String),
}

/// Rules, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Rules(BTreeMap<String, Arc<Rule>>);

impl Rules {
    /// Puts a rule in, in place of another one of its id.
    pub fn insert(&mut self, rule: Rule) {
        self.0.insert(rule.id.clone(), Arc::new(rule));
    }

    /// The rule of an id.
    pub fn get(&self, id: &str) -> Option<&Arc<Rule>> {
        self.0.get(id)
    }

    /// Takes a rule out.
    pub fn remove(&mut self, id: &str) -> Option<Arc<Rule>> {
        self.0.remove(id)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Rule>> {
        self.0.values()
    }

    /// A hash of what they match: equal hashes, equal signals.
    pub fn hash(&self) -> blake3::Hash {
        let mut hash = blake3::Hasher::new();
        for rule in self.iter() {
            for text in [&rule.id, rule.predicate.text(), rule.severity.as_str(), &rule.title] {
                hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
        }
        hash.finalize()
    }
}

/// The columns that predicates are over.
pub fn columns() -> SchemaRef {
    Arc::new(BEHAVIOUR.arrow_schema())
}

#[cfg(test)]
mod tests;
