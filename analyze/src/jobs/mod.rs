//! Jobs: each is idempotent, and reports what it skipped.

pub mod backtest;
pub mod import;
pub mod merge;
pub mod store;
