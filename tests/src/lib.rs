//! What the end-to-end tests share: running the programs, a real S3 server, real containers, strace as ground truth.

pub mod podman;
pub mod program;
pub mod s3;
pub mod strace;
