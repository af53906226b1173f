//! Regular expressions that are compiled once: for `~` and functions they are compiled for every batch anew, which costs more than
//! to match some thousand rows.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use regex::{Regex, RegexBuilder};

use crate::functions::any_of;

/// Patterns of one expression. They are kept, and each may take memory of its own.
pub(super) const MOST_PATTERNS: usize = 100;
/// Bytes that the compiled patterns of one expression share …
const BYTES: usize = 10 << 20;
/// … of which one may take so many in any case.
const BYTES_OF_ONE: usize = 256 << 10;
/// Bytes that one may keep of what it met, for each thread.
const BYTES_OF_CACHE: usize = 1 << 20;

/// How many patterns an expression has.
pub(super) fn count(expression: &Arc<dyn PhysicalExpr>) -> Result<usize> {
    let mut patterns = 0;
    expression.apply(|node| {
        patterns += Asked::of(node).map_or(0, |asked| asked.patterns.len());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(patterns)
}

/// Compiles the patterns of an expression.
pub(super) fn compiled(expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let bytes = (BYTES / count(&expression)?.max(1)).max(BYTES_OF_ONE);
    let compile = |node: Arc<dyn PhysicalExpr>| match Asked::of(&node) {
        Some(asked) => {
            let compiled: Arc<dyn PhysicalExpr> = Arc::new(asked.compile(bytes)?);
            Ok(Transformed::yes(compiled))
        }
        None => Ok(Transformed::no(node)),
    };
    expression.transform_up(compile).data()
}

/// What is held against the patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// A text.
    Text { ignores_case: bool, negated: bool },
    /// Any text of a list: `any_match`.
    List,
}

/// Something is held against literals.
struct Asked {
    operand: Arc<dyn PhysicalExpr>,
    patterns: Vec<String>,
    form: Form,
}

impl Asked {
    fn of(node: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        if let Some(call) = node.downcast_ref::<ScalarFunctionExpr>() {
            let (operand, patterns) = call.args().split_first().filter(|_| call.name() == "any_match")?;
            let patterns = patterns.iter().map(literal).collect::<Option<_>>()?;
            return Some(Self { operand: Arc::clone(operand), patterns, form: Form::List });
        }
        let binary = node.downcast_ref::<BinaryExpr>()?;
        let (ignores_case, negated) = match binary.op() {
            Operator::RegexMatch => (false, false),
            Operator::RegexIMatch => (true, false),
            Operator::RegexNotMatch => (false, true),
            Operator::RegexNotIMatch => (true, true),
            _ => return None,
        };
        Some(Self {
            operand: Arc::clone(binary.left()),
            patterns: vec![literal(binary.right())?],
            form: Form::Text { ignores_case, negated },
        })
    }

    fn compile(self, bytes: usize) -> Result<Matches> {
        let Self { operand, patterns, form } = self;
        let ignores_case = matches!(form, Form::Text { ignores_case: true, .. });
        let compile = |pattern: &String| {
            let regex = RegexBuilder::new(pattern)
                .case_insensitive(ignores_case)
                .size_limit(bytes)
                .dfa_size_limit(BYTES_OF_CACHE)
                .build();
            regex.map_err(|error| DataFusionError::Execution(format!("`{pattern}`: {error}")))
        };
        Ok(Matches { operand, regexes: patterns.iter().map(compile).collect::<Result<_>>()?, form })
    }
}

fn literal(node: &Arc<dyn PhysicalExpr>) -> Option<String> {
    match node.downcast_ref::<Literal>()?.value() {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) => text.clone(),
        _ => None,
    }
}

/// Whether a text, or one of a list, matches one of the patterns; null where it, or the list, is null.
#[derive(Debug, Clone)]
struct Matches {
    operand: Arc<dyn PhysicalExpr>,
    regexes: Vec<Regex>,
    form: Form,
}

impl Matches {
    fn patterns(&self) -> impl Iterator<Item = &str> {
        self.regexes.iter().map(Regex::as_str)
    }

    fn test(&self, text: &str) -> bool {
        let negated = matches!(self.form, Form::Text { negated: true, .. });
        self.regexes.iter().any(|regex| regex.is_match(text)) != negated
    }

    /// By text.
    fn texts(&self, texts: &dyn Array) -> Result<BooleanArray> {
        let test = |text: Option<&str>| text.map(|text| self.test(text));
        match texts.data_type() {
            DataType::Utf8 => Ok(texts.as_string::<i32>().iter().map(test).collect()),
            DataType::LargeUtf8 => Ok(texts.as_string::<i64>().iter().map(test).collect()),
            DataType::Utf8View => Ok(texts.as_string_view().iter().map(test).collect()),
            other => exec_err!("`{self}` is asked of {other}, which is no text"),
        }
    }
}

impl PartialEq for Matches {
    fn eq(&self, other: &Self) -> bool {
        self.operand.eq(&other.operand) && self.form == other.form && self.patterns().eq(other.patterns())
    }
}

impl Eq for Matches {}

impl Hash for Matches {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operand.hash(state);
        self.form.hash(state);
        self.patterns().for_each(|pattern| pattern.hash(state));
    }
}

impl fmt::Display for Matches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<&str> = self.patterns().collect();
        let patterns = patterns.join(", ");
        match self.form {
            Form::List => write!(f, "any_match({}, {patterns})", self.operand),
            Form::Text { ignores_case, negated } => {
                let (not, star) = (if negated { "!" } else { "" }, if ignores_case { "*" } else { "" });
                write!(f, "{} {not}~{star} {patterns}", self.operand)
            }
        }
    }
}

impl PhysicalExpr for Matches {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.operand.nullable(schema)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        let operand = self.operand.evaluate(rows)?.into_array(rows.num_rows())?;
        let found = match self.form {
            Form::Text { .. } => self.texts(&operand)?,
            Form::List => match operand.as_list_opt::<i32>() {
                Some(list) => any_of(list, &self.texts(list.values())?),
                None => return exec_err!("`{self}` is asked of {}, which is no list", operand.data_type()),
            },
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.operand]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let (Some(operand), true) = (children.pop(), children.is_empty()) else {
            return exec_err!("`{self}` has one operand");
        };
        Ok(Arc::new(Self { operand, ..Self::clone(&self) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListBuilder, StringArray, StringBuilder};
    use arrow::datatypes::Field;
    use datafusion::common::DFSchema;

    use super::*;

    fn rows() -> RecordBatch {
        let texts = StringArray::from(vec![Some("/etc/passwd"), Some(""), None, Some("/ETC/x"), Some("é\n")]);
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("sh"), Some("-c"), Some("id")]);
        lists.append_value([None::<&str>]);
        lists.append(false);
        lists.append_value(std::iter::empty::<Option<&str>>());
        lists.append_value([None, Some("abc")]);
        let lists = lists.finish();
        let schema = Schema::new(vec![
            Field::new("path", DataType::Utf8, true),
            Field::new("args", lists.data_type().clone(), true),
        ]);
        RecordBatch::try_new(schema.into(), vec![Arc::new(texts), Arc::new(lists)]).unwrap()
    }

    fn asks(expression: &Arc<dyn PhysicalExpr>) -> bool {
        expression.exists(|node| Ok(Asked::of(node).is_some())).unwrap()
    }

    #[test]
    fn patterns_say_the_same_once_they_are_compiled() {
        let context = crate::session::new(&crate::session::Resources::default()).unwrap();
        let rows = rows();
        let schema = DFSchema::try_from(rows.schema().as_ref().clone()).unwrap();
        for text in [
            "path ~ '^/etc/'",
            "path ~* '^/etc/'",
            "path !~ 'x$'",
            "path !~* 'X$'",
            "lower(path) ~ '^/etc/(x|y)$'",
            "CASE WHEN path IS NULL THEN 'none' ELSE path END ~ 'n.n' OR NOT path ~ '[[:ascii:]]'",
            "path ~ '(?s)^.+.$' AND (path ~ 'é') IS NOT TRUE",
            "any_match(args, '^i.$')",
            "any_match(args, 'nothing', 'b[cd]') IS NULL",
            "NOT any_match(args, '^-')",
        ] {
            let parsed = context.parse_sql_expr(text, &schema).unwrap();
            let plain = context.create_physical_expr(parsed, &schema).unwrap();
            assert!(asks(&plain), "{text}");
            let compiled = compiled(Arc::clone(&plain)).unwrap();
            assert!(!asks(&compiled), "{compiled}");
            for rows in [rows.clone(), rows.slice(1, 3), rows.slice(0, 0)] {
                let count = rows.num_rows();
                let [plain, compiled] = [&plain, &compiled]
                    .map(|expression| expression.evaluate(&rows).unwrap().into_array(count).unwrap());
                assert_eq!(plain.as_boolean(), compiled.as_boolean(), "{text}");
            }
        }
    }

    #[test]
    fn what_patterns_take_together_is_bounded() {
        let schema: arrow::datatypes::SchemaRef = rows().schema();
        let context = crate::session::new(&crate::session::Resources::default()).unwrap();
        crate::predicate::Predicate::parse(&context, &schema, "path ~ '[a-z]{2000}'").unwrap();
        // Different ones, so that nothing is left out as being the same.
        let many = |count: usize, least: usize| -> String {
            let all = (0..count).map(|at| format!("path ~ '[a-z]{{{}}}'", least + at));
            all.collect::<Vec<_>>().join(" OR ")
        };
        let parse = |text: &str| crate::predicate::Predicate::parse(&context, &schema, text);
        parse(&many(100, 10)).unwrap();
        let error = parse(&many(100, 5000)).unwrap_err().to_string();
        assert!(error.contains("size limit"), "{error}");
        let error = parse(&many(101, 10)).unwrap_err().to_string();
        assert!(error.contains("101 patterns, more than the limit of 100"), "{error}");
    }
}
