//! Jobs: each is idempotent, and reports what it skipped.

pub mod import;
pub mod backtest;
pub mod merge;
pub mod store;
