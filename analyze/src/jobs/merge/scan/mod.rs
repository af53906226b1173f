//! The scan of a merge: reads snapshots and learned rows, admits, and gives one row a node and workload.
//!
//! What goes in are messages ([`Unit`], [`ScanSpec`]), what comes out are plain Arrow columns: it can run where the data are.

mod collect;
mod read;
mod source;
mod spec;

pub(crate) use collect::Sighting;
#[cfg(feature = "distributed")]
pub(crate) use collect::sighting_schema;
#[cfg(feature = "distributed")]
pub(crate) use source::ScanWork;
pub(crate) use source::SnapshotScan;
pub(crate) use spec::{About, Candidate, Finding, Known, LearnedFile, ScanSpec, Unit, UnitReport};

#[cfg(test)]
mod tests;
#[cfg(all(test, feature = "distributed"))]
pub(crate) use tests::register_empty;
