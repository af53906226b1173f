//! A fleet of any size as object metadata: days of uploads, and the merges that follow them, hour by hour.
//!
//! [`model`] says which snapshots arrive in an hour, [`server`] shows them as an S3 server would, whose tables are real
//! files, and [`replay()`] has the real `wsp merge` run against it and measures each run. A snapshot's bytes are made when
//! somebody asks for them: one process, no more, so that merges admit, freeze and commit as they always do.

mod model;
mod replay;
mod server;

pub(crate) use model::Spec;
pub(crate) use replay::{Plan, ReplayError, Replayed, Tick, replay};
