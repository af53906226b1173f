//! The statistics, as expressions.

use polars::df;
use polars::prelude::{
    DataType, Expr, IntoLazy, JoinType, LazyFrame, NULL, PolarsResult, UniqueKeepStrategy, col, lit, when,
};

use super::{cols, join};

fn float(name: &str) -> Expr {
    col(name).cast(DataType::Float64)
}

/// Null where there is nothing to divide by.
fn ratio(above: Expr, below: Expr) -> Expr {
    when(below.clone().gt(lit(0))).then(above / below.cast(DataType::Float64)).otherwise(lit(NULL))
}

/// A share of a count.
pub(super) fn share(n: &str, all: &str) -> Expr {
    ratio(float(n), col(all))
}

/// The ends of Wilson's score interval at 95 %: the two roots of (p − x)² = z² x (1 − x) / N.
pub(super) fn wilson(n: &str, all: &str) -> (Expr, Expr) {
    let z2 = 1.959_963_984_540_054_f64 * 1.959_963_984_540_054_f64;
    let (n, total) = (float(n), float(all));
    // N x² + z² x² − (2 n + z²) x + n² / N = 0
    let (a, b) = (total.clone() + lit(z2), n.clone() * lit(2.0) + lit(z2));
    let c = n.clone() * n / total;
    let root = b.clone() * b.clone() - lit(4.0) * a.clone() * c;
    let root = when(root.clone().gt(lit(0.0))).then(root).otherwise(lit(0.0)).sqrt();
    let end = |above: Expr| {
        let end = above / (lit(2.0) * a.clone());
        let end = when(end.clone().lt(lit(0.0))).then(lit(0.0)).otherwise(end);
        let end = when(end.clone().gt(lit(1.0))).then(lit(1.0)).otherwise(end);
        when(col(all).gt(lit(0))).then(end).otherwise(lit(NULL))
    };
    (end(b.clone() - root.clone()), end(b + root))
}

/// What the test of the two halves needs.
pub(super) const HALVES: [&str; 4] =
    ["having_first_half", "eligible_first_half", "container_count", "eligible_containers"];

/// Fisher's exact test, two-sided: how likely a table at most as likely as each one of [`HALVES`] is. Hypergeometric, by sums of
/// logarithms.
pub(super) fn fisher(nodes: &LazyFrame) -> PolarsResult<LazyFrame> {
    let tables = nodes.clone().select(cols(&HALVES)).unique(None, UniqueKeepStrategy::Any).collect()?;
    let most = tables
        .column("eligible_containers")?
        .cast(&DataType::Int64)?
        .i64()?
        .iter()
        .flatten()
        .max()
        .unwrap_or(0);
    let numbers = df!["number" => (0..=most).collect::<Vec<i64>>()]?;
    let logs = numbers.clone().lazy().select([when(col("number").gt(lit(0)))
        .then(float("number"))
        .otherwise(lit(1.0))
        .log(lit(std::f64::consts::E))
        .cum_sum(false)]);
    let logs = logs.collect()?.column("number")?.as_materialized_series().clone();
    let factorial = |of: Expr| lit(logs.clone()).gather(of, false);
    // Of `all` containers `hits` have the node; `k` of the `first` ones.
    let (all, first) = (col("eligible_containers"), col("eligible_first_half"));
    let (hits, k) = (col("container_count"), col("k"));
    let second = all.clone() - first.clone();
    let ways =
        |of: Expr, choose: Expr| factorial(of.clone()) - factorial(choose.clone()) - factorial(of - choose);
    let least = hits.clone() - second.clone();
    let least = when(least.clone().gt(lit(0))).then(least).otherwise(lit(0));
    let greatest = when(hits.clone().lt(first.clone())).then(hits.clone()).otherwise(first.clone());
    let probability = (ways(first, k.clone()) + ways(second, hits.clone() - k) - ways(all, hits)).exp();
    let [tables, numbers] = [tables, numbers].map(|frame| frame.lazy().with_column(lit(true).alias("any")));
    let possible = join(tables, &numbers.rename(["number"], ["k"], true), &["any"], JoinType::Inner)
        .filter(col("k").gt_eq(least).and(col("k").lt_eq(greatest)))
        .with_column(probability.alias("probability"));
    let same = |name: &str| col(name).filter(col("k").eq(col("having_first_half"))).first();
    Ok(possible.group_by(cols(&HALVES)).agg([col("probability")
        .filter(col("probability").lt_eq(same("probability") * lit(1.0 + 1e-7)))
        .sum()
        .alias("likelihood")]))
}

/// The ratio-of-sums Jaccard index over all pairs of containers, to be aggregated: Σ n(n−1) / Σ N(N−1) − (N−n)(N−n−1).
pub(super) fn jaccard(n: &str, all: &str) -> Expr {
    let pairs = |of: Expr| of.clone() * (of - lit(1));
    let both = pairs(col(n)).sum();
    let either = (pairs(col(all)) - pairs(col(all) - col(n))).sum();
    ratio(both.cast(DataType::Float64), either)
}

/// Coverage and expected novel nodes after `t` containers that showed nodes `u` times together, `q1` nodes in one container and
/// `q2` in two (Chao & Jost 2012).
pub(super) fn coverage(t: Expr, u: Expr, q1: Expr, q2: Expr) -> (Expr, Expr) {
    let [t, u, q1, q2] = [t, u, q1, q2].map(|count| count.cast(DataType::Float64));
    let rest = t.clone() - lit(1.0);
    let with_pairs = rest.clone() * q1.clone() / (rest.clone() * q1.clone() + lit(2.0) * q2.clone());
    let fewer = rest * (q1.clone() - lit(1.0));
    let without = fewer.clone() / (fewer + lit(2.0));
    let factor = when(q2.gt(lit(0.0))).then(with_pairs).otherwise(without);
    // A next container shows `novel` nodes that are not known.
    let novel = when(q1.clone().gt(lit(0.0))).then(q1 / t.clone() * factor).otherwise(lit(0.0));
    let known = t.clone().gt_eq(lit(3.0)).and(u.clone().gt(lit(0.0)));
    let covered = lit(1.0) - novel.clone() * t / u;
    (when(known.clone()).then(covered).otherwise(lit(NULL)), when(known).then(novel).otherwise(lit(NULL)))
}
