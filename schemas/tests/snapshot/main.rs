//! The snapshot file from outside: what goes in comes out, and what is not a snapshot says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    unreachable_pub,
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shared with the benchmark"
)]

mod both;
mod damage;
mod earlier;
mod forge;
mod memory;
mod nodes;
mod refused;
mod renewed;
mod round_trip;
mod vectors;
