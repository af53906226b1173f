//! Records what containers do, as snapshot files in object storage.

pub mod cli;
#[cfg(feature = "ebpf")]
pub mod doctor;
pub mod event;
#[cfg(all(feature = "ebpf", any(test, feature = "fuzz")))]
pub mod fuzz;
pub mod hierarchy;
pub mod identity;
pub mod log;
mod memory;
pub mod metrics;
#[cfg(feature = "ebpf")]
pub mod probe;
pub mod profiles;
pub mod pulse;
pub mod recorder;
pub mod serve;
pub mod session;
pub mod sink;
pub mod spool;
