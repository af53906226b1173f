use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::jobs::import::recordings;

/// A record of Falco, as <https://falco.org/docs/concepts/outputs/formatting/> has it, with the fields that the rule `Read sensitive
/// file untrusted` of <https://github.com/falcosecurity/rules> and Falco's suggested formats output.
const FALCO: &str = r#"{"uuid":"5a7ee6d0-1b5c-4a4f-a8f5-3f2b2e6c9d01","output":"15:45:00.123456789: Warning Sensitive file opened for reading by non-trusted program | file=/etc/shadow evt_type=openat user=root user_uid=0 process=cat proc_exepath=/bin/busybox parent=sh command=cat --password hunter2 /etc/shadow container_id=b12f7b1ffc6b container_image_repository=docker.io/library/alpine container_image_tag=3.20 k8s_pod_name=web-0 k8s_ns_name=shop","priority":"Warning","rule":"Read sensitive file untrusted","source":"syscall","tags":["T1555","container","filesystem"],"time":"2024-01-15T15:45:00.123456789Z","hostname":"node-1","output_fields":{"container.id":"b12f7b1ffc6b","container.image.digest":"sha256:abababababababababababababababababababababababababababababababab","container.image.repository":"docker.io/library/alpine","container.image.tag":"3.20","container.name":"web","evt.arg.flags":"O_RDONLY|O_CLOEXEC","evt.time":1705333500123456789,"evt.type":"openat","fd.name":"/etc/shadow","fd.typechar":"f","k8s.ns.name":"shop","k8s.pod.name":"web-0","proc.aexepath[2]":"/bin/busybox","proc.aexepath[3]":"/usr/sbin/nginx","proc.aexepath[4]":"/usr/bin/containerd-shim-runc-v2","proc.cmdline":"cat --password hunter2 /etc/shadow","proc.cwd":"/srv/","proc.env":"TOKEN=x","proc.exepath":"/bin/busybox","proc.name":"cat","proc.pexepath":"/bin/busybox","proc.pname":"sh","proc.tty":0,"user.name":"root","user.uid":0}}"#;

/// The same, of the rule `Contact K8S API Server From Container`.
const FALCO_CONNECT: &str = r#"{"output":"Notice Unexpected connection to K8s API Server from container","priority":"Notice","rule":"Contact K8S API Server From Container","source":"syscall","tags":[],"time":"2024-01-15T15:45:01.000000000Z","output_fields":{"container.id":"b12f7b1ffc6b","container.image.repository":"docker.io/library/alpine","container.image.tag":null,"evt.type":"connect","fd.l4proto":"tcp","fd.lport":42093,"fd.name":"172.17.0.2:42093->10.96.0.1:443","fd.rport":443,"fd.type":"ipv4","k8s.ns.name":"<NA>","proc.cmdline":"curl https://kubernetes","proc.name":"curl","proc.pname":"sh","proc.aname[2]":"runc","user.uid":"33"}}"#;

/// A record of Tetragon's export, form and fields as in its documentation, <https://tetragon.io/docs/concepts/events/>.
const TETRAGON: &str = r#"{"process_lsm":{"process":{"exec_id":"a","pid":42,"uid":0,"cwd":"/srv","binary":"/usr/bin/cat","arguments":"notes.txt","flags":"execve","start_time":"2024-01-15T15:45:00Z","pod":{"namespace":"shop","name":"web-0","container":{"id":"containerd://b12f7b1ffc6b0000","name":"web","image":{"id":"docker.io/library/alpine@sha256:abababababababababababababababababababababababababababababababab","name":"docker.io/library/alpine"},"pid":7}},"docker":"b12f7b1ffc6b","parent_exec_id":"b"},"parent":{"exec_id":"b","pid":42,"binary":"/bin/bash","docker":"b12f7b1ffc6b","parent_exec_id":"c"},"ancestors":[{"exec_id":"c","pid":41,"binary":"/bin/sh","docker":"b12f7b1ffc6b"},{"exec_id":"d","pid":40,"binary":"/usr/bin/containerd-shim-runc-v2"}],"function_name":"file_open","policy_name":"watch","action":"KPROBE_ACTION_SIGKILL","message":"a note was read","tags":["x","y"],"args":[{"file_arg":{"path":"/srv/notes.txt","permission":"-rw-r--r--"}}]},"node_name":"node-1","time":"2024-01-15T15:45:01.5Z"}"#;

/// A record of Kubescape's node agent, as its standard output has it.
const KUBESCAPE: &str = r#"{"BaseRuntimeMetadata":{"alertName":"Unexpected process launched","arguments":{"args":["/bin/cat","--token","s3cr3t","a b"],"exec":"/bin/cat","retval":0},"infectedPID":12,"severity":5,"timestamp":"2025-07-10T14:37:19.089951639Z","uniqueID":"86a130a79323f10e54cf35ed94f7df9a"},"RuleID":"R0001","RuntimeK8sDetails":{"clusterName":"eu","containerName":"web","image":"nginx:1.25","imageDigest":"sha256:c622","namespace":"shop","containerID":"40ec","podName":"web-0","podNamespace":"shop"},"RuntimeProcessDetails":{"processTree":{"pid":10,"cmdline":"apache2","comm":"apache2","pcomm":"containerd-shim","path":"/usr/sbin/apache2","childrenMap":{"sh␟11":{"pid":11,"cmdline":"sh -c x","comm":"sh","path":"/bin/dash","childrenMap":{"cat␟12":{"pid":12,"cmdline":"/bin/cat --token s3cr3t","comm":"cat","uid":33,"cwd":"/var/www","path":"/bin/cat"}}}}}},"event":{"k8s":{"node":"node-1"}},"message":"Unexpected process launched: /bin/cat --token s3cr3t"}"#;

fn read_text(source: Source, text: impl AsRef<[u8]>) -> Alerts {
    read_with(source, text, &Limits::default())
}

fn read_with(source: Source, text: impl AsRef<[u8]>, limits: &Limits) -> Alerts {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.json"), text).unwrap();
    let found = collect(source, &[folder.path().to_owned()], limits);
    balanced(&found);
    found
}

fn balanced(found: &Alerts) {
    let Report { records, alerts, skipped, failed, reasons, .. } = &found.report;
    assert_eq!(*records, alerts + skipped + failed);
    assert_eq!(found.alerts.len() as u64, *alerts);
    assert_eq!(reasons.values().sum::<u64>(), *skipped);
}

fn one(source: Source, text: &str) -> Alert {
    let mut found = read_text(source, text);
    assert_eq!(found.alerts.len(), 1, "{:?}", found.report);
    found.alerts.remove(0)
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn texts(texts: &[&str]) -> Vec<RawText> {
    texts.iter().map(|text| RawText::from(*text)).collect()
}

fn parse_time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn an_alert_of_falco() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let alert = one(Source::Falco, FALCO);
    let expected = Alert {
        id: alert.id.clone(),
        source: Source::Falco,
        rule: "Read sensitive file untrusted".to_owned(),
        severity: Severity::Medium,
        time: parse_time("2024-01-15T15:45:00.123456789Z"),
        image: Some(Workload::parse("alpine:3.20").unwrap()),
        image_digest: Some(digest.clone()),
        container_id: Some("b12f7b1ffc6b".to_owned()),
        container_name: Some("web".to_owned()),
        host: Some("node-1".to_owned()),
        labels: map([("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.pod.namespace", "shop")]),
        process: Some(AlertProcess {
            exe: Some("/bin/busybox".into()),
            name: Some("cat".into()),
            argv0: Some("cat".into()),
            args: Some("cat --password '***' /etc/shadow".into()),
            // A busybox may run another applet: it does not fold.
            ancestors: texts(&["/usr/sbin/nginx", "/bin/busybox", "/bin/busybox"]),
            root: None,
            is_whole: true,
            uid: Some(0),
            cwd: Some("/srv/".into()),
        }),
        target: Some(Target::File { path: "/etc/shadow".into(), access: vec!["read"] }),
        summary: "15:45:00.123456789: Warning Sensitive file opened for reading by non-trusted program | \
                  file=/etc/shadow evt_type=openat user=root user_uid=0 process=cat proc_exepath=/bin/busybox parent=sh \
                  command=cat --password '***' /etc/shadow container_id=b12f7b1ffc6b \
                  container_image_repository=docker.io/library/alpine container_image_tag=3.20 k8s_pod_name=web-0 \
                  k8s_ns_name=shop"
            .to_owned(),
        attributes: map([
            ("container.id", "b12f7b1ffc6b"),
            ("container.image.digest", &digest),
            ("container.image.repository", "docker.io/library/alpine"),
            ("container.image.tag", "3.20"),
            ("container.name", "web"),
            ("evt.arg.flags", "O_RDONLY|O_CLOEXEC"),
            ("evt.time", "1705333500123456789"),
            ("evt.type", "openat"),
            ("fd.name", "/etc/shadow"),
            ("fd.typechar", "f"),
            ("k8s.ns.name", "shop"),
            ("k8s.pod.name", "web-0"),
            ("priority", "Warning"),
            ("proc.aexepath[2]", "/bin/busybox"),
            ("proc.aexepath[3]", "/usr/sbin/nginx"),
            ("proc.aexepath[4]", "/usr/bin/containerd-shim-runc-v2"),
            ("proc.cmdline", "cat --password *** /etc/shadow"),
            ("proc.cwd", "/srv/"),
            ("proc.exepath", "/bin/busybox"),
            ("proc.name", "cat"),
            ("proc.pexepath", "/bin/busybox"),
            ("proc.pname", "sh"),
            ("proc.tty", "0"),
            ("source", "syscall"),
            ("tags", "T1555 container filesystem"),
            ("user.name", "root"),
            ("user.uid", "0"),
            ("uuid", "5a7ee6d0-1b5c-4a4f-a8f5-3f2b2e6c9d01"),
        ]),
    };
    assert_eq!(alert, expected);
}

#[test]
fn a_connection_that_falco_saw() {
    let alert = one(Source::Falco, FALCO_CONNECT);
    assert_eq!((alert.image, alert.image_digest), (None, None), "no tag is not `latest`");
    assert_eq!(alert.severity, Severity::Low);
    let target = Target::Connect { protocol: "tcp".to_owned(), address: "10.96.0.1".into(), port: 443 };
    assert_eq!(alert.target, Some(target));
    let process = alert.process.unwrap();
    assert_eq!((process.exe, process.name, process.uid), (None, Some("curl".into()), Some(33)));
    assert_eq!(process.ancestors, texts(&["sh"]), "what starts containers is not in one");
    assert_eq!(alert.labels, BTreeMap::new());
}

#[test]
fn targets_that_falco_tells() {
    for (fields, expected) in [
        (r#""evt.type":"execve","proc.name":"sh""#, None),
        (r#""evt.type":"open","proc.name":"sh""#, None),
        (r#""evt.type":"ptrace""#, Some(Target::Syscall("ptrace".to_owned()))),
        (
            r#""evt.type":"accept4","fd.l4proto":"tcp","fd.sip":"10.0.0.7","fd.sport":8080"#,
            Some(Target::Listen { protocol: "tcp".to_owned(), address: "self".into(), port: 8080 }),
        ),
        (
            r#""evt.type":"connect","fd.typechar":"6","fd.name":"::1:4000->2001:db8::1:53""#,
            Some(Target::Connect { protocol: "unknown".to_owned(), address: "2001:db8::1".into(), port: 53 }),
        ),
        (
            r#""evt.type":"connect","fd.type":"unix","fd.name":"ffff8a->ffff8b /run/docker.sock""#,
            Some(Target::Connect {
                protocol: "unix".to_owned(),
                address: "/run/docker.sock".into(),
                port: 0,
            }),
        ),
        (
            r#""evt.type":"unlinkat","fs.path.name":"/var/log/..2025_08_11_19_41_08.1841170346/x""#,
            Some(Target::File { path: "/var/log/..<time>/x".into(), access: vec!["unlink"] }),
        ),
        (
            r#""evt.type":"openat","fd.name":"/x","evt.arg.flags":"O_RDWR|O_CREAT""#,
            Some(Target::File { path: "/x".into(), access: vec!["create", "read", "write"] }),
        ),
    ] {
        let text = format!(
            r#"{{"rule":"r","priority":"debug","time":"2024-01-15T15:45:01Z","output_fields":{{{fields}}}}}"#
        );
        assert_eq!(one(Source::Falco, &text).target, expected, "{fields}");
    }
}

#[test]
fn an_alert_of_tetragon() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let alert = one(Source::Tetragon, TETRAGON);
    let expected = Alert {
        id: alert.id.clone(),
        source: Source::Tetragon,
        rule: "watch".to_owned(),
        severity: Severity::High,
        time: parse_time("2024-01-15T15:45:01.5Z"),
        image: Some(Workload::parse(&format!("alpine@{digest}")).unwrap()),
        image_digest: Some(digest),
        container_id: Some("b12f7b1ffc6b0000".to_owned()),
        container_name: Some("web".to_owned()),
        host: Some("node-1".to_owned()),
        labels: map([
            ("io.kubernetes.container.name", "web"),
            ("io.kubernetes.pod.name", "web-0"),
            ("io.kubernetes.pod.namespace", "shop"),
        ]),
        process: Some(AlertProcess {
            exe: Some("/usr/bin/cat".into()),
            name: Some("cat".into()),
            argv0: None,
            args: Some("/usr/bin/cat notes.txt".into()),
            // The bash became the cat.
            ancestors: texts(&["/bin/sh"]),
            root: None,
            is_whole: false,
            uid: Some(0),
            cwd: Some("/srv".into()),
        }),
        target: Some(Target::File { path: "/srv/notes.txt".into(), access: vec![] }),
        summary: "a note was read".to_owned(),
        attributes: map([
            ("action", "KPROBE_ACTION_SIGKILL"),
            ("arg0", "/srv/notes.txt"),
            ("flags", "execve"),
            ("function_name", "file_open"),
            ("policy_name", "watch"),
            ("tags", "x y"),
        ]),
    };
    assert_eq!(alert, expected);
}

#[test]
fn an_alert_of_kubescape() {
    let alert = one(Source::Kubescape, KUBESCAPE);
    let expected = Alert {
        id: alert.id.clone(),
        source: Source::Kubescape,
        rule: "R0001".to_owned(),
        severity: Severity::Medium,
        time: parse_time("2025-07-10T14:37:19.089951639Z"),
        image: Some(Workload::parse("nginx:1.25").unwrap()),
        image_digest: None,
        container_id: Some("40ec".to_owned()),
        container_name: Some("web".to_owned()),
        host: Some("node-1".to_owned()),
        labels: map([
            ("io.kubernetes.container.name", "web"),
            ("io.kubernetes.pod.name", "web-0"),
            ("io.kubernetes.pod.namespace", "shop"),
        ]),
        process: Some(AlertProcess {
            exe: Some("/bin/cat".into()),
            name: Some("cat".into()),
            argv0: None,
            args: Some("/bin/cat --token '***' 'a b'".into()),
            ancestors: texts(&["/usr/sbin/apache2", "/bin/dash"]),
            root: None,
            is_whole: true,
            uid: Some(33),
            cwd: Some("/var/www".into()),
        }),
        target: None,
        summary: "Unexpected process launched: /bin/cat --token '***'".to_owned(),
        attributes: map([
            ("alertName", "Unexpected process launched"),
            ("args", "/bin/cat --token *** a b"),
            ("clusterName", "eu"),
            ("exec", "/bin/cat"),
            ("imageDigest", "sha256:c622"),
            ("retval", "0"),
            ("severity", "5"),
            ("uniqueID", "86a130a79323f10e54cf35ed94f7df9a"),
        ]),
    };
    assert_eq!(alert, expected);
}

#[test]
fn a_path_behind_the_word_token_is_no_secret() {
    let text = KUBESCAPE
        .replace(
            r#""args":["/bin/cat","--token","s3cr3t","a b"],"exec":"/bin/cat""#,
            r#""path":"/run/token","flags":["O_RDWR"]"#,
        )
        .replace(
            "Unexpected process launched: /bin/cat --token s3cr3t",
            "Access to token: /run/token, token: s3cr3t",
        );
    let alert = one(Source::Kubescape, &text.replace("/run/token,", "/run/token ,"));
    assert_eq!(alert.summary, "Access to token: /run/token , token: ***");
    let target = Target::File { path: "/run/token".into(), access: vec!["read", "write"] };
    assert_eq!(alert.target, Some(target));
}

#[test]
fn the_spelling_does_not_change_an_id() {
    for (source, text) in
        [(Source::Falco, FALCO), (Source::Tetragon, TETRAGON), (Source::Kubescape, KUBESCAPE)]
    {
        let value: Value = serde_json::from_str(text).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let array = format!("[{text},\n{pretty}]");
        let found = read_text(source, &array);
        assert_eq!(found.alerts.len(), 2, "{:?}", found.report);
        assert_eq!(found.alerts[0], found.alerts[1]);
        assert_eq!(found.alerts[0].id, one(source, text).id);
        let other = text.replacen("15", "16", 1).replacen("14:37:19", "14:37:18", 1);
        assert_ne!(found.alerts[0].id, one(source, &other).id);
    }
}

#[test]
fn ids_are_golden() {
    let ids = [(Source::Falco, FALCO), (Source::Tetragon, TETRAGON), (Source::Kubescape, KUBESCAPE)]
        .map(|(source, text)| one(source, text).id);
    let golden = [
        "1a1613d91ca6855af9f99115188f92bd",
        "e74742863f94128241ae3927f8e00de9",
        "d76ac9c6631f6ef74927f01466f13749",
    ];
    assert_eq!(ids, golden);
}

/// What is no alert is skipped, with its reason.
#[test]
fn other_records_are_skipped() {
    for (source, text, reason) in [
        (Source::Falco, r#"{"level":"info","msg":"Falco initialized"}"#, "no alert of Falco"),
        (
            Source::Falco,
            r#"{"rule":"Falco internal: syscall event drop","source":"internal"}"#,
            "Falco itself",
        ),
        (Source::Tetragon, r#"{"process_exec":{"process":{}}}"#, "not of a policy"),
        (
            Source::Tetragon,
            r#"{"rate_limit_info":{"number_of_dropped_process_events":"7"}}"#,
            "Tetragon itself",
        ),
        (Source::Tetragon, r#"{"a":1}"#, "no event of Tetragon"),
        (Source::Kubescape, r#"{"level":"info","msg":"start monitor on container"}"#, "agent's log"),
    ] {
        let found = read_text(source, text);
        assert_eq!((found.report.records, found.report.skipped), (1, 1), "{:?}", found.report);
        assert!(found.report.reasons.keys().all(|key| key.contains(reason)), "{:?}", found.report);
    }
}

/// Each of these costs its own record, with a reason, and not those around it.
#[test]
fn hostile_records_fail_alone() {
    let falco = |from: &str, to: &str| {
        assert!(FALCO.contains(from), "{from}");
        (Source::Falco, FALCO.replace(from, to))
    };
    let kubescape = |from: &str, to: &str| {
        assert!(KUBESCAPE.contains(from), "{from}");
        (Source::Kubescape, KUBESCAPE.replace(from, to))
    };
    let tetragon = |from: &str, to: &str| {
        assert!(TETRAGON.contains(from), "{from}");
        (Source::Tetragon, TETRAGON.replace(from, to))
    };
    let fields = (0..1_000_000).map(|n| format!("\"f{n}\":{n}")).collect::<Vec<_>>().join(",");
    for ((source, text), reason) in [
        ((Source::Falco, "no json".to_owned()), "not a JSON object"),
        ((Source::Falco, "\u{feff}\u{1b}[31m".to_owned()), "not a JSON object"),
        ((Source::Falco, "{\"rule\": tru}".to_owned()), "expected"),
        ((Source::Falco, FALCO[..FALCO.len() - 2].to_owned()), "another one starts"),
        ((Source::Falco, FALCO[..300].to_owned()), "does not end on its line"),
        (falco("cat --password", "\u{1b}[31m"), "control character"),
        (falco("/etc/shadow\",\"fd.typechar", "/etc/sh\\u0000adow\",\"fd.typechar"), "NUL"),
        (falco("Read sensitive", "Read\\u001b[2J"), "control characters"),
        (falco("\"rule\":\"Read", &format!("\"rule\":\"{}", "x".repeat(300))), "more than 256"),
        (falco("\"fd.name\":\"", &format!("\"fd.name\":\"/{}", "x".repeat(5000))), "more than 4096"),
        (falco("\"Warning\"", "\"Loud\""), "no priority"),
        (falco("\"Warning\"", "7"), "invalid type"),
        (falco("\"output_fields\":", "\"output_fields\":[],\"x\":"), "invalid type"),
        (falco("2024-01-15", "12024-01-15"), "no time"),
        (falco("2024-01-15", "0001-01-01"), "between 1970 and 9999"),
        (falco("\"docker.io/library/alpine\"", "\"a b\""), "is not an image reference"),
        (falco("\"3.20\"", "\"../x\""), "is not an image reference"),
        (
            falco("\"uuid\":", &format!("\"x\":\"{}\",\"uuid\":", "y".repeat(2 << 20))),
            "more than 1048576 bytes",
        ),
        (falco("\"uuid\":", &format!("{fields},\"uuid\":")), "more than 1048576 bytes"),
        (
            falco("\"uuid\":", &format!("\"x\":{}{},\"uuid\":", "[".repeat(5000), "]".repeat(5000))),
            "recursion",
        ),
        (
            falco("\"fd.typechar\":\"f\"", "\"fd.l4proto\":\"tcp\",\"fd.rip\":\"::1\",\"fd.rport\":70000"),
            "no port",
        ),
        (tetragon("\"time\"", "\"zeit\""), "no time"),
        (tetragon("\"pid\":42", "\"pid\":-1"), "invalid value"),
        (tetragon("/usr/bin/cat", "/usr/bin/c\\u0000"), "NUL"),
        (tetragon("docker.io/library/alpine@", "docker.io/library/ALPINE@"), "is not an image reference"),
        (tetragon("watch", "wat\\nch"), "control characters"),
        (kubescape("\"severity\":5", "\"severity\":\"5\""), "invalid type"),
        (kubescape("\"timestamp\"", "\"time\""), "no timestamp"),
        (kubescape("nginx:1.25", "nginx:1 25"), "is not an image reference"),
        (kubescape("R0001", ""), ""),
    ] {
        let good = match source {
            Source::Falco => FALCO,
            Source::Tetragon => TETRAGON,
            Source::Kubescape => KUBESCAPE,
        };
        let found = read_text(source, format!("{good}\n{text}\n{good}\n"));
        if reason.is_empty() {
            assert_eq!(found.report.alerts, 3);
            continue;
        }
        let [problem] = found.report.problems.as_slice() else { panic!("{reason}: {:?}", found.report) };
        assert_eq!((found.report.alerts, problem.line), (2, Some(2)), "{reason}: {:?}", found.report);
        assert!(problem.file.ends_with("x.json") && problem.reason.contains(reason), "{reason}: {problem:?}");
    }
}

#[test]
fn what_is_much_is_cut() {
    let fields: Vec<String> = (0..5000).map(|n| format!("\"f{n:04}\":\"{}\"", "ü".repeat(900))).collect();
    let text = FALCO.replace("\"evt.type\"", &format!("{},\"evt.type\"", fields[..400].join(",")));
    let text = text.replace("15:45:00.123456789: Warning", &"a\\nb\\u001b ".repeat(400));
    let alert = one(Source::Falco, &text);
    assert_eq!(alert.attributes.len(), 64);
    assert!(alert.attributes.values().all(|value| value.len() <= 1027));
    assert!(alert.attributes["…"].ends_with(" more"));
    assert!(alert.summary.len() <= 1027 && !alert.summary.contains('\n'), "{}", alert.summary);
    let limits = Limits { alerts: 2, ..Limits::default() };
    let found = read_with(Source::Falco, format!("{FALCO}\n").repeat(3), &limits);
    assert_eq!((found.report.alerts, found.report.failed), (2, 1));
    let limits = Limits { file_bytes: 100 + FALCO.len() as u64, ..Limits::default() };
    let found = read_with(Source::Falco, format!("{FALCO}\n").repeat(3), &limits);
    assert_eq!((found.report.alerts, found.report.failed), (1, 1));
    assert!(found.report.problems.iter().any(|problem| problem.line.is_none()), "{:?}", found.report);
    let found = falco(&[PathBuf::from("/no/such")], &Limits::default());
    assert!(found.report.problems[0].reason.contains("cannot be opened"), "{:?}", found.report);
}

/// Alerts that others recorded.
#[test]
fn recorded_alerts_go_through() {
    let Some(folder) = recordings("kubescape-alerts") else { return };
    for (file, records, alerts, skipped, failed) in [
        ("anomaly.json", 9, 9, 0, 0),
        ("anomaly-redis.json", 5, 5, 0, 0),
        // The screen of a terminal: most lines are cut off at its width.
        ("additional_tetragon.json", 112, 11, 0, 101),
    ] {
        let found = kubescape(&[folder.join(file)], &Limits::default());
        balanced(&found);
        let report = &found.report;
        assert_eq!(
            (report.records, report.alerts, report.skipped, report.failed),
            (records, alerts, skipped, failed),
            "{file}: {:?}",
            report.problems.iter().map(|problem| (problem.line, &problem.reason)).collect::<Vec<_>>()
        );
        assert!(found.alerts.iter().all(|alert| alert.process.is_some() && !alert.summary.contains("***")));
    }
    let Some(folder) = recordings("tetragon-events") else { return };
    let found = tetragon(&[folder], &Limits::default());
    balanced(&found);
    let report = &found.report;
    assert_eq!((report.records, report.alerts, report.skipped, report.failed), (18, 2, 16, 0), "{report:?}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for source in [Source::Falco, Source::Tetragon, Source::Kubescape] {
            read_text(source, &bytes);
        }
    }

    /// Records that are nearly right: a piece of one is replaced.
    #[test]
    fn no_nearly_right_record_panics(at in 0..2000_usize, length in 0..40_usize, piece in "[\\PC\\x00\"{}\\[\\],:0-9]{0,12}") {
        for (source, text) in [(Source::Falco, FALCO), (Source::Tetragon, TETRAGON), (Source::Kubescape, KUBESCAPE)] {
            let start = text.floor_char_boundary(at.min(text.len()));
            let end = text.floor_char_boundary((at + length).min(text.len())).max(start);
            let broken = format!("{}{piece}{}", &text[..start], &text[end..]);
            read_text(source, format!("{broken}\n{text}\n"));
        }
    }
}
