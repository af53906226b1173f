//! Crashes at any moment lose no closed snapshot, double none, and change no id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually};

use super::daemon::{Place, waiting};
use super::ids::{assert_agree, with_lineage};
use super::{image, lost};

const CRASHES: usize = 50;
const SEED: u64 = 0x5eed_0050;
/// How long a daemon may record: some windows.
const LIFE_MS: u64 = 900;
const INTERVAL: &str = "200ms";
/// One of so many dies before it records, or soon after.
const EARLY: usize = 7;
/// One of so many lives has no store, so what it closes is in its spool when it dies.
const AWAY: usize = 5;

/// What was said to be closed, or found in the spool, and where it is known with which content.
#[derive(Default)]
struct Closed {
    ids: BTreeSet<String>,
    contents: BTreeMap<String, Vec<u8>>,
    stored: BTreeSet<String>,
    windows: usize,
}

impl Closed {
    /// What a daemon said until its end.
    fn hear(&mut self, log: &str) {
        for line in log.lines() {
            if line.contains("window closed") {
                assert!(self.ids.insert(field(line, "snapshot")), "a window was told twice: {line}");
                self.windows += 1;
            } else if line.contains("snapshot stored") {
                self.stored.insert(field(line, "key"));
            }
        }
    }

    /// What its spool holds after that.
    fn find(&mut self, place: &Place) -> usize {
        let waiting = waiting(&place.spool);
        let count = waiting.len();
        for (key, content) in waiting {
            self.ids.insert(id_of(&key));
            let before = self.contents.insert(key.clone(), content.clone());
            assert!(before.is_none_or(|before| before == content), "{key} changed in the spool");
        }
        count
    }
}

/// The value of a field of a log line.
fn field(line: &str, name: &str) -> String {
    let value = line.split(&format!(" {name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
    value.split(' ').next().unwrap().trim_matches('"').to_owned()
}

fn id_of(key: &str) -> String {
    SnapshotKey::parse(key).unwrap().id.to_string()
}

#[test]
fn fifty_crashes_lose_and_double_no_closed_snapshot() {
    // Fifty starts: names from the runtime's files, and no sensors that this is not about.
    let mut place = Place::new(|_| "/nowhere/podman.sock".to_owned());
    let options = ["--interval", INTERVAL, "--sensors", "process,file"];
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let tools = image("tools-1");
    let script = "cat /etc/passwd >/tmp/copy & (sleep 1000; :) & perl -e 'sleep 1000' & \
                  while :; do head -n 1 /etc/group >/dev/null; sleep 0.1; done";
    let start = |name: &str| {
        let container = Container::create(name, &["--network=none", &tools, "bash", "-c", script]);
        container.start();
        container
    };
    // One is there before any daemon, the other one is born under the first.
    let _before = start("wsp-crash-before");
    let mut born = None;
    let mut closed = Closed::default();
    let (mut early, mut in_spool) = (0, 0);
    let began = std::time::Instant::now();
    for crash in 0..CRASHES {
        let away = crash % AWAY == AWAY - 1;
        if away {
            place.store.go_away();
        }
        let mut daemon = place.spawn(&options);
        if crash == 0 {
            daemon.ready();
            born = Some(start("wsp-crash-born"));
            eventually("its start is stored", || place.stored("wsp-crash-born") > 0);
        }
        if crash % EARLY != EARLY - 1 {
            daemon.ready();
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..LIFE_MS)));
        let log = daemon.kill();
        early += usize::from(!log.contains("capturing"));
        closed.hear(&log);
        in_spool += closed.find(&place);
        if away {
            place.store.come_back();
        }
    }
    // What waits goes out at the next start.
    let daemon = place.start(&options);
    closed.hear(&daemon.stop());
    drop(born);

    let objects = place.store.objects();
    println!(
        "{CRASHES} crashes in {} s, {early} before it recorded; {} snapshots, {} windows told as closed, {} uploads told, {in_spool} found in the spool",
        began.elapsed().as_secs(),
        objects.len(),
        closed.windows,
        closed.stored.len(),
    );
    assert!(closed.windows > CRASHES && in_spool > 0 && early <= CRASHES / EARLY, "the crashes hit nothing");
    assert_eq!(waiting(&place.spool).len(), 0);
    for part in ["partial", "taken"] {
        assert_eq!(std::fs::read_dir(place.spool.join(part)).unwrap().count(), 0, "{part}");
    }
    let stored: Vec<String> = objects.keys().map(|key| id_of(key)).collect();
    let ids: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), ids.len(), "a snapshot is there twice");
    let missing: Vec<&String> = closed.ids.difference(&ids).collect();
    assert!(missing.is_empty(), "closed and lost: {missing:?}");
    for key in &closed.stored {
        assert!(objects.contains_key(key), "{key} was told to be stored");
    }
    for (key, content) in &closed.contents {
        assert!(objects.get(key) == Some(content), "{key} is not what was in the spool");
    }
    // What was stored and not told any more was under way when the daemon died: at most what uploads at once.
    let untold = ids.difference(&closed.ids).count();
    assert!(untold <= 8 * CRASHES, "{untold} of {} were never told", ids.len());

    let all = place.store.snapshots();
    for name in ["wsp-crash-before", "wsp-crash-born"] {
        let mut of_it: Vec<&Verified> =
            all.iter().filter(|one| one.meta.container.name.as_deref() == Some(name)).collect();
        of_it.sort_by_key(|one| one.meta.window_start);
        println!("{name}: {} snapshots", of_it.len());
        for pair in of_it.windows(2) {
            let [one, next] = [&pair[0].meta, &pair[1].meta];
            assert!(one.window_start < one.window_end, "{name}: {one:?}");
            assert!(one.window_end <= next.window_start, "{name}: {} and {} overlap", one.id, next.id);
        }
        assert!(of_it.iter().all(|one| lost(one) == 0), "{name}");
        // What lives and does nothing stands in the first window of each daemon.
        let shows_idle = |snapshot: &&&Verified| {
            with_lineage(snapshot).iter().any(|node| node.what.contains("process /usr/bin/perl "))
        };
        let met = of_it.iter().filter(shows_idle).count();
        assert!(met > CRASHES / 5, "{name}: only {met} of {} show what is idle", of_it.len());
    }
    assert!(all.iter().filter(|one| one.meta.covers_start).count() == 1, "one start was seen");
    assert_agree(all.iter());
}
