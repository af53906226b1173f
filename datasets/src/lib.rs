//! Data for tests, benches and the demo: small recordings that `wsp-capture` made of real containers, a fleet simulator
//! with ground truth, and a gallery of files that a merge must refuse.
//!
//! - [`Fleet`]: a deterministic fleet, snapshot by snapshot; [`Truth`]: what its containers really did
//! - [`write_fleet`]: a fleet into a store, with the truth beside it
//! - [`recordings`]: what is bundled
//! - [`hostile`]: bad input, one object each

mod catalogue;
mod fleet;
pub mod hostile;
pub mod recordings;
mod seed;
mod spec;
pub mod truth;
mod write;

pub use catalogue::{Alphabet, Class, Scope};
pub use fleet::{Fleet, FleetContainer, FleetWorkload, Snapshot};
pub use spec::{FleetSpec, SpecError};
pub use truth::Truth;
pub use write::{TruthOption, WriteError, WriteOptions, Written, write_fleet};
