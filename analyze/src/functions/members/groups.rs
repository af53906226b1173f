use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::checked;
use crate::functions::lets_in;

/// The sets of all groups side by side, each `stride` bytes long.
#[derive(Debug)]
pub(super) struct MembersGroups {
    bits: Vec<u8>,
    stride: usize,
}

impl MembersGroups {
    pub(super) fn new() -> Self {
        // 200 snapshots, the usual limit.
        Self { bits: Vec::new(), stride: 25 }
    }

    fn update(
        &mut self,
        sets: &BinaryArray,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.bits.resize(self.bits.len().max(total * self.stride), 0);
        for (row, group) in groups.iter().enumerate() {
            if sets.is_null(row) || !lets_in(filter, row) {
                continue;
            }
            let set = checked(sets.value(row))?;
            self.widen(set.len());
            let mine = &mut self.bits[group * self.stride..][..self.stride];
            mine.iter_mut().zip(set).for_each(|(mine, other)| *mine |= other);
        }
        Ok(())
    }

    fn widen(&mut self, bytes: usize) {
        if bytes <= self.stride {
            return;
        }
        let stride = bytes.next_power_of_two();
        let mut bits = vec![0; self.bits.len() / self.stride * stride];
        for (old, new) in self.bits.chunks(self.stride).zip(bits.chunks_mut(stride)) {
            new[..old.len()].copy_from_slice(old);
        }
        (self.bits, self.stride) = (bits, stride);
    }

    fn take(&mut self, emit_to: EmitTo) -> BinaryArray {
        let end = match emit_to {
            EmitTo::All => self.bits.len(),
            EmitTo::First(groups) => groups * self.stride,
        };
        let rest = self.bits.split_off(end);
        let taken = std::mem::replace(&mut self.bits, rest);
        let mut out = BinaryBuilder::with_capacity(taken.len() / self.stride, taken.len());
        for set in taken.chunks(self.stride) {
            let end = set.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            out.append_value(&set[..end]);
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
        self.update(values[0].as_binary(), groups, filter, total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update(states[0].as_binary(), groups, None, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.take(emit_to)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(self.take(emit_to))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let sets: &BinaryArray = values[0].as_binary();
        let sets = sets.iter().enumerate();
        let kept: BinaryArray = sets.map(|(row, set)| set.filter(|_| lets_in(filter, row))).collect();
        Ok(vec![Arc::new(kept)])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bits.capacity()
    }
}
