//! Which workloads have learned: read from the profile tables again and again, so that slots go to workloads that still learn.
//!
//! What is known holds until something else is known: a store that is away, or that no merge has run on, changes nothing.

#[cfg(feature = "profiles")]
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use wsp_schemas::image::WorkloadKey;

#[cfg(feature = "profiles")]
pub use self::table::{ProfilesError, Table};

/// Workloads whose newest profile revision is stable. Of each image digest that its profile has seen a hash is kept: a workload
/// takes some tens of bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stable(HashMap<WorkloadKey, Box<[u64]>>);

impl Stable {
    /// Whether there is nothing to learn of a container. An image that its profile has not seen under the tag is
    /// something new; where no digest is known, the tag is all there is to go by.
    pub fn has(&self, workload: WorkloadKey, digest: Option<&str>) -> bool {
        self.0.get(&workload).is_some_and(|seen| digest.is_none_or(|digest| seen.contains(&hash(digest))))
    }

    /// How many workloads.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one, with the digests that its profile has seen.
    pub fn insert<'a>(&mut self, workload: WorkloadKey, digests: impl IntoIterator<Item = &'a str>) {
        self.0.insert(workload, digests.into_iter().map(hash).collect());
    }
}

fn hash(digest: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(digest.as_bytes()).as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[derive(Debug, Default)]
struct Known {
    asked: bool,
    stable: Arc<Stable>,
}

/// What is known of profiles now. Clones know the same.
#[derive(Debug, Clone)]
pub struct Profiles(watch::Receiver<Known>);

impl Profiles {
    /// Nobody has said where profiles are: no workload is stable.
    pub fn none() -> Self {
        Self::of(Stable::default())
    }

    /// These, for ever.
    pub fn of(stable: Stable) -> Self {
        Self(watch::channel(Known { asked: true, stable: Arc::new(stable) }).1)
    }

    /// The stable workloads, as far as is known.
    pub fn stable(&self) -> Arc<Stable> {
        Arc::clone(&self.0.borrow().stable)
    }

    /// Waits until the store was asked once, whatever it said.
    pub async fn asked(&mut self) {
        // Where nobody asks any more, nobody will.
        let _ = self.0.wait_for(|known| known.asked).await;
    }
}

#[cfg(feature = "profiles")]
mod follow {
    use std::time::Duration;

    use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
    use rand::RngExt as _;

    use super::{Arc, Known, Profiles, Table, watch};
    use crate::metrics::{Metrics, ProfileRead};

    /// Waits after a failure, up to the period.
    const WAITS: ExponentialBuilder =
        ExponentialBuilder::new().with_min_delay(Duration::from_secs(5)).without_max_times().with_jitter();
    /// By how much a period may be shorter, so that a fleet does not ask in step.
    const JITTER: f64 = 0.2;

    impl Profiles {
        /// Reads a table once a period, for as long as somebody wants to know. Needs a tokio runtime.
        pub fn follow(mut table: Table, period: Duration, metrics: Metrics) -> Self {
            let (tell, known) = watch::channel(Known::default());
            tokio::spawn(async move {
                let waits = WAITS.with_max_delay(period);
                let mut failing: Option<ExponentialBackoff> = None;
                let mut said_none = false;
                loop {
                    let read = table.read().await;
                    let mut wait = period.mul_f64(1.0 - JITTER * rand::rng().random::<f64>());
                    match read {
                        Ok(Some(stable)) => {
                            failing = None;
                            metrics.profiles_read(ProfileRead::Read, Some(stable.len()));
                            let stable = Arc::new(stable);
                            tell.send_if_modified(|known| {
                                let changed = known.stable != stable;
                                known.stable = stable;
                                known.asked = true;
                                if changed {
                                    tracing::info!(stable = known.stable.len(), "profiles read");
                                }
                                true
                            });
                        }
                        Ok(None) => {
                            failing = None;
                            metrics.profiles_read(ProfileRead::Missing, None);
                            if !std::mem::replace(&mut said_none, true) {
                                let store = table.store();
                                tracing::warn!(
                                    store,
                                    "no merge has made profiles there yet: nothing is skipped for them"
                                );
                            }
                        }
                        Err(error) => {
                            metrics.profiles_read(ProfileRead::Failed, None);
                            let cause = std::error::Error::source(&error)
                                .map(ToString::to_string)
                                .unwrap_or_default();
                            let next = failing.get_or_insert_with(|| waits.build()).next();
                            wait = next.unwrap_or(period).min(period);
                            tracing::warn!(%error, cause, again_in = ?wait, "recording goes on with the profiles that are known");
                        }
                    }
                    tell.send_modify(|known| known.asked = true);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = tell.closed() => return,
                    }
                }
            });
            Self(known)
        }
    }
}

#[cfg(test)]
mod tests {
    use wsp_schemas::image::Workload;

    use super::*;

    #[test]
    fn an_image_that_a_profile_has_not_seen_is_not_stable() {
        let key = |image: &str| Workload::parse(image).unwrap().key();
        let mut stable = Stable::default();
        stable.insert(key("web:1"), ["sha256:a", "sha256:b"]);
        stable.insert(key("web:2"), []);
        assert!(stable.has(key("web:1"), None) && stable.has(key("web:1"), Some("sha256:b")));
        assert!(!stable.has(key("web:1"), Some("sha256:c")) && !stable.has(key("web:3"), None));
        // Its snapshots told no digest; this one does.
        assert!(stable.has(key("web:2"), None) && !stable.has(key("web:2"), Some("sha256:a")));
    }

    #[cfg(feature = "profiles")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_is_away_is_asked_again_and_changes_nothing() {
        use std::time::Duration;

        use crate::metrics::{self, Metrics};

        let folder = tempfile::tempdir().unwrap();
        let away = folder.path().join("store");
        let metrics = Metrics::default();
        let table = Table::open(away.to_str().unwrap(), wsp_schemas::store::Access::default()).unwrap();
        let mut profiles = Profiles::follow(table, Duration::from_millis(20), metrics.clone());
        profiles.asked().await;
        assert!(profiles.stable().is_empty());
        std::fs::create_dir(&away).unwrap();
        let sink = crate::sink::Sink::open(away.to_str().unwrap()).unwrap();
        let spool = crate::spool::Spool::open(&folder.path().join("spool"), 1 << 20, sink).unwrap();
        let registry = metrics.registry(&spool);
        let counted = |outcome: &str| {
            let series = format!("profile_reads_total{{outcome=\"{outcome}\"}} ");
            let text = metrics::text(&registry);
            let line = text.lines().find_map(|line| line.split_once(&series)).unwrap();
            line.1.parse::<u64>().unwrap()
        };
        for _ in 0..500 {
            if counted("missing") > 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(counted("failed") >= 1 && counted("missing") > 1 && counted("read") == 0);
    }
}
