//! Jobs: each is idempotent, and reports what it skipped.

pub mod merge;
pub mod store;
