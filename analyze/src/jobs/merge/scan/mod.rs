//! The scan of a merge: reads snapshots and learned rows, admits, and gives one row a node and workload.
//!
//! It is a leaf of a DataFusion plan that one message describes ([`ScanSpec`]); what comes out are plain Arrow columns.

mod collect;
mod read;
mod source;
mod spec;

pub(crate) use collect::Sighting;
pub(crate) use source::{Counter, SnapshotScan};
pub(crate) use spec::{About, Candidate, Finding, Known, LearnedFile, ScanSpec, Unit, UnitReport};

#[cfg(test)]
mod tests;
