//! The snapshot file: what `wsp-capture` writes and a merge reads.
//!
//! [`encode`] and [`decode`] work on bytes in memory; where the bytes live is the caller's business. `decode` gives
//! nothing that it did not verify: whoever holds a [`Verified`] needs no further checks.

mod columns;
mod direct;
mod look;
mod meta;
mod node;
mod read;
mod renew;
mod scan;
mod slim;
mod thrift;
mod verify;
mod write;

pub use meta::{
    Completeness, Container, FORMAT_VERSION, Image, Loss, MetaError, STARTUP, Sensor, SnapshotMeta, reseal,
};
pub use node::{Fact, File, Node, Phase, Process, SeenBy, Socket};
pub use read::{DecodeError, Limits, Verified, decode};
pub use renew::renew;
pub use scan::{NodeColumn, Scan, Scanner};
pub use verify::RowError;
pub use write::{EncodeError, encode, rewrite};
