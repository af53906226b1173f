//! `like_escape(pattern, escape)`, as PostgreSQL's function of that name: a pattern of LIKE with another escape character, in the
//! form with backslashes, which is the only one that the engine knows.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{AsArray as _, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::sql::sqlparser::ast::{Expr, Statement, Value, visit_expressions_mut};

use super::call;

const NAME: &str = "like_escape";

/// The function.
pub(super) fn like_escape() -> Arc<ScalarUDF> {
    let answer = |arguments: &[ColumnarValue]| {
        let arguments = ColumnarValue::values_to_arrays(arguments)?;
        let [patterns, escapes] = arguments.as_slice() else { return exec_err!("{NAME} takes two texts") };
        let pairs = patterns.as_string::<i32>().iter().zip(escapes.as_string::<i32>());
        let changed = pairs.map(|pair| match pair {
            (Some(pattern), Some(escape)) => with_backslashes(pattern, escape).map(Some),
            _ => Ok(None),
        });
        Ok(ColumnarValue::Array(Arc::new(changed.collect::<Result<StringArray>>()?)))
    };
    let arguments = vec![DataType::Utf8; 2];
    Arc::new(create_udf(NAME, arguments, DataType::Utf8, Volatility::Immutable, Arc::new(answer)))
}

fn with_backslashes(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        return exec_err!("an escape is one character, or none");
    }
    let mut changed = String::with_capacity(pattern.len());
    let mut pattern = pattern.chars();
    while let Some(character) = pattern.next() {
        if Some(character) == escape {
            let Some(next) = pattern.next() else {
                return exec_err!("a pattern of LIKE ends with its escape character");
            };
            changed.extend(['\\', next]);
        } else if character == '\\' {
            changed.push_str(r"\\");
        } else {
            changed.push(character);
        }
    }
    Ok(changed)
}

/// Puts the function where a statement names an escape character.
pub(crate) fn without_escapes(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr
            && let Some(escape) = escape_char.take()
        {
            let inner = std::mem::replace(pattern.as_mut(), Expr::value(Value::Null));
            **pattern = call(NAME, [inner, Expr::Value(escape)]);
        }
        ControlFlow::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_same_with_backslashes() {
        for (pattern, escape, wanted) in [
            ("pg/_%", "/", r"pg\_%"),
            (r"a\b", "/", r"a\\b"),
            ("100//", "/", r"100\/"),
            (r"\%", r"\", r"\%"),
            (r"\%", "", r"\\%"),
            ("ä!ö", "!", r"ä\ö"),
        ] {
            assert_eq!(with_backslashes(pattern, escape).unwrap(), wanted, "{pattern} {escape}");
        }
        assert!(with_backslashes("x/", "/").is_err());
        assert!(with_backslashes("x", "ab").is_err());
    }
}
