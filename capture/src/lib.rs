//! Records what containers do, as snapshot files in object storage.

pub mod cli;
#[cfg(feature = "ebpf")]
pub mod doctor;
pub mod event;
pub mod identity;
pub mod log;
pub mod metrics;
#[cfg(feature = "ebpf")]
pub mod probe;
pub mod pulse;
pub mod recorder;
pub mod serve;
pub mod session;
pub mod sink;
pub mod spool;
