//! The README's first command, after its set-up.

use wsp_tests::program::{run, wsp};

#[test]
fn the_demo_shows_profiles_and_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("demo");
    let dir = store.to_str().unwrap();
    let first = wsp(["demo", "--dir", dir]).ok();
    for expected in [
        "localhost/demo/web:1.22",
        "localhost/demo/web:1.24",
        "localhost/demo/db:15",
        "/usr/sbin/nginx",
        "$ wsp sql",
    ] {
        assert!(first.contains(expected), "{expected} is not in\n{first}");
    }
    let second = wsp(["demo", "--dir", dir]).ok();
    assert!(second.contains("0 snapshots admitted"), "{second}");
    // What it says to try next works.
    for line in first.lines().filter_map(|line| line.strip_prefix("#   wsp ")) {
        let arguments = split(line);
        let answer = wsp(&arguments).ok();
        assert!(!answer.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_demo_keeps_out_of_other_stores() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let _ = run(
        "wsp-datasets",
        ["generate", "--store", folder, "--images", "1", "--containers", "1", "--no-truth"],
    )
    .ok();
    let before = std::fs::read_dir(folder).unwrap().count();
    let refused = wsp(["demo", "--dir", folder]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is none of the demo's"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), before, "nothing was made");
}

/// Splits a command line that quotes with double quotes only.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn the_recorded_nginx_reads_like_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let _ = wsp(["demo", "--dir", dir]).ok();
    let shown = wsp(["show", "localhost/demo/web:1.22", "--store", dir, "--limit", "0"]).ok();
    for expected in [
        "[init]",
        "/usr/sbin/nginx",
        "master process",
        "worker process",
        "/etc/nginx/nginx.conf",
        "/var/log/nginx/access.log",
        "listen tcp",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    let answer = wsp([
        "sql",
        "select kind, count(*), avg(commonality) from nodes group by kind",
        "--store",
        dir,
        "--format",
        "json",
    ])
    .ok();
    let rows: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let kinds: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["kind"].as_str()).collect();
    for kind in ["process", "file", "listen", "connect", "dns", "syscall", "capability"] {
        assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
    }
}
