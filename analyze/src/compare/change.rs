//! What a node's counts in two profiles say: which kind of change it is, and how sure. Pure functions of counts.

use crate::stats::fisher_exact;

/// A change is certain where chance alone would bring it less often than this …
const CERTAIN: f64 = 0.05;
/// … and a change in commonality is shown, however small, where its p is below this.
const SHOWN_P: f64 = 0.01;

/// How often a profile saw a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    /// The profile has the node, be it from lossy snapshots only.
    pub(crate) present: bool,
    /// Eligible containers that have it.
    pub(crate) n: u32,
    /// Containers that could have shown it.
    pub(crate) total: u32,
}

impl Seen {
    pub(crate) fn commonality(self) -> Option<f64> {
        (self.total > 0).then(|| f64::from(self.n) / f64::from(self.total))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Only the second profile has it.
    Gained,
    /// Only the first one has it.
    Lost,
    /// Both have it, in other shares of their containers.
    Changed,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Changed => "changed",
        }
    }
}

/// One node's change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// Fisher's exact p of n / N in both.
    pub(crate) p_value: f64,
    /// How probable it is that nothing changed: that as many containers miss the node by chance, or, for a change in
    /// commonality, p.
    pub(crate) chance: f64,
}

impl Change {
    pub(crate) fn is_certain(self) -> bool {
        self.chance < CERTAIN
    }

    /// Compares what two profiles saw of a node; none where they agree, or where one of them could not have seen it.
    pub(crate) fn between(a: Seen, b: Seen, min_change: f64) -> Option<Self> {
        let p_value = fisher_exact(a.n.min(a.total), a.total, b.n.min(b.total), b.total);
        let change = |kind, chance| Some(Self { kind, p_value, chance });
        match (a.present, b.present) {
            (false, true) => change(Kind::Gained, missed_by_chance(b, a.total)),
            (true, false) => change(Kind::Lost, missed_by_chance(a, b.total)),
            (true, true) => {
                let moved = (a.commonality()? - b.commonality()?).abs();
                // Shares that are equal on paper may differ in their last bits.
                let shown = moved > 1e-9 && (moved >= min_change - 1e-9 || p_value < SHOWN_P);
                if shown { change(Kind::Changed, p_value) } else { None }
            }
            (false, false) => None,
        }
    }
}

/// Probability that `others` containers all miss a node that n of N have. The true share is not n / N but somewhere near it:
/// with every share equally likely beforehand, this is the mean of (1 − share)^others over what n of N leave likely (the
/// rule of succession). It is 1 for no containers, and above (1 − n / N)^others for few.
fn missed_by_chance(seen: Seen, others: u32) -> f64 {
    let (n, total) = (f64::from(seen.n), f64::from(seen.total.max(seen.n)));
    (0..others).map(f64::from).map(|i| (total - n + 1.0 + i) / (total + 2.0 + i)).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Seen = Seen { present: false, n: 0, total: 0 };

    fn seen(n: u32, total: u32) -> Seen {
        Seen { present: true, n, total }
    }

    fn absent(total: u32) -> Seen {
        Seen { total, ..ABSENT }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn a_loss_is_certain_only_where_chance_would_not_bring_it() {
        // 1·2·3 / 5·6·7.
        let three = Change::between(seen(3, 3), absent(3), 0.2).unwrap();
        assert_eq!(three.kind, Kind::Lost);
        close(three.chance, 1.0 / 35.0);
        close(three.p_value, 0.1);
        assert!(three.is_certain());
        // One container of three had it: three more without it mean nothing. 3·4·5 / 5·6·7.
        let rare = Change::between(seen(1, 3), absent(3), 0.2).unwrap();
        close(rare.chance, 2.0 / 7.0);
        assert!(!rare.is_certain());
        // Everyone had it, and one container does not: 1 / 12.
        let one = Change::between(seen(10, 10), absent(1), 0.2).unwrap();
        close(one.chance, 1.0 / 12.0);
        assert!(!one.is_certain());
        // Nobody was there to miss it.
        close(Change::between(seen(10, 10), absent(0), 0.2).unwrap().chance, 1.0);
        // Many containers: near (1 − 0.3)^10.
        let many = Change::between(seen(300, 1000), absent(10), 0.2).unwrap();
        assert!((many.chance - 0.7_f64.powi(10)).abs() < 0.001 && many.is_certain(), "{}", many.chance);
    }

    #[test]
    fn a_gain_is_a_loss_backwards() {
        let (gain, loss) = (
            Change::between(absent(4), seen(5, 6), 0.2).unwrap(),
            Change::between(seen(5, 6), absent(4), 0.2).unwrap(),
        );
        assert_eq!((gain.kind, loss.kind), (Kind::Gained, Kind::Lost));
        close(gain.chance, loss.chance);
        close(gain.p_value, loss.p_value);
    }

    #[test]
    fn changes_are_large_or_significant() {
        assert_eq!(Change::between(seen(5, 10), seen(5, 10), 0.0), None);
        assert_eq!(Change::between(seen(5, 10), seen(6, 10), 0.2), None);
        let large = Change::between(seen(5, 10), seen(7, 10), 0.2).unwrap();
        assert!(large.kind == Kind::Changed && !large.is_certain());
        // A tenth of a thousand containers: small, and no chance.
        let small = Change::between(seen(500, 1000), seen(600, 1000), 0.2).unwrap();
        assert!(small.p_value < 0.01 && small.is_certain());
        // Nobody could have shown it in one of them: nothing to compare.
        assert_eq!(Change::between(seen(0, 0), seen(9, 9), 0.2), None);
        // Lossy sightings only: it is there, in none of the containers that count.
        assert_eq!(Change::between(seen(0, 9), seen(9, 9), 0.2).unwrap().kind, Kind::Changed);
        assert_eq!(Change::between(ABSENT, ABSENT, 0.2), None);
    }
}
