//! Records what containers do, as snapshot files in object storage.

pub mod event;
#[cfg(feature = "ebpf")]
pub mod doctor;
#[cfg(feature = "ebpf")]
pub mod probe;
pub mod recorder;
