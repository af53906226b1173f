//! What suppressions match, of the signals that stand. Nothing is changed.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::reference;
use wsp_schemas::store::Store;
use wsp_schemas::tables::SIGNALS;

use super::active::{columns, holds};
use super::{Scope, SuppressError, Suppression};
use crate::predicate::Predicate;
use crate::rows::Reader;
use crate::tables::{OpenTable, Selection};

/// Signals that a suppression matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matches {
    /// Open ones: it would hide them.
    pub open: usize,
    /// Those that it hides.
    pub hidden: usize,
}

/// What a suppression would hide, of the signals that stand: how many open ones, by image.
pub async fn preview(
    store: &Store,
    context: &SessionContext,
    rule: &str,
    scope: &Scope,
    predicate: &str,
) -> Result<BTreeMap<String, usize>, SuppressError> {
    let predicate = Predicate::parse(context, &columns(), predicate)?;
    let mut hidden = BTreeMap::new();
    each_batch(store, |batch| {
        let read = Reader::new(batch);
        let open = open_by_rule(&read, batch);
        for row in matching(&read, batch, open.get(rule), scope, &predicate)? {
            let image = match (read.text("image_name", row), read.text("image_tag", row)) {
                (Some(name), Some(tag)) => reference(name, tag),
                _ => "no image".to_owned(),
            };
            *hidden.entry(image).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    Ok(hidden)
}

/// What each of some suppressions matches. One whose predicate this version cannot read matches nothing.
pub async fn matches(
    store: &Store,
    context: &SessionContext,
    suppressions: &[Suppression],
) -> Result<Vec<Matches>, SuppressError> {
    let columns = columns();
    let predicates: Vec<Option<Predicate>> =
        suppressions.iter().map(|one| Predicate::parse(context, &columns, &one.predicate).ok()).collect();
    let mut found = vec![Matches::default(); suppressions.len()];
    each_batch(store, |batch| {
        let read = Reader::new(batch);
        let mut hidden: BTreeMap<&str, usize> = BTreeMap::new();
        for id in (0..batch.num_rows()).filter_map(|row| read.text("suppressed_by", row)) {
            *hidden.entry(id).or_default() += 1;
        }
        let open = open_by_rule(&read, batch);
        for ((one, predicate), found) in suppressions.iter().zip(&predicates).zip(&mut found) {
            found.hidden += hidden.get(one.id.as_str()).copied().unwrap_or_default();
            if let Some(predicate) = predicate {
                found.open +=
                    matching(&read, batch, open.get(one.rule.as_str()), &one.scope, predicate)?.len();
            }
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Looks at all signals.
async fn each_batch(
    store: &Store,
    mut look: impl FnMut(&RecordBatch) -> Result<(), SuppressError>,
) -> Result<(), SuppressError> {
    let Some(signals) = OpenTable::open(store, &SIGNALS, None).await? else { return Ok(()) };
    for file in signals.files()? {
        for batch in signals.read(&file, Selection::default()).await? {
            look(&batch)?;
        }
    }
    Ok(())
}

/// Rows of open signals, by the rule that raised them.
fn open_by_rule<'a>(read: &Reader<'a>, batch: &RecordBatch) -> HashMap<&'a str, Vec<usize>> {
    let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
    for row in (0..batch.num_rows()).filter(|row| read.text("suppressed_by", *row).is_none()) {
        open.entry(read.text("rule", row).unwrap_or_default()).or_default().push(row);
    }
    open
}

/// Those of some rows that are in a scope, and for which a predicate holds.
fn matching(
    read: &Reader<'_>,
    batch: &RecordBatch,
    rows: Option<&Vec<usize>>,
    scope: &Scope,
    predicate: &Predicate,
) -> Result<Vec<usize>, SuppressError> {
    let is_in = |row: &usize| scope.has(read.text("image_name", *row), read.text("image_tag", *row));
    let rows: Vec<usize> = rows.into_iter().flatten().copied().filter(is_in).collect();
    let found = holds(predicate, batch, &rows)?;
    Ok(rows
        .into_iter()
        .zip(found.iter())
        .filter(|(_, found)| *found == Some(true))
        .map(|(row, _)| row)
        .collect())
}
