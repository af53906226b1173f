//! Who asks for one image by its name shall not read the files of all: tables are ordered by `workload_key`, and partitioned by
//! a hash of it, and both follow from the name.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;
use wsp_schemas::image::Workload;

/// Adds to `image = 'nginx:1.25'`, and to `image_name = … AND image_tag = …`, the key and the bucket of that workload.
#[derive(Debug)]
pub(super) struct OneWorkload {
    /// Of the store.
    pub(super) buckets: u32,
}

impl AnalyzerRule for OneWorkload {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let found = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Filter(filter) => self.narrow(filter),
            plan => Ok(Transformed::no(plan)),
        });
        Ok(found?.data)
    }

    fn name(&self) -> &'static str {
        "one_workload"
    }
}

impl OneWorkload {
    fn narrow(&self, filter: Filter) -> Result<Transformed<LogicalPlan>> {
        let parts = split_conjunction(&filter.predicate);
        let equal = |wanted: &str| parts.iter().find_map(|part| is_text(part, wanted));
        // Another way to write a name is another text, which no row has.
        let normal = |(column, image): (&'_ Column, &str)| {
            let workload = Workload::parse(image).ok().filter(|workload| workload.to_string() == image)?;
            Some((column.clone(), workload))
        };
        let image = equal("image").and_then(normal);
        // Name and tag of one table.
        let tag_of = |of: &Column| {
            let tags = parts.iter().filter_map(|part| is_text(part, "image_tag"));
            tags.filter(|(column, _)| column.relation == of.relation).map(|(_, tag)| tag).next()
        };
        let named = || {
            let names = parts.iter().filter_map(|part| is_text(part, "image_name"));
            names
                .filter_map(|(column, name)| {
                    Some((column.clone(), Workload::from_columns(name, tag_of(column)?).ok()?))
                })
                .next()
        };
        let Some((column, workload)) = image.or_else(named) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let Some((key, bucket)) = beside(&column, filter.input.schema()) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let added = [
            Expr::Column(key).eq(lit(workload.key().to_string())),
            Expr::Column(bucket).eq(lit(workload.key().bucket(self.buckets))),
        ];
        if parts.contains(&&added[0]) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let all = parts.into_iter().cloned().chain(added);
        let predicate = conjunction(all).unwrap_or_else(|| filter.predicate.clone());
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
    }
}

/// `workload_key` and `bucket` of the table that a column is of.
fn beside(column: &Column, schema: &DFSchema) -> Option<(Column, Column)> {
    let sibling = |name: &str| {
        let sibling = Column::new(column.relation.clone(), name);
        schema.has_column(&sibling).then_some(sibling)
    };
    Some((sibling("workload_key")?, sibling("bucket")?))
}

/// The column and the text of `column = 'text'`, where the column has that name.
fn is_text<'a>(part: &'a Expr, wanted: &str) -> Option<(&'a Column, &'a str)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
    let sides = [(left, right), (right, left)];
    sides.into_iter().find_map(|(column, text)| match (bare(column), bare(text)) {
        (Expr::Column(column), Expr::Literal(ScalarValue::Utf8(Some(text)), _))
        | (Expr::Column(column), Expr::Literal(ScalarValue::LargeUtf8(Some(text)), _))
        | (Expr::Column(column), Expr::Literal(ScalarValue::Utf8View(Some(text)), _))
            if column.name == wanted =>
        {
            Some((column, text.as_str()))
        }
        _ => None,
    })
}

/// What stands below casts from text to text.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) if cast.field.data_type().is_string() => bare(&cast.expr),
        Expr::Alias(alias) => bare(&alias.expr),
        expr => expr,
    }
}
