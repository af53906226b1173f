//! Bounds what a profile keeps: of many siblings the first ones only.
//!
//! A workload may name its files at random for as long as it learns. Siblings are kept in the order of the first snapshot
//! that showed them, then of their ids. Ordinals only grow, so that what was once kept is always kept, and what was left
//! out is always left out: merging in parts keeps the same rows as merging at once. How often the others were seen, once a
//! node and snapshot, is counted on the first of their siblings; what hangs from a process that is left out counts with it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use wsp_schemas::identity::Kind;

use super::fold::rows::{FastMap, Rows, value};
use super::nodes::with_column;

/// Rows of one revision without those beyond the bound.
pub(super) fn siblings(batch: RecordBatch, most: usize) -> Result<RecordBatch, ArrowError> {
    let most = most.max(1);
    if batch.num_rows() <= most {
        return Ok(batch);
    }
    let rows = Rows::new(&batch)?;
    // Of a row that is left out: the row on which it is counted.
    let mut left_out: Vec<Option<usize>> = vec![None; batch.num_rows()];
    for level in rows.levels() {
        bound(&rows, &level, most, &mut left_out);
    }
    let facts: Vec<usize> = (0..batch.num_rows()).filter(|row| rows.kinds[*row] != Kind::Process).collect();
    bound(&rows, &facts, most, &mut left_out);
    if left_out.iter().all(Option::is_none) {
        return Ok(batch);
    }

    let before = batch["overflow"].as_primitive::<Int64Type>();
    let mut overflow: Vec<Option<i64>> = before.iter().collect();
    for (members, first) in rows.members.iter().zip(&left_out) {
        if let Some(first) = first {
            let sightings = i64::try_from(members.iter().count()).unwrap_or(i64::MAX);
            let sum = &mut overflow[*first];
            *sum = Some(sum.unwrap_or_default().saturating_add(sightings));
        }
    }
    let kept: BooleanArray = left_out.iter().map(|first| Some(first.is_none())).collect();
    let overflow: ArrayRef = Arc::new(Int64Array::from(overflow));
    filter_record_batch(&with_column(&batch, "overflow", overflow)?, &kept)
}

/// Bounds rows whose parents are settled.
fn bound(rows: &Rows<'_>, level: &[usize], most: usize, left_out: &mut [Option<usize>]) {
    let mut places: FastMap<_, Vec<usize>> = FastMap::default();
    for row in level {
        let parent = rows.parents[*row];
        let owner = parent.and_then(|parent| rows.position.get(&parent)).and_then(|at| left_out[*at]);
        if owner.is_some() {
            left_out[*row] = owner;
        } else if let Some((place, _)) = rows.sibling(*row) {
            let root = value(rows.names.root_kind, *row).unwrap_or_default();
            places.entry((rows.kinds[*row], parent, root, place)).or_default().push(*row);
        }
    }
    for mut siblings in places.into_values().filter(|siblings| siblings.len() > most) {
        siblings.sort_by_cached_key(|row| (rows.members[*row].iter().next(), rows.ids[*row]));
        let first = siblings[0];
        siblings[most..].iter().for_each(|row| left_out[*row] = Some(first));
    }
}
