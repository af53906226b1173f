//! Who may decide, and on what.

use serde_json::{Value, json};
use wsp_tests::program::wsp;

use super::{Explorer, fleet, sql};

fn suggestion(store: &str) -> Value {
    fleet(store);
    let _ = wsp(["detect", "--store", store]).ok();
    let _ = wsp(["suppress", "suggest", "--min-coverage", "0.5", "--store", store]).ok();
    let found = sql(
        store,
        "select suppression_id, rule, image, predicate, change from suppressions order by suppression_id limit 1",
    );
    found.into_iter().next().expect("a suggestion")
}

/// A request to accept what was shown as of a change.
fn accept(predicate: &str, change: i64) -> Value {
    json!({
        "decision": "accept", "change": change, "predicate": predicate, "author": "ann", "reason": "known", "expires_at": null
    })
}

/// The same with other values.
fn but(request: &Value, changes: &Value) -> Value {
    let mut request = request.clone();
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    request
}

fn change_of(store: &str, id: &str) -> i64 {
    let found = sql(store, &format!("select change from suppressions where suppression_id = '{id}'"));
    found[0]["change"].as_i64().unwrap()
}

fn states(store: &str) -> Vec<Value> {
    sql(store, "select suppression_id, state from suppressions order by suppression_id")
}

#[test]
fn a_decision_needs_the_token_and_the_own_origin() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    let one = suggestion(store);
    let (id, predicate) = (one["suppression_id"].as_str().unwrap(), one["predicate"].as_str().unwrap());
    let before = states(store);
    let body = accept(predicate, one["change"].as_i64().unwrap());

    let reads = Explorer::start(store, &[]);
    let (status, refusal) = reads.decide(id, &[("Authorization", "Bearer 0")], &body);
    assert_eq!(status, 403);
    assert!(refusal["hint"].as_str().unwrap().contains("--allow-write"), "{refusal}");

    let live = Explorer::start(store, &["--allow-write"]);
    let bearer = format!("Bearer {}", live.token());
    let own = format!("http://{}", live.host());
    let port = live.host().rsplit_once(':').unwrap().1;
    let rebound = format!("attacker.example:{port}");
    let tunnel = "LOCALHOST:9000";
    let wrong = format!("Bearer {}0", live.token());
    for (what, status, headers) in [
        ("no token", 401, vec![]),
        ("a wrong token", 401, vec![("Authorization", wrong.as_str())]),
        ("another scheme", 401, vec![("Authorization", live.token())]),
        (
            "another origin",
            403,
            vec![("Authorization", bearer.as_str()), ("Origin", "http://attacker.example")],
        ),
        ("no origin that a file has", 403, vec![("Authorization", bearer.as_str()), ("Origin", "null")]),
        ("another port", 403, vec![("Authorization", bearer.as_str()), ("Origin", "http://127.0.0.1:1")]),
        ("another host", 403, vec![("Authorization", bearer.as_str()), ("Host", rebound.as_str())]),
        ("another site", 403, vec![("Authorization", bearer.as_str()), ("Sec-Fetch-Site", "cross-site")]),
        ("a form", 415, vec![("Authorization", bearer.as_str()), ("Content-Type", "text/plain")]),
    ] {
        let (found, refusal) = live.decide(id, &headers, &body);
        assert_eq!(found, status, "{what}: {refusal}");
        assert!(refusal["error"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {refusal}");
    }
    // Another host may not read either.
    let (status, _) = live.ask("GET", "/signals.json", &[("Host", &rebound)], "");
    assert_eq!(status, 403);
    // An image on a page of another site is not worth an answer; a link there is.
    for (mode, expected) in [("no-cors", 403), ("navigate", 200)] {
        let asked = [("Host", live.host()), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", mode)];
        assert_eq!(live.ask("GET", "/index.html", &asked, "").0, expected, "{mode}");
    }
    // A tunnel's port is another one.
    assert_eq!(live.ask("GET", "/index.html", &[("Host", tunnel)], "").0, 200);
    assert_eq!(live.ask("PUT", "/index.html", &[("Host", tunnel)], "").0, 405);
    assert_eq!(states(store), before);

    let (status, answer) = live.decide(id, &[("Authorization", &bearer), ("Origin", &own)], &body);
    assert_eq!(status, 200, "{answer}");
    assert!(answer["hidden"].as_i64().unwrap() > 0, "{answer}");
    let shown: Value = serde_json::from_str(&live.get("/signals.json").1).unwrap();
    let shown =
        shown["page"]["suppressions"].as_array().unwrap().iter().find(|other| other["id"] == id).unwrap();
    assert_eq!((&shown["state"], &shown["hides"]), (&json!("accepted"), &answer["hidden"]));
    // What was shown is no longer so.
    let (status, refusal) = live.decide(id, &[("Authorization", &bearer)], &body);
    assert_eq!(status, 409, "{refusal}");
    let remove = but(&body, &json!({ "decision": "remove", "change": shown["change"] }));
    let (status, back) = live.decide(id, &[("Authorization", &bearer)], &remove);
    assert_eq!((status, &back["shown"]), (200, &answer["hidden"]), "{back}");
}

#[test]
fn nothing_wider_than_what_was_shown_is_accepted() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    let one = suggestion(store);
    let (id, predicate) = (one["suppression_id"].as_str().unwrap(), one["predicate"].as_str().unwrap());
    let rule = one["rule"].as_str().unwrap();
    // Wider ones that were there, and were taken back.
    let mut wider = Vec::new();
    for scope in [vec!["--scope", "all"], vec!["--scope", "image", "--image", one["image"].as_str().unwrap()]]
    {
        let before: Vec<Value> = states(store);
        let added =
            ["suppress", "add", "--rule", rule, "--predicate", "exe = '/no/such'", "--yes", "--store", store];
        let _ = wsp(added.iter().chain(&scope)).ok();
        let new = states(store)
            .into_iter()
            .find(|state| before.iter().all(|known| known["suppression_id"] != state["suppression_id"]));
        let new = new.unwrap()["suppression_id"].as_str().unwrap().to_owned();
        let _ = wsp(["suppress", "remove", &new, "--store", store]).ok();
        wider.push(new);
    }
    let before = states(store);
    let live = Explorer::start(store, &["--allow-write"]);
    let bearer = format!("Bearer {}", live.token());
    let token = [("Authorization", bearer.as_str())];
    for id in &wider {
        let (status, refusal) = live.decide(id, &token, &accept("exe = '/no/such'", change_of(store, id)));
        assert_eq!(status, 403, "{refusal}");
        assert!(refusal["error"].as_str().unwrap().contains("one image and tag only"), "{refusal}");
    }
    let good = accept(predicate, change_of(store, id));
    for (status, id, body) in [
        (409, id, but(&good, &json!({ "predicate": "true" }))),
        (409, id, but(&good, &json!({ "predicate": "" }))),
        (409, id, but(&good, &json!({ "change": 0 }))),
        (404, "0000000000000000", good.clone()),
        (404, &id[..4], good.clone()),
        (409, id, but(&good, &json!({ "decision": "remove" }))),
        (422, id, but(&good, &json!({ "expires_at": "2020-01-01T00:00:00Z" }))),
        (422, id, but(&good, &json!({ "expires_at": "soon" }))),
        (422, id, but(&good, &json!({ "reason": "x".repeat(5_000) }))),
        (422, id, but(&good, &json!({ "author": "ann\u{1b}[2J\nroot" }))),
        (422, id, but(&good, &json!({ "scope": "all" }))),
        (422, id, but(&good, &json!({ "decision": "drop" }))),
    ] {
        let (found, refusal) = live.decide(id, &token, &body);
        assert_eq!(found, status, "{body}: {refusal}");
    }
    let (status, refusal) = live.decide(id, &token, &json!({ "predicate": "x".repeat(100_000) }));
    assert_eq!(status, 413, "{refusal}");
    assert_eq!(states(store), before);
}

#[test]
fn others_than_this_host_are_not_answered() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    fleet(store);
    let refused = wsp(["explore", "--no-open", "--listen", "0.0.0.0:0", "--store", store]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("others than this host"), "{}", refused.stderr);
}

#[test]
fn a_server_of_one_image_decides_on_that_image() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    let one = suggestion(store);
    let image = one["image"].as_str().unwrap();
    let other = [
        "suppress",
        "add",
        "--rule",
        one["rule"].as_str().unwrap(),
        "--image",
        "other:1",
        "--predicate",
        "true",
        "--yes",
        "--store",
        store,
    ];
    let _ = wsp(other).ok();
    let added =
        sql(store, "select suppression_id from suppressions where image = 'docker.io/library/other:1'");
    let id = added[0]["suppression_id"].as_str().unwrap();
    let live = Explorer::start(store, &["--allow-write", "--image", image]);
    let bearer = format!("Bearer {}", live.token());
    let remove = but(&accept("true", change_of(store, id)), &json!({ "decision": "remove" }));
    let (status, refusal) = live.decide(id, &[("Authorization", &bearer)], &remove);
    assert_eq!(status, 404, "{refusal}");
}

#[test]
fn a_decision_is_whole_though_who_asked_for_it_left() {
    use std::io::Write as _;
    let place = tempfile::tempdir().unwrap();
    let store = place.path().to_str().unwrap();
    let one = suggestion(store);
    let (id, predicate) = (one["suppression_id"].as_str().unwrap(), one["predicate"].as_str().unwrap());
    let live = Explorer::start(store, &["--allow-write"]);
    let body = accept(predicate, one["change"].as_i64().unwrap()).to_string();
    let mut socket = std::net::TcpStream::connect(live.host()).unwrap();
    let (host, token, length) = (live.host(), live.token(), body.len());
    write!(
        socket,
        "POST /api/suppressions/{id} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let accepted = "select count(*) as found from suppressions where state = 'accepted'";
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while sql(store, accepted)[0]["found"] != 1 {
        assert!(std::time::Instant::now() < until, "it was never accepted");
    }
    // It leaves, and the server is asked to end: the marks are made though.
    drop(socket);
    live.stop();
    let open = "select count(*) as found from signals where suppressed_by is not null";
    assert!(sql(store, open)[0]["found"].as_i64().unwrap() > 0);
}
