//! The statistics of commonality, each with its source. Pure functions of counts.

/// z of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval of a proportion n / N at 95 % (Wilson 1927, doi:10.2307/2276774); none where N is 0.
pub fn wilson(n: u32, total: u32) -> Option<(f64, f64)> {
    if total == 0 {
        return None;
    }
    let (n, total) = (f64::from(n), f64::from(total));
    let p = n / total;
    let z2 = Z * Z;
    let denominator = 1.0 + z2 / total;
    let centre = (p + z2 / (2.0 * total)) / denominator;
    let half = Z / denominator * (p * (1.0 - p) / total + z2 / (4.0 * total * total)).sqrt();
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// Fisher's exact test, two-sided: the probability of a 2×2 table at least as unlikely as this one, given its margins.
/// `a` of `first` against `b` of `second`.
pub fn fisher_exact(a: u32, first: u32, b: u32, second: u32) -> f64 {
    let hits = a + b;
    let total = first + second;
    let log_probability = |k: u32| ln_choose(first, k) + ln_choose(second, hits - k) - ln_choose(total, hits);
    let observed = log_probability(a);
    let lowest = hits.saturating_sub(second);
    let highest = hits.min(first);
    // Equal probabilities differ in the last bits; the tolerance is that of R's fisher.test.
    let sum: f64 =
        (lowest..=highest).map(log_probability).filter(|p| *p <= observed + 1e-7).map(f64::exp).sum();
    sum.min(1.0)
}

fn ln_choose(n: u32, k: u32) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

fn ln_factorial(n: u32) -> f64 {
    if n < 64 {
        return (2..=n).map(|i| f64::from(i).ln()).sum();
    }
    // Stirling's series; its error is below 1e-12 from here on.
    let x = f64::from(n);
    x.mul_add(x.ln(), -x) + 0.5 * (std::f64::consts::TAU * x).ln() + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
}

/// Sums of a ratio-of-sums Jaccard index over all pairs of containers; each node brings its own number of eligible ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Similarity {
    shared: u64,
    either: u64,
}

impl Similarity {
    /// Adds a node that n of its N eligible containers have.
    pub fn add(&mut self, n: u32, total: u32) {
        let pairs = |k: u32| u64::from(k) * u64::from(k.saturating_sub(1));
        self.shared += pairs(n);
        self.either += pairs(total) - pairs(total - n);
    }

    /// Σ n(n−1) / Σ [N(N−1) − (N−n)(N−n−1)]; none where no two containers could share anything.
    pub fn value(self) -> Option<f64> {
        (self.either > 0).then(|| self.shared as f64 / self.either as f64)
    }
}

/// Incidence counts behind Good–Turing coverage (Chao & Jost 2012, doi:10.1890/11-1952.1, equation 4a for incidence data).
#[derive(Debug, Clone, Copy, Default)]
pub struct Incidence {
    incidences: u64,
    once: u64,
    twice: u64,
}

impl Incidence {
    /// Adds a node that n containers have.
    pub fn add(&mut self, n: u32) {
        self.incidences += u64::from(n);
        self.once += u64::from(n == 1);
        self.twice += u64::from(n == 2);
    }

    /// Coverage: the share of what one more container does that is known; and how many nodes of it would be new. None
    /// below 3 containers.
    pub fn coverage(self, containers: u32) -> Option<(f64, f64)> {
        if containers < 3 || self.incidences == 0 {
            return None;
        }
        let (t, q1, q2, u) =
            (f64::from(containers), self.once as f64, self.twice as f64, self.incidences as f64);
        let weight = match (self.once, self.twice) {
            (0, _) => 0.0,
            // The form for Q2 = 0.
            (_, 0) => (t - 1.0) * (q1 - 1.0) / ((t - 1.0) * (q1 - 1.0) + 2.0),
            _ => (t - 1.0) * q1 / ((t - 1.0) * q1 + 2.0 * q2),
        };
        let deficit = (q1 / u * weight).clamp(0.0, 1.0);
        Some((1.0 - deficit, deficit * u / t))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    }

    #[test]
    fn wilson_as_published() {
        assert_eq!(wilson(0, 0), None);
        // Newcombe 1998, table I: 81/263 and 15/148.
        let (low, high) = wilson(81, 263).unwrap();
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = wilson(15, 148).unwrap();
        assert!((low - 0.0624).abs() < 5e-5 && (high - 0.1605).abs() < 5e-5, "{low} {high}");
        assert_eq!(wilson(5, 5).unwrap().1, 1.0);
    }

    #[test]
    fn fisher_as_r_gives_it() {
        close(fisher_exact(3, 4, 1, 4), 0.485_714_285_7); // the lady tasting tea, two-sided
        close(fisher_exact(10, 10, 0, 10), 1.082_508_822_8e-5);
        close(fisher_exact(5, 10, 5, 10), 1.0);
        close(fisher_exact(0, 0, 0, 0), 1.0);
        close(fisher_exact(100, 100, 100, 100), 1.0);
    }

    #[test]
    fn similarity_of_hand_counts() {
        let mut all = Similarity::default();
        all.add(4, 4);
        close(all.value().unwrap(), 1.0);
        all.add(2, 4);
        // Pairs of 4: 12; of the second node shared by 2, had by either 12 - 2 = 10.
        close(all.value().unwrap(), (12.0 + 2.0) / (12.0 + 10.0));
        assert_eq!(Similarity::default().value(), None);
        let mut one = Similarity::default();
        one.add(1, 1);
        assert_eq!(one.value(), None);
    }

    #[test]
    fn coverage_of_hand_counts() {
        let mut seen = Incidence::default();
        [10, 10, 10, 2, 1, 1].into_iter().for_each(|n| seen.add(n));
        assert_eq!(seen.coverage(2), None);
        let (coverage, novel) = seen.coverage(10).unwrap();
        let deficit = 2.0 / 34.0 * (18.0 / 20.0);
        close(coverage, 1.0 - deficit);
        close(novel, deficit * 34.0 / 10.0);
        let mut no_twos = Incidence::default();
        [5, 1, 1].into_iter().for_each(|n| no_twos.add(n));
        close(no_twos.coverage(5).unwrap().0, 1.0 - 2.0 / 7.0 * (4.0 / 6.0));
    }

    proptest! {
        #[test]
        fn intervals_hold_the_proportion(total in 1..400_u32, share in 0.0..=1.0_f64) {
            let n = (0..=total).find(|n| f64::from(*n) >= f64::from(total) * share - 1e-9).unwrap_or(total);
            let (low, high) = wilson(n, total).unwrap();
            let p = f64::from(n) / f64::from(total);
            prop_assert!(0.0 <= low && low <= p + 1e-12 && p <= high + 1e-12 && high <= 1.0);
        }

        #[test]
        fn fisher_is_symmetric(a in 0..30_u32, b in 0..30_u32, c in 0..30_u32, d in 0..30_u32) {
            let (p, q) = (fisher_exact(a, a + c, b, b + d), fisher_exact(b, b + d, a, a + c));
            prop_assert!((p - q).abs() < 1e-9 && (0.0..=1.0).contains(&p));
        }
    }
}
