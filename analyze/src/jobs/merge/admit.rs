//! Admission: which snapshots of one workload go into its profile, in which order, and when the profile is frozen. No I/O.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The rules that hold for all workloads of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// The clock: a profile whose learning time has passed by then is frozen.
    pub(crate) as_of: DateTime<Utc>,
    /// A profile is stable with this many snapshots …
    pub(crate) max_snapshots: u32,
    /// … or this long after the start of its first window, whichever comes first,
    pub(crate) learning_time: Duration,
    /// but not before it has this many snapshots,
    pub(crate) min_snapshots: u32,
    /// this many containers,
    pub(crate) min_containers: u32,
    /// and its last window ends this long after its first one's start. Until then it goes on learning.
    pub(crate) min_age: Duration,
    /// Windows that end before are refused: the clock of their host was not set.
    pub(crate) earliest: DateTime<Utc>,
    /// Windows that end later than this after both the merge's clock and their upload are refused.
    pub(crate) clock_slack: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            as_of: Utc::now(),
            max_snapshots: 200,
            learning_time: Duration::from_secs(48 * 3600),
            min_snapshots: 0,
            min_containers: 0,
            min_age: Duration::ZERO,
            // 2020-01-01: there was no recorder before.
            earliest: DateTime::from_timestamp_secs(1_577_836_800).unwrap_or_default(),
            clock_slack: Duration::from_secs(24 * 3600),
        }
    }
}

impl Rules {
    /// When a profile that began then has learned long enough.
    pub(crate) fn deadline(&self, first_start: DateTime<Utc>) -> DateTime<Utc> {
        later(first_start, self.learning_time)
    }

    /// Whether a revision has the minimums.
    fn has_enough(
        &self,
        snapshots: u32,
        containers: usize,
        first_start: Option<DateTime<Utc>>,
        last_end: Option<DateTime<Utc>>,
    ) -> bool {
        let age = first_start.zip(last_end).and_then(|(start, end)| (end - start).to_std().ok());
        snapshots >= self.min_snapshots
            && containers >= self.min_containers as usize
            && age.unwrap_or_default() >= self.min_age
    }

    /// Whether a learning revision may be frozen without a further snapshot, by the clock or by changed limits.
    pub(crate) fn is_due(
        &self,
        snapshots: u32,
        containers: usize,
        first_start: Option<DateTime<Utc>>,
        last_end: Option<DateTime<Utc>>,
    ) -> bool {
        let over = first_start.is_some_and(|start| self.as_of >= self.deadline(start));
        first_start.is_some()
            && (over || snapshots >= self.max_snapshots)
            && self.has_enough(snapshots, containers, first_start, last_end)
    }

    /// Why a window cannot be where it says, if it cannot.
    pub(crate) fn out_of_range(&self, window_end: DateTime<Utc>, stored_at: DateTime<Utc>) -> Option<String> {
        let hours = |span: TimeDelta| span.num_hours();
        if window_end < self.earliest {
            return Some(format!(
                "its window ends before {}: the clock of its host was not set",
                self.earliest.format("%Y-%m-%d")
            ));
        }
        let known = self.as_of.max(stored_at);
        (window_end > later(known, self.clock_slack)).then(|| {
            format!(
                "its window ends {} hours after the store got it: the clock of its host is wrong",
                hours(window_end - known)
            )
        })
    }
}

fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Where a revision stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Admitted snapshots: the next ordinal.
    pub(crate) snapshots: u32,
    /// Start of the window of ordinal 0.
    pub(crate) first_start: Option<DateTime<Utc>>,
    /// Latest end of an admitted window.
    pub(crate) last_end: Option<DateTime<Utc>>,
    /// Its containers.
    pub(crate) containers: BTreeSet<String>,
    /// Windows that start before are not of this revision.
    pub(crate) since: Option<DateTime<Utc>>,
    /// The revision is frozen.
    pub(crate) frozen: bool,
}

/// What of a snapshot counts for admission.
#[derive(Debug, Clone)]
pub(crate) struct Applicant<'a> {
    /// Start of its window.
    pub(crate) window_start: DateTime<Utc>,
    /// End of its window.
    pub(crate) window_end: DateTime<Utc>,
    /// Its container, distinct in the fleet.
    pub(crate) container: &'a str,
}

/// Admits the snapshots of one workload, which come in order of (window end, id).
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    rules: &'a Rules,
    standing: Standing,
    /// The latest time that snapshots prove to have come.
    proved: Option<DateTime<Utc>>,
}

impl<'a> Admission<'a> {
    /// Goes on from where the revision stands.
    pub(crate) fn new(rules: &'a Rules, standing: Standing) -> Self {
        Self { rules, standing, proved: None }
    }

    /// Takes note that a window ended which the store had by then: a snapshot proves the time, but one that is dated later
    /// than it was stored proves no more than that.
    pub(crate) fn note(&mut self, window_end: DateTime<Utc>, stored_at: DateTime<Utc>) {
        self.proved = self.proved.max(Some(window_end.min(stored_at)));
    }

    /// Whether a snapshot whose window ends then comes too late.
    pub(crate) fn is_closed(&self, window_end: DateTime<Utc>) -> bool {
        let standing = &self.standing;
        let over = standing.first_start.is_some_and(|start| window_end > self.rules.deadline(start));
        standing.frozen || (self.has_enough() && (over || standing.snapshots >= self.rules.max_snapshots))
    }

    /// Admits a snapshot and gives its ordinal; none where it is not one of this revision's.
    pub(crate) fn admit(&mut self, applicant: &Applicant<'_>) -> Option<u32> {
        let early = self.standing.since.is_some_and(|since| applicant.window_start < since);
        if early || self.is_closed(applicant.window_end) {
            return None;
        }
        let standing = &mut self.standing;
        let ordinal = standing.snapshots;
        standing.snapshots += 1;
        standing.first_start.get_or_insert(applicant.window_start);
        standing.last_end = standing.last_end.max(Some(applicant.window_end));
        if !standing.containers.contains(applicant.container) {
            standing.containers.insert(applicant.container.to_owned());
        }
        Some(ordinal)
    }

    /// Why the revision becomes stable now and since when in event time, if it does.
    pub(crate) fn freeze(&self) -> Option<(&'static str, DateTime<Utc>)> {
        let standing = &self.standing;
        let start = standing.first_start.filter(|_| !standing.frozen && self.has_enough())?;
        if standing.snapshots >= self.rules.max_snapshots {
            return Some(("snapshots", standing.last_end?));
        }
        let deadline = self.rules.deadline(start);
        // Windows that end at the deadline itself are admitted, in this batch as in the next: they prove no time beyond it.
        let over = self.rules.as_of >= deadline || self.proved.is_some_and(|proved| proved > deadline);
        over.then_some(("age", deadline))
    }

    /// The minimums are reached.
    fn has_enough(&self) -> bool {
        let Standing { snapshots, first_start, last_end, containers, .. } = &self.standing;
        self.rules.has_enough(*snapshots, containers.len(), *first_start, *last_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap() + TimeDelta::hours(hours)
    }

    fn applicant(end: i64, container: &str) -> Applicant<'_> {
        Applicant { window_start: at(end - 1), window_end: at(end), container }
    }

    #[test]
    fn the_cut_is_exact_in_number_and_time() {
        let rules = Rules { as_of: at(0), max_snapshots: 2, ..Rules::default() };
        let mut admission = Admission::new(&rules, Standing::default());
        assert_eq!(admission.admit(&applicant(1, "a")), Some(0));
        assert_eq!(admission.freeze(), None);
        assert_eq!(admission.admit(&applicant(2, "a")), Some(1));
        assert_eq!(
            (admission.admit(&applicant(3, "a")), admission.freeze()),
            (None, Some(("snapshots", at(2))))
        );

        let rules = Rules { as_of: at(0), ..Rules::default() };
        let mut admission = Admission::new(&rules, Standing::default());
        assert_eq!(admission.admit(&applicant(1, "a")), Some(0));
        assert_eq!(
            (admission.admit(&applicant(48, "a")), admission.admit(&applicant(49, "a"))),
            (Some(1), None)
        );
        assert_eq!(admission.freeze(), None);
        admission.note(at(49), at(47));
        assert_eq!(admission.freeze(), None, "stored before its window ended");
        admission.note(at(49), at(50));
        assert_eq!(admission.freeze(), Some(("age", at(48))));
    }

    #[test]
    fn windows_that_end_at_the_deadline_are_admitted_in_whatever_batch() {
        let rules = Rules { as_of: at(0), ..Rules::default() };
        let mut admission = Admission::new(&rules, Standing::default());
        for (end, ordinal) in [(1, 0), (48, 1)] {
            assert_eq!(admission.admit(&applicant(end, "a")), Some(ordinal));
            admission.note(at(end), at(100));
        }
        assert_eq!(admission.freeze(), None);
        let mut next = Admission::new(&rules, admission.standing);
        assert_eq!(next.admit(&applicant(48, "b")), Some(2));
        let clock = Rules { as_of: at(48), ..Rules::default() };
        assert_eq!(Admission::new(&clock, next.standing).freeze(), Some(("age", at(48))));
    }

    #[test]
    fn minimums_keep_it_learning() {
        let rules = Rules {
            as_of: at(1000),
            max_snapshots: 2,
            min_containers: 2,
            min_snapshots: 3,
            ..Rules::default()
        };
        let mut admission = Admission::new(&rules, Standing::default());
        for (end, container, freeze) in
            [(1, "a", None), (2, "a", None), (3, "a", None), (100, "b", Some("snapshots"))]
        {
            assert!(admission.admit(&applicant(end, container)).is_some());
            assert_eq!(admission.freeze().map(|(reason, _)| reason), freeze, "{end}");
        }
        assert_eq!(admission.admit(&applicant(101, "c")), None);
    }

    #[test]
    fn what_cannot_be_is_out_of_range_and_a_clock_that_is_hours_off_is_not() {
        let rules = Rules { as_of: at(0), ..Rules::default() };
        assert_eq!(rules.out_of_range(at(5), at(0)), None);
        assert!(rules.out_of_range(at(25), at(0)).unwrap().contains("25 hours after"));
        assert_eq!(rules.out_of_range(at(25), at(2)), None);
        let unset = DateTime::from_timestamp(1800, 0).unwrap();
        assert!(rules.out_of_range(unset, at(0)).unwrap().contains("before 2020-01-01"));
    }

    #[test]
    fn a_revision_takes_nothing_from_before_it_was_opened() {
        let rules = Rules { as_of: at(0), ..Rules::default() };
        let mut admission = Admission::new(&rules, Standing { since: Some(at(5)), ..Standing::default() });
        assert_eq!(
            (admission.admit(&applicant(5, "a")), admission.admit(&applicant(6, "a"))),
            (None, Some(0))
        );
    }
}
