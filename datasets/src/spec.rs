//! What fleet is simulated.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A fleet, fully: equal specs give equal bytes, on any machine and with any number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetSpec {
    /// Source of all random numbers.
    pub seed: u64,
    /// Images; each has its own catalogue of behaviour.
    pub images: usize,
    /// Number of the first image: fleets whose ranges of images do not meet share no workload.
    #[serde(default)]
    pub first_image: usize,
    /// Tags of each image, each with some behaviour gained and lost.
    pub versions: usize,
    /// Containers of each tag.
    pub containers: usize,
    /// Snapshots of each container, one window after the other.
    pub snapshots: usize,
    /// Hosts that the containers are spread over.
    pub hosts: usize,
    /// Length of a window; some end up to 5 % earlier.
    #[serde(with = "seconds")]
    pub interval: Duration,
    /// Earliest start of a container's first window.
    pub start: DateTime<Utc>,
    /// First windows start within this time of `start`.
    #[serde(with = "seconds")]
    pub spread: Duration,
    /// Nodes of a mid-life window, about. What an image cannot do without (some 60 to 80 nodes) is always there.
    pub nodes: usize,
    /// Share of the containers that were running when their first window opened.
    pub late_share: f64,
    /// Share of the snapshots that lost events.
    pub lossy_share: f64,
    /// Share of the containers that are attacked, in one window each.
    pub attack_share: f64,
    /// First window that an attack may fall into.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attack_from: usize,
    /// Share of the containers that come to do something harmless that their image was never seen doing: drift, of one kind
    /// each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift_share: f64,
    /// First window in which a container may drift.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift_from: usize,
    /// Share of the hosts whose kernel has no DNS sensor.
    pub blind_share: f64,
    /// The newest tag of the first image is pushed again with another digest: the second half of its containers run that.
    pub tag_reuse: bool,
}

/// A fleet that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {value}: {rule}")]
pub struct SpecError {
    /// The setting.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// What holds.
    pub rule: &'static str,
}

/// 2026-11-01T00:00:00Z: fixed, so that two runs without the option are one.
const START: i64 = 1_793_491_200;

impl Default for FleetSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            images: 6,
            first_image: 0,
            versions: 2,
            containers: 12,
            snapshots: 4,
            hosts: 32,
            interval: Duration::from_mins(30),
            start: DateTime::from_timestamp_secs(START).unwrap_or_default(),
            spread: Duration::from_hours(24),
            nodes: 330,
            late_share: 0.1,
            lossy_share: 0.05,
            attack_share: 0.02,
            attack_from: 0,
            drift_share: 0.0,
            drift_from: 0,
            blind_share: 0.05,
            tag_reuse: false,
        }
    }
}

impl FleetSpec {
    /// A fleet in which every container is watched from birth, without loss, attacks or missing sensors.
    pub fn undisturbed() -> Self {
        Self { late_share: 0.0, lossy_share: 0.0, attack_share: 0.0, blind_share: 0.0, ..Self::default() }
    }

    /// Workloads: tags of all images.
    pub fn workloads(&self) -> usize {
        self.images * self.versions
    }

    /// Snapshots of the whole fleet.
    pub fn total_snapshots(&self) -> usize {
        self.workloads() * self.containers * self.snapshots
    }

    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), SpecError> {
        let counts = [
            ("images", self.images, 100_000),
            ("versions", self.versions, 1_000),
            ("containers", self.containers, 10_000_000),
            ("snapshots", self.snapshots, 100_000),
            ("hosts", self.hosts, 10_000_000),
            ("nodes", self.nodes, 100_000),
        ];
        for (what, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(SpecError {
                    what,
                    value: value.to_string(),
                    rule: "not a sensible number; at least 1",
                });
            }
        }
        if self.first_image > 1_000_000 {
            let value = self.first_image.to_string();
            return Err(SpecError { what: "first-image", value, rule: "at most 1000000" });
        }
        let shares = [
            ("late-share", self.late_share),
            ("lossy-share", self.lossy_share),
            ("attack-share", self.attack_share),
            ("drift-share", self.drift_share),
            ("blind-share", self.blind_share),
        ];
        for (what, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(SpecError {
                    what,
                    value: value.to_string(),
                    rule: "a share lies between 0 and 1",
                });
            }
        }
        for (what, window) in [("attack-from", self.attack_from), ("drift-from", self.drift_from)] {
            if window >= self.snapshots {
                let value = window.to_string();
                return Err(SpecError { what, value, rule: "windows count from 0, below the snapshots" });
            }
        }
        // Start-up takes 180 s, and a window must show more than that.
        if !(Duration::from_mins(5)..=Duration::from_hours(24 * 24)).contains(&self.interval) {
            let value = format!("{} s", self.interval.as_secs());
            return Err(SpecError { what: "interval", value, rule: "a window lasts 5 minutes to 24 days" });
        }
        if self.spread > Duration::from_hours(24 * 366) {
            let value = format!("{} s", self.spread.as_secs());
            return Err(SpecError { what: "spread", value, rule: "at most a year" });
        }
        let end =
            self.start + self.spread + self.interval * u32::try_from(self.snapshots).unwrap_or(u32::MAX);
        if self.start.timestamp() < 86_400 * 365 || end.timestamp() > 7_226_582_400 {
            let value = self.start.to_rfc3339();
            return Err(SpecError {
                what: "start",
                value,
                rule: "all windows lie between the years 1971 and 2199",
            });
        }
        Ok(())
    }
}

/// Fields that came after the first fleets are not written where they are not set: specs are compared as text.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Durations as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sensible_and_nonsense_is_named() {
        let spec = FleetSpec::default();
        assert_eq!(spec.check(), Ok(()));
        assert_eq!(spec.start.to_rfc3339(), "2026-11-01T00:00:00+00:00");
        for (bad, message) in [
            (FleetSpec { images: 0, ..spec.clone() }, "images of 0: not a sensible number; at least 1"),
            (
                FleetSpec { late_share: 1.5, ..spec.clone() },
                "late-share of 1.5: a share lies between 0 and 1",
            ),
            (
                FleetSpec { lossy_share: f64::NAN, ..spec.clone() },
                "lossy-share of NaN: a share lies between 0 and 1",
            ),
            (
                FleetSpec { drift_share: -0.1, ..spec.clone() },
                "drift-share of -0.1: a share lies between 0 and 1",
            ),
            (
                FleetSpec { attack_from: 4, ..spec.clone() },
                "attack-from of 4: windows count from 0, below the snapshots",
            ),
            (
                FleetSpec { drift_from: 9, ..spec.clone() },
                "drift-from of 9: windows count from 0, below the snapshots",
            ),
            (
                FleetSpec { interval: Duration::from_secs(1), ..spec.clone() },
                "interval of 1 s: a window lasts 5 minutes to 24 days",
            ),
            (
                FleetSpec { snapshots: 99_999, interval: Duration::from_hours(24 * 20), ..spec },
                "start of 2026-11-01T00:00:00+00:00: all windows lie between the years 1971 and 2199",
            ),
        ] {
            assert_eq!(bad.check().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn specs_without_the_fields_of_drift_are_read_and_written_as_they_are() {
        let text = serde_json::to_string(&FleetSpec::default()).unwrap();
        assert!(!text.contains("drift") && !text.contains("_from"), "{text}");
        assert_eq!(serde_json::from_str::<FleetSpec>(&text).unwrap(), FleetSpec::default());
        let drifting = FleetSpec { attack_from: 1, drift_share: 0.5, drift_from: 2, ..FleetSpec::default() };
        let text = serde_json::to_string(&drifting).unwrap();
        assert_eq!(serde_json::from_str::<FleetSpec>(&text).unwrap(), drifting);
    }
}
