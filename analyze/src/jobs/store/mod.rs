//! `store`: whether the object storage keeps its promises ([`check`]), and whether the profile tables hold what they say
//! ([`verify`]). Neither changes a table.

mod bucket;
pub mod check;
mod compacted;
mod object;
mod properties;
mod revision;
pub mod verify;

pub use super::{Progress, Silent};
