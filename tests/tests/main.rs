//! The end-to-end tests, one binary. `kernel` needs root, podman and eBPF; the others need nothing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends there"
)]

mod architecture;
mod bad_input;
mod demo;
mod kernel;
mod s3;
mod sql;
