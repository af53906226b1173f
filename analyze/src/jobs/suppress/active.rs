//! Which suppression hides a signal.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use wsp_schemas::tables::SIGNALS;

use super::{Scope, State, Suppression};
use crate::predicate::{Predicate, PredicateError};
use crate::rows::Reader;

/// The columns that predicates of suppressions are over: those of the table `signals`.
pub fn columns() -> SchemaRef {
    Arc::new(SIGNALS.arrow_schema())
}

/// The accepted suppressions, ready to be asked.
#[derive(Debug, Default)]
pub struct Active {
    /// By rule, in the order of their acceptance.
    by_rule: HashMap<String, Vec<One>>,
    /// Suppressions whose predicate this version cannot read: they hide nothing.
    pub broken: Vec<(String, PredicateError)>,
}

#[derive(Debug)]
struct One {
    id: String,
    scope: Scope,
    predicate: Predicate,
    expires_at: Option<DateTime<Utc>>,
}

impl Active {
    /// Of all suppressions, those that are accepted.
    pub fn new(context: &SessionContext, suppressions: &[Suppression]) -> Self {
        let mut active = Self::default();
        let columns = columns();
        // What a rule that is never suppressed raises is left alone where suppressions are accepted, not here.
        for one in suppressions.iter().filter(|one| one.state == State::Accepted) {
            match Predicate::parse(context, &columns, &one.predicate) {
                Ok(predicate) => active.by_rule.entry(one.rule.clone()).or_default().push(One {
                    id: one.id.clone(),
                    scope: one.scope.clone(),
                    predicate,
                    expires_at: one.expires_at,
                }),
                Err(error) => active.broken.push((one.id.clone(), error)),
            }
        }
        active
    }

    /// None hides anything.
    pub fn is_empty(&self) -> bool {
        self.by_rule.is_empty()
    }

    /// Of each row of `signals`, the suppression that hides it: of several, the first that was accepted.
    ///
    /// A suppression looks at signals of its rule and scope only, whatever its predicate says.
    pub fn hiding(&self, signals: &RecordBatch) -> Result<Vec<Option<String>>, DataFusionError> {
        let mut hiding = vec![None; signals.num_rows()];
        let read = Reader::new(signals);
        let mut rows: HashMap<&str, Vec<usize>> = HashMap::new();
        for row in 0..signals.num_rows() {
            if let Some(rule) = read.text("rule", row).filter(|rule| self.by_rule.contains_key(*rule)) {
                rows.entry(rule).or_default().push(row);
            }
        }
        for (rule, rows) in rows {
            for one in self.by_rule.get(rule).into_iter().flatten() {
                let is_in = |row: &usize| {
                    let raised = read.time("detected_at", *row);
                    hiding[*row].is_none()
                        && one.scope.has(read.text("image_name", *row), read.text("image_tag", *row))
                        && one.expires_at.is_none_or(|end| raised.is_some_and(|raised| raised < end))
                };
                let rows: Vec<usize> = rows.iter().copied().filter(is_in).collect();
                let found = holds(&one.predicate, signals, &rows)?;
                for (row, _) in rows.iter().zip(found.iter()).filter(|(_, found)| *found == Some(true)) {
                    hiding[*row] = Some(one.id.clone());
                }
            }
        }
        Ok(hiding)
    }
}

/// For which of some rows a predicate holds.
pub(super) fn holds(
    predicate: &Predicate,
    signals: &RecordBatch,
    rows: &[usize],
) -> Result<BooleanArray, DataFusionError> {
    if rows.is_empty() {
        return Ok(BooleanArray::from(Vec::<bool>::new()));
    }
    let at: UInt32Array = rows.iter().map(|row| u32::try_from(*row).ok()).collect();
    // A signal that it cannot be asked about, it does not hide.
    Ok(predicate.holds_where_it_can(&take_record_batch(signals, &at)?).0)
}
