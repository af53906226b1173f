use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{Completeness, Limits as FileLimits, SnapshotMeta, decode};
use wsp_schemas::store::{Missing, open};

use super::document::parse;
use super::*;
use crate::jobs::import::{Cluster, Limits};

const PROFILE: &str = r#"
apiVersion: spdx.softwarecomposition.kubescape.io/v1beta1
kind: ApplicationProfile
metadata:
  name: replicaset-web-5d78
  namespace: shop
  creationTimestamp: "2025-08-11T19:43:33Z"
  annotations:
    kubescape.io/completion: complete
    kubescape.io/status: completed
    kubescape.io/instance-id: apiVersion-apps/v1/namespace-shop/kind-ReplicaSet/name-web-5d78
    kubescape.io/wlid: wlid://cluster-eu/namespace-shop/deployment-web
  labels:
    kubescape.io/workload-resource-version: "1261"
spec:
  containers:
  - name: web
    imageID: docker-pullable://nginx@sha256:189aae381e7f2de2fbf90847cc753f7f75077cd119e1af688a0c9e0e86ffd096
    imageTag: nginx:1.25
    capabilities: [NET_BIND_SERVICE]
    syscalls: null
    execs:
    - {path: /bin/busybox, args: [/bin/sh, -c, "echo it's"]}
    - {path: /bin/busybox, args: [sh, --token, secret]}
    - {path: /usr/sbin/nginx, args: [nginx, -g, daemon off;, 6379]}
    opens:
    - {path: /etc/..2025_08_11_19_41_08.1841170346/nginx.conf, flags: [O_RDONLY, O_CLOEXEC]}
    - {path: /etc/..2025_08_11_19_41_09.1/nginx.conf, flags: [O_RDWR, O_CREAT]}
    - {path: /proc/⋯/stat, flags: [O_RDONLY]}
"#;

const NEIGHBORHOOD: &str = r#"
kind: NetworkNeighborhood
metadata:
  name: replicaset-web-5d78
  namespace: shop
  creationTimestamp: "2025-08-11T19:43:40Z"
  annotations:
    kubescape.io/completion: partial
    kubescape.io/status: ready
    kubescape.io/instance-id: apiVersion-apps/v1/namespace-shop/kind-ReplicaSet/name-web-5d78
    kubescape.io/wlid: wlid://cluster-eu/namespace-shop/deployment-web
  labels:
    kubescape.io/workload-resource-version: "1261"
spec:
  matchLabels: {app: web}
  containers:
  - name: web
    ingress: null
    egress:
    - {dns: API.example.com., dnsNames: [api.example.com.], ipAddress: 142.250.189.238, ports: [{protocol: TCP, port: 443}]}
    - {dnsNames: [api.example.com.], ipAddress: 142.250.189.239, ports: [{protocol: TCP, port: 443}]}
    - {dnsNames: [evil.example.com.], ipAddress: 169.254.169.254, ports: [{protocol: TCP, port: 80}]}
    - podSelector: {matchLabels: {k8s-app: kube-dns}}
      namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      ports: [{protocol: UDP, port: 53}]
    - {dnsNames: ["10.0.0.1", "a b"], ipAddress: "2001:db8::1", ports: [{protocol: SCTP, port: 1}]}
"#;

/// A report of a series in the storage's internal form.
fn report(previous: &str, status: &str) -> String {
    format!(
        r#"{{"name": "replicaset-web-5d78-abc", "namespace": "shop", "creationTimestamp": "2025-06-24T10:31:41Z",
        "labels": {{"kubescape.io/workload-container-name": "web", "kubescape.io/workload-resource-version": "7"}},
        "annotations": {{"kubescape.io/completion": "complete", "kubescape.io/status": "{status}",
            "kubescape.io/report-series-id": "6e3c", "kubescape.io/previous-report-timestamp": "{previous}",
            "kubescape.io/report-timestamp": "2025-06-24 10:31:41.516220911 +0000 UTC m=+98.974133735",
            "kubescape.io/wlid": "wlid://cluster-eu/namespace-shop/deployment-web"}},
        "Spec": {{"ImageTag": "nginx:1.25", "ImageID": "sha256:ead0", "Capabilities": ["CHOWN"], "Execs": null,
            "Opens": [{{"Path": "/etc/hosts", "Flags": null}}], "Syscalls": null, "Ingress": null,
            "Egress": [{{"DNS": "", "DNSNames": null, "IPAddress": "", "Ports": [{{"Name": "UDP-53", "Protocol": "UDP", "Port": null}}]}}]}},
        "Status": {{}}}}"#
    )
}

const ZERO: &str = "0001-01-01 00:00:00 +0000 UTC";

struct Imported {
    report: Report,
    /// Metadata and rows as `kind text`, sorted by window and container.
    snapshots: Vec<(SnapshotMeta, Vec<String>)>,
}

impl Imported {
    fn reasons(&self) -> Vec<String> {
        let all = self.report.skipped.iter().chain(&self.report.failed);
        all.map(|problem| format!("{}: {}", problem.object.as_deref().unwrap_or("-"), problem.reason))
            .collect()
    }
}

/// Imports files, given by name and text, and reads back what is in the store then.
async fn import_with(files: &[(&str, &str)], options: &Options) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| folder.path().join(name)).collect();
    let store = open("memory:///", Missing::Create).unwrap();
    let report = run(&store, &paths, options).await.unwrap();
    let again = run(&store, &paths, options).await.unwrap();
    assert_eq!((again.written, again.present), (0, report.written + report.present));
    let mut snapshots = Vec::new();
    for object in store.objects.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes: Bytes = store.objects.get(&object.location).await.unwrap().bytes().await.unwrap();
        let read = decode(bytes, &FileLimits::default()).unwrap();
        let key = SnapshotKey::parse(object.location.as_ref()).unwrap();
        assert_eq!((key.id, key.window_end_ms), (read.meta.id, read.meta.window_end.timestamp_millis()));
        let texts = rows(&read.rows);
        snapshots.push((read.meta, texts));
    }
    snapshots.sort_by_key(|(meta, _)| (meta.window_end, meta.container.id.clone()));
    Imported { report, snapshots }
}

async fn import(files: &[(&str, &str)]) -> Imported {
    import_with(files, &Options::default()).await
}

fn rows(batch: &arrow::array::RecordBatch) -> Vec<String> {
    use arrow::util::display::array_value_to_string;
    let columns = [
        "kind",
        "exe",
        "argv0",
        "args",
        "path",
        "access",
        "path_raw",
        "dns_name",
        "dns_type",
        "protocol",
        "address",
        "port",
        "remote_ips",
        "name",
    ];
    let mut rows: Vec<String> = (0..batch.num_rows())
        .map(|row| {
            let cells = columns.iter().map(|name| array_value_to_string(&batch[*name], row).unwrap());
            cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_profile_becomes_a_snapshot() {
    let imported = import(&[("a.yaml", PROFILE)]).await;
    assert_eq!((imported.report.objects, imported.report.written), (1, 1), "{:?}", imported.reasons());
    let (meta, rows) = &imported.snapshots[0];
    assert_eq!(meta.host, "eu");
    assert_eq!(meta.container.id, "shop/ReplicaSet/web-5d78/web@1261");
    assert_eq!(meta.image.workload.as_ref().unwrap().to_string(), "docker.io/library/nginx:1.25");
    assert!(meta.image.digest.as_ref().unwrap().starts_with("sha256:189aae"));
    assert_eq!(wsp_schemas::keys::show_time(meta.window_end), "2025-08-11T19:43:33Z");
    assert!(meta.covers_start);
    let kinds: Vec<&str> = meta.completeness.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["capability", "file", "process"]);
    assert!(meta.completeness.values().all(|state| *state == Completeness::Complete));
    assert_eq!(
        rows,
        &[
            "capability NET_BIND_SERVICE",
            "file /etc/..<time>/nginx.conf [create, read, write] /etc/..2025_08_11_19_41_08.1841170346/nginx.conf",
            "file /proc/⋯/stat [read]",
            "process /bin/busybox sh [/bin/sh -c 'echo it'\\\\''s', sh --token '***']",
            "process /usr/sbin/nginx [nginx -g 'daemon off;' 6379]",
        ]
    );
}

#[tokio::test]
async fn a_neighborhood_takes_its_image_from_the_profile_beside_it() {
    for files in [
        [("net.yaml", NEIGHBORHOOD), ("app.yaml", PROFILE)],
        [("app.yaml", PROFILE), ("net.yaml", NEIGHBORHOOD)],
    ] {
        let imported = import(&files).await;
        let [(app, _), (net, rows)] = imported.snapshots.as_slice() else {
            panic!("{:?}", imported.reasons())
        };
        assert_eq!((&app.host, &app.container.id), (&net.host, &net.container.id));
        assert_eq!(app.image, net.image);
        assert!(!net.covers_start);
        assert_eq!(net.completeness.len(), 2);
        assert_eq!(net.completeness["connect"], Completeness::JoinedLate);
        assert_eq!(
            rows,
            &[
                "connect ip132 2001:db8::1 1",
                // A name in place of the metadata service's address would hide it.
                "connect tcp 169.254.169.254 80",
                "connect tcp api.example.com 443 [142.250.189.238, 142.250.189.239]",
                "connect udp pods:kube-system/k8s-app=kube-dns 53",
                "dns 10.0.0.1 AAAA",
                "dns a b AAAA",
                "dns api.example.com A",
                "dns evil.example.com A",
            ]
        );
    }
    let alone = import(&[("net.yaml", NEIGHBORHOOD)]).await;
    assert_eq!(alone.report.written, 0);
    assert!(alone.reasons()[0].contains("import its ApplicationProfile with it"), "{:?}", alone.reasons());
}

#[tokio::test]
async fn reports_of_a_series_are_one_container() {
    let first = report(ZERO, "ready");
    let second = report("2025-06-24 10:31:11.515851596 +0000 UTC m=+68.973764430", "completed");
    let cut = report("2025-06-24 10:31:12 +0000 UTC", "too-large");
    let imported = import(&[("1.json", &first), ("2.json", &second), ("3.json", &cut)]).await;
    let found: Vec<_> = imported
        .snapshots
        .iter()
        .map(|(meta, _)| {
            let length = (meta.window_end - meta.window_start).num_milliseconds();
            (meta.container.id.as_str(), length, meta.covers_start, meta.completeness["file"])
        })
        .collect();
    let id = "shop/deployment/web/web@6e3c";
    let mut expected = vec![
        (id, 1_800_000, true, Completeness::Complete),
        (id, 30_001, false, Completeness::JoinedLate),
        (id, 29_516, false, Completeness::Lossy),
    ];
    let mut found = found;
    found.sort_by_key(|found| found.1);
    expected.sort_by_key(|expected| expected.1);
    assert_eq!(found, expected);
    let (meta, rows) = &imported.snapshots[0];
    assert_eq!(meta.image.digest, None, "the id of a configuration is no digest of a manifest");
    assert!(!meta.completeness.contains_key("process"), "null is not recorded");
    assert_eq!(rows, &["capability CHOWN", "connect udp unknown 0", "file /etc/hosts []"]);
}

#[tokio::test]
async fn lists_arrays_and_documents_are_the_same() {
    let other = PROFILE.replace("1261", "1262");
    let indent = |text: &str| text.trim().replace('\n', "\n    ");
    let list = format!("kind: List\nitems:\n  - {}\n  - {}\n", indent(PROFILE), indent(&other));
    let array = format!(
        "- {}\n- {}\n",
        indent(PROFILE).replace("\n    ", "\n  "),
        indent(&other).replace("\n    ", "\n  ")
    );
    let documents = format!("---\n{PROFILE}\n---\n{other}\n---\n");
    // JSON knows which texts look like numbers.
    let quoted = documents.replace("6379", "'6379'");
    let json: Vec<serde_json::Value> = serde_saphyr::from_multiple(&quoted).unwrap();
    let json = serde_json::to_string(&json).unwrap();
    let mut seen = Vec::new();
    for (name, text) in [("x.yaml", &list), ("x.yaml", &array), ("x.yaml", &documents), ("x.json", &json)] {
        let imported = import(&[(name, text)]).await;
        assert_eq!(imported.report.objects, 2, "{text}: {:?}", imported.reasons());
        seen.push(imported.snapshots.iter().map(|(meta, _)| meta.id).collect::<Vec<_>>());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test]
async fn clusters_of_one_name_are_told_apart() {
    let other = PROFILE.replace("1261", "1300");
    let files = [("eu-1.yaml", PROFILE), ("eu-2.yaml", &other)];
    let hosts = |imported: &Imported| {
        imported.snapshots.iter().map(|(meta, _)| meta.host.clone()).collect::<Vec<_>>()
    };
    let by_annotation = import(&files).await;
    assert_eq!(hosts(&by_annotation), ["eu", "eu"]);
    let ids: Vec<_> = by_annotation.snapshots.iter().map(|(meta, _)| meta.container.id.as_str()).collect();
    assert_eq!(ids, ["shop/ReplicaSet/web-5d78/web@1261", "shop/ReplicaSet/web-5d78/web@1300"]);
    let options = Options { cluster: Cluster::FileName, ..Options::default() };
    assert_eq!(hosts(&import_with(&files, &options).await), ["eu-1", "eu-2"]);
    // Without a label, the file tells them apart.
    let bare = PROFILE.replace("kubescape.io/workload-resource-version", "x");
    let unlabelled = import(&[("p.yaml", &bare), ("q.yaml", &bare)]).await;
    assert_eq!(unlabelled.report.written, 2);
}

#[tokio::test]
async fn the_order_of_the_source_does_not_matter() {
    let mut lines: Vec<&str> = PROFILE.lines().collect();
    let opens = lines.len() - 3;
    lines[opens..].reverse();
    let reordered = lines.join("\n");
    let imported = import(&[("a.yaml", PROFILE), ("b.yaml", &reordered)]).await;
    assert_eq!((imported.report.written, imported.report.present), (1, 1));
}

#[tokio::test]
async fn bad_input_is_named_and_the_rest_goes_on() {
    let edited = |from: &str, to: &str| {
        assert!(PROFILE.contains(from), "{from}");
        PROFILE.replace(from, to)
    };
    for (text, object, reason) in [
        (String::new(), "-", "holds no object"),
        ("just text".to_owned(), "-", "an object of Kubescape"),
        ("a: [".to_owned(), "-", "line"),
        ("{\"a\": ".to_owned(), "-", "EOF"),
        ("a: 1".to_owned(), "object without a name", "it has no `spec`"),
        (
            "kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: y}]}".to_owned(),
            "Pod x",
            "only ApplicationProfile",
        ),
        (
            edited("spec:", "spec: {}\nx:"),
            "ApplicationProfile shop/replicaset-web-5d78",
            "get each object by its name",
        ),
        (edited("nginx:1.25", "a b"), "ApplicationProfile shop/replicaset-web-5d78, container web", "`a b`"),
        (edited("2025-08-11T19:43:33Z", "yesterday"), "ApplicationProfile", "`yesterday`"),
        (edited("\"2025-08-11T19:43:33Z\"", "null"), "ApplicationProfile", "creationTimestamp"),
        (edited("2025-08-11T19:43:33Z", "+12025-08-11 19:43:33 +0000"), "ApplicationProfile", "is no time"),
        (edited("flags: [O_RDONLY]", "flags: 3"), "-", "line"),
        (edited("path: /proc", "pfad: /proc"), "-", "path"),
        (edited("kind-ReplicaSet", &format!("kind-{}", "x".repeat(2000))), "container web", "more than 1024"),
        (report("2025-06-24 10:31:42 +0000 UTC", "ready"), "object shop/", "ends before it starts"),
        (report("2025-05-01 10:31:42 +0000 UTC", "ready"), "object shop/", "longer than 24 days"),
        (bomb(), "-", "budget"),
    ] {
        let good = report(ZERO, "ready");
        let imported = import(&[("bad.yaml", &text), ("good.json", &good)]).await;
        assert_eq!(imported.report.written, 1, "{text}: {:?}", imported.reasons());
        let [problem] = imported.reasons().try_into().unwrap();
        let problem: String = problem;
        assert!(problem.contains(object) && problem.contains(reason), "{text}: {problem}");
    }
}

/// Nine levels of nine aliases each.
fn bomb() -> String {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    text + "kind: *a8\n"
}

#[tokio::test]
async fn limits_hold() {
    let options = |limits| Options { limits, ..Options::default() };
    let tight = Limits { entries: 6, ..Limits::default() };
    let imported = import_with(&[("a.yaml", PROFILE)], &options(tight)).await;
    assert!(
        imported.reasons()[0].contains("up to 7 nodes, which is more than 6"),
        "{:?}",
        imported.reasons()
    );
    let small = Limits { file_bytes: 100, ..Limits::default() };
    let imported = import_with(&[("a.yaml", PROFILE)], &options(small)).await;
    assert!(imported.reasons()[0].contains("more than 100 bytes"), "{:?}", imported.reasons());
}

#[tokio::test]
async fn one_bad_document_does_not_hide_the_next() {
    let text = format!("{}\n---\n{PROFILE}", PROFILE.replace("flags: [O_RDONLY]", "flags: 3"));
    let imported = import(&[("a.yaml", &text)]).await;
    assert_eq!((imported.report.written, imported.report.failed.len()), (1, 1), "{:?}", imported.reasons());
}

#[tokio::test]
async fn folders_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/a.yml"), PROFILE).unwrap();
    fs::write(folder.path().join("notes.txt"), "no object").unwrap();
    let store = open("memory:///", Missing::Create).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let paths = [folder.path().to_owned(), empty.path().to_owned(), Path::new("/no/such").to_owned()];
    let report = run(&store, &paths, &Options::default()).await.unwrap();
    assert_eq!((report.files, report.written), (1, 1));
    let reasons: Vec<&str> = report.failed.iter().map(|problem| problem.reason.as_str()).collect();
    assert!(reasons[0].contains("no file named *.yaml"), "{reasons:?}");
    assert!(reasons[1].contains("cannot be read"), "{reasons:?}");
}

#[test]
fn typed_fields_keep_what_yaml_would_take_for_a_number() {
    let parsed = parse(PROFILE.as_bytes());
    assert_eq!(parsed.errors, [""; 0]);
    let containers = parsed.objects.into_iter().next().unwrap().spec.unwrap().flatten();
    let args = containers[0].execs.as_ref().unwrap()[2].args.clone().unwrap();
    assert_eq!(args[3], "6379");
}
