//! A clock that is set while the daemon runs. It is the daemon's alone (libfaketime), for a test has no business with the
//! host's: what the kernel side tells is by a clock that nobody can set.

use std::path::{Path, PathBuf};

use chrono::{DurationRound as _, TimeDelta, Utc};
use wsp_schemas::keys::SnapshotKey;
use wsp_tests::podman::{Container, eventually};
use wsp_tests::program::command;

use super::daemon::{Daemon, Place, of, waiting};
use super::{Api, image, of_kind};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What the daemon's clock differs by from the host's.
struct FakeClock(PathBuf);

impl FakeClock {
    fn set(&self, seconds: i64) {
        // Never half written.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn start(&self, place: &Place, options: &[&str]) -> Daemon {
        let mut run = command("wsp-capture");
        run.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", &self.0);
        run.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut daemon = place.spawn_as(&mut run, options);
        daemon.ready();
        daemon
    }
}

/// How many of the container's windows were told to be closed.
fn closed_of(log: &str) -> usize {
    log.lines().filter(|line| line.contains("window closed") && line.contains("wsp-clock")).count()
}

#[test]
fn a_clock_that_is_set_neither_loses_nor_doubles_windows() {
    if !Path::new(LIBRARY).exists() {
        println!("SKIPPED: {LIBRARY} is missing (Debian: apt-get install faketime); no clock is set");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let place = Place::new(|_| api.url.clone());
    let clock = FakeClock(folder.path().join("clock"));
    clock.set(0);
    let script = "while :; do cat /etc/passwd >/dev/null; sleep 0.1; done";
    let container = Container::create("wsp-clock", &["--network=none", &image("busy-1"), "sh", "-c", script]);
    container.start();
    let began = Utc::now();
    let daemon = clock.start(&place, &["--interval", "1s", "--stop-timeout", "60s"]);
    // A store that checks signatures refuses what is dated an hour off: it waits in the spool until the clock is right.
    let closed = || closed_of(&daemon.log());
    // By so much it differs from the host's clock, one after the other.
    let steps = [0, 3600, 0, -3600, 0];
    for (number, seconds) in steps.into_iter().enumerate() {
        clock.set(seconds);
        let steps = |count: usize| daemon.metric("wsp_capture_clock_steps_total") == count as f64;
        eventually("the step is counted", || steps(number));
        let before = closed();
        eventually("windows go on", || closed() >= before + 4);
    }
    let said = daemon.stop();
    let ended = Utc::now();
    for direction in ["forwards", "backwards"] {
        let told = said.lines().filter(|line| line.contains("the clock was set") && line.contains(direction));
        assert_eq!(told.count(), 2, "{said}");
    }

    let all = place.store.snapshots();
    assert_eq!(
        (all.len(), waiting(&place.spool).len()),
        (said.matches("snapshot stored").count(), 0),
        "{said}"
    );
    assert_eq!(of(&all, "wsp-clock"), closed_of(&said), "each window that was told to be closed, once");
    let mut mine: Vec<_> =
        all.iter().filter(|one| one.meta.container.name.as_deref() == Some("wsp-clock")).collect();
    // As they were opened: their ids begin with the time by the clock of then, so that the log tells the order.
    let place_in_log = |id: &str| said.find(&format!("snapshot={id}")).unwrap();
    mine.sort_by_key(|one| place_in_log(&one.meta.id.to_string()));
    let mut off = [0, 0, 0];
    for snapshot in &mine {
        let meta = &snapshot.meta;
        let length = meta.window_end - meta.window_start;
        // By the clock that nobody sets a window is a second long, whatever the other one says; on a busy host it is longer.
        assert!(length > TimeDelta::zero() && length < TimeDelta::seconds(60), "{length}: {meta:?}");
        let (earliest, latest) = (began - TimeDelta::seconds(5), ended + TimeDelta::seconds(5));
        let by = [0, 3600, -3600].map(TimeDelta::seconds);
        let clock =
            by.iter().position(|by| earliest + *by < meta.window_start && meta.window_end < latest + *by);
        off[clock.unwrap_or_else(|| panic!("{meta:?} is of no clock"))] += 1;
        let cats = of_kind(snapshot, "process", &["argv0"]);
        assert!(length < TimeDelta::milliseconds(500) || cats.contains(&vec!["cat".to_owned()]), "{cats:?}");
    }
    println!("{} snapshots by the host's clock, {} an hour ahead, {} behind", off[0], off[1], off[2]);
    assert!(off.iter().all(|count| *count >= 3), "{off:?}");
    for key in place.store.objects().keys() {
        let key = SnapshotKey::parse(key).unwrap();
        let hour = |time: chrono::DateTime<Utc>| time.duration_trunc(TimeDelta::hours(1)).unwrap();
        let hours = [0, 3600, -3600]
            .map(|by| hour(began + TimeDelta::seconds(by))..=hour(ended + TimeDelta::seconds(by)));
        assert!(hours.iter().any(|hours| hours.contains(&key.uploaded)), "{key:?} is of no hour");
    }
}
