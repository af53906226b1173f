//! `to_json(value)`: a value of any type as JSON text, for clients that know no maps. Null where the value is.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field};
use arrow::json::writer::{EncoderOptions, make_encoder};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `to_json`.
pub fn to_json() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ToJson { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJson {
    signature: Signature,
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        "to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values: Vec<ArrayRef> = ColumnarValue::values_to_arrays(&args.args)?;
        let values = values.first().ok_or_else(|| exec_datafusion_err!("to_json has one argument"))?;
        let field = Arc::new(Field::new("value", values.data_type().clone(), true));
        let options = EncoderOptions::default().with_explicit_nulls(true);
        let mut encoder = make_encoder(&field, values.as_ref(), &options)?;
        let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 32);
        let mut text = Vec::new();
        for row in 0..values.len() {
            if values.is_null(row) {
                texts.append_null();
                continue;
            }
            text.clear();
            encoder.encode(row, &mut text);
            let text =
                std::str::from_utf8(&text).map_err(|error| exec_datafusion_err!("to_json: {error}"))?;
            texts.append_value(text);
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}
