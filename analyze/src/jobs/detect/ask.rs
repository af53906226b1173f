//! Asking rules about rows: about each that says something new, and only where they may hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::error::DataFusionError;
use wsp_schemas::identity::Kind;

use super::novelty::Lookup;
use crate::behaviour::{Behaviour, CONTAINER, DependsOn, Place, Said, Shown, Source, is_said, process_of};
use crate::rules::Rule;

/// Rows that rules are asked about at once.
const ROWS_AT_ONCE: usize = 16_384;
/// … and bytes of texts in them.
const BYTES_AT_ONCE: usize = 64 << 20;

/// Rules that are asked about the same rows.
#[derive(Debug, Default)]
pub(super) struct RuleGroup {
    rules: Vec<Arc<Rule>>,
    /// By kind of row; last, about the container as a whole.
    of_kind: [Asked; Kind::ALL.len() + 1],
}

/// What is asked about rows of one kind.
#[derive(Debug, Default)]
struct Asked {
    /// Rules that may hold there.
    rules: Vec<usize>,
    /// What they look at.
    columns: BTreeSet<String>,
    /// Where that comes from, of what may be long.
    sources: BTreeSet<Source>,
}

impl RuleGroup {
    pub(super) fn add(&mut self, rule: &Arc<Rule>) {
        let kinds = rule.predicate.kinds();
        let words = Kind::ALL.iter().map(|kind| kind.as_str()).chain([CONTAINER]);
        for (asked, word) in self.of_kind.iter_mut().zip(words) {
            if kinds.is_none_or(|kinds| kinds.contains(word)) {
                asked.rules.push(self.rules.len());
                asked.columns.extend(rule.predicate.columns().iter().cloned());
                asked.sources.extend(rule.predicate.columns().iter().filter_map(|column| Source::of(column)));
            }
        }
        self.rules.push(Arc::clone(rule));
    }

    /// Whether any of them looks at what a process did in all.
    pub(super) fn asks_activity(&self) -> bool {
        let columns = self.of_kind.iter().flat_map(|asked| &asked.columns);
        columns.into_iter().any(|column| DependsOn::of(column) == DependsOn::Activity)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A rule, by its place in the group.
    pub(super) fn rule(&self, at: usize) -> &Arc<Rule> {
        &self.rules[at]
    }

    fn asked(&self, kind: Option<Kind>) -> &Asked {
        let at = kind.and_then(|kind| Kind::ALL.iter().position(|one| *one == kind));
        &self.of_kind[at.unwrap_or(Kind::ALL.len())]
    }

    /// Whether any of them may hold for rows of a kind; none: for a container as a whole.
    pub(super) fn asks(&self, kind: Option<Kind>) -> bool {
        !self.asked(kind).rules.is_empty()
    }

    /// By row: which of the rules hold. A row that a rule cannot be asked about, it does not match; that it could not is told.
    pub(super) fn holding(
        &self,
        snapshots: &[Shown<'_>],
        places: &[Place],
        mut lookup: Option<&mut Lookup<'_>>,
        failed: &mut BTreeMap<String, String>,
    ) -> Result<Vec<Vec<usize>>, DataFusionError> {
        let mut holding = vec![Vec::new(); places.len()];
        let mut by_kind: BTreeMap<Option<Kind>, Vec<usize>> = BTreeMap::new();
        for (at, (snapshot, row)) in places.iter().enumerate() {
            by_kind.entry(row.map(|row| snapshots[*snapshot].scan.kind(row))).or_default().push(at);
        }
        for (kind, of_kind) in by_kind {
            let asked = self.asked(kind);
            let mut rest = of_kind.as_slice();
            while !asked.rules.is_empty() && !rest.is_empty() {
                let (some, others) = rest.split_at(asked.rows_at_once(snapshots, places, rest));
                rest = others;
                let shown: Vec<Place> = some.iter().map(|at| places[*at]).collect();
                let said = asked.said(snapshots, &shown, lookup.as_deref_mut());
                let rows = Behaviour::of(snapshots, &shown, &said, &asked.columns)?;
                for at in &asked.rules {
                    let rule = &self.rules[*at];
                    let (found, error) = rule.predicate.holds_where_it_can(rows.rows());
                    if let Some(error) = error {
                        failed.entry(rule.id.clone()).or_insert_with(|| error.strip_backtrace());
                    }
                    found.values().set_indices().for_each(|row| holding[some[row]].push(*at));
                }
            }
        }
        Ok(holding)
    }
}

impl Asked {
    /// What the profile says of rows, if anybody asks.
    fn said(
        &self,
        snapshots: &[Shown<'_>],
        places: &[Place],
        lookup: Option<&mut Lookup<'_>>,
    ) -> Vec<Option<Said>> {
        let asks = self.columns.iter().any(|column| is_said(column));
        let Some(lookup) = lookup.filter(|_| asks) else { return Vec::new() };
        let said = |(at, row): &Place| row.and_then(|row| lookup.said(snapshots[*at].scan, row));
        places.iter().map(said).collect()
    }

    /// How many rows can be asked about at once: each repeats what is asked of its process and its snapshot.
    fn rows_at_once(&self, snapshots: &[Shown<'_>], places: &[Place], rows: &[usize]) -> usize {
        let mut bytes = 0;
        // Rows of one process mostly stand together.
        let mut shared = (None, 0);
        for (count, at) in rows.iter().take(ROWS_AT_ONCE).enumerate() {
            let (snapshot, row) = places[*at];
            let scan = snapshots[snapshot].scan;
            let size = |is_shared: bool| -> usize {
                let sources = self.sources.iter().filter(|source| source.is_shared() == is_shared);
                sources.map(|source| source.size(scan, row)).sum()
            };
            let process = Some((snapshot, row.and_then(|row| process_of(scan, row))));
            if shared.0 != process {
                shared = (process, size(true));
            }
            bytes += shared.1 + size(false);
            if bytes > BYTES_AT_ONCE {
                return count.max(1);
            }
        }
        rows.len().min(ROWS_AT_ONCE)
    }
}

/// Rows that a group of rules says the same of.
#[derive(Debug, Default)]
pub(super) struct Variants {
    /// By the number of a node and what is said of it.
    known: HashMap<(u32, u64), usize, foldhash::fast::RandomState>,
    /// By the number of a node: what was said last, which mostly is what is said again, and its variant.
    last: Vec<Option<(u64, usize)>>,
    firsts: Vec<Place>,
}

impl Variants {
    /// The variant of a row: that of an earlier one of the same node of which the same is said, or a new one.
    pub(super) fn of(&mut self, node: u32, said: u64, place: Place) -> usize {
        let at = node as usize;
        if self.last.len() <= at {
            self.last.resize(at + 1, None);
        }
        if let Some((_, variant)) = self.last[at].filter(|(last, _)| *last == said) {
            return variant;
        }
        let next = self.firsts.len();
        let variant = *self.known.entry((node, said)).or_insert(next);
        if variant == next {
            self.firsts.push(place);
        }
        self.last[at] = Some((said, variant));
        variant
    }

    /// Where the first row of each is.
    pub(super) fn firsts(&self) -> &[Place] {
        &self.firsts
    }

    /// Memory that they take, about.
    pub(super) fn memory(&self) -> usize {
        self.known.capacity() * size_of::<((u32, u64), usize)>()
            + self.last.len() * size_of::<Option<(u64, usize)>>()
            + self.firsts.len() * size_of::<Place>()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wsp_schemas::snapshot::{Limits, Scanner};

    use super::*;
    use crate::behaviour::activity::Activities;
    use crate::behaviour::{Context, Place};
    use crate::jobs::detect::fixture::{app, late, rule};

    #[test]
    fn what_rows_repeat_is_bounded() {
        let paths: Vec<String> = (0..1000).map(|at| format!("/srv/file{at}x")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let shot = late(10, &[app().args(&"x".repeat(1 << 20)).reads(&paths)]);
        let scan = Scanner::default().scan(&Bytes::from(shot.bytes()), &Limits::default()).unwrap();
        let activity = Activities::default();
        let shown = [Shown { scan: &scan, context: Context::default(), activity: &activity }];
        let files: Vec<Place> = (0..scan.len()).map(|row| (0, Some(row))).collect();
        let all: Vec<usize> = (0..files.len()).collect();
        for (predicate, most) in [
            // A row has all the arguments of its process.
            ("kind = 'file' AND any_like(args, '%y%')", BYTES_AT_ONCE >> 20),
            ("kind = 'file' AND path = '/srv/y'", scan.len()),
        ] {
            let mut group = RuleGroup::default();
            group.add(&Arc::new(rule("r", "low", predicate)));
            let at_once = group.asked(Some(Kind::File)).rows_at_once(&shown, &files, &all);
            assert!((most - 2..=most).contains(&at_once), "{predicate}: {at_once}");
            assert!(!group.asks(Some(Kind::Dns)) && !group.asks(None));
        }
    }
}
