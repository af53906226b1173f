//! Asking rules about rows: about each that says something new, and only where they may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::error::DataFusionError;
use wsp_schemas::identity::Kind;
use wsp_schemas::snapshot::NodeColumn;

use super::novelty::Lookup;
use crate::behaviour::{Behaviour, CONTAINER, Place, Said, Shown, above, is_said, process_of};
use crate::rules::Rule;

/// Rows that rules are asked about at once.
const ROWS_AT_ONCE: usize = 16_384;
/// … and bytes of arguments and lineages in them.
const BYTES_AT_ONCE: usize = 64 << 20;

const EXE: NodeColumn = NodeColumn::named("exe");
const ARGS: NodeColumn = NodeColumn::named("args");
const CWD: NodeColumn = NodeColumn::named("cwd");
const SCRIPT: NodeColumn = NodeColumn::named("script");

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
}

impl RuleGroup {
    pub(super) fn add(&mut self, rule: &Arc<Rule>) {
        let kinds = rule.predicate.kinds();
        let words = Kind::ALL.iter().map(|kind| kind.as_str()).chain([CONTAINER]);
        for (asked, word) in self.of_kind.iter_mut().zip(words) {
            if kinds.is_none_or(|kinds| kinds.contains(word)) {
                asked.rules.push(self.rules.len());
                asked.columns.extend(rule.predicate.columns().iter().cloned());
            }
        }
        self.rules.push(Arc::clone(rule));
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

    /// How many rows can be asked about at once: each repeats what is asked of its process.
    fn rows_at_once(&self, snapshots: &[Shown<'_>], places: &[Place], rows: &[usize]) -> usize {
        let asks = |column: &str| self.columns.contains(column);
        let (args, ancestors, cwd) = (asks("args"), asks("ancestors"), asks("cwd"));
        let mut bytes = 0;
        for (count, at) in rows.iter().take(ROWS_AT_ONCE).enumerate() {
            let (snapshot, row) = places[*at];
            let scan = snapshots[snapshot].scan;
            if let Some(process) = row.and_then(|row| process_of(scan, row)) {
                let text = |column, row| scan.text(column, row).map_or(0, str::len);
                bytes += text(EXE, process) + text(SCRIPT, process);
                if args {
                    bytes += scan.texts(ARGS, process).map(str::len).sum::<usize>();
                }
                if ancestors {
                    bytes += above(scan, process).map(|row| text(EXE, row)).sum::<usize>();
                }
                if cwd {
                    bytes += text(CWD, process);
                }
            }
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
    /// By the number of a node: what is said of it, and the variant. A file has a node once, so that there are few.
    of_node: Vec<Vec<(u64, usize)>>,
    firsts: Vec<Place>,
}

impl Variants {
    /// The variant of a row: that of an earlier one of the same node of which the same is said, or a new one.
    pub(super) fn of(&mut self, node: u32, said: u64, place: Place) -> usize {
        let node = node as usize;
        if self.of_node.len() <= node {
            self.of_node.resize_with(node + 1, Vec::new);
        }
        let known = &mut self.of_node[node];
        if let Some((_, variant)) = known.iter().find(|(other, _)| *other == said) {
            return *variant;
        }
        known.push((said, self.firsts.len()));
        self.firsts.push(place);
        self.firsts.len() - 1
    }

    /// Where the first row of each is.
    pub(super) fn firsts(&self) -> &[Place] {
        &self.firsts
    }
}
