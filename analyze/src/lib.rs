//! Merges snapshots into profiles and answers questions about them.
//!
//! - [`jobs`]: what changes the profile tables
//! - [`tables`]: the Delta tables themselves
//! - [`views`]: the SQL interface
//! - [`functions`]: our SQL functions
//! - [`behaviour`]: what rules look at
//! - [`predicate`]: conditions that people write, checked and bounded
//! - [`rules`]: what is worth an alert
//! - [`stats`]: the statistics of commonality
//! - [`overlay`]: a store over another one that keeps what is written in memory
//! - [`engine`]: where the heavy part of a job runs
#![cfg_attr(feature = "distributed", doc = "- [`cluster`]: jobs on more than one machine")]
#![cfg_attr(feature = "serve", doc = "- [`serve`]: the views over the PostgreSQL wire protocol")]
#![cfg_attr(feature = "explore", doc = "- [`explorer`]: profiles and signals as pages")]
//! - [`cli`]: the program

pub mod behaviour;
pub mod cli;
#[cfg(feature = "distributed")]
pub mod cluster;
mod compare;
mod content_hash;
pub mod engine;
#[cfg(feature = "explore")]
pub mod explorer;
pub mod functions;
pub mod jobs;
#[cfg(any(feature = "distributed", feature = "serve"))]
mod metrics;
mod node;
mod one_line;
pub mod overlay;
pub mod predicate;
mod rows;
pub mod rules;
#[cfg(feature = "serve")]
pub mod serve;
pub mod session;
pub mod stats;
pub mod tables;
mod trial;
mod units;
pub mod views;
