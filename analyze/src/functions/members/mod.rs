//! `members_union(members)`: the union of sets of snapshot ordinals.
//!
//! Nulls do not count. The result is never null: no rows give the empty set.

mod groups;
mod state;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

pub use state::{MAX_ORDINAL, MemberSet, MemberSetError};

/// The aggregate, for registration and for plans built in code.
pub fn members_union() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(MembersUnion::new()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MembersUnion {
    signature: Signature,
}

impl MembersUnion {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for MembersUnion {
    fn name(&self) -> &str {
        "members_union"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [given] if is_members(given) => Ok(vec![DataType::Binary]),
            _ => plan_err!("members_union takes the members of nodes"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[members]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(MembersAccumulator::default()))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(groups::MembersGroups::new()))
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(Vec::new())))
    }
}

#[derive(Debug, Default)]
struct MembersAccumulator(MemberSet);

impl Accumulator for MembersAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let sets: &BinaryArray = values[0].as_binary();
        sets.iter().flatten().try_for_each(|set| union(&mut self.0, set))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.0.as_bytes().to_vec())))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.heap_size()
    }
}

/// Whether a type can hold `members`: the views have them as views of bytes, tables that are read alone as bytes.
pub(super) fn is_members(given: &DataType) -> bool {
    matches!(given, DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::Null)
}

/// A `members` value that is one.
fn checked(bytes: &[u8]) -> Result<&[u8]> {
    MemberSet::check(bytes).map_err(|error| exec_datafusion_err!("{error}"))?;
    Ok(bytes)
}

fn union(set: &mut MemberSet, bytes: &[u8]) -> Result<()> {
    set.union(bytes).map_err(|error| exec_datafusion_err!("{error}"))
}

#[cfg(test)]
mod tests;
