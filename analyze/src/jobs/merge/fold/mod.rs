//! Folding: a crowd of rare siblings becomes one pattern.
//!
//! Siblings are files of one process in one directory, names that one process asked for below the same three labels,
//! remotes of one process at one port, and processes of one parent; the last bring all that hangs from them. A pattern is
//! fitted on what was first seen in the first half of the snapshots, and accepted only where it explains what was new in
//! the second half: fitted on all of it, it would explain everything and predict nothing. Common siblings are never folded.
//!
//! A pure function of the rows and the ledger.

pub(super) mod rows;
mod template;
mod tree;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::error::ArrowError;
use wsp_schemas::identity::{Kind, NodeId};

use super::score::Observers;
use crate::functions::MemberSet;
use template::{Fit, templates};

pub(in crate::jobs) use template::Template;

/// How crowds are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folding {
    /// More rare siblings than this are a crowd; none: nothing is folded.
    pub siblings: Option<usize>,
    /// Siblings that are kept at most, folded or not: the first ones, and how often others were seen.
    pub kept: usize,
}

impl Default for Folding {
    fn default() -> Self {
        Self { siblings: Some(50), kept: 10_000 }
    }
}

impl Folding {
    /// Folds crowds of more rare siblings than this; nothing where it is 0.
    pub fn after(siblings: usize) -> Self {
        Self { siblings: Some(siblings).filter(|least| *least > 0), ..Self::default() }
    }
}

/// A template is fitted on at least so many names …
const FITTED: usize = 8;
/// … and accepted with so many new ones that match …
const ACCEPTED: usize = 3;
/// … and one near miss for so many of them at most.
const PER_MISS: usize = 20;

/// What was folded.
#[derive(Debug)]
pub(super) struct Folded {
    /// By row: the pattern that it is folded into.
    pub(super) collapsed_into: BinaryArray,
    pub(super) patterns: Vec<Pattern>,
    /// Attributes of the patterns, by column.
    pub(super) attributes: Vec<(&'static str, ArrayRef)>,
}

/// A row that stands for others.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) id: NodeId,
    pub(super) kind: Kind,
    pub(super) signature: String,
    /// How many rows it stands for.
    pub(super) nodes: usize,
    pub(super) members: MemberSet,
    pub(super) startup: bool,
    pub(super) lineage_complete: bool,
    pub(super) events: i64,
    /// Microseconds since the epoch.
    pub(super) first_seen: i64,
    pub(super) last_seen: i64,
    pub(super) first_snapshot_id: String,
}

/// Folds the rows of one revision.
pub(super) fn fold(
    rows: &RecordBatch,
    observers: &Observers,
    folding: &Folding,
) -> Result<Folded, ArrowError> {
    tree::fold(rows, observers, folding)
}

/// One sibling: its name, and whether it is rare and when it was first seen.
pub(in crate::jobs) struct Sibling<'a> {
    pub(in crate::jobs) name: &'a str,
    pub(in crate::jobs) is_rare: bool,
    /// Ordinal of the first snapshot that has it.
    pub(in crate::jobs) first: u32,
}

/// The crowds among siblings: each template that was accepted, with the positions of those that it stands for.
pub(in crate::jobs) fn crowds(
    siblings: &[Sibling<'_>],
    half: u32,
    least: usize,
) -> Vec<(Template, Vec<usize>)> {
    let rare = || siblings.iter().enumerate().filter(|(_, sibling)| sibling.is_rare);
    if rare().count() <= least {
        return Vec::new();
    }
    let early: Vec<&str> =
        rare().filter(|(_, sibling)| sibling.first < half).map(|(_, sibling)| sibling.name).collect();
    let mut taken = vec![false; siblings.len()];
    let mut found = Vec::new();
    for template in templates(&early) {
        let fits = |name: &str| template.fit(name);
        if early.iter().filter(|name| fits(name) == Fit::Matches).count() < FITTED {
            continue;
        }
        let late = rare().filter(|(_, sibling)| sibling.first >= half).map(|(_, sibling)| fits(sibling.name));
        let (mut matches, mut misses) = (0, 0);
        for fit in late {
            matches += usize::from(fit == Fit::Matches);
            misses += usize::from(fit == Fit::NearMiss);
        }
        if matches < ACCEPTED || misses * PER_MISS > matches {
            continue;
        }
        let members: Vec<usize> = rare()
            .filter(|(at, sibling)| !taken[*at] && fits(sibling.name) == Fit::Matches)
            .map(|(at, _)| at)
            .collect();
        if members.len() > least {
            members.iter().for_each(|at| taken[*at] = true);
            found.push((template, members));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(names: &[(String, u32)]) -> Vec<(String, usize)> {
        let siblings: Vec<Sibling<'_>> =
            names.iter().map(|(name, first)| Sibling { name, is_rare: true, first: *first }).collect();
        crowds(&siblings, 50, 50)
            .into_iter()
            .map(|(template, members)| (template.signature(), members.len()))
            .collect()
    }

    fn named(make: impl Fn(u32) -> String) -> Vec<(String, u32)> {
        (0..100_u32).map(|at| (make(at.wrapping_mul(2_654_435_761)), at)).collect()
    }

    #[test]
    fn a_pattern_must_explain_the_second_half() {
        assert_eq!(crowd(&named(|n| format!("tmp.{n}"))), [("tmp\\.[0-9]+".to_owned(), 100)]);
        // The second half is named in another way: what was fitted predicts nothing.
        let mut turned = named(|n| format!("tmp.{n}"));
        turned
            .iter_mut()
            .skip(50)
            .for_each(|(name, _)| *name = format!("tmp.x{name}").replacen("tmp.", "", 1));
        assert_eq!(crowd(&turned), []);
        // Nothing new came in the second half.
        let stopped: Vec<_> =
            named(|n| format!("tmp.{n}")).into_iter().map(|(name, at)| (name, at / 2)).collect();
        assert_eq!(crowd(&stopped), []);
    }

    #[test]
    fn few_siblings_are_no_crowd() {
        assert_eq!(crowd(&named(|n| format!("tmp.{n}"))[25..75]), []);
    }
}
