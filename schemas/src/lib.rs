//! The stored format of Workload Security Profiles, declared once. No I/O, no async runtime.
//!
//! `capture` and `analyze` never depend on each other: they meet in the bytes that this crate describes.
//!
//! - [`tables`]: every table, declared as code; Arrow schemas, field ids and `TABLES.md` follow from it
//! - [`snapshot`]: the snapshot file, written and read with every row verified
//! - [`identity`]: what makes two nodes the same
//! - [`args`]: command lines as examples, without their secrets
//! - [`address`]: addresses that keep their number
//! - [`image`]: what makes two containers the same workload
//! - [`paths`]: the explicit path rules
//! - [`keys`]: object keys
//! - `store`: opening stores by URL (feature `store`)
//! - [`text`]: the reversible escape of kernel strings

pub mod address;
pub mod args;
pub mod identity;
pub mod image;
pub mod keys;
mod message;
pub mod paths;
pub mod snapshot;
#[cfg(feature = "store")]
pub mod store;
pub mod table;
pub mod tables;
pub mod text;

/// The hash of a whole object, as the ledger has it: BLAKE3, hex.
pub fn content_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
