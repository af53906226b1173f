//! Whether the daemon lives, told to those who watch it: systemd through its socket, everybody else through
//! [`Pulse::health`].
//!
//! The event loop itself beats: where it hangs, systemd restarts the daemon, and a probe of [`Pulse::liveness`] fails.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::spool::{Counts, Spool};

/// How often the event loop beats.
pub const BEAT: Duration = Duration::from_secs(1);
/// After how long without a beat it is taken for hung: far more than the largest batch of events takes.
const HUNG: Duration = Duration::from_secs(15);
/// Of 100 parts of the spool's limit: from here on the next outage loses snapshots.
const NEARLY_FULL: u64 = 90;

const STARTING: u8 = 0;
const ATTACHED: u8 = 1;
const STOPPING: u8 = 2;

/// The daemon's pulse. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: AtomicU8,
    /// When the first beat was.
    first: OnceLock<Instant>,
    /// Milliseconds from the first beat to the last one.
    last_ms: AtomicU64,
}

impl Pulse {
    /// The probe is attached, and the event loop begins.
    pub fn ready(&self, status: &str) {
        self.0.phase.store(ATTACHED, Ordering::Relaxed);
        self.mark(Instant::now());
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The event loop has come round.
    pub fn beat(&self, status: &str) {
        self.mark(Instant::now());
        // Without a watchdog systemd ignores it.
        tell(&[NotifyState::Watchdog, NotifyState::Status(status)]);
    }

    /// The event loop is over.
    pub fn stopping(&self) {
        self.0.phase.store(STOPPING, Ordering::Relaxed);
        tell(&[NotifyState::Stopping, NotifyState::Status("uploading what is left")]);
    }

    /// Nothing where the daemon need not be restarted; otherwise why it must be.
    pub fn liveness(&self) -> Option<String> {
        self.hung(Instant::now())
    }

    /// What keeps the daemon from doing all of its work; nothing where it is well. Writes to the spool: call it where that
    /// may block.
    pub fn health(&self, spool: &Spool) -> Vec<String> {
        let mut wrong = Vec::new();
        match self.0.phase.load(Ordering::Relaxed) {
            STARTING => wrong.push("starting: the probe is not attached yet".to_owned()),
            STOPPING => wrong.push("stopping: the probe is detached".to_owned()),
            _ => {}
        }
        wrong.extend(self.hung(Instant::now()));
        let folder = spool.folder().display();
        if let Err(error) = spool.try_writing() {
            wrong.push(format!("the spool {folder} cannot be written: {error}"));
        }
        let (Counts { waiting_bytes, .. }, limit) = (spool.counts(), spool.limit());
        if waiting_bytes.saturating_mul(100) >= limit.saturating_mul(NEARLY_FULL) {
            wrong.push(format!(
                "the spool {folder} is nearly full ({waiting_bytes} of {limit} bytes): can the store be reached? See uploads in /metrics, or raise --spool-limit"
            ));
        }
        wrong
    }

    fn mark(&self, now: Instant) {
        let since = now.saturating_duration_since(*self.0.first.get_or_init(|| now));
        self.0.last_ms.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Only between start and stop there is a loop that could hang.
    fn hung(&self, now: Instant) -> Option<String> {
        let first = self.0.first.get().filter(|_| self.0.phase.load(Ordering::Relaxed) == ATTACHED)?;
        let last = *first + Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed));
        let silent = now.saturating_duration_since(last);
        (silent > HUNG).then(|| format!("the event loop has not come round for {} s", silent.as_secs()))
    }
}

/// Tells systemd, where it started us.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// Warns where the watchdog is set to less than what the event loop can keep.
pub fn check_watchdog() {
    if let Some(watchdog) = sd_notify::watchdog_enabled().filter(|watchdog| *watchdog < 5 * BEAT) {
        tracing::warn!(?watchdog, "WatchdogSec is too short: set it to 30s or more");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use uuid::Uuid;
    use wsp_schemas::image::WorkloadKey;
    use wsp_schemas::keys::{SnapshotId, SnapshotKey};

    use super::*;
    use crate::sink::Sink;

    fn spool(folder: &std::path::Path, limit: u64) -> Spool {
        let sink = Sink::open(folder.join("store").to_str().unwrap()).unwrap();
        Spool::open(&folder.join("spool"), limit, sink).unwrap()
    }

    #[test]
    fn health_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let (pulse, spool) = (Pulse::default(), spool(folder.path(), 1 << 20));
        assert!(pulse.health(&spool).iter().any(|wrong| wrong.contains("starting")));
        assert_eq!(pulse.liveness(), None);
        pulse.ready("");
        assert_eq!(pulse.health(&spool), Vec::<String>::new());
        std::fs::remove_dir_all(folder.path().join("spool/partial")).unwrap();
        let wrong = pulse.health(&spool);
        assert!(wrong.len() == 1 && wrong[0].contains("cannot be written"), "{wrong:?}");
        pulse.stopping();
        assert!(pulse.health(&spool)[0].contains("stopping"));
    }

    #[test]
    fn a_spool_that_is_nearly_full_is_told_before_it_drops_anything() {
        let folder = tempfile::tempdir().unwrap();
        drop(spool(folder.path(), 1000));
        let key = SnapshotKey {
            uploaded: "2026-01-02T03:00:00Z".parse().unwrap(),
            workload: WorkloadKey::UNKEYED,
            window_end_ms: 1_767_322_800_000,
            id: SnapshotId::new(Uuid::now_v7()),
        };
        let waiting = folder.path().join("spool/waiting").join(key.path().replace('/', "~"));
        for (bytes, full) in [(899, false), (900, true)] {
            std::fs::write(&waiting, vec![0; bytes]).unwrap();
            let (pulse, spool) = (Pulse::default(), spool(folder.path(), 1000));
            pulse.ready("");
            let wrong = pulse.health(&spool);
            assert_eq!(wrong.iter().any(|wrong| wrong.contains("nearly full (900 of 1000 bytes)")), full);
            // A restart would not help.
            assert_eq!(pulse.liveness(), None);
            assert_eq!(spool.oldest_waiting_ms(), Some(key.window_end_ms));
        }
    }

    #[test]
    fn a_loop_that_is_silent_is_hung_until_it_beats_again() {
        let pulse = Pulse::default();
        let now = Instant::now();
        pulse.ready("");
        let late = now + HUNG + Duration::from_secs(7);
        assert!(pulse.hung(now).is_none());
        assert!(pulse.hung(late).unwrap().contains("has not come round for 2"));
        pulse.mark(late);
        assert!(pulse.hung(late).is_none());
        pulse.stopping();
        assert!(pulse.hung(late + 2 * HUNG).is_none());
    }

    #[test]
    fn systemd_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        // SAFETY: nextest runs each test in a process of its own, and this one has no other thread that reads variables.
        unsafe { std::env::set_var("NOTIFY_SOCKET", &path) };
        let pulse = Pulse::default();
        pulse.ready("containers: 3");
        pulse.beat("containers: 4");
        pulse.stopping();
        let heard = || {
            let mut buffer = [0; 200];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(heard(), "READY=1\nSTATUS=containers: 3\n");
        assert_eq!(heard(), "WATCHDOG=1\nSTATUS=containers: 4\n");
        assert!(heard().starts_with("STOPPING=1\n"));
    }
}
