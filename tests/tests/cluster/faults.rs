//! Whatever dies while a job runs: it ends well or with a clear error, and the next one gives the tables of an undisturbed one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wsp_schemas::store::{Missing, open};
use wsp_tests::delta::Tables;
use wsp_tests::program;
use wsp_tests::s3::S3Server;

use super::{Cluster, copy, files, fleet, merge, scheduler};
use crate::merge::block_on;

const AS_OF: &str = "2026-11-09T00:00:00Z";

/// What goes wrong while a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// An executor is killed; a new one comes in its place.
    Executor,
    /// All executors are killed; new ones come.
    AllExecutors,
    /// The scheduler is killed; a new one comes in its place.
    Scheduler,
    /// The job is killed.
    Driver,
    /// An executor stands still for less than it takes to be given up.
    Slow,
    /// It stands still for longer, and then goes on.
    Silent,
}

const FAULTS: [Fault; 6] =
    [Fault::Executor, Fault::AllExecutors, Fault::Scheduler, Fault::Driver, Fault::Slow, Fault::Silent];

fn tables(store: &Path) -> Tables {
    let store = open(store.to_str().unwrap(), Missing::Refuse).unwrap();
    block_on(Tables::read(&store)).unwrap()
}

fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A store with uploads, a cluster of its executors, and what the tables must be.
struct Stage {
    uploads: PathBuf,
    store: PathBuf,
    cluster: Cluster,
    expected: Tables,
    /// What a merge takes.
    takes: Duration,
}

impl Stage {
    fn new(folder: &Path) -> Self {
        let [uploads, store] = ["uploads", "store"].map(|name| folder.join(name));
        fleet(&uploads, 3, 8, 12, "0");
        std::fs::create_dir_all(&store).unwrap();
        let cluster = Cluster::start(&store, 3);
        let mut stage = Self { uploads, store, cluster, expected: Tables::default(), takes: Duration::ZERO };
        stage.set();
        let started = Instant::now();
        let _ = merge(&stage.store, &["--as-of", AS_OF, "--cluster", &stage.cluster.url()]).ok();
        stage.takes = started.elapsed();
        stage.expected = tables(&stage.store);
        // An undisturbed cluster gives what one machine gives.
        stage.set();
        let _ = merge(&stage.store, &["--as-of", AS_OF]).ok();
        assert_eq!(stage.expected.differences(&tables(&stage.store), &[]), None);
        stage
    }

    /// All uploads, and no tables.
    fn set(&self) {
        let _ = std::fs::remove_dir_all(&self.store);
        for file in files(&self.uploads.join("snapshots")) {
            copy(&self.uploads, &file, &self.store);
        }
    }

    fn job(&self) -> Child {
        let mut command = program::command("wsp");
        command
            .args(["merge", "--json", "--max-snapshots", "20", "--as-of", AS_OF, "--store"])
            .arg(&self.store);
        command.args(["--cluster", &self.cluster.url()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Does it, and mends it.
    fn inject(&mut self, fault: Fault, victim: usize, job: &mut Child) {
        match fault {
            Fault::Executor => {
                self.cluster.executors[victim].kill();
                self.cluster.executors[victim] = self.cluster.executor(victim);
            }
            Fault::AllExecutors => {
                self.cluster.executors.iter_mut().for_each(super::Node::kill);
                for number in 0..self.cluster.executors.len() {
                    self.cluster.executors[number] = self.cluster.executor(number);
                }
            }
            Fault::Scheduler => {
                self.cluster.scheduler.kill();
                (self.cluster.scheduler, _) = scheduler(self.cluster.address, &[]);
            }
            Fault::Driver => drop(job.kill()),
            Fault::Slow | Fault::Silent => {
                let pid = self.cluster.executors[victim].pid();
                signal(pid, "STOP");
                let pause = if fault == Fault::Slow { 1500 } else { 7000 };
                std::thread::sleep(Duration::from_millis(pause));
                signal(pid, "CONT");
            }
        }
    }

    /// One job with a fault after this share of its time. Gives how it ended.
    fn case(&mut self, fault: Fault, share: f64, victim: usize) -> &'static str {
        self.set();
        let mut job = self.job();
        std::thread::sleep(self.takes.mul_f64(share));
        self.inject(fault, victim, &mut job);
        let ended: program::Ended = job.wait_with_output().unwrap().into();
        let said = format!("{fault:?} after {share:.2}: {ended:?}");
        let ending = match ended.code {
            0 => "ended well",
            1 => {
                let is_clear =
                    ended.stderr.starts_with("error: the cluster df://") && ended.stderr.contains("hint:");
                assert!(is_clear && !ended.stderr.contains("bug"), "{said}");
                "failed with a clear error"
            }
            -9 if fault == Fault::Driver => "was killed",
            _ => panic!("{said}"),
        };
        self.cluster.settle();
        let again = merge(&self.store, &["--as-of", AS_OF, "--cluster", &self.cluster.url()]);
        assert_eq!(again.code, 0, "{said}\n{again:?}");
        let differences =
            self.expected.differences(&tables(&self.store), &["profile_snapshots.batch", "profiles.batch"]);
        assert_eq!(differences, None, "{said}");
        ending
    }
}

#[test]
fn whatever_dies_the_next_job_gives_the_undisturbed_tables() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path());
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut endings: BTreeMap<(Fault, &str), usize> = BTreeMap::new();
    for round in 0..9_u32 {
        for fault in FAULTS {
            let share = (f64::from(round) + random.random_range(0.0..1.0)) / 9.0;
            let ending = stage.case(fault, share, random.random_range(0..3));
            *endings.entry((fault, ending)).or_default() += 1;
        }
    }
    for ((fault, ending), count) in &endings {
        println!("{fault:?}: {count} {ending}");
    }
    let injected: usize = endings.values().sum();
    println!("{injected} faults while a job of {:?} ran", stage.takes);
    assert!(injected >= 50);
}

#[test]
fn a_full_work_directory_fails_the_job_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let [store, work] = ["store", "work"].map(|name| folder.path().join(name));
    fleet(&store, 3, 8, 4, "0");
    std::fs::create_dir_all(&work).unwrap();
    let mount = |command: &str, options: &[&str]| {
        let done = std::process::Command::new(command).args(options).arg(&work).status().unwrap();
        assert!(done.success(), "{command}");
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=40k", "tmpfs"]);
    let mut cluster = Cluster::start(&store, 0);
    cluster.places = Cluster::places(1);
    let executor = cluster.executor_with(0, &work, &[]);
    cluster.executors.push(executor);
    cluster.settle();
    let ended = merge(&store, &["--as-of", AS_OF, "--cluster", &cluster.url()]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("No space left") || ended.stderr.contains("os error 28"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("bug"), "{}", ended.stderr);
    // With room it goes on; nothing was decided before.
    mount("mount", &["-o", "remount,size=64m"]);
    let again = merge(&store, &["--as-of", AS_OF, "--cluster", &cluster.url()]);
    cluster.executors.clear();
    mount("umount", &[]);
    assert_eq!(again.code, 0, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_costs_time_and_one_that_is_away_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, bucket] = ["alone", "server/bucket/fleet"].map(|name| folder.path().join(name));
    fleet(&alone, 3, 8, 6, "0");
    for file in files(&alone.join("snapshots")) {
        copy(&alone, &file, &bucket);
    }
    let server = S3Server::start(&folder.path().join("server")).await.unwrap();
    let (busy, environment) = (server.busy().clone(), server.environment().to_vec());
    let done = tokio::task::spawn_blocking(move || {
        let store = "s3://bucket/fleet";
        let cluster = Cluster::start_of(store, 3, environment.clone());
        let job = |more: &[&str]| {
            let mut command = program::command("wsp");
            command.args(["merge", "--json", "--max-snapshots", "20", "--as-of", AS_OF, "--store", store]);
            command.args(["--cluster", &cluster.url()]).args(more).envs(environment.iter().cloned());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        };
        let wait = |job: Child| -> program::Ended { job.wait_with_output().unwrap().into() };
        let _ = merge(&alone, &["--as-of", AS_OF]).ok();
        let undisturbed = tables(&alone);
        let is_undisturbed = |said: &str| {
            let differences =
                undisturbed.differences(&tables(&bucket), &["profile_snapshots.batch", "profiles.batch"]);
            assert_eq!(differences, None, "{said}");
        };
        // Every fourth request is told to slow down, all the time.
        busy.set(25);
        let started = Instant::now();
        let ended = wait(job(&[]).spawn().unwrap());
        println!("25 of 100 requests refused: {:?}, exit code {}", started.elapsed(), ended.code);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        busy.set(0);
        is_undisturbed("busy all the time");
        // Nothing is answered for two seconds in the middle, then for good.
        for (share, pause) in [(0.2, 2), (0.6, 2), (0.4, 600)] {
            std::fs::remove_dir_all(bucket.join("tables")).unwrap();
            let running = job(&[]).spawn().unwrap();
            std::thread::sleep(Duration::from_secs_f64(2.0 * share));
            busy.set(100);
            let ended = if pause > 60 {
                wait(running)
            } else {
                std::thread::sleep(Duration::from_secs(pause));
                busy.set(0);
                wait(running)
            };
            println!(
                "away after {:.1} s: exit code {}, {}",
                2.0 * share,
                ended.code,
                ended.stderr.lines().next().unwrap_or("")
            );
            busy.set(0);
            // What was not read then is read now.
            let again = wait(job(&[]).spawn().unwrap());
            assert_eq!(again.code, 0, "{again:?}");
            match ended.code {
                0 if pause < 60 => is_undisturbed("away for a while"),
                1 => {
                    assert!(
                        ended.stderr.starts_with("error: ") && !ended.stderr.contains("bug"),
                        "{}",
                        ended.stderr
                    );
                    is_undisturbed("away for good, then back");
                }
                // It went on without some snapshots, as if they had been uploaded after it.
                3 => {
                    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
                    let problems = report["unavailable"].as_array().unwrap();
                    let late: Vec<&str> =
                        problems.iter().map(|problem| problem["object"].as_str().unwrap()).collect();
                    println!("{} snapshots were not read at first", late.len());
                    let one_machine = folder.path().join(format!("late-{share}"));
                    let is_late = |file: &PathBuf| late.iter().any(|key| *file == alone.join(key));
                    let (then, now): (Vec<_>, Vec<_>) =
                        files(&alone.join("snapshots")).into_iter().partition(is_late);
                    for part in [now, then] {
                        part.iter().for_each(|file| copy(&alone, file, &one_machine));
                        assert_eq!(merge(&one_machine, &["--as-of", AS_OF]).code, 0);
                    }
                    let differences = tables(&one_machine).differences(&tables(&bucket), &[]);
                    assert_eq!(differences, None);
                }
                code => panic!("{code}: {}", ended.stderr),
            }
        }
    });
    done.await.unwrap();
}
