//! `arg_min(value, key)`: the value of the row with the smallest key, by bytes. Rows with a null key do not count; of rows
//! with equal keys, any is taken. Null where no row counts.

mod groups;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

/// The aggregate, for registration and for plans built in code.
pub fn arg_min() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(ArgMin { signature: Signature::any(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArgMin {
    signature: Signature,
}

impl AggregateUDFImpl for ArgMin {
    fn name(&self) -> &str {
        "arg_min"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [value, DataType::Binary] => Ok(value.clone()),
            [_, key] => plan_err!("the key of arg_min must be Binary, not {key}"),
            _ => plan_err!("arg_min takes a value and a key"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = args.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format!("{}[value]", args.name), value, true)),
            Arc::new(Field::new(format!("{}[key]", args.name), DataType::Binary, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(ArgMinAccumulator { value, key: None }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(groups::ArgMinGroups::new(args.return_field.data_type().clone())))
    }
}

#[derive(Debug)]
struct ArgMinAccumulator {
    value: ScalarValue,
    key: Option<Vec<u8>>,
}

impl Accumulator for ArgMinAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let keys = values[1].as_binary::<i32>();
        let smallest = (0..keys.len()).filter(|row| keys.is_valid(*row)).min_by_key(|row| keys.value(*row));
        if let Some(row) = smallest
            && self.key.as_deref().is_none_or(|key| keys.value(row) < key)
        {
            self.key = Some(keys.value(row).to_vec());
            self.value = ScalarValue::try_from_array(&values[0], row)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Binary(self.key.clone())])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size() + self.key.as_ref().map_or(0, Vec::capacity)
    }
}

#[cfg(test)]
mod tests;
