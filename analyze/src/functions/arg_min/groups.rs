use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use crate::functions::lets_in;

/// Rows that may be held beside those that are some group's smallest, before they are let go.
const SLACK_ROWS: usize = 8192;

/// The smallest key of each group, and where its value stands.
#[derive(Debug)]
pub(super) struct ArgMinGroups {
    kind: DataType,
    best: Vec<Option<Best>>,
    values: Vec<ArrayRef>,
    rows: usize,
    /// Bytes of the rows themselves: batches may be slices of one array, which must not be counted with each of them.
    value_bytes: usize,
    key_bytes: usize,
}

#[derive(Debug)]
struct Best {
    key: Box<[u8]>,
    batch: usize,
    row: usize,
}

impl ArgMinGroups {
    pub(super) fn new(kind: DataType) -> Self {
        Self { kind, best: Vec::new(), values: Vec::new(), rows: 0, value_bytes: 0, key_bytes: 0 }
    }

    fn update(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.best.resize_with(total.max(self.best.len()), || None);
        let keys = values[1].as_binary_opt::<i32>();
        let keys: &BinaryArray =
            keys.ok_or_else(|| exec_datafusion_err!("a key of arg_min is not Binary"))?;
        let batch = self.values.len();
        for (row, group) in groups.iter().enumerate() {
            if keys.is_null(row) || !lets_in(filter, row) {
                continue;
            }
            let key = keys.value(row);
            let best = &mut self.best[*group];
            if best.as_ref().is_none_or(|best| key < &*best.key) {
                self.key_bytes += key.len() - best.as_ref().map_or(0, |best| best.key.len());
                *best = Some(Best { key: key.into(), batch, row });
            }
        }
        self.values.push(Arc::clone(&values[0]));
        self.rows += values[0].len();
        self.value_bytes += values[0].to_data().get_slice_memory_size()?;
        if self.rows > 2 * self.best.len() + SLACK_ROWS {
            self.compact()?;
        }
        Ok(())
    }

    /// Lets go of all rows that are no group's smallest.
    fn compact(&mut self) -> Result<()> {
        let kept = self.pick(self.best.len())?;
        for (row, best) in self.best.iter_mut().enumerate() {
            if let Some(best) = best {
                (best.batch, best.row) = (0, row);
            }
        }
        self.rows = kept.len();
        self.value_bytes = kept.to_data().get_slice_memory_size()?;
        self.values = vec![kept];
        Ok(())
    }

    /// The values of the first groups, null where there is none.
    fn pick(&self, groups: usize) -> Result<ArrayRef> {
        let none = new_null_array(&self.kind, 1);
        let arrays: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).chain([none.as_ref()]).collect();
        let nowhere = (arrays.len() - 1, 0);
        let places: Vec<(usize, usize)> = self.best[..groups]
            .iter()
            .map(|best| best.as_ref().map_or(nowhere, |best| (best.batch, best.row)))
            .collect();
        Ok(interleave(&arrays, &places)?)
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<(ArrayRef, ArrayRef)> {
        let groups = match emit_to {
            EmitTo::All => self.best.len(),
            EmitTo::First(groups) => groups,
        };
        let values = self.pick(groups)?;
        let taken = emit_to.take_needed(&mut self.best);
        self.key_bytes -= taken.iter().flatten().map(|best| best.key.len()).sum::<usize>();
        let keys: BinaryArray = taken.iter().map(|best| best.as_ref().map(|best| &*best.key)).collect();
        if self.best.is_empty() {
            (self.values, self.rows, self.value_bytes) = (Vec::new(), 0, 0);
        }
        Ok((values, Arc::new(keys)))
    }
}

impl GroupsAccumulator for ArgMinGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.update(values, groups, filter, total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update(states, groups, None, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to)?.0)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (values, keys) = self.take(emit_to)?;
        Ok(vec![values, keys])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        // A row without a key does not count.
        let keys = values[1].as_binary::<i32>().iter().enumerate();
        let keys: BinaryArray = keys.map(|(row, key)| key.filter(|_| lets_in(filter, row))).collect();
        Ok(vec![Arc::clone(&values[0]), Arc::new(keys)])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + self.best.capacity() * size_of::<Option<Best>>()
            + self.key_bytes
            + self.values.capacity() * size_of::<ArrayRef>()
            + self.value_bytes
    }
}
