//! `wsp detect`, `signals`, `suppress`, `rules` and the imports of alerts, as people type them, over a simulated fleet.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use wsp_datasets::{Fleet, FleetSpec, TruthOption, WriteOptions, write_fleet};
use wsp_schemas::store::{Missing, open};
use wsp_tests::program::{Ended, command, finish, wsp};

const IMAGE: &str = "registry.example.com/shop/web-0:1.0";

fn json(ended: Ended) -> Value {
    serde_json::from_str(&ended.ok()).unwrap()
}

fn rows(ended: Ended) -> Vec<Value> {
    json(ended).as_array().unwrap().clone()
}

fn fails(ended: &Ended, code: i32, part: &str) {
    assert_eq!(ended.code, code, "stdout: {}\nstderr: {}", ended.stdout, ended.stderr);
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains(part), "`{part}` is not in: {told}");
}

/// A fleet of one image whose profile is stable, with snapshots after that.
fn learned(folder: &Path) -> String {
    let dir = folder.join("store").display().to_string();
    let store = open(&dir, Missing::Create).unwrap();
    let spec = FleetSpec {
        images: 1,
        versions: 1,
        containers: 30,
        snapshots: 3,
        attack_share: 0.2,
        lossy_share: 0.0,
        late_share: 0.0,
        blind_share: 0.0,
        spread: Duration::from_hours(6),
        ..FleetSpec::default()
    };
    let fleet = Fleet::new(spec).unwrap();
    let options = WriteOptions { jobs: 2, truth: TruthOption::Skip };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_fleet(&fleet, &store, &options, |_| {})).unwrap();
    let _ = wsp(["merge", "--store", &dir, "--max-snapshots", "60"]).ok();
    dir
}

#[test]
fn what_is_known_is_suggested_accepted_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = learned(folder.path());
    let at = ["--store", &store];
    let run = |arguments: &[&str]| wsp(arguments.iter().chain(&at));

    let trial = json(run(&["detect", "--dry-run", "--json", "--look-back", "48h"]));
    assert_eq!(trial["judged"], 90);
    // Nobody has looked yet.
    let none = run(&["signals", "--format", "json", "--state", "all"]);
    assert!(none.stderr.contains(&format!("`wsp detect --store {store}` looks for them")), "{}", none.stderr);
    assert!(rows(none).is_empty());
    fails(&run(&["signals", "--image", "shop/web-0:2"]), 1, &format!("hint: it has {IMAGE}"));
    let report = json(run(&["detect", "--json", "--concurrency", "2", "--jobs", "2", "--max-signals", "64"]));
    assert_eq!((&report["judged"], &report["signals"]), (&trial["judged"], &trial["signals"]));
    assert_eq!(json(run(&["detect", "--json", "--rescan"]))["judged"], 0);

    // The shell of a health probe is in all containers.
    let probe = |state: &str| {
        let arguments = [
            "signals",
            "--each",
            "--format",
            "json",
            "--limit",
            "1000",
            "--rule",
            "exec_session",
            "--image",
            IMAGE,
            "--severity",
            "low",
            "--context",
            "known",
            "--source",
            "wsp",
            "--since",
            "2026-11-01",
            "--state",
            state,
        ];
        rows(run(&arguments))
    };
    let open = probe("open");
    assert!(!open.is_empty());
    let container = open[0]["container_id"].as_str().unwrap();
    let host = open[0]["host"].as_str().unwrap();
    let of_one = ["signals", "--each", "--format", "json", "--container", &container[..12], "--host", host];
    assert!(rows(run(&of_one)).iter().all(|signal| signal["container_id"] == container));
    let shown = run(&["signals", "show", open[0]["signal"].as_str().unwrap()]).ok();
    assert!(
        shown.contains("known: the stable profile has it, as common as this")
            && shown.contains("commonality 1.00")
            && shown.contains(&format!("wsp show {IMAGE} --revision 1 --store {store}")),
        "{shown}"
    );
    fails(&run(&["signals", "show", "nothing"]), 1, "there is no signal `nothing`");

    let strict = json(run(&[
        "suppress",
        "suggest",
        "--json",
        "--dry-run",
        "--image",
        IMAGE,
        "--rule",
        "exec_session",
        "--min-commonality",
        "0.8",
        "--min-containers",
        "1000",
        "--min-hosts",
        "2",
        "--min-coverage",
        "0.5",
        "--min-completeness",
        "0.95",
    ]));
    assert!(strict["suggestions"].as_array().unwrap().is_empty());
    assert!(strict["refused"][0]["reason"].as_str().unwrap().contains("the profile is small"), "{strict}");
    let suggested = json(run(&["suppress", "suggest", "--json", "--image", IMAGE, "--min-coverage", "0.5"]));
    let mut suggestions = suggested["suggestions"].as_array().unwrap().iter();
    let suggestion = suggestions.find(|one| one["rule"] == "exec_session").unwrap();
    let id = suggestion["id"].as_str().unwrap();
    assert_eq!(suggestion["evidence"]["node"]["commonality"], 1.0);

    fails(
        &run(&["suppress", "accept", id, "--expires", "2026-01-01"]),
        1,
        "--expires 2026-01-01T00:00:00Z is past",
    );
    let accepted =
        run(&["suppress", "accept", id, "--author", "me", "--reason", "health", "--expires", "2099-01-01"])
            .ok();
    assert!(accepted.contains("is accepted until 2099-01-01"), "{accepted}");
    // Once more, to say why: the end stays.
    let accepted = run(&["suppress", "accept", id, "--reason", "health probe"]).ok();
    assert!(accepted.contains("is accepted until 2099-01-01"), "{accepted}");
    fails(&run(&["suppress", "reject", id]), 1, "`wsp suppress remove` takes it back");
    let hidden = probe("suppressed");
    assert!(!hidden.is_empty() && hidden.iter().all(|signal| signal["suppressed_by"] == id));
    let listed = rows(run(&["suppress", "list", "--json", "--state", "accepted"]));
    assert_eq!((listed.len(), &listed[0]["author"]), (1, &Value::from("me")));
    assert!(run(&["suppress", "show", id]).ok().contains("health probe"));
    // The view reads the table as other readers of Delta do.
    let by_sql = rows(run(&[
        "sql",
        "SELECT suppression_id, reason FROM suppressions WHERE state = 'accepted'",
        "--format",
        "json",
    ]));
    assert_eq!(by_sql.iter().map(|row| &row["suppression_id"]).collect::<Vec<_>>(), [id]);

    let file = folder.path().join("out.sql").display().to_string();
    let _ = run(&["suppress", "export", "--format", "sql", "--output", &file]).ok();
    assert!(std::fs::read_to_string(&file).unwrap().contains("rule = 'exec_session'"));
    // Others cannot tell the first process of a session from the container's own.
    fails(&run(&["suppress", "export", "--format", "falco"]), 3, "is left out");

    // Nobody is named: who is logged in takes it back.
    let mut remove = command("wsp");
    let removed =
        finish(remove.args(["suppress", "remove", id]).args(at).env("SUDO_USER", "").env("USER", "jo")).ok();
    assert!(removed.contains("are open again"), "{removed}");
    let removed = rows(run(&["suppress", "list", "--json", "--state", "removed"]));
    assert_eq!(removed[0]["author"], "jo");
    assert_eq!(probe("open").len(), open.len());
    fails(&run(&["suppress", "reject", id]), 1, "is removed: it cannot be rejected");
}

#[test]
fn a_predicate_of_ones_own_narrows_one_rule() {
    let folder = tempfile::tempdir().unwrap();
    let store = learned(folder.path());
    let at = ["--store", &store];
    let run = |arguments: &[&str]| wsp(arguments.iter().chain(&at));
    let _ = run(&["detect"]).ok();
    let add = |rule: &str, predicate: &str, more: &[&str]| {
        let arguments = ["suppress", "add", "--rule", rule, "--image", IMAGE, "--predicate", predicate];
        run(&[&arguments[..], more].concat())
    };
    let told = add("exec_session", "exe LIKE '/usr/bin/%'", &[]).ok();
    assert!(told.contains("nothing was changed; --yes does it"), "{told}");
    let told = add("exec_session", "exe LIKE '/usr/bin/%'", &["--scope", "image", "--yes"]).ok();
    assert!(told.contains("signals are hidden by it now"), "{told}");
    let others = rows(run(&["signals", "--format", "json", "--state", "suppressed"]));
    assert!(others.iter().all(|signal| signal["rule"] == "exec_session"), "{others:?}");
    for (rule, predicate, reason) in [
        ("exec_session", "exe IN (SELECT exe FROM signals)", "no condition over the row's columns"),
        ("exec_session", "true); DROP TABLE signals; --", "no condition over the row's columns"),
        ("exec_session", "exe", "gives Utf8, not true or false"),
        ("exec_sesion", "true", "there is no rule `exec_sesion`"),
        ("kernel_module_loaded", "true", "signals of the rule `kernel_module_loaded` are never suppressed"),
    ] {
        fails(&add(rule, predicate, &["--yes"]), 1, reason);
    }
}

#[test]
fn rules_are_listed_checked_and_tested() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine.toml");
    let rule = "id = \"mine\"\ntitle = \"t\"\nseverity = \"low\"\ndescription = \"d\"\npredicate = \"kind = 'listen'\"\n";
    std::fs::write(&mine, rule).unwrap();
    let mine = mine.to_str().unwrap();
    let listed = rows(wsp(["rules", "list", "--json", "--rules", mine, "--without-rule", "exec_session"]));
    let has = |id: &str| listed.iter().any(|rule| rule["id"] == id);
    assert!(has("mine") && has("reverse_shell_on_socket") && !has("exec_session"));
    fails(&wsp(["rules", "list", "--without-rule", "exec_sessio"]), 1, "did you mean `exec_session`?");
    assert!(wsp(["rules", "show", "mine", "--rules", mine]).ok().contains("kind = 'listen'"));
    assert!(wsp(["rules", "check", mine]).ok().contains("the rule `mine` is good"));
    assert!(wsp(["rules", "test", "--rules", mine]).ok().contains("0 wrong"));

    std::fs::write(mine, rule.replace("kind", "sort")).unwrap();
    fails(&wsp(["rules", "check", mine]), 1, "sort");
    fails(&wsp(["rules", "list", "--rules", mine]), 1, "mine.toml` cannot be used");
    let example =
        format!("{rule}\n[[example]]\nsays = \"x\"\nraises = true\nprocess = [{{ exe = \"/a\" }}]\n");
    std::fs::write(mine, example).unwrap();
    fails(&wsp(["rules", "test", "--rules", mine]), 1, "the rule `mine` does not match the example `x`");
}

#[test]
fn alerts_of_others_become_signals() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    let file = folder.path().join("falco.jsonl");
    let alert = r#"{"output":"o","priority":"Warning","rule":"Read sensitive file untrusted","time":"2026-11-20T10:00:00Z","output_fields":{"container.id":"b12f7b1ffc6b","container.image.repository":"nginx","container.image.tag":"1.25","proc.name":"cat","proc.exepath":"/usr/bin/cat","proc.pname":"containerd-shim","fd.name":"/etc/shadow","fd.typechar":"f","evt.type":"openat"}}"#;
    std::fs::write(&file, format!("{alert}\nno json\n")).unwrap();
    let file = file.to_str().unwrap();
    let import = || wsp(["import", "falco", file, "--store", &store, "--json"]);
    let ended = import();
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&told["read"]["alerts"], &told["read"]["failed"]), (&1.into(), &1.into()));
    assert_eq!(told["raised"]["written"], 1);
    let again: Value = serde_json::from_str(&import().stdout).unwrap();
    assert_eq!((&again["raised"]["written"], &again["raised"]["present"]), (&0.into(), &1.into()));
    let signals = rows(wsp(["signals", "--store", &store, "--format", "json", "--source", "falco"]));
    assert_eq!(signals[0]["rule"], "falco:Read sensitive file untrusted");
    assert_eq!(
        (&signals[0]["target"], &signals[0]["context"]),
        (&"/etc/shadow".into(), &"no_profile".into())
    );
    let none = folder.path().join("none.json");
    std::fs::write(&none, "{}").unwrap();
    let none = none.to_str().unwrap();
    for tool in
        [&["kubescape-alerts"][..], &["tetragon", "--as", "signals"], &["tetragon", "--as", "snapshots"]]
    {
        let arguments = [&["import"][..], tool, &[none, "--store", &store]].concat();
        assert_ne!(wsp(arguments).code, 0);
    }
}
