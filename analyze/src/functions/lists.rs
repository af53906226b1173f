//! `any_like(list, pattern, …)` and `any_match(list, regex, …)`: whether any element of a list of texts is like one of the
//! patterns. Null where the list is; false where it is empty. Patterns are literals.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, ListArray, StringArray};
use arrow::compute::{cast, like, or, regexp_is_match_scalar};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `any_like`.
pub fn any_like() -> Arc<ScalarUDF> {
    Arc::new(Any::of(Form::Like))
}

/// `any_match`.
pub fn any_match() -> Arc<ScalarUDF> {
    Arc::new(Any::of(Form::Regex))
}

/// What the patterns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Like,
    Regex,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Any {
    form: Form,
    signature: Signature,
}

impl Any {
    fn of(form: Form) -> ScalarUDF {
        ScalarUDF::from(Self { form, signature: Signature::variadic_any(Volatility::Immutable) })
    }

    fn test(&self, elements: &StringArray, pattern: &str) -> std::result::Result<BooleanArray, ArrowError> {
        match self.form {
            Form::Like => like(elements, &StringArray::new_scalar(pattern)),
            Form::Regex => regexp_is_match_scalar(elements, pattern, None),
        }
    }
}

impl ScalarUDFImpl for Any {
    fn name(&self) -> &str {
        match self.form {
            Form::Like => "any_like",
            Form::Regex => "any_match",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::List(element), patterns @ ..]
                if matches!(element.data_type(), DataType::Utf8 | DataType::Utf8View)
                    && !patterns.is_empty() =>
            {
                Ok(DataType::Boolean)
            }
            _ => plan_err!("{} takes a list of texts, and patterns", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((list, patterns)) = args.args.split_first() else {
            return exec_err!("{} takes a list of texts, and patterns", self.name());
        };
        let list = list.to_array(args.number_rows)?;
        let Some(list) = list.as_list_opt::<i32>() else {
            return exec_err!("{} takes a list of texts", self.name());
        };
        // Columns of tables are views.
        let elements = cast(list.values(), &DataType::Utf8)?;
        let elements = elements.as_string::<i32>();
        let mut found = BooleanArray::from(vec![false; elements.len()]);
        for pattern in patterns {
            let ColumnarValue::Scalar(
                ScalarValue::Utf8(Some(pattern)) | ScalarValue::Utf8View(Some(pattern)),
            ) = pattern
            else {
                return exec_err!("the patterns of {} must be literals", self.name());
            };
            found = or(&found, &self.test(elements, pattern)?)?;
        }
        Ok(ColumnarValue::Array(Arc::new(any_of(list, &found))))
    }
}

/// Whether any element of each list was found.
pub(crate) fn any_of(list: &ListArray, found: &BooleanArray) -> BooleanArray {
    let is_found = |at: i32| usize::try_from(at).is_ok_and(|at| found.is_valid(at) && found.value(at));
    let any = (0..list.len()).map(|row| {
        let ends = list.offsets().get(row..row + 2)?;
        list.is_valid(row).then(|| (ends[0]..ends[1]).any(is_found))
    });
    any.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    async fn ask(sql: &str) -> String {
        let mut context = SessionContext::new();
        super::super::register(&mut context).unwrap();
        let rows = context.sql(&format!("SELECT {sql} AS x")).await.unwrap().collect().await.unwrap();
        arrow::util::display::array_value_to_string(rows[0].column(0), 0).unwrap()
    }

    #[tokio::test]
    async fn one_element_is_enough() {
        for (sql, answer) in [
            ("any_like(['sh -i', 'ls'], '% -i')", "true"),
            ("any_like(['sh -i', 'ls'], 'x', 'l_')", "true"),
            ("any_like(['sh -i', NULL], 'x%')", "false"),
            ("any_like(arrow_cast(['sh -i', 'ls', NULL], 'List(Utf8View)'), '% -i')", "true"),
            ("any_match(arrow_cast(['sh -i', 'ls'], 'List(Utf8View)'), '^s$')", "false"),
            ("any_like(arrow_cast([], 'List(Utf8)'), '%')", "false"),
            ("any_like(arrow_cast(NULL, 'List(Utf8)'), '%')", ""),
            ("any_match(['sh -i', 'ls'], '^l.$')", "true"),
            ("any_match(['sh -i', 'ls'], '^s$', 'x')", "false"),
        ] {
            assert_eq!(ask(sql).await, answer, "{sql}");
        }
    }

    #[tokio::test]
    async fn patterns_are_literals() {
        let mut context = SessionContext::new();
        super::super::register(&mut context).unwrap();
        for sql in ["any_like(['a'])", "any_like('a', 'b')", "any_match(['a'], '(')"] {
            let asked = context.sql(&format!("SELECT {sql}")).await;
            let failed = match asked {
                Ok(frame) => frame.collect().await.is_err(),
                Err(_) => true,
            };
            assert!(failed, "{sql}");
        }
    }
}
