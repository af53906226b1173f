//! Jobs: each is idempotent, and reports what it skipped.

pub mod backtest;
pub mod compact;
pub mod detect;
mod fetch;
pub mod import;
mod judgement;
pub mod merge;
#[cfg(feature = "explore")]
pub(crate) mod newest;
mod retry;
pub mod store;
pub mod suppress;

/// Told how far a job is.
pub trait Progress: Send + Sync {
    /// So many units of work will be done.
    fn total(&self, units: u64, unit: &'static str);
    /// So many more of them are done.
    fn done(&self, units: u64);
    /// What is done now.
    fn stage(&self, text: &str);
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn total(&self, _: u64, _: &'static str) {}
    fn done(&self, _: u64) {}
    fn stage(&self, _: &str) {}
}
