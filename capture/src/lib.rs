//! Records what containers do, as snapshot files in object storage.

pub mod cli;
#[cfg(feature = "ebpf")]
pub mod doctor;
pub mod event;
pub mod identity;
pub mod log;
#[cfg(feature = "ebpf")]
pub mod probe;
pub mod recorder;
pub mod session;
pub mod sink;
pub mod spool;
