use super::*;
use crate::rules::example;

/// The rows of the snapshot that an example makes, as text.
#[test]
fn columns_say_what_they_are_declared_to() {
    let context = crate::session::new(&crate::session::Resources::default()).unwrap();
    let rule = |predicate: &str, digest: &str| {
        let text = format!(
            r#"
            id = "r"
            title = "t"
            severity = "low"
            description = "d"
            predicate = """{predicate}"""
            [[example]]
            says = "all"
            raises = true
            {digest}
            labels = {{ namespace = "prod" }}
            [[example.process]]
            exe = "/usr/sbin/nginx"
            listens = [{{ address = "0.0.0.0", port = 80 }}]
            [[example.process]]
            exe = "/usr/bin/dash"
            parent = "/usr/sbin/nginx"
            args = ["sh -c id"]
            stdio = ["socket", "socket", "null"]
            uids = [33]
            origin = "upper"
            files = [{{ path = "/etc/passwd" }}, {{ path = "/tmp/x", access = ["write", "create"], mode = 2541 }}]
            dns = [{{ name = "a.b.example.com" }}, {{ name = "c.example.com" }}, {{ name = "c.example.com", type = "AAAA" }}]
            connects = [{{ address = "c.example.com", port = 443, by_name = true, remote_ips = ["10.0.0.1"] }}]
            [[example.process]]
            exe = "/bin/busybox"
            argv0 = "ls"
            tty = true
            "#
        );
        crate::rules::parse(&context, text.as_bytes(), crate::rules::Origin::Shipped).unwrap()
    };
    let dash = "kind = 'process' AND exe = '/usr/bin/dash' AND";
    for predicate in [
        format!("{dash} parent_exe = '/usr/sbin/nginx' AND ancestors[1] = parent_exe AND cardinality(ancestors) = 1"),
        format!("{dash} exe_name = 'dash' AND exe_origin = 'upper' AND session = 'init' AND NOT is_root"),
        format!("{dash} args[1] = 'sh -c id' AND array_has(uids, 33) AND stdio[2] = 'socket' AND NOT tty"),
        format!("{dash} dns_names = 2 AND dns_longest_label = 7 AND dns_most_below = 2 AND peers = 1 AND peer_ports = 1"),
        format!("{dash} files_read = 1 AND files_written = 1 AND files_deleted = 0 AND children = 0"),
        "kind = 'process' AND exe_name = 'nginx' AND children = 1 AND is_root AND parent_exe IS NULL".to_owned(),
        "kind = 'process' AND target = 'ls (/bin/busybox)' AND session = 'exec_session' AND tty AND is_root".to_owned(),
        "kind = 'file' AND target = '/tmp/x' AND mode = 2541 AND array_has_all(access, ['write', 'create']) AND exe_name = 'dash' AND args[1] = 'sh -c id'".to_owned(),
        "kind = 'dns' AND target = 'c.example.com AAAA' AND dns_type = 'AAAA'".to_owned(),
        "kind = 'connect' AND target = 'tcp c.example.com 443' AND name_source = 'dns' AND remote_ips[1] = '10.0.0.1' AND parent_exe = '/usr/sbin/nginx'".to_owned(),
        "kind = 'listen' AND port = 80 AND address = '0.0.0.0' AND parent_exe IS NULL AND is_root".to_owned(),
        "kind = 'container' AND labels['namespace'] = 'prod' AND image_name = 'example.com/example' AND exe IS NULL AND ancestors IS NULL AND digest_is_new IS NULL AND covers_start".to_owned(),
    ] {
        let errors = example::run(&rule(&predicate, ""));
        assert!(errors.is_empty(), "{predicate}: {errors:?}");
    }
    assert!(example::run(&rule("kind = 'container' AND digest_is_new", "digest_is_new = true")).is_empty());
    let wrong = example::run(&rule("kind = 'file' AND path = '/nothing'", ""));
    assert_eq!(wrong[0].to_string(), "the rule `r` does not match the example `all`");
}

#[test]
fn every_declared_column_is_made() {
    let all: Vec<&str> = BEHAVIOUR.columns.iter().map(|column| column.name).collect();
    assert!(ACTIVITY.iter().chain(&OF_SNAPSHOT).all(|name| all.contains(name)));
}
