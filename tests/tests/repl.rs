//! `wsp sql` as a conversation at a terminal; util-linux's `script` is the terminal.

use std::io::Write as _;
use std::process::{Command, Stdio};

use wsp_tests::program;

/// What is on the screen after these lines were typed.
fn typed(store: &str, home: &std::path::Path, lines: &[&str]) -> String {
    let wsp = program::path("wsp").display().to_string();
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &format!("{wsp} sql --store {store}"), "/dev/null"])
        .env("XDG_STATE_HOME", home)
        .env("PAGER", "cat")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is part of util-linux");
    // All at once: what is typed ahead is not lost.
    child.stdin.take().unwrap().write_all(lines.concat().as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let screen = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{screen}");
    screen
}

#[test]
fn a_conversation_goes_on_after_mistakes_and_remembers_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    let _ = program::run("wsp", ["demo", "--dir", &store]).ok();
    let count =
        program::run("wsp", ["sql", "SELECT count(*) FROM nodes", "--store", &store, "--format", "csv"]).ok();
    let count = count.lines().nth(1).unwrap();
    let screen = typed(
        &store,
        folder.path(),
        &[
            "\\d\n",
            "\\d profiles\n",
            "SELEC 1;\n",
            "SELECT nothing FROM nodes;\n",
            "DROP VIEW nodes;\n",
            "SELECT 'there are ' || count(*)\n",
            "FROM nodes;\n",
            "SELECT 'moved ' || count(*) FROM activi\t;\n",
            "\\timing\n",
            "\\format csv\n",
            "SELECT 6 * 7 AS answer;\n",
            "\\nonsense\n",
            "\\df members\n",
            "\\q\n",
        ],
    );
    for part in [
        "suppressions",
        "expected_novel_nodes",
        "SELEC",
        "nothing",
        "not allowed",
        &format!("there are {count}"),
        "moved 0",
        "timing is on",
        "answer\r\n42\r\n",
        " s\r\n",
        "there is no \\nonsense",
        "members_count",
    ] {
        assert!(screen.contains(part), "`{part}` is not on the screen:\n{screen}");
    }
    let history = std::fs::read_to_string(folder.path().join("wsp/sql_history")).unwrap();
    assert!(history.contains("6 * 7"), "{history}");
    let screen = typed(&store, folder.path(), &["\u{1b}[A\u{1b}[A\u{1b}[A\u{1b}[A\n", "\\q\n"]);
    assert!(screen.contains("42"), "the line from before is asked again:\n{screen}");
}

#[test]
fn queries_come_from_a_file_and_from_a_pipe_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    let _ = program::run("wsp", ["demo", "--dir", &store]).ok();
    let file = folder.path().join("queries.sql");
    std::fs::write(&file, "SELECT 1 AS a; -- two\nSELECT 'x;y' AS b;\n").unwrap();
    let path = file.to_str().unwrap();
    let said = program::run("wsp", ["sql", "--file", path, "--store", &store, "--format", "csv"]).ok();
    assert_eq!(said, "a\n1\nb\nx;y\n");
    // Files of this host are read where somebody says so, and only there.
    std::fs::write(folder.path().join("own.csv"), "n\n5\n").unwrap();
    let own = format!("SELECT n + 1 AS m FROM '{}'", folder.path().join("own.csv").display());
    let refused = program::run("wsp", ["sql", &own, "--store", &store]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let said = program::run("wsp", ["sql", &own, "--store", &store, "--format", "csv", "--local-files"]).ok();
    assert_eq!(said, "m\n6\n");
}
