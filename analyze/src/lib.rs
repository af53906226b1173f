//! Merges snapshots into profiles and answers questions about them.
//!
//! - [`jobs`]: what changes the profile tables
//! - [`tables`]: the Delta tables themselves
//! - [`views`]: the SQL interface
//! - [`functions`]: our SQL functions
//! - [`stats`]: the statistics of commonality
//! - [`cli`]: the program

pub mod cli;
mod content_hash;
pub mod functions;
pub mod jobs;
mod rows;
pub mod session;
pub mod stats;
pub mod tables;
pub mod views;
