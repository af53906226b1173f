//! What pages say is what SQL says.

use std::collections::BTreeSet;

use serde_json::Value;
use wsp_tests::program::{run, wsp};

use super::{Explorer, document, document_at, fleet, sql};

fn report(store: &str, options: &[&str]) -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("report");
    let arguments = ["report", "--store", store, "--output", output.to_str().unwrap()];
    let said = wsp(arguments.iter().chain(options)).ok();
    assert!(said.contains("index.html"), "{said}");
    let index = document_at(&output.join("index.html"));
    (folder, index)
}

#[test]
fn a_report_of_the_recordings_says_what_sql_says() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("demo");
    let store = store.to_str().unwrap();
    let _ = wsp(["demo", "--dir", store]).ok();
    let (folder, index) = report(store, &[]);
    let folder = folder.path().join("report");
    let profiles = index["page"]["profiles"].as_array().unwrap();
    let told =
        sql(store, "select image, revision, nodes, commonality from profiles order by image_name, image_tag");
    assert_eq!(profiles.len(), told.len());
    for (profile, told) in profiles.iter().zip(&told) {
        for name in ["image", "revision", "nodes", "commonality"] {
            assert_eq!(profile[name], told[name], "{name} of {}", told["image"]);
        }
        let page = document_at(&folder.join(profile["href"].as_str().unwrap()));
        assert_eq!(page["page"]["profile"], *profile);
        nodes_are_those_of_sql(store, &page["page"]);
        let others = profiles.iter().filter(|other| {
            other["image_name"] == profile["image_name"] && other["image_tag"] != profile["image_tag"]
        });
        let diffs = page["page"]["diffs"].as_array().unwrap();
        assert_eq!(diffs.len(), others.count());
        for diff in diffs {
            differences_are_those_of_wsp_diff(store, profile["image"].as_str().unwrap(), diff);
        }
    }
    assert_eq!(document_at(&folder.join("signals.html"))["page"]["signals"], Value::Array(Vec::new()));
    // Once more, into the same folder.
    let again = wsp(["report", "--store", store, "-o", folder.to_str().unwrap()]).ok();
    assert!(again.contains("pages"), "{again}");
}

fn nodes_are_those_of_sql(store: &str, page: &Value) {
    let image = page["profile"]["image"].as_str().unwrap();
    let nodes: Vec<&Value> =
        page["nodes"].as_array().unwrap().iter().filter(|node| node["collapsed_into"].is_null()).collect();
    let told = sql(
        store,
        &format!(
            "select node_id, parent_id, kind, target, commonality, container_count, eligible_containers, stable, rare, late, phase, \
             members_count(members) as members from nodes where image = '{image}' order by node_id"
        ),
    );
    let mut shown = nodes.clone();
    shown.sort_by_key(|node| node["id"].as_str().unwrap());
    assert_eq!(shown.len(), told.len());
    for (node, told) in shown.into_iter().zip(&told) {
        for (name, column) in [
            ("id", "node_id"),
            ("parent", "parent_id"),
            ("kind", "kind"),
            ("target", "target"),
            ("commonality", "commonality"),
            ("containers", "container_count"),
            ("eligible", "eligible_containers"),
            ("stable", "stable"),
            ("rare", "rare"),
            ("late", "late"),
            ("phase", "phase"),
        ] {
            assert_eq!(node[name], told[column], "{name} of {}", told["target"]);
        }
    }
    let snapshots = page["snapshots"].as_array().unwrap();
    let admitted = snapshots.iter().filter(|snapshot| snapshot["ordinal"].is_number());
    assert_eq!(admitted.count() as i64, page["profile"]["snapshots"].as_i64().unwrap());
    let last = page["curve"].as_array().unwrap().last().unwrap();
    assert_eq!(last["nodes"], nodes.len());
    assert_eq!(last["coverage"], page["profile"]["coverage"]);
}

fn differences_are_those_of_wsp_diff(store: &str, image: &str, diff: &Value) {
    let other = diff["with"]["image"].as_str().unwrap();
    let told: Vec<Value> =
        serde_json::from_str(&wsp(["diff", other, image, "--format", "json", "--store", store]).ok())
            .unwrap();
    let ids = |rows: &mut dyn Iterator<Item = &Value>, name: &str| -> BTreeSet<String> {
        rows.map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    for change in ["gained", "lost", "changed"] {
        let shown = ids(&mut diff[change].as_array().unwrap().iter(), "id");
        assert_eq!(shown, ids(&mut told.iter().filter(|row| row["change"] == change), "node_id"), "{change}");
    }
}

#[test]
fn a_report_of_one_image_has_nothing_of_others() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("demo");
    let store = store.to_str().unwrap();
    let _ = wsp(["demo", "--dir", store]).ok();
    for (image, pages) in [("localhost/demo/web", 2), ("localhost/demo/web:1.24", 1)] {
        let (folder, index) = report(store, &["--image", image]);
        let profiles = index["page"]["profiles"].as_array().unwrap();
        assert_eq!(profiles.len(), pages, "{image}");
        let files = std::fs::read_dir(folder.path().join("report/profiles")).unwrap();
        assert_eq!(files.count(), pages);
        for file in std::fs::read_dir(folder.path().join("report/profiles")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("localhost/demo/db"), "{image}");
        }
    }
    let folder = place.path().join("none");
    let unknown =
        wsp(["report", "--store", store, "--image", "localhost/demo/wob", "-o", folder.to_str().unwrap()]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("no profile of localhost/demo/wob"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("localhost/demo/web:1.22"), "{}", unknown.stderr);
}

#[test]
fn signals_and_suggestions_stand_beside_what_the_profile_has() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    fleet(store);
    let _ = wsp(["detect", "--store", store]).ok();
    let _ = wsp(["suppress", "suggest", "--min-coverage", "0.5", "--store", store]).ok();
    let (folder, _) = report(store, &[]);
    let page = document_at(&folder.path().join("report/signals.html"));
    let page = &page["page"];
    let signals = page["signals"].as_array().unwrap();
    let told = sql(store, "select count(*) as all, count(profile_node_id) as with_node from signals");
    assert_eq!(signals.len() as i64, told[0]["all"].as_i64().unwrap());
    assert!(told[0]["with_node"].as_i64().unwrap() > 0);
    for signal in signals.iter().filter(|signal| signal["node"].is_string()) {
        let around = page["around"][signal["profile"].as_str().unwrap()].as_array().unwrap();
        let find = |id: &Value| around.iter().find(|node| node["id"] == *id);
        assert!(find(&signal["node"]).is_some(), "{signal}");
        // Its processes, up to a root.
        let mut at = find(&signal["process"]).unwrap();
        while at["parent"].is_string() {
            at = find(&at["parent"]).unwrap_or_else(|| panic!("the parent of {at} is not there"));
        }
        assert!(at["root_kind"].is_string(), "{at}");
    }
    let suggestions = page["suppressions"].as_array().unwrap();
    assert!(!suggestions.is_empty());
    for one in suggestions {
        assert_eq!((&one["state"], &one["hides"]), (&Value::from("suggested"), &Value::from(0)));
        assert_eq!(one["would_hide"], one["evidence"]["signals"], "{one}");
        let accept = one["commands"]["accept"].as_str().unwrap();
        assert!(accept.starts_with("wsp suppress accept ") && accept.contains(store), "{accept}");
    }
    // The command does what it says.
    let accept = suggestions[0]["commands"]["accept"].as_str().unwrap();
    let hidden = suggestions[0]["would_hide"].as_i64().unwrap();
    let said = wsp(accept.split(' ').skip(1)).ok();
    assert!(said.contains(&format!("{hidden} signals are hidden")), "{said}");
}

#[test]
fn hostile_names_stay_inside_the_document() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    let _ = run("wsp-datasets", ["hostile", "--store", store]).ok();
    let merged = wsp(["merge", "--store", store]);
    assert!(matches!(merged.code, 0 | 3), "{merged:?}");
    let (folder, index) = report(store, &[]);
    let mut escaped = 0;
    for profile in index["page"]["profiles"].as_array().unwrap() {
        let path = folder.path().join("report").join(profile["href"].as_str().unwrap());
        let page = std::fs::read_to_string(path).unwrap();
        assert_eq!(page.matches("<script").count(), 2, "the document and the program");
        escaped += page.matches("\\u003cscript").count();
        nodes_are_those_of_sql(store, &document(&page)["page"]);
    }
    assert!(escaped > 0, "no name is markup");
}

#[test]
fn a_failed_report_leaves_the_earlier_one() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("demo");
    let store = store.to_str().unwrap();
    let _ = wsp(["demo", "--dir", store]).ok();
    let (folder, _) = report(store, &[]);
    let pages = || std::fs::read_dir(folder.path().join("report/profiles")).unwrap().count();
    let before = pages();
    let output = folder.path().join("report");
    let failed = wsp(["report", "--store", store, "--image", "nope:1", "-o", output.to_str().unwrap()]);
    assert_eq!(failed.code, 1);
    assert_eq!(pages(), before);
    assert!(output.join("index.html").exists());
    let foreign = place.path().join("site");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("index.html"), "<h1>my site</h1>").unwrap();
    let refused = wsp(["report", "--store", store, "-o", foreign.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("`index.html`, which is of no report"), "{}", refused.stderr);
    assert!(refused.stderr.contains("name a folder of its own"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
}

#[test]
fn signals_stand_with_the_revision_that_judged_them() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    fleet(store);
    let _ = wsp(["detect", "--store", store]).ok();
    let image = sql(store, "select image from profiles")[0]["image"].as_str().unwrap().to_owned();
    let _ = wsp(["profiles", "relearn", &image, "--store", store]).ok();
    let (folder, index) = report(store, &[]);
    let signals = sql(store, "select count(*) as all from signals")[0]["all"].as_i64().unwrap();
    let profiles = index["page"]["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 2);
    for (profile, expected) in profiles.iter().zip([signals, 0]) {
        let page = document_at(&folder.path().join("report").join(profile["href"].as_str().unwrap()));
        let shown = page["page"]["signals"].as_array().unwrap().len() as i64;
        let counted = profile["signals"].as_object().unwrap().values().filter_map(Value::as_i64).sum::<i64>();
        let left_out = page["page"]["signals_left_out"].as_i64().unwrap();
        assert_eq!((shown + left_out, counted), (expected, expected), "revision {}", profile["revision"]);
    }
}

#[test]
fn a_live_page_is_its_document() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    fleet(store);
    // Where an uploader says that it is later than it is, nothing is newest.
    std::fs::create_dir_all(place.path().join("snapshots/date=2099-01-01/hour=00")).unwrap();
    let live = Explorer::start(store, &[]);
    let (status, page) = live.get("/index.html");
    assert_eq!(status, 200);
    assert_eq!(document(&page)["mode"]["kind"], "live");
    let (status, json) = live.get("/index.json");
    assert_eq!(status, 200);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["page"], document(&page)["page"]);
    let profile = json["page"]["profiles"][0]["href"].as_str().unwrap();
    let (status, page) = live.get(&format!("/{profile}"));
    assert_eq!(status, 200);
    assert!(!document(&page)["page"]["running"].as_array().unwrap().is_empty());
    for missing in [
        "/nothing.html",
        "/profiles/../index.html",
        "/profiles/0000000000000000-1.html",
        &format!("/{}", profile.replace("-1.", "-01.")),
        "/profiles/%ff",
    ] {
        let (status, text) = live.get(missing);
        assert!(matches!(status, 400 | 404), "{missing}: {status} {text}");
    }
}
