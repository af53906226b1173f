//! What clients ask of PostgreSQL's catalogue that the engine cannot plan, or that the catalogue of `datafusion-postgres` does not
//! have: defaults, sequences and collations of columns, keys of indexes and constraints. There are none here, so that what such a
//! query gives is known without a plan.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{AsArray as _, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf,
};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, Expr, Ident, JoinOperator, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::functions::call;

/// Tables of the catalogue that say nothing about a view.
const EMPTY: [&str; 5] = ["pg_attrdef", "pg_collation", "pg_constraint", "pg_index", "pg_sequence"];

const RELOPTIONS: &str = "reloptions";

/// Functions that have the same answer for everything that is here.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let yes = || ScalarValue::Boolean(Some(true));
    let nothing = || ScalarValue::Utf8(None);
    [
        ("pg_collation_is_visible", yes()),
        ("pg_type_is_visible", yes()),
        ("pg_get_indexdef", nothing()),
        ("pg_get_viewdef", ScalarValue::from("")),
        ("pg_get_serial_sequence", nothing()),
    ]
    .map(|(name, answer)| {
        let signature = Signature::variadic_any(Volatility::Stable);
        ScalarUDF::from(Constant { name, answer, signature })
    })
    .into_iter()
    .chain([current_setting()])
}

/// `current_setting(name)`: what clients ask when they look at tables; null for what has no meaning here.
fn current_setting() -> ScalarUDF {
    let answer = |names: &[ColumnarValue]| {
        let names = ColumnarValue::values_to_arrays(names)?;
        let settings = names.first().map(|names| names.as_string::<i32>());
        let values = settings.into_iter().flatten().map(|name| match name? {
            "search_path" => Some("\"$user\", public"),
            "default_table_access_method" => Some("heap"),
            "server_encoding" | "client_encoding" => Some("UTF8"),
            "transaction_read_only" | "default_transaction_read_only" => Some("on"),
            "TimeZone" => Some("UTC"),
            _ => None,
        });
        Ok(ColumnarValue::Array(Arc::new(values.collect::<StringArray>())))
    };
    let arguments = vec![DataType::Utf8];
    create_udf("current_setting", arguments, DataType::Utf8, Volatility::Stable, Arc::new(answer))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    answer: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.answer.data_type())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.answer.clone()))
    }
}

/// A statement as the engine can plan it: what is known stands in the place of what cannot be planned. Parameters stay, with their
/// types: a client counts them. To be called before `datafusion-postgres` parses it, which takes subqueries out with their
/// parameters.
pub(super) fn plannable(sql: &str) -> Cow<'_, str> {
    // `typinput` is text here, as PostgreSQL shows it; the JDBC driver compares it with an id.
    let sql = match sql.contains("::regproc") {
        true => Cow::Owned(sql.replace("typinput='pg_catalog.array_in'::regproc", "typinput='array_in'")),
        false => Cow::Borrowed(sql),
    };
    if !EMPTY.iter().chain(&[RELOPTIONS]).any(|name| sql.contains(name)) {
        return sql;
    }
    // What cannot be parsed is refused with its own words later.
    let Ok(mut statements) = Parser::parse_sql(&PostgreSqlDialect {}, &sql) else { return sql };
    // Whoever gives such a name to a table of its own means that.
    if statements.visit(&mut OwnNames).is_break() {
        return sql;
    }
    let _: ControlFlow<()> = VisitMut::visit(&mut statements, &mut Simplify);
    Cow::Owned(statements.iter().map(Statement::to_string).collect::<Vec<_>>().join("; "))
}

struct OwnNames;

impl Visitor for OwnNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut names =
            query.with.iter().flat_map(|with| &with.cte_tables).map(|table| &table.alias.name.value);
        if names.any(|name| EMPTY.contains(&name.to_lowercase().as_str())) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

struct Simplify;

impl VisitorMut for Simplify {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let is_known = match expr {
            Expr::Subquery(query) => {
                select(query).is_some_and(|select| is_empty(select) && !aggregates(select))
            }
            Expr::Case { conditions, else_result, .. } => {
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                results.into_iter().all(is_null)
            }
            _ => false,
        };
        if is_known {
            *expr = null(expr);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let without_rows = select(query).is_some_and(|select| is_empty(select) && unnests(select));
        let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
        if without_rows {
            let parameters = parameters(select.as_ref());
            // The first table stays, for the types of its columns.
            select.from.truncate(1);
            select.from.iter_mut().for_each(|from| from.joins.clear());
            let first = select.from.first().map(|from| from.relation.clone());
            for item in &mut select.projection {
                rename(item, |expr, name| {
                    let is_of_first = first.as_ref().is_some_and(|first| is_column_of(expr, first));
                    (!is_of_first).then(|| cast(Expr::value(Value::Null), type_of(name)))
                });
            }
            let never = Expr::value(Value::Boolean(false));
            let all = parameters.into_iter().map(|parameter| Expr::IsNull(Box::new(parameter)));
            let and = |left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::And,
                right: Box::new(right),
            };
            select.selection = Some(all.fold(never, and));
        } else {
            for item in &mut select.projection {
                rename(item, |expr, _| is_reloptions(expr).then(|| text(Expr::value(Value::Null))));
            }
        }
        ControlFlow::Continue(())
    }
}

/// The SELECT of a query that is nothing else.
fn select(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) if query.with.is_none() => Some(select),
        _ => None,
    }
}

/// Changes what a column is, and not how it is called.
fn rename(item: &mut SelectItem, to: impl FnOnce(&Expr, &str) -> Option<Expr>) {
    let (expr, alias) = match item {
        SelectItem::ExprWithAlias { expr, alias } => (&*expr, Some(alias.clone())),
        SelectItem::UnnamedExpr(expr) => (&*expr, last(expr).cloned()),
        _ => return,
    };
    if let Some(expr) = to(expr, alias.as_ref().map_or("", |alias| &alias.value)) {
        *item = match alias {
            Some(alias) => SelectItem::ExprWithAlias { expr, alias },
            None => SelectItem::UnnamedExpr(expr),
        };
    }
}

fn last(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Identifier(name) => Some(name),
        _ => None,
    }
}

/// Whether a column says that it is of a table.
fn is_column_of(expr: &Expr, table: &TableFactor) -> bool {
    let (Expr::CompoundIdentifier(parts), TableFactor::Table { name, alias, .. }) = (expr, table) else {
        return false;
    };
    let [.., table, _] = parts.as_slice() else { return false };
    let called = alias
        .as_ref()
        .map_or_else(|| name.0.last().map(ToString::to_string), |alias| Some(alias.name.value.clone()));
    called.is_some_and(|called| called.eq_ignore_ascii_case(&table.value))
}

/// A column that the catalogue does not have.
fn is_reloptions(expr: &Expr) -> bool {
    matches!(expr, Expr::CompoundIdentifier(_)) && last(expr).is_some_and(|name| name.value == RELOPTIONS)
}

/// The type of a column of indexes and constraints: an id or a number, but for these.
fn type_of(name: &str) -> ast::DataType {
    match name {
        "conname" | "description" => ast::DataType::Text,
        "indnullsnotdistinct" => ast::DataType::Boolean,
        _ => ast::DataType::Integer(None),
    }
}

fn cast(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn text(expr: Expr) -> Expr {
    cast(expr, ast::DataType::Text)
}

/// Null, instead of an expression.
fn null(expr: &Expr) -> Expr {
    let nothing = text(Expr::value(Value::Null));
    let parameters = parameters(expr);
    if parameters.is_empty() {
        return nothing;
    }
    let nulls =
        parameters.into_iter().map(|parameter| call("nullif", [text(parameter.clone()), text(parameter)]));
    call("coalesce", nulls.chain([nothing]))
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => value.value == Value::Null,
        Expr::Cast { expr, .. } => is_null(expr),
        // What `null` makes.
        Expr::Function(function) => {
            let ast::FunctionArguments::List(list) = &function.args else { return false };
            let is_nothing = |arg: &ast::FunctionArg| matches!(arg, ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) if is_null(expr));
            match name(&function.name).as_str() {
                "coalesce" => list.args.iter().all(is_nothing),
                "nullif" => list.args.first() == list.args.last(),
                _ => false,
            }
        }
        _ => false,
    }
}

fn name(name: &ast::ObjectName) -> String {
    let name = name.to_string().to_lowercase();
    name.strip_prefix("pg_catalog.").map(str::to_owned).unwrap_or(name)
}

/// Whether a FROM clause has no row: it has none before its first join, and every join leaves it so, or takes all.
fn is_empty(select: &Select) -> bool {
    !select.from.is_empty() && select.from.iter().any(is_without_rows)
}

fn is_without_rows(from: &TableWithJoins) -> bool {
    from.joins.iter().try_fold(is_empty_table(&from.relation), |empty, join| match &join.join_operator {
        JoinOperator::CrossJoin(_) | JoinOperator::Inner(_) | JoinOperator::Join(_) => {
            Some(empty || is_empty_table(&join.relation))
        }
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => Some(empty),
        _ => None,
    }) == Some(true)
}

fn is_empty_table(table: &TableFactor) -> bool {
    matches!(table, TableFactor::Table { name: table, args: None, .. } if EMPTY.contains(&name(table).as_str()))
}

/// Whether it makes rows of arrays, which the catalogue has as text.
fn unnests(select: &Select) -> bool {
    functions_of(select).iter().any(|name| matches!(name.as_str(), "unnest" | "generate_subscripts"))
}

/// Whether it may have a row where its input has none.
fn aggregates(select: &Select) -> bool {
    functions_of(select).iter().any(|name| {
        !matches!(name.as_str(), "json_build_object" | "jsonb_build_object" | "pg_get_expr")
            && !name.ends_with("_is_visible")
    })
}

/// The functions that its columns call.
fn functions_of(select: &Select) -> Vec<String> {
    struct Functions(Vec<String>);
    impl Visitor for Functions {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expr {
                self.0.push(name(&function.name));
            }
            ControlFlow::Continue(())
        }
    }
    let mut functions = Functions(Vec::new());
    let _: ControlFlow<()> = select.projection.visit(&mut functions);
    functions.0
}

/// The parameters below, each in its cast where it has one.
fn parameters(below: &impl Visit) -> Vec<Expr> {
    struct Parameters(Vec<Expr>);
    let is_parameter =
        |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)));
    impl Visitor for Parameters {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0.push(expr.clone());
            ControlFlow::Continue(())
        }
    }
    let mut all = Parameters(Vec::new());
    let _: ControlFlow<()> = below.visit(&mut all);
    let is_cast = |expr: &Expr| matches!(expr, Expr::Cast { expr, .. } if is_parameter(expr));
    let mut found: Vec<Expr> = Vec::new();
    for cast in all.0.iter().filter(|expr| is_cast(expr)) {
        if !found.contains(cast) {
            found.push(cast.clone());
        }
    }
    let in_cast = |parameter: &Expr, found: &[Expr]| {
        found.iter().any(|cast| matches!(cast, Expr::Cast { expr, .. } if expr.as_ref() == parameter))
    };
    for bare in all.0.into_iter().filter(|expr| is_parameter(expr)) {
        if !in_cast(&bare, &found) && !found.contains(&bare) {
            found.push(bare);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simplified(sql: &str) -> String {
        plannable(sql).into_owned()
    }

    #[test]
    fn what_has_no_rows_is_null_and_what_has_stays() {
        let null = "SELECT CAST(NULL AS TEXT) FROM a";
        for sql in [
            "SELECT (SELECT pg_get_expr(adbin, 1) FROM pg_catalog.pg_attrdef WHERE adnum = a.n) FROM a",
            "SELECT CASE WHEN a.x THEN (SELECT json_build_object('a', seqmin) FROM pg_sequence) ELSE NULL END FROM a",
            "SELECT (SELECT collname FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace) FROM a",
            "SELECT (SELECT x FROM b JOIN pg_index ON true LEFT JOIN c ON true) FROM a",
        ] {
            assert_eq!(simplified(sql), null, "{sql}");
        }
        for sql in [
            "SELECT (SELECT count(*) FROM pg_sequence) FROM a",
            "SELECT (SELECT 1 FROM pg_class) FROM a",
            "SELECT (SELECT 1 FROM pg_class LEFT JOIN pg_attrdef ON true) FROM a",
            "SELECT (SELECT 1 FROM pg_attrdef RIGHT JOIN pg_class ON true) FROM a",
            "SELECT (SELECT 1 FROM pg_class WHERE x IN (SELECT 1 FROM pg_sequence)) FROM a",
            "SELECT CASE WHEN x THEN NULL ELSE 1 END FROM a",
            "SELECT * FROM pg_index",
            "WITH pg_index AS (SELECT 7 AS a) SELECT (SELECT a FROM pg_index)",
        ] {
            assert_eq!(simplified(sql), sql);
        }
    }

    #[test]
    fn keys_of_indexes_are_a_table_without_rows() {
        assert_eq!(
            simplified("SELECT x.k FROM (SELECT i.indrelid, unnest(i.indkey) AS k FROM pg_index i) AS x"),
            "SELECT x.k FROM (SELECT i.indrelid, CAST(NULL AS INTEGER) AS k FROM pg_index i WHERE false) AS x",
        );
        assert_eq!(
            simplified("SELECT c.reloptions, 1 FROM pg_class c"),
            "SELECT CAST(NULL AS TEXT) AS reloptions, 1 FROM pg_class c",
        );
    }

    #[test]
    fn parameters_stay_with_their_types() {
        assert_eq!(
            simplified("SELECT CASE WHEN x = $1 THEN (SELECT a = $2::VARCHAR FROM pg_sequence) END FROM a"),
            "SELECT coalesce(nullif(CAST($2::VARCHAR AS TEXT), CAST($2::VARCHAR AS TEXT)), \
             nullif(CAST($1 AS TEXT), CAST($1 AS TEXT)), CAST(NULL AS TEXT)) FROM a",
        );
        assert_eq!(
            simplified("SELECT unnest(indkey), $1::INT AS n FROM pg_index WHERE indrelid = $2"),
            "SELECT CAST(NULL AS INTEGER), CAST(NULL AS INTEGER) AS n FROM pg_index WHERE false AND $1::INT IS NULL AND $2 IS NULL",
        );
    }
}
