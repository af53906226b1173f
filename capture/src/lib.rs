//! Records what containers do, as snapshot files in object storage.

pub mod event;
#[cfg(feature = "ebpf")]
pub mod probe;
