//! Merges snapshots into profiles and answers questions about them.

pub mod functions;
pub mod jobs;
mod rows;
pub mod session;
pub mod stats;
pub mod tables;
