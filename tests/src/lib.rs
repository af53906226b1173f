//! What the end-to-end tests share: running the programs, a real S3 server, Azurite, real containers and pods, other kernels, strace as ground
//! truth, a store that fails on request, and what merges must make of it.

pub mod azurite;
pub mod cri;
pub mod delta;
pub mod faulty;
pub mod frames;
pub mod oracle;
pub mod podman;
pub mod program;
pub mod s3;
pub mod strace;
pub mod traced;
pub mod value;
pub mod vm;
