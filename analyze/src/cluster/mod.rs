//! Jobs on more than one machine: the scheduler and the executors of Apache DataFusion Ballista, in this program.
//!
//! Planning and commits stay with the driver, which is the job's own process. It hands over a physical plan: executors read snapshots
//! and learned rows from the store that they were started with, and group them (`merge`), judge them (`detect`) or write them as data
//! files (`compact`); the driver fetches what came of it. What an executor writes belongs to no version of a table before the driver
//! commits it: a job that fails or is killed leaves files at most that a later compaction deletes.
//!
//! - [`driver`]: a job's side
//! - [`scheduler`], [`executor`]: the processes
//! - `codec`: our part of a plan as a message
//! - `tasks`: units of work that are done one by one
//! - `build`: what a node must have in common with a job
//! - `join`: whether a scheduler takes an executor of this build
//! - `own`: which store an executor was given
//! - `health`: what the processes say of themselves

mod build;
mod codec;
pub mod driver;
pub mod executor;
mod health;
mod join;
mod own;
pub mod scheduler;
mod tasks;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub(crate) use build::bind;
pub use driver::{Cluster, JobError};
pub(crate) use driver::{QUERY_PARTITIONS, partitions};
pub(crate) use tasks::Work;

/// Port of the scheduler, where none is named.
pub const SCHEDULER_PORT: u16 = 50_050;

/// Largest message between nodes, in bytes: a plan with the names of all files of a batch has some megabytes.
pub const MESSAGE_BYTES: u32 = 256 << 20;

/// How often an executor tells that it is there, in seconds.
const HEARTBEAT_SECONDS: u64 = 2;

/// A node of a cluster that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Somebody else has the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder for results is of no use.
    #[error("the work directory `{folder}` cannot be used")]
    WorkDir {
        /// The folder.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The scheduler did not answer.
    #[error("the scheduler at {address} does not answer")]
    NoScheduler {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: Box<ballista_core::error::BallistaError>,
    },
    /// The scheduler is of another build.
    #[error("the scheduler at {address} refuses this executor: {reason}")]
    Refused {
        /// Its address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// It did not answer.
    #[error("this executor stood still, and is lost for the scheduler at {address}: its tasks go to others")]
    GivenUp {
        /// Its address.
        address: String,
    },
    /// The engine stopped.
    #[error("the node stopped")]
    Stopped(#[source] Box<ballista_core::error::BallistaError>),
    /// A session could not be made.
    #[error("no session could be made")]
    Session(#[from] datafusion::error::DataFusionError),
}
