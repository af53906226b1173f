use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::state::MemberSet;
use super::{add, union};

/// One set a group.
#[derive(Debug, Default)]
pub(super) struct MembersGroups {
    sets: Vec<MemberSet>,
    heap: usize,
}

impl MembersGroups {
    fn for_each(
        &mut self,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
        mut update: impl FnMut(&mut MemberSet, usize) -> Result<()>,
    ) -> Result<()> {
        self.sets.resize_with(total.max(self.sets.len()), MemberSet::default);
        for (row, group) in groups.iter().enumerate() {
            if filter.is_some_and(|filter| !(filter.is_valid(row) && filter.value(row))) {
                continue;
            }
            let set = &mut self.sets[*group];
            let before = set.heap_size();
            update(set, row)?;
            self.heap += set.heap_size() - before;
        }
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> BinaryArray {
        let sets = emit_to.take_needed(&mut self.sets);
        let mut out =
            BinaryBuilder::with_capacity(sets.len(), sets.iter().map(|set| set.as_bytes().len()).sum());
        for set in sets {
            self.heap -= set.heap_size();
            out.append_value(set.as_bytes());
        }
        out.finish()
    }
}

impl GroupsAccumulator for MembersGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.for_each(groups, filter, total, |set, row| add(set, values, row))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let sets: &BinaryArray = states[0].as_binary();
        self.for_each(groups, None, total, |set, row| {
            if sets.is_valid(row) { union(set, sets.value(row)) } else { Ok(()) }
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.take(emit_to)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.take(emit_to))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut out = BinaryBuilder::with_capacity(rows, rows);
        for row in 0..rows {
            let mut set = MemberSet::default();
            if filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                add(&mut set, values, row)?;
            }
            out.append_value(set.as_bytes());
        }
        Ok(vec![Arc::new(out.finish())])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sets.capacity() * size_of::<MemberSet>() + self.heap
    }
}
