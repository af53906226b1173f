//! The statistics, as their sources write them.

/// Wilson's score interval at 95 %.
pub(super) fn wilson(n: usize, all: usize) -> Option<(f64, f64)> {
    if all == 0 {
        return None;
    }
    let z = 1.959_963_984_540_054_f64;
    let (n, all) = (float(n), float(all));
    let p = n / all;
    let root = (p * (1.0 - p) / all + z.powi(2) / (4.0 * all.powi(2))).sqrt();
    let [low, high] = [-1.0, 1.0].map(|sign| {
        ((p + z.powi(2) / (2.0 * all) + sign * z * root) / (1.0 + z.powi(2) / all)).clamp(0.0, 1.0)
    });
    Some((low, high))
}

/// Fisher's exact test, two-sided: tables at most as likely as the one seen, `a` of `first` against `b` of `second`.
pub(super) fn fisher(a: usize, first: usize, b: usize, second: usize) -> f64 {
    let hits = a + b;
    let ways = |k: usize| choose(first, k) * choose(second, hits - k);
    let possible = || hits.saturating_sub(second)..=hits.min(first);
    let all: f64 = possible().map(ways).sum();
    possible()
        .map(ways)
        .filter(|ways| *ways <= choose(first, a) * choose(second, b) * (1.0 + 1e-7))
        .sum::<f64>()
        / all
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).map(|i| float(n - i) / float(i + 1)).product()
}

/// The ratio-of-sums Jaccard index of (n, N) over all pairs of containers.
pub(super) fn jaccard(nodes: &[(usize, usize)]) -> Option<f64> {
    let pairs = |k: usize| float(k) * (float(k) - 1.0);
    let both: f64 = nodes.iter().map(|(n, _)| pairs(*n)).sum();
    let either: f64 = nodes.iter().map(|(n, all)| pairs(*all) - pairs(all - n)).sum();
    (either > 0.0).then(|| both / either)
}

/// Coverage and expected novel nodes of T containers (Chao & Jost 2012, incidence data).
pub(super) fn coverage(counts: &[usize], containers: usize) -> Option<(f64, f64)> {
    let incidences: usize = counts.iter().sum();
    if containers < 3 || incidences == 0 {
        return None;
    }
    let with = |k: usize| float(counts.iter().filter(|n| **n == k).count());
    let (t, u, q1, q2) = (float(containers), float(incidences), with(1), with(2));
    let unseen = if q1 == 0.0 {
        0.0
    } else if q2 > 0.0 {
        q1 / u * ((t - 1.0) * q1 / ((t - 1.0) * q1 + 2.0 * q2))
    } else {
        q1 / u * ((t - 1.0) * (q1 - 1.0) / ((t - 1.0) * (q1 - 1.0) + 2.0))
    };
    Some((1.0 - unseen, unseen * u / t))
}

#[expect(clippy::cast_precision_loss, reason = "counts of tests are small")]
pub(super) fn float(n: usize) -> f64 {
    n as f64
}
