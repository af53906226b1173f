//! What every command does alike: logs, hints, columns for programs.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use wsp_tests::program::{finish, path, wsp};

#[test]
fn verbose_logs_are_ours_and_plain() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store").display().to_string();
    let _ = wsp(["demo", "--dir", &dir]).ok();
    for (verbose, level) in [("--verbose", " INFO wsp_analyze"), ("-vv", " INFO wsp_analyze")] {
        let merged = wsp(["merge", "--store", &dir, verbose]);
        assert_eq!(merged.code, 0, "{}", merged.stderr);
        assert!(
            merged.stderr.contains(level) && merged.stderr.contains("listing snapshots"),
            "{}",
            merged.stderr
        );
        assert!(!merged.stderr.contains('\u{1b}'), "{:?}", merged.stderr);
        for line in merged.stderr.lines().filter(|line| line.contains(" INFO ") || line.contains(" DEBUG ")) {
            assert!(line.contains(" wsp_"), "{verbose}: {line}");
        }
    }
    assert_eq!(wsp(["merge", "--store", &dir]).stderr, "");
    // The engine's own logs are there for who asks for them.
    let mut asked = wsp_tests::program::command("wsp");
    let asked = finish(asked.args(["merge", "--store", &dir]).env("WSP_LOG", "debug"));
    assert!(asked.stderr.lines().any(|line| !line.contains(" wsp_")), "{}", asked.stderr);
}

/// `wsp` as a user without rights: root is not refused by permissions.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env_clear();
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(65_534).gid(65_534);
    }
    command
}

fn set_mode(folder: &Path, mode: u32) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    // Where the build is need not be open to everybody.
    let program = folder.path().join("wsp");
    std::fs::hard_link(path("wsp"), &program)
        .or_else(|_| std::fs::copy(path("wsp"), &program).map(drop))
        .unwrap();
    let store = folder.path().join("store");
    let _ = wsp(["demo", "--dir", store.to_str().unwrap()]).ok();
    std::fs::remove_dir_all(store.join("tables")).unwrap();
    set_mode(&store, 0o555);
    let merged = finish(as_nobody(&program).args(["merge", "--store"]).arg(&store));
    set_mode(&store, 0o755);
    assert_eq!(merged.code, 1, "{}", merged.stdout);
    let hint = merged.stderr.lines().find(|line| line.starts_with("hint:")).unwrap_or_default();
    assert!(hint.contains(store.to_str().unwrap()) && hint.contains("permissions"), "{}", merged.stderr);
    assert!(!merged.stderr.contains("credentials"), "{}", merged.stderr);
    assert!(!store.join("tables").exists());
}

#[test]
fn programs_get_the_columns_of_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let _ = wsp(["demo", "--dir", dir]).ok();
    let listed = wsp(["profiles", "--store", dir, "--format", "csv"]).ok();
    let columns = listed.lines().next().unwrap();
    assert!(columns.starts_with("image,revision,status,snapshot_count,"), "{columns}");
    let again = wsp([
        "sql",
        &format!("select {columns} from profiles order by image"),
        "--store",
        dir,
        "--format",
        "csv",
    ]);
    assert_eq!(again.ok(), listed);
    let table = wsp(["profiles", "--store", dir]).ok();
    assert!(table.contains("┆ rev ┆") && !table.contains("snapshot_count"), "{table}");
}

#[test]
fn a_stable_profile_learns_anew_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let _ = wsp(["demo", "--dir", dir]).ok();
    let image = "localhost/demo/db:15";
    let early = wsp(["profiles", "relearn", image, "--store", dir]);
    assert_eq!(early.code, 1, "{}", early.stdout);
    assert!(early.stderr.contains("revision 1 is still learning"), "{}", early.stderr);
    let _ = wsp(["merge", "--store", dir, "--as-of", "2100-01-01"]);
    let said = wsp(["profiles", "relearn", image, "--store", dir, "--since", "2026-11-01"]).ok();
    assert!(said.contains("revision 2") && said.contains("2026-11-01T00:00:00Z"), "{said}");
    let query =
        "select revision, status, snapshot_count from profiles where image_name like '%/db' order by 1";
    let rows = wsp(["sql", query, "--store", dir, "--format", "csv"]).ok();
    let rows: Vec<&str> = rows.lines().skip(1).collect();
    assert!(rows[0].starts_with("1,stable,") && rows[1] == "2,learning,0" && rows.len() == 2, "{rows:?}");
    // Both can be shown and compared; one has nothing yet.
    let shown = wsp(["show", image, "--revision", "2", "--store", dir]).ok();
    assert!(shown.contains("revision 2, learning"), "{shown}");
    let unknown = wsp(["profiles", "relearn", "nope:1", "--store", dir]);
    assert!(unknown.code == 1 && unknown.stderr.contains("nope:1"), "{}", unknown.stderr);
}

#[test]
fn compaction_says_what_it_left_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let _ = wsp(["demo", "--dir", dir]).ok();
    let learning = wsp(["compact", "--store", dir, "--keep-raw", "0s"]).ok();
    assert!(learning.starts_with("0 snapshots") && learning.contains("still learns"), "{learning}");
    let _ = wsp(["merge", "--store", dir, "--as-of", "2100-01-01"]).ok();
    let waiting = wsp(["compact", "--store", dir, "--keep-raw", "0s"]).ok();
    assert!(waiting.contains("--without-detect"), "{waiting}");
    let told = ["compact", "--store", dir, "--keep-raw", "0s", "--without-detect", "--json"];
    let report: serde_json::Value = serde_json::from_str(&wsp(told).ok()).unwrap();
    let moved = report["raw"]["moved"].as_u64().unwrap();
    assert!(moved > 0 && report["raw"]["deleted"] == moved, "{report}");
    // Some have no nodes: they are not in the view.
    let count = "select count(distinct snapshot_id) as n from raw.activity";
    assert_eq!(wsp(["sql", count, "--store", dir, "--format", "csv"]).ok(), format!("n\n{moved}\n"));
    let verified = wsp(["store", "verify", "--store", dir]).ok();
    assert!(verified.contains(&format!("{moved} are in activity")), "{verified}");
    let short = wsp(["compact", "--store", dir, "--keep-versions", "5m"]);
    assert!(short.code == 1 && short.stderr.contains("hint: give --keep-versions 1h"), "{}", short.stderr);
    let none = wsp(["compact", "--store", tempfile::tempdir().unwrap().path().to_str().unwrap()]);
    assert!(none.code == 1 && none.stderr.contains("has no profiles"), "{}", none.stderr);
}
