//! What users get wrong: each ends within a minute, names the store, and says what to do.

use std::time::{Duration, Instant};

use wsp_tests::azurite::Azurite;
use wsp_tests::program::{Ended, command, finish};
use wsp_tests::s3::Gate;

use super::Place;

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

/// What a command says to a place with some of its environment changed; an empty value takes a variable away.
fn ended(place: &Place, program: &str, arguments: &[&str], changed: &[(&str, &str)]) -> Ended {
    let mut command = place.lead(program);
    command.args(arguments);
    for (name, value) in changed {
        if value.is_empty() {
            command.env_remove(name)
        } else {
            command.env(name, value)
        };
    }
    let started = Instant::now();
    let ended = finish(&mut command);
    println!("{arguments:?} {changed:?}: {:?}\n{}{}", started.elapsed(), ended.stdout, ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(70), "{:?}", started.elapsed());
    ended
}

/// One mistake, made with what opens a store in `wsp`: a reader, a writer, the check.
fn told(place: &Place, store: &str, options: &[&str], changed: &[(&str, &str)], advice: &str) {
    for arguments in
        [&["profiles", "--store", store][..], &["merge", "--store", store], &["store", "check", store]]
    {
        is_told(&ended(place, "wsp", &[arguments, options].concat(), changed), store, advice);
    }
}

/// The same with the capture, too, which may be allowed to do nothing but write.
fn told_by_all(place: &Place, store: &str, options: &[&str], changed: &[(&str, &str)], advice: &str) {
    told(place, store, options, changed, advice);
    let replay = ["replay", "/dev/null", "--store", store];
    is_told(&ended(place, "wsp-capture", &[&replay[..], options].concat(), changed), store, advice);
}

fn is_told(ended: &Ended, store: &str, advice: &str) {
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, 1, "{told}");
    assert!(told.contains(store), "{store} is not in: {told}");
    assert!(told.contains(advice), "{advice} is not in: {told}");
    assert!(!told.contains("panicked") && !told.contains("a bug"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3() {
    let place = Place::s3(Gate::Honest).await;
    let store = place.at("fleet");
    told_by_all(
        &place,
        &store,
        &["--store-endpoint", NOBODY],
        &[],
        "check the network, and --store-endpoint",
    );
    for (variable, value, advice) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "refuses the credentials: check AWS_ACCESS_KEY_ID"),
        ("AWS_ACCESS_KEY_ID", "nobody", "refuses the credentials: check AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "", "set AWS_ACCESS_KEY_ID"),
    ] {
        told_by_all(&place, &store, &[], &[(variable, value)], advice);
    }
    // The test server makes a bucket that something is written to, and has no name for one that is read: Azurite is asked, too.
    let nowhere = "s3://nowhere/fleet";
    for job in ["profiles", "merge", "detect"] {
        is_told(&ended(&place, "wsp", &[job, "--store", nowhere], &[]), nowhere, "there is no such bucket");
    }
    told_by_all(&place, &store, &[], &[("AWS_ALLOW_HTTP", "false")], "unset AWS_ALLOW_HTTP");
    told(&place, &store, &["--store-anonymous"], &[], "refuses");
}

/// Without any credentials the machine's own are asked for, which no machine of the tests has.
#[tokio::test(flavor = "multi_thread")]
async fn without_credentials() {
    let place = Place::s3(Gate::Honest).await;
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let ended = ended(&place, "wsp", &["profiles", "--store", "s3://bucket/fleet"], &none);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("s3://bucket/fleet"), "{}", ended.stderr);
    assert!(ended.stderr.contains("no credentials were found: set AWS_ACCESS_KEY_ID"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azure() {
    let place = Place::azure();
    let store = place.at("fleet");
    told_by_all(
        &place,
        &store,
        &["--store-endpoint", &format!("{NOBODY}/devstoreaccount1")],
        &[],
        "check the network, and --store-endpoint",
    );
    for (variable, value, advice) in [
        (
            "AZURE_STORAGE_ACCOUNT_KEY",
            "d3Jvbmc=",
            "refuses the credentials: check AZURE_STORAGE_ACCOUNT_NAME",
        ),
        ("AZURE_STORAGE_ACCOUNT_NAME", "", "set AZURE_STORAGE_ACCOUNT_NAME"),
    ] {
        told_by_all(&place, &store, &[], &[(variable, value)], advice);
    }
    told_by_all(&place, "az://nowhere/fleet", &[], &[], "there is no such container");
    told(&place, &store, &["--store-anonymous"], &[], "refuses");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_say_what_the_environment_does_not() {
    let place = Place::s3(Gate::Honest).await;
    let endpoint = place.environment.iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL").unwrap().1.clone();
    let store = place.at("fleet");
    let options =
        ["--store-endpoint", &endpoint, "--store-region", "eu-central-1", "--store-addressing", "path"];
    let nowhere =
        [("AWS_ENDPOINT_URL", NOBODY), ("AWS_REGION", ""), ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")];
    let check = ["store", "check", &store, "--rounds", "1"];
    let checked = ended(&place, "wsp", &[&check[..], &options].concat(), &nowhere).ok();
    assert!(checked.contains("can be used as a store"), "{checked}");
    // What the demo says to try next has them, too.
    let demo = ended(&place, "wsp", &[&["demo", "--store", &store][..], &options].concat(), &nowhere).ok();
    assert!(
        demo.contains(&format!("--store {store} --store-endpoint {endpoint} --store-region eu-central-1")),
        "{demo}"
    );
    // By the environment of our own, which goes before the provider's.
    let own =
        [("WSP_STORE", store.as_str()), ("WSP_STORE_ENDPOINT", &endpoint), ("AWS_ENDPOINT_URL", NOBODY)];
    let _ = ended(&place, "wsp", &["profiles"], &own).ok();

    let azurite = Azurite::start();
    let mut check = command("wsp");
    check.args(["store", "check", "az://bucket/fleet", "--rounds", "1"]);
    let _ = finish(check.env("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string())).ok();
}

/// A name below the endpoint's host, which is reached by a proxy: no name server knows it.
#[tokio::test(flavor = "multi_thread")]
async fn buckets_as_hosts_below_the_endpoint() {
    let place = Place::s3(Gate::Honest).await;
    let server = place.environment.iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL").unwrap().1.clone();
    let options = ["--store-endpoint", "http://s3.example.com", "--store-addressing", "virtual"];
    let check = ["store", "check", "s3://bucket/fleet", "--rounds", "1"];
    let checked = ended(&place, "wsp", &[&check[..], &options].concat(), &[("http_proxy", &server)]).ok();
    assert!(checked.contains("can be used as a store"), "{checked}");
    let numbers = ["--store-endpoint", &server, "--store-addressing", "virtual"];
    let refused = ended(&place, "wsp", &[&check[..], &numbers].concat(), &[]);
    assert!(refused.stderr.contains("has no hosts below it"), "{}", refused.stderr);
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let place = Place::folder();
    let folder = place.at("store");
    for (store, options, part) in [
        (
            folder.as_str(),
            &["--store-region", "eu-central-1"][..],
            "`--store-region` means nothing for the store",
        ),
        (&folder, &["--store-endpoint", "http://x"], "it is no object store"),
        (&folder, &["--store-anonymous"], "WSP_STORE_ANONYMOUS"),
        ("az://bucket/fleet", &["--store-region", "eu-central-1"], "only s3:// stores have it"),
        ("gs://bucket/fleet", &["--store-addressing", "path"], "only s3:// stores have it"),
        ("s3://bucket/fleet", &["--store-endpoint", "minio:9000"], "is no server's address: https://HOST"),
    ] {
        for (program, arguments) in [
            ("wsp", &["profiles", "--store", store][..]),
            ("wsp-capture", &["replay", "/dev/null", "--store", store]),
        ] {
            let ended = ended(&place, program, &[arguments, options].concat(), &[]);
            assert_eq!(ended.code, 1, "{}", ended.stderr);
            assert!(ended.stderr.contains(part) && ended.stderr.contains(store), "{part}: {}", ended.stderr);
        }
    }
    assert!(!std::path::Path::new(&folder).exists(), "nothing was made");
}

/// The jobs on a store of that name.
fn works(place: &Place, store: &str) {
    let _ = place.wsp(&["demo", "--store", store]).ok();
    let idle = place.wsp(&["merge", "--store", store]).ok();
    assert!(idle.contains("0 snapshots admitted"), "{store}: {idle}");
    let answer = place.wsp(&["sql", "select count(*) from nodes", "--store", store, "--format", "csv"]).ok();
    assert!(answer.lines().nth(1).unwrap().parse::<u64>().unwrap() > 1000, "{store}: {answer}");
    let verified = place.wsp(&["store", "verify", store]).ok();
    assert!(verified.contains("nothing differs"), "{store}: {verified}");
}

/// Names that look like escapes are names.
#[test]
fn folders_may_have_any_name() {
    let place = Place::folder();
    for name in ["with space", "per%20cent", "per%2Fcent", "per%25cent", "100%", "ümläut#?", "a+b;c"] {
        let folder = place.at(name);
        works(&place, &folder);
        assert!(std::path::Path::new(&folder).join("tables/profiles/_delta_log").is_dir(), "{name}");
    }
    // By URL, what a name has is escaped.
    let url = format!("file://{}", place.at("per%2520cent"));
    let idle = place.wsp(&["merge", "--store", &url]).ok();
    assert!(idle.contains("0 snapshots admitted"), "{idle}");
}

/// In URLs escapes are escapes.
#[tokio::test(flavor = "multi_thread")]
async fn prefixes_may_have_any_name() {
    use object_store::ObjectStoreExt as _;

    let (s3, azure) = (Place::s3(Gate::Honest).await, Place::azure());
    for (place, name) in
        [(&s3, "with space/ümläut"), (&azure, "with%20space"), (&s3, "per%2520cent"), (&azure, "100%25")]
    {
        works(place, &place.at(name));
    }
    // Both are one name.
    let probe = object_store::path::Path::from("probe");
    s3.open("with space").objects.put(&probe, "x".into()).await.unwrap();
    assert!(s3.open("with%20space").objects.get(&probe).await.is_ok());
}
