//! The end-to-end tests, one binary. `kernel` needs root, podman and eBPF; the others need nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::zombie_processes,
    reason = "a test that cannot go on ends there, and says what it compared"
)]

mod architecture;
mod bad_input;
mod cli;
mod cluster;
mod compact;
mod cookbook;
mod demo;
mod explorer;
mod insight;
mod kernel;
mod kubescape;
mod merge;
mod options;
mod places;
mod reference;
mod repl;
mod scale;
mod serve;
mod signals;
mod sql;
mod store;
