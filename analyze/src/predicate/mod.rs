//! Predicates that people write: conditions over one row, in SQL, and nothing else.
//!
//! A predicate is parsed against the columns of one schema, checked node by node against what is allowed, and bounded in
//! size before anything of it is evaluated: it reads no table, and calls no function that could make much out of little.

mod pattern;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable as _, Operator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Bytes of a predicate.
const MOST_BYTES: usize = 8192;
/// Nodes of its expression.
const MOST_NODES: usize = 1000;

/// Brackets in brackets. What the parser cannot read it tries in another way, at every level: its time doubles with each.
const MOST_LEVELS: usize = 7;

/// Functions that it may call: each looks at one row, and gives no more than it got.
const FUNCTIONS: [&str; 29] = [
    "any_like",
    "any_match",
    "array_element",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_length",
    "array_to_string",
    "btrim",
    "cardinality",
    "character_length",
    "coalesce",
    "contains",
    "ends_with",
    "get_field",
    "in_network",
    "is_public",
    "lower",
    "ltrim",
    "make_array",
    "map_extract",
    "nullif",
    "octet_length",
    "regexp_like",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "upper",
];
/// As above, but DataFusion's name for it may be either.
const SUBSTRINGS: [&str; 2] = ["substr", "substring"];
/// Functions of which all arguments but the first are patterns, which must be literals: one is compiled once.
const WITH_PATTERNS: [&str; 5] = ["any_like", "any_match", "array_to_string", "in_network", "regexp_like"];

/// A condition over one row of some schema.
#[derive(Debug, Clone)]
pub struct Predicate {
    text: String,
    expression: Arc<dyn PhysicalExpr>,
    /// Of the columns that it looks at, in the schema.
    places: Vec<usize>,
    columns: BTreeSet<String>,
    kinds: Option<BTreeSet<String>>,
}

/// Why a text is no predicate.
#[derive(Debug, thiserror::Error)]
pub enum PredicateError {
    /// Too long.
    #[error("the predicate has {found} {unit}, more than the limit of {limit}")]
    TooLarge {
        /// How much it has.
        found: usize,
        /// Of what.
        unit: &'static str,
        /// The bound.
        limit: usize,
    },
    /// No SQL expression over these columns.
    #[error("the predicate is no condition over the row's columns: {0}")]
    Sql(String),
    /// Something that a predicate may not have.
    #[error("the predicate has {0}: only conditions over the columns of one row are allowed")]
    NotAllowed(String),
    /// Something else than true or false.
    #[error("the predicate gives {0}, not true or false")]
    NotBoolean(DataType),
}

impl PredicateError {
    fn sql(error: &DataFusionError) -> Self {
        Self::Sql(error.strip_backtrace())
    }
}

impl Predicate {
    /// Parses a predicate over rows of a schema.
    pub fn parse(context: &SessionContext, schema: &SchemaRef, text: &str) -> Result<Self, PredicateError> {
        if text.len() > MOST_BYTES {
            return Err(PredicateError::TooLarge { found: text.len(), unit: "bytes", limit: MOST_BYTES });
        }
        let levels = levels(text)?;
        if levels > MOST_LEVELS {
            return Err(PredicateError::TooLarge {
                found: levels,
                unit: "levels of brackets",
                limit: MOST_LEVELS,
            });
        }
        let named =
            DFSchema::try_from(schema.as_ref().clone()).map_err(|error| PredicateError::sql(&error))?;
        let parsed = context.parse_sql_expr(text, &named).map_err(|error| PredicateError::sql(&error))?;
        check(&parsed)?;
        let columns: BTreeSet<String> =
            parsed.column_refs().iter().map(|column| column.name.clone()).collect();
        let kinds = kinds_of(&parsed);
        let kind = parsed.get_type(&named).map_err(|error| PredicateError::sql(&error))?;
        if !matches!(kind, DataType::Boolean | DataType::Null) {
            return Err(PredicateError::NotBoolean(kind));
        }
        let simplify = SimplifyContext::builder()
            .with_schema(Arc::new(named.clone()))
            .with_config_options(Arc::clone(context.state_ref().read().config_options()))
            .build();
        let simplifier = ExprSimplifier::new(simplify);
        let simple = simplifier.coerce(parsed, &named).and_then(|parsed| simplifier.simplify(parsed));
        let simple = simple.map_err(|error| PredicateError::sql(&error))?;
        // Only what it looks at: a conjunction copies all columns of the rows that its first part left.
        let looked_at = schema.fields().iter().map(|field| columns.contains(field.name()));
        let places: Vec<usize> = looked_at.enumerate().filter_map(|(at, is)| is.then_some(at)).collect();
        let seen = schema.project(&places).map_err(|error| PredicateError::sql(&error.into()))?;
        let seen = DFSchema::try_from(seen).map_err(|error| PredicateError::sql(&error))?;
        let expression =
            context.create_physical_expr(simple, &seen).map_err(|error| PredicateError::sql(&error))?;
        let patterns = pattern::count(&expression).map_err(|error| PredicateError::sql(&error))?;
        if patterns > pattern::MOST_PATTERNS {
            let (unit, limit) = ("patterns", pattern::MOST_PATTERNS);
            return Err(PredicateError::TooLarge { found: patterns, unit, limit });
        }
        let expression = pattern::compiled(expression).map_err(|error| PredicateError::sql(&error))?;
        let predicate = Self { text: text.trim().to_owned(), expression, places, columns, kinds };
        // What is wrong with a literal, a regular expression for one, shows when it is first evaluated.
        predicate
            .holds(&RecordBatch::new_empty(Arc::clone(schema)))
            .map_err(|error| PredicateError::sql(&error))?;
        predicate.holds(&nulls(schema)?).map_err(|error| PredicateError::sql(&error))?;
        Ok(predicate)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns that it looks at.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// Values of the column `kind` outside of which it holds for no row; none where it may hold for any.
    pub fn kinds(&self) -> Option<&BTreeSet<String>> {
        self.kinds.as_ref()
    }

    /// The rows for which it is true, not false or null.
    pub fn holds(&self, rows: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        let count = rows.num_rows();
        let found = match self.expression.evaluate(&rows.project(&self.places)?)? {
            ColumnarValue::Array(found) => found,
            ColumnarValue::Scalar(ScalarValue::Null) => return Ok(BooleanArray::from(vec![false; count])),
            ColumnarValue::Scalar(found) => found.to_array_of_size(count)?,
        };
        let found = found.as_boolean_opt().ok_or_else(|| {
            DataFusionError::Execution(format!("the predicate gave {}, not true or false", found.data_type()))
        })?;
        Ok((0..count).map(|row| Some(found.is_valid(row) && found.value(row))).collect())
    }

    /// The same, where an error of one row costs that row only: it does not hold there. Gives the first error beside it.
    ///
    /// What stands in a row may come from a container: a number that cannot be parsed, a division by zero.
    pub fn holds_where_it_can(&self, rows: &RecordBatch) -> (BooleanArray, Option<DataFusionError>) {
        let error = match self.holds(rows) {
            Ok(found) => return (found, None),
            Err(error) => error,
        };
        let one = |row: usize| self.holds(&rows.slice(row, 1)).is_ok_and(|found| found.value(0));
        ((0..rows.num_rows()).map(|row| Some(one(row))).collect(), Some(error))
    }
}

/// How deep brackets stand in each other; a `CASE`, and an operator before another one, count as such.
fn levels(text: &str) -> Result<usize, PredicateError> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize();
    let tokens = tokens.map_err(|error| PredicateError::Sql(error.to_string()))?;
    let (mut level, mut before, mut most) = (0_usize, 0_usize, 0_usize);
    for token in tokens {
        let keyword = match &token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => Some(word.keyword),
            _ => None,
        };
        match (&token, keyword) {
            (Token::LParen | Token::LBracket | Token::LBrace, _) | (_, Some(Keyword::CASE)) => level += 1,
            (Token::RParen | Token::RBracket | Token::RBrace, _) | (_, Some(Keyword::END)) => {
                level = level.saturating_sub(1);
            }
            _ => {}
        }
        let is_prefix = matches!(token, Token::Minus | Token::Plus | Token::Tilde)
            || matches!(keyword, Some(Keyword::NOT | Keyword::INTERVAL | Keyword::PRIOR));
        before = if is_prefix { before + 1 } else { 0 };
        // One is usual.
        most = most.max(level + before.saturating_sub(1));
    }
    Ok(most)
}

/// One row of nothing but nulls.
fn nulls(schema: &SchemaRef) -> Result<RecordBatch, PredicateError> {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let row = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns);
    row.map_err(|error| PredicateError::sql(&error.into()))
}

fn check(parsed: &Expr) -> Result<(), PredicateError> {
    let mut nodes = 0;
    let mut refused = None;
    let walked = parsed.apply(|node| {
        nodes += 1;
        if nodes > MOST_NODES {
            refused = Some(PredicateError::TooLarge { found: nodes, unit: "parts", limit: MOST_NODES });
        } else if let Some(what) = not_allowed(node) {
            refused = Some(PredicateError::NotAllowed(what));
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| PredicateError::sql(&error))?;
    refused.map_or(Ok(()), Err)
}

/// What a predicate may not have.
fn not_allowed(node: &Expr) -> Option<String> {
    let is_literal = |node: &Expr| matches!(node, Expr::Literal(..));
    match node {
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::InList(_) => None,
        // A list of a fixed size may be of any.
        Expr::Cast(cast) => nested(cast.field.data_type()),
        Expr::TryCast(cast) => nested(cast.field.data_type()),
        Expr::Like(like) => (!is_literal(&like.pattern)).then(|| "a pattern that is no literal".to_owned()),
        Expr::BinaryExpr(binary) => {
            use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch, StringConcat};
            match binary.op {
                RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch if !is_literal(&binary.right) => {
                    Some("a pattern that is no literal".to_owned())
                }
                StringConcat => Some("the operator ||".to_owned()),
                _ => None,
            }
        }
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            if !FUNCTIONS.contains(&name) && !SUBSTRINGS.contains(&name) {
                return Some(format!("the function {name}"));
            }
            (WITH_PATTERNS.contains(&name) && !call.args.iter().skip(1).all(is_literal))
                .then(|| format!("a pattern of {name} that is no literal"))
        }
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => Some("a subquery".to_owned()),
        Expr::AggregateFunction(_) => Some("an aggregate".to_owned()),
        Expr::WindowFunction(_) => Some("a window function".to_owned()),
        Expr::Alias(_) => Some("an alias".to_owned()),
        Expr::Placeholder(_) | Expr::ScalarVariable(..) => Some("a parameter".to_owned()),
        other => Some(format!("`{}`", other.variant_name())),
    }
}

fn nested(kind: &DataType) -> Option<String> {
    kind.is_nested().then(|| format!("a cast to {kind}"))
}

/// Kinds that a conjunction asks for by `kind = '…'` or `kind IN (…)`.
fn kinds_of(parsed: &Expr) -> Option<BTreeSet<String>> {
    let text = |node: &Expr| match node {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            Some(text.clone())
        }
        _ => None,
    };
    let is_kind = |node: &Expr| matches!(node, Expr::Column(column) if column.name == "kind");
    match parsed {
        Expr::BinaryExpr(binary) if binary.op == Operator::And => {
            match (kinds_of(&binary.left), kinds_of(&binary.right)) {
                (Some(left), Some(right)) => Some(left.intersection(&right).cloned().collect()),
                (left, right) => left.or(right),
            }
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Or => {
            let mut kinds = kinds_of(&binary.left)?;
            kinds.extend(kinds_of(&binary.right)?);
            Some(kinds)
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq && is_kind(&binary.left) => {
            Some(BTreeSet::from([text(&binary.right)?]))
        }
        Expr::InList(list) if !list.negated && is_kind(&list.expr) => list.list.iter().map(text).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use wsp_schemas::tables::BEHAVIOUR;

    use super::*;

    fn parse(text: &str) -> Result<Predicate, PredicateError> {
        let context = crate::session::new(&crate::session::Resources::default()).unwrap();
        Predicate::parse(&context, &Arc::new(BEHAVIOUR.arrow_schema()), text)
    }

    #[test]
    fn conditions_over_a_row_are_predicates() {
        for (text, columns, kinds) in [
            ("kind = 'process' AND exe_name IN ('sh', 'bash')", "exe_name kind", Some("process")),
            (
                "kind IN ('file', 'dns') AND (path LIKE '/etc/%' OR NOT tty)",
                "kind path tty",
                Some("dns file"),
            ),
            ("kind = 'file' OR kind = 'dns'", "kind", Some("dns file")),
            ("any_like(args, '%curl%') AND cardinality(ancestors) > 2", "ancestors args", None),
            ("labels['namespace'] = 'prod' AND mode % 2 = 1", "labels mode", None),
            ("array_has_any(stdio, ['socket', 'pipe']) AND stdio[1] = 'socket'", "stdio", None),
            ("path ~ '^/(usr|opt)/' AND substr(path, 2, 3) = 'usr'", "path", None),
            ("CASE WHEN port > 1024 THEN true ELSE is_public(address) END", "address port", None),
            ("array_has(uids, 0) AND dns_names > 5 -- why", "dns_names uids", None),
            ("NULL", "", None),
        ] {
            let predicate = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found: Vec<&str> = predicate.columns().iter().map(String::as_str).collect();
            assert_eq!(found.join(" "), columns, "{text}");
            let found = predicate.kinds().map(|kinds| kinds.iter().cloned().collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), kinds, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        let long = format!("kind IN ({})", vec!["'x'"; 1200].join(", "));
        let deep = format!("{}true{}", "(NOT ".repeat(4000 / 5), ")".repeat(4000 / 5));
        for (text, reason) in [
            ("", "no condition"),
            ("kind = ", "no condition"),
            ("kind = 'a'; DROP TABLE signals", "no condition"),
            ("kind", "gives Utf8"),
            ("nothing = 1", "nothing"),
            ("kind = 'x' AS y", "an alias"),
            ("kind IN (SELECT 'x')", "a subquery"),
            ("EXISTS (SELECT 1)", "a subquery"),
            ("(SELECT true)", "a subquery"),
            ("kind IN (SELECT kind FROM signals)", "no condition"),
            ("count(kind) > 1", "an aggregate"),
            ("row_number() OVER () = 1", "a window function"),
            ("random() > 0.5", "the function random"),
            ("now() > container_started", "the function now"),
            ("repeat(path, 1000000000) = 'x'", "the function repeat"),
            ("path || path = 'x'", "the operator ||"),
            ("CAST(path AS INT[2000000000]) IS NULL", "a cast to"),
            ("array_to_string(args, path) = 'x'", "a pattern of array_to_string that is no literal"),
            ("path LIKE exe", "a pattern that is no literal"),
            ("path ~ exe", "a pattern that is no literal"),
            ("regexp_like(path, exe)", "a pattern of regexp_like that is no literal"),
            ("path ~ '('", "regex"),
            ("path ~ '((a{1000}){1000}){1000}'", "regex"),
            ("kind = $1", "a parameter"),
            (&long, "more than the limit of 1000"),
            (&deep, "more than the limit of 7"),
            (&format!("{}tty", "NOT ".repeat(60)), "more than the limit of 7"),
            (&format!("{}tty", "- ".repeat(60)), "more than the limit of 7"),
            (&format!("{}(", "NOT (".repeat(6)), "no condition"),
            (&format!("{}1{}", "CASE WHEN ".repeat(40), " END".repeat(40)), "more than the limit of 7"),
            (&"x".repeat(9000), "more than the limit of 8192"),
        ] {
            let error = match parse(text) {
                Ok(_) => panic!("{text:.60} was taken"),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(reason), "{text:.60}: {error}");
        }
    }

    #[test]
    fn null_is_not_true() {
        let schema = Arc::new(BEHAVIOUR.arrow_schema());
        for text in ["NULL", "tty", "tty IS NULL", "NOT tty", "true"] {
            let predicate = parse(text).unwrap();
            let mut columns: Vec<_> =
                schema.fields().iter().map(|field| new_null_array(field.data_type(), 2)).collect();
            columns[0] = Arc::new(arrow::array::StringArray::from(vec!["file", "dns"]));
            let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
            let holds = predicate.holds(&rows).unwrap();
            assert_eq!(
                holds.true_count(),
                if text.contains("NULL") && text != "NULL" || text == "true" { 2 } else { 0 },
                "{text}"
            );
            assert_eq!(holds.null_count(), 0);
        }
    }

    #[test]
    fn a_row_that_cannot_be_judged_costs_itself_only() {
        let schema = Arc::new(BEHAVIOUR.arrow_schema());
        let predicate = parse("CAST(path AS INT) > 5").unwrap();
        let mut columns: Vec<_> =
            schema.fields().iter().map(|field| new_null_array(field.data_type(), 3)).collect();
        columns[0] = Arc::new(arrow::array::StringArray::from(vec!["file"; 3]));
        let at = schema.index_of("path").unwrap();
        columns[at] = Arc::new(arrow::array::StringArray::from(vec!["7", "/etc/passwd", "3"]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let (found, error) = predicate.holds_where_it_can(&rows);
        assert_eq!(found, BooleanArray::from(vec![true, false, false]));
        assert!(error.unwrap().to_string().contains("/etc/passwd"));
    }
}
