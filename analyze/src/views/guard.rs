//! What a statement may be: it reads, it is of some size, and it does not grow beyond it when it is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Planned;
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, SetExpr, Statement, TableFactor, Visit as _, Visitor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Bytes of a statement.
pub const MOST_BYTES: usize = 64 << 10;
/// Tables that a statement may name, with its common table expressions written out: the planner writes them out, and each can
/// name the one before it many times.
pub const MOST_TABLES: u64 = 256;
/// Functions and casts in each other, through subqueries and common table expressions too: the planner's work doubles with each.
pub const DEEPEST: u32 = 12;

/// Operators of a text, joins and set operations among them: a chain of them is as deep as it is long, and whoever walks it needs
/// as much stack.
pub const MOST_OPERATORS: usize = 256;
/// `||` of a text: what they take to plan grows faster than their number.
pub const MOST_CONCATENATIONS: usize = 64;

/// Why a statement is not run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// It does something else than reading.
    #[error("{what} is not allowed: profiles can only be read here")]
    NotReading {
        /// What it does.
        what: String,
    },
    /// It is too long.
    #[error("the statement has {bytes} bytes; at most {MOST_BYTES} are planned")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// It stands too deep in itself.
    #[error(
        "parentheses, functions or casts stand {depth} deep in each other; at most {DEEPEST} are planned"
    )]
    TooDeep {
        /// How deep.
        depth: u32,
    },
    /// It chains too much.
    #[error(
        "the statement has {operators} operators, {concatenations} of them `||`; at most {MOST_OPERATORS} and {MOST_CONCATENATIONS} are planned"
    )]
    TooManyOperators {
        /// Operators, joins and set operations.
        operators: usize,
        /// `||` among them.
        concatenations: usize,
    },
    /// It grows.
    #[error(
        "the statement names {tables} tables when its common table expressions are written out; at most {MOST_TABLES} are planned"
    )]
    TooManyTables {
        /// How many.
        tables: u64,
    },
}

/// Whether a text may be parsed: [`MOST_BYTES`] of it, and each statement of it as [`check_statements`] says; and how many it has, at
/// most.
pub fn check_text(sql: &str) -> Result<usize, Refused> {
    if sql.len() > MOST_BYTES {
        return Err(Refused::TooLong { bytes: sql.len() });
    }
    check_statements(sql)
}

/// Whether statements may be parsed. What the parser takes doubles with each call, and with some parentheses, that an expression
/// stands in; what walks a chain needs as much stack as it is long.
pub fn check_statements(sql: &str) -> Result<usize, Refused> {
    // What is no SQL the parser refuses.
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Ok(1) };
    let mut statements = 0;
    for statement in tokens.split(|token| *token == Token::SemiColon) {
        let depth = depth_of_parentheses(statement);
        if depth > DEEPEST {
            return Err(Refused::TooDeep { depth });
        }
        let operators = statement.iter().filter(|token| is_operator(token)).count();
        let concatenations = statement.iter().filter(|token| **token == Token::StringConcat).count();
        if operators > MOST_OPERATORS || concatenations > MOST_CONCATENATIONS {
            return Err(Refused::TooManyOperators { operators, concatenations });
        }
        statements += 1;
    }
    Ok(statements)
}

/// Words that chain.
const CHAINING: [&str; 13] = [
    "AND",
    "BETWEEN",
    "COLLATE",
    "EXCEPT",
    "ILIKE",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LIKE",
    "OR",
    "SIMILAR",
    "UNION",
];

/// Whether a token joins what stands before it with what follows.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_none() && CHAINING.contains(&word.value.to_uppercase().as_str())
        }
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Comma
        | Token::Whitespace(_)
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::SemiColon
        | Token::Placeholder(_) => false,
        _ => true,
    }
}

/// How deep parentheses stand in each other, at most.
fn depth_of_parentheses(tokens: &[Token]) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0_u32);
    for token in tokens {
        match token {
            Token::LParen => depth = depth.saturating_add(1),
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Whether a query, or a statement about one, may be planned.
pub fn check(statement: &Statement) -> Result<(), Refused> {
    let reads = match statement {
        Statement::Query(_)
        | Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. } => true,
        Statement::Explain { statement, .. } => matches!(statement.as_ref(), Statement::Query(_)),
        _ => false,
    };
    if !reads {
        return Err(Refused::NotReading { what: name(statement) });
    }
    let mut tables = Tables::default();
    if let ControlFlow::Break(refused) = statement.visit(&mut tables) {
        return Err(refused);
    }
    if tables.all.tables > MOST_TABLES {
        return Err(Refused::TooManyTables { tables: tables.all.tables });
    }
    if tables.all.depth() > DEEPEST {
        return Err(Refused::TooDeep { depth: tables.all.depth() });
    }
    Ok(())
}

/// As [`check`], for what the engine's own parser gives.
pub fn check_planned(statement: &Planned) -> Result<(), Refused> {
    match statement {
        Planned::Statement(statement) => check(statement),
        Planned::Explain(explain) => check_planned(&explain.statement),
        statement => {
            let text = statement.to_string();
            let what = text.split_ascii_whitespace().take(1).collect::<Vec<_>>().join(" ");
            Err(Refused::NotReading { what })
        }
    }
}

/// The words that a statement begins with, for people.
pub fn name(statement: &Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_ascii_whitespace().take(2).collect();
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words: Vec<&str> = words.into_iter().take_while(is_word).collect();
    if words.is_empty() { "this statement".to_owned() } else { words.join(" ") }
}

/// Counts tables, and how deep functions stand.
#[derive(Debug, Default)]
struct Tables {
    all: Scope,
    open: Vec<Scope>,
}

/// A query that is being looked at.
#[derive(Debug, Default)]
struct Scope {
    /// Tables so far.
    tables: u64,
    /// Functions in each other, where it is deepest: below this query, here, and at the expression at hand.
    below: u32,
    here: u32,
    now: u32,
    /// Its common table expressions, by where they stand.
    names: HashMap<*const Query, String>,
    /// What each stands for: tables, and depth.
    sizes: HashMap<String, (u64, u32)>,
}

impl Scope {
    fn depth(&self) -> u32 {
        self.below.saturating_add(self.here)
    }

    fn add(&mut self, (tables, depth): (u64, u32)) {
        self.tables = self.tables.saturating_add(tables);
        self.below = self.below.max(depth);
    }
}

impl Tables {
    fn scope(&mut self) -> &mut Scope {
        self.open.last_mut().unwrap_or(&mut self.all)
    }
}

/// Whether an expression makes the planner's work double.
fn doubles(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(_) | Expr::Cast { .. } | Expr::Case { .. })
}

impl Visitor for Tables {
    type Break = Refused;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refused> {
        if let Some(what) = writes(&query.body) {
            return ControlFlow::Break(Refused::NotReading { what: what.to_owned() });
        }
        let expressions = query.with.iter().flat_map(|with| &with.cte_tables);
        let names =
            expressions.map(|cte| (&raw const *cte.query, cte.alias.name.value.to_lowercase())).collect();
        self.open.push(Scope { names, ..Scope::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Refused> {
        let Some(closed) = self.open.pop() else { return ControlFlow::Continue(()) };
        let size = (closed.tables, closed.depth());
        let outer = self.scope();
        match outer.names.get(&(&raw const *query)).cloned() {
            Some(name) => drop(outer.sizes.insert(name, size)),
            None => outer.add(size),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Refused> {
        let name = relation.to_string().to_lowercase();
        let size = self.open.iter().rev().find_map(|scope| scope.sizes.get(&name)).copied();
        let (tables, depth) = size.unwrap_or_default();
        self.scope().add((tables.max(1), depth));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Refused> {
        // What has no name of its own: VALUES, subqueries, functions.
        if !matches!(table, TableFactor::Table { .. }) {
            self.scope().add((1, 0));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refused> {
        let scope = self.scope();
        scope.now = scope.now.saturating_add(u32::from(doubles(expr)));
        scope.here = scope.here.max(scope.now);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refused> {
        let scope = self.scope();
        scope.now = scope.now.saturating_sub(u32::from(doubles(expr)));
        ControlFlow::Continue(())
    }
}

/// What the body of a query does beside reading.
fn writes(body: &SetExpr) -> Option<&'static str> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => Some("SELECT INTO"),
        SetExpr::Insert(_) => Some("INSERT"),
        SetExpr::Update(_) => Some("UPDATE"),
        SetExpr::Delete(_) => Some("DELETE"),
        SetExpr::Merge(_) => Some("MERGE"),
        SetExpr::SetOperation { left, right, .. } => writes(left).or_else(|| writes(right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn checked(sql: &str) -> Result<(), Refused> {
        check(&Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap()[0])
    }

    #[test]
    fn what_reads_may_run() {
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT * FROM nodes) SELECT count(*) FROM a JOIN a AS b USING (node_id)",
            "EXPLAIN ANALYZE SELECT * FROM nodes",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "VALUES (1), (2)",
            "SHOW TABLES",
        ] {
            assert_eq!(checked(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_writes_may_not_wherever_it_stands() {
        for (sql, what) in [
            ("INSERT INTO nodes VALUES (1)", "INSERT INTO"),
            ("SELECT 1 INTO x", "SELECT INTO"),
            ("WITH a AS (DELETE FROM nodes RETURNING *) SELECT * FROM a", "DELETE"),
            ("WITH a AS (INSERT INTO nodes VALUES (1) RETURNING *) SELECT * FROM a", "INSERT"),
            ("EXPLAIN INSERT INTO nodes VALUES (1)", "EXPLAIN INSERT"),
            ("EXPLAIN ANALYZE DELETE FROM nodes", "EXPLAIN ANALYZE"),
            ("COPY nodes TO '/tmp/x'", "COPY"),
            ("DROP TABLE nodes", "DROP TABLE"),
        ] {
            assert_eq!(checked(sql), Err(Refused::NotReading { what: what.to_owned() }), "{sql}");
        }
    }

    #[test]
    fn common_table_expressions_count_as_often_as_they_are_named() {
        let mut sql = "WITH a0 AS (SELECT 1 AS x)".to_owned();
        for n in 1..30 {
            sql += &format!(", a{n} AS (SELECT p.x FROM a{} AS p CROSS JOIN a{} AS q)", n - 1, n - 1);
        }
        let doubled = checked(&format!("{sql} SELECT count(*) FROM a29"));
        assert!(
            matches!(doubled, Err(Refused::TooManyTables { tables }) if tables >= 1 << 28),
            "{doubled:?}"
        );
        assert_eq!(checked("WITH a AS (SELECT 1), b AS (SELECT * FROM a, a c) SELECT * FROM b, b d"), Ok(()));
    }

    #[test]
    fn functions_stand_in_each_other_so_deep_and_no_deeper() {
        let nested = |depth: usize| (0..depth).fold("x".to_owned(), |inner, _| format!("upper({inner})"));
        assert_eq!(checked(&format!("SELECT {} FROM nodes", nested(12))), Ok(()));
        assert_eq!(
            checked(&format!("SELECT {} FROM nodes", nested(13))),
            Err(Refused::TooDeep { depth: 13 })
        );
        // The planner puts one into the other.
        let mut chain = "WITH a0 AS (SELECT x FROM nodes)".to_owned();
        for n in 1..20 {
            chain += &format!(", a{n} AS (SELECT upper(x) AS x FROM a{})", n - 1);
        }
        assert_eq!(checked(&format!("{chain} SELECT x FROM a19")), Err(Refused::TooDeep { depth: 19 }));
        let side_by_side = vec!["upper(x)"; 100].join(", ");
        assert_eq!(checked(&format!("SELECT {side_by_side} FROM nodes")), Ok(()));
    }

    #[test]
    fn a_text_with_parentheses_too_deep_in_each_other_is_not_even_parsed() {
        for word in ["encode", "any", "in", "\"in\"", "cast", "not", "and", "select", "", "from ("] {
            let nested =
                |depth: usize| format!("SELECT {}1{}", format!("{word}(").repeat(depth), ")".repeat(depth));
            assert!(check_text(&nested(5)).is_ok(), "{word}");
            assert!(matches!(check_text(&nested(13)), Err(Refused::TooDeep { .. })), "{word}");
        }
        assert_eq!(check_text("SELECT ')(' || f(x) -- ))))\n FROM a WHERE x IN (g(1)))"), Ok(1));
        let side_by_side = vec!["f(g(x))"; 100].join(" + ");
        assert_eq!(check_text(&format!("SELECT {side_by_side}")), Ok(1));
        // A file may have many statements.
        assert_eq!(check_statements(&"SELECT f(1) + 1;\n".repeat(10_000)), Ok(10_001));
    }

    #[test]
    fn what_has_no_name_counts_as_a_table() {
        let many = (0..300).map(|n| format!("(VALUES (1)) a{n}")).collect::<Vec<_>>().join(", ");
        assert!(matches!(checked(&format!("SELECT 1 FROM {many}")), Err(Refused::TooManyTables { .. })));
    }

    #[test]
    fn chains_are_so_long_and_no_longer() {
        let chain = |link: &str, links: usize| check_text(&format!("SELECT 1{}", link.repeat(links)));
        for link in
            ["+1", " OR x", " UNION SELECT 1", " <> x", "::int", "[1]", " is null", "->'a'", " INTERVAL"]
        {
            assert_eq!(chain(link, 100), Ok(1), "{link}");
            assert!(matches!(chain(link, 300), Err(Refused::TooManyOperators { .. })), "{link}");
        }
        assert!(chain("||1", 64).is_ok() && chain("||1", 65).is_err());
        assert_eq!(chain(", 'a + b', \"or\"", 2_000), Ok(1));
    }

    #[test]
    fn a_name_is_that_of_the_nearest_query() {
        // The inner `a` is one table, whatever the outer one stands for.
        let inner = "(WITH a AS (SELECT * FROM nodes) SELECT * FROM a)";
        let many = (0..200).map(|n| format!("nodes n{n}")).collect::<Vec<_>>().join(", ");
        let sql = format!("WITH a AS (SELECT 1 FROM {many}) SELECT * FROM {inner} x, {inner} y");
        assert_eq!(checked(&sql), Ok(()));
    }
}
