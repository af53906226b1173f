//! On lines as strace 6.1 printed them, most of them shortened to what matters.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const STARTED: &str = "1 execve(\"/bin/true\", [\"true\"], 0x1 /* 5 vars */) = 0\n";

fn rootfs() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    symlink("usr/bin", root.path().join("bin")).unwrap();
    fs::write(root.path().join("usr/bin/true"), b"\x7fELF").unwrap();
    fs::write(root.path().join("usr/bin/dash"), b"\x7fELF").unwrap();
    symlink("dash", root.path().join("usr/bin/sh")).unwrap();
    fs::write(root.path().join("run.sh"), "#! /bin/sh -e\n").unwrap();
    fs::write(root.path().join("usr/bin/nested"), "#!/run.sh\n").unwrap();
    root
}

fn parse_text(text: &str) -> Truth {
    parse(text.as_bytes(), rootfs().path())
}

fn started(lines: &str) -> Truth {
    parse_text(&format!("{STARTED}{lines}"))
}

fn texts(set: &BTreeSet<RawText>) -> Vec<String> {
    set.iter().map(RawText::to_escaped).collect()
}

fn endpoints(set: &BTreeSet<Endpoint>) -> Vec<String> {
    set.iter().map(|e| format!("{} {} {}", e.protocol, e.address.to_text(), e.port)).collect()
}

fn nothing_unresolved(truth: &Truth) {
    assert_eq!(truth.unresolved, BTreeSet::new());
}

#[test]
fn before_the_first_exec_all_is_the_runtimes() {
    let truth = parse_text(
        r#"20154 openat(AT_FDCWD<\x2f>, "\x2f\x70", O_WRONLY|O_CLOEXEC) = 3</run/runc/b14d/exec.fifo>
20157 <... futex resumed>) = 0
20154 openat(AT_FDCWD</>, "/proc/self/fd", O_RDONLY|O_CLOEXEC) = 4</proc/1/fd>
20154 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 5<TCP:[1]>
20154 connect(5<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
20154 execve("\x2f\x62\x69\x6e\x2f\x6e\x6f", ["no"], 0xc000151740 /* 5 vars */) = -1 ENOENT (No such file or directory)
20154 execve("\x2f\x62\x69\x6e\x2f\x74\x72\x75\x65", ["\x74"], 0xc000151740 /* 5 vars */ <unfinished ...>
20157 +++ exited with 0 +++
20154 <... execve resumed>)             = 0
20154 openat(AT_FDCWD<\x2f>, "\x2f\x65", O_RDONLY|O_CLOEXEC) = 3<\x2f\x65>
20154 +++ exited with 0 +++
"#,
    );
    nothing_unresolved(&truth);
    assert_eq!(texts(&truth.execs), ["/usr/bin/true"]);
    assert_eq!(texts(&truth.files), ["/e"]);
    assert_eq!(truth.connects, BTreeSet::new());
}

#[test]
fn a_container_that_did_not_start_is_reported() {
    assert_eq!(parse_text("1 openat(AT_FDCWD</>, \"/x\", O_RDONLY) = 3</x>\n").unresolved.len(), 1);
}

#[test]
fn hostile_names_in_both_quotings() {
    let truth = started(
        r#"1 openat(AT_FDCWD</tmp/gt>, "/tmp/gt/a<b>\"c\\\t\n(d", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 15</tmp/gt/a\74b\76\"c\\\t\n(d>
1 openat(AT_FDCWD<\x2f>, "\x77", O_RDONLY) = 3<\x2f\x77\x65\x3c\x69\x3e\x72\x64\x20\x22\x6e\x5c\x0a\x61\xff\x6d\x65\x20\x28\x78\x29>
1 openat(AT_FDCWD</>, "z", O_RDONLY) = 3</octal \1771 \3, ) = 7 {[>
1 openat(AT_FDCWD</>, "z", O_RDONLY) = 3</unfinished ...\76>
"#,
    );
    nothing_unresolved(&truth);
    let expected = [
        "/octal \u{7f}1 \u{3}, ) = 7 {[",
        "/tmp/gt/a<b>\"c\\\\\t\n(d",
        "/unfinished ...>",
        "/we<i>rd \"n\\\\\na\\xffme (x)",
    ];
    assert_eq!(texts(&truth.files), expected);
}

#[test]
fn what_has_no_path_does_not_count_and_what_is_gone_does() {
    let truth = started(
        r#"1 openat(AT_FDCWD</>, "/proc/self/fd/3", O_RDONLY|O_CLOEXEC) = 4</tmp/gt/zz>(deleted)
1 openat(AT_FDCWD</>, "/tmp", O_RDWR|O_CLOEXEC|O_TMPFILE, 0777) = 5</tmp/#10010660>(deleted)
1 openat(AT_FDCWD</>, "/tmp/x (deleted)", O_RDONLY) = 5</tmp/x>(deleted)
1 openat(AT_FDCWD</>, "/proc/self/fd/6", O_RDWR|O_CLOEXEC) = 7</memfd:hi>(deleted)
1 openat(AT_FDCWD</>, "/tmp/gt", O_RDONLY|O_CLOEXEC|O_PATH) = 8</tmp/gt>
1 openat(AT_FDCWD</>, "/proc/self/ns/net", O_RDONLY|O_CLOEXEC) = 9<net:[4026532246]>
1 openat(AT_FDCWD</>, "/dev/ptmx", O_RDWR|O_CLOEXEC) = 11</dev/pts/ptmx<char 5:2>>
1 openat(AT_FDCWD</>, "/proc/self/fd/12", O_RDONLY|O_CLOEXEC) = 14<pipe:[35842]>
1 creat("created", 0644)            = 15</tmp/created>
1 open("created", O_RDONLY)         = 15</tmp/created too>
1 openat2(7</usr/lib>, "os-release", {flags=O_RDONLY, resolve=RESOLVE_BENEATH}, 24) = 10</usr/lib/os-release>
1 open_by_handle_at(3</>, {handle_bytes=8, handle_type=1, f_handle=0x01}, O_RDONLY) = 4</by/handle>
1 openat(AT_FDCWD</>, "missing", O_RDONLY) = -1 ENOENT (No such file or directory)
1 openat(AT_FDCWD</>, "fifo", O_RDONLY <unfinished ...>
1 <... openat resumed>) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
"#,
    );
    nothing_unresolved(&truth);
    let expected = [
        "/by/handle",
        "/dev/pts/ptmx",
        "/tmp/#10010660",
        "/tmp/created",
        "/tmp/created too",
        "/tmp/gt",
        "/tmp/gt/zz",
        "/tmp/x (deleted)",
        "/usr/lib/os-release",
    ];
    assert_eq!(texts(&truth.files), expected);
}

#[test]
fn a_path_that_strace_could_not_read_is_reported() {
    assert_eq!(started("1 openat(AT_FDCWD</>, \"deep\", O_RDONLY) = 3\n").unresolved.len(), 1);
}

#[test]
fn calls_of_several_threads_interleave() {
    let truth = started(
        r#"3313 getsockname(7<TCP:[116601]>,  <unfinished ...>
3264 openat(AT_FDCWD</>, "a", O_RDONLY <unfinished ...>
3313 <... getsockname resumed>{sa_family=AF_INET, sin_port=htons(45594), sin_addr=inet_addr("\x31\x32\x37\x2e\x30\x2e\x30\x2e\x31")}, [16]) = 0
3264 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=6 /* 20422 in strace's PID NS */, si_uid=0} ---
3264 <... openat resumed>)             = 3</a>
3313 listen(7<TCP:[116601]>, 5)         = 0
3313 openat(AT_FDCWD</>, "fifo", O_RDONLY <detached ...>
"#,
    );
    nothing_unresolved(&truth);
    assert_eq!(texts(&truth.files), ["/a"]);
    assert_eq!(endpoints(&truth.listens), ["tcp 127.0.0.1 45594"]);
}

#[test]
fn execs_are_followed_to_the_file_that_runs() {
    let truth = started(
        r#"1 execve("/run.sh", ["/run.sh"], 0x1 /* 5 vars */) = 0
1 execve("/usr/bin/nested", ["nested"], 0x1 /* 5 vars */) = 0
1 execveat(13</usr/bin/true>, "", ["by-descriptor"], 0x7f4b82bcc8e0 /* 0 vars */, AT_EMPTY_PATH) = 0
1 execveat(14</memfd:program>(deleted), "", ["by-descriptor"], 0x7f4b82bcc8e0 /* 0 vars */, AT_EMPTY_PATH) = 0
1 execve("/nowhere", ["x"], 0x1 /* 5 vars */) = -1 ENOENT (No such file or directory)
"#,
    );
    nothing_unresolved(&truth);
    assert_eq!(texts(&truth.execs), ["/memfd:program", "/usr/bin/dash", "/usr/bin/true"]);
    assert_eq!(texts(&truth.scripts), ["/run.sh", "/usr/bin/nested"]);
}

#[test]
fn relative_execs_start_from_the_working_directory() {
    let truth = started(
        r#"1 chdir("usr") = 0
1 vfork( <unfinished ...>
7 execve("bin/true", ["true"], 0x1 /* 5 vars */ <unfinished ...>
1 <... vfork resumed>)              = 2 /* 7 in strace's PID NS */
7 <... execve resumed>)             = 0
7 +++ exited with 0 +++
1 clone(child_stack=NULL, flags=SIGCHLD, child_tidptr=0x1d9a9690) = 3 /* 8 in strace's PID NS */
1 fchdir(3</>) = 0
8 execve("./bin/../bin/sh", ["sh"], 0x1 /* 5 vars */) = 0
1 execve("run.sh", ["run.sh"], 0x1 /* 5 vars */) = 0
"#,
    );
    nothing_unresolved(&truth);
    assert_eq!(texts(&truth.execs), ["/usr/bin/dash", "/usr/bin/true"]);
}

#[test]
fn a_binary_that_runs_itself_again() {
    let truth = started(
        r#"1 clone(child_stack=NULL, flags=SIGCHLD, child_tidptr=0x1d9a9690) = 7 /* 20424 in strace's PID NS */
1 execve("/bin/sh", ["sh"], 0x1 /* 7 vars */) = 0
20424 execve("\x2f\x70\x72\x6f\x63\x2f\x73\x65\x6c\x66\x2f\x65\x78\x65", ["\x63\x61\x74"], 0x1d9aabb0 /* 7 vars */) = 0
"#,
    );
    nothing_unresolved(&truth);
    // The child runs what its parent ran when it was made.
    assert_eq!(texts(&truth.execs), ["/usr/bin/dash", "/usr/bin/true"]);
}

#[test]
fn an_exec_by_another_thread_than_the_first() {
    let truth = started(
        r#"31682 clone3({flags=CLONE_VM|CLONE_THREAD, child_tid=0x7fc0e82fe990, exit_signal=0, stack=0x7fc0e7aff000} => {parent_tid=[2]}, 88) = 29 /* 31683 in strace's PID NS */
31683 execve("/bin/sh", ["\x65"], 0x329c9c10 /* 6 vars */ <pid changed to 31682 ...>
31682 +++ superseded by execve in pid 31683 +++
31682 <... execve resumed>)             = 0
31682 openat(AT_FDCWD</tmp>, "x", O_RDONLY|O_CLOEXEC) = 3</tmp/x>
"#,
    );
    nothing_unresolved(&truth);
    assert_eq!(texts(&truth.execs), ["/usr/bin/dash", "/usr/bin/true"]);
    assert_eq!(texts(&truth.files), ["/tmp/x"]);
}

#[test]
fn programs_that_the_workload_made_and_removed() {
    let truth = started(
        r##"1 openat(AT_FDCWD</tmp>, "new", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</tmp/new>
1 write(1</tmp/new>, "#!/bin/sh\necho"..., 2000) = 2000
1 renameat2(AT_FDCWD</tmp>, "new", AT_FDCWD</tmp>, "script", RENAME_NOREPLACE) = 0
1 symlink("script", "linked") = 0
1 execve("./linked", ["./linked"], 0x1 /* 7 vars */) = 0
1 copy_file_range(3</usr/bin/true>, NULL, 4</tmp/copy>, NULL, 9223372035781033984, 0) = 4
1 rename("/tmp", "/moved") = 0
1 execve("/moved/copy", ["copy"], 0x1 /* 7 vars */) = 0
1 execve("/moved/linked", ["linked"], 0x1 /* 7 vars */) = 0
"##,
    );
    // The working directory was worked out: strace showed /tmp before it moved.
    nothing_unresolved(&truth);
    assert_eq!(texts(&truth.execs), ["/moved/copy", "/usr/bin/dash", "/usr/bin/true"]);
    let unknown = started("1 execve(\"/gone\", [\"gone\"], 0x1 /* 7 vars */) = 0\n");
    assert_eq!(texts(&unknown.execs), ["/gone", "/usr/bin/true"]);
    assert_eq!(unknown.unresolved.len(), 1);
}

#[test]
fn connects_count_unless_no_address_was_tried() {
    let truth = started(
        r#"1 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("\x31\x32\x37\x2e\x30\x2e\x30\x2e\x31")}, 16) = -1 ECONNREFUSED (Connection refused)
1 connect(3<TCPv6:[2]>, {sa_family=AF_INET6, sin6_port=htons(81), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::ffff:127.0.0.1", &sin6_addr), sin6_scope_id=0}, 28) = -1 EINPROGRESS (Operation now in progress)
1 connect(3<UDPv6:[3]>, {sa_family=AF_INET6, sin6_port=htons(82), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0
1 connect(3<UDP:[4]>, {sa_family=AF_INET, sin_port=htons(3), sin_addr=inet_addr("127.255.255.255")}, 16) = -1 EACCES (Permission denied)
1 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(83), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EALREADY (Operation already in progress)
1 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(84), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EISCONN (Transport endpoint is already connected)
1 connect(3<UDP:[116610]>, {sa_family=AF_UNSPEC, sa_data="\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}, 16) = 0
1 connect(3<UDP:[116610]>, NULL, 16) = -1 EFAULT (Bad address)
1 connect(999, {sa_family=AF_INET, sin_port=htons(85), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EBADF (Bad file descriptor)
1 connect(4</etc/passwd>, {sa_family=AF_INET, sin_port=htons(86), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 ENOTSOCK (Socket operation on non-socket)
1 connect(5<NETLINK:[ROUTE:1]>, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0
1 connect(4<UNIX-STREAM:[116590]>, {sa_family=AF_UNIX, sun_path=@"\x61\x62\x00\x73\x3c"}, 11) = 0
1 connect(4<UNIX-STREAM:[116591]>, {sa_family=AF_UNIX, sun_path="/run/nscd/socket"}, 110) = -1 ENOENT (No such file or directory)
1 connect(4<UNIX-DGRAM:[116592]>, {sa_family=AF_UNIX, sun_path="odd \xff\n'"}, 110) = -1 ECONNREFUSED (Connection refused)
1 connect(3<TCP:[9]>, {sa_family=AF_INET, sin_port=htons(87), sin_addr=inet_addr("127.0.0.1")}, 16) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
1 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3<socket:[10]>
1 connect(3<socket:[10]>, {sa_family=AF_INET, sin_port=htons(88), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
"#,
    );
    nothing_unresolved(&truth);
    let expected = [
        "tcp 127.0.0.1 80",
        "tcp 127.0.0.1 81",
        "tcp 127.0.0.1 87",
        "tcp 127.0.0.1 88",
        "udp 127.255.255.255 3",
        "udp ::1 82",
        "unix odd \\xff\n' 0",
        "unix @ab\0s< 0",
    ];
    assert_eq!(endpoints(&truth.connects), expected);
}

#[test]
fn listening_sockets_have_the_port_that_the_kernel_chose() {
    let truth = started(
        r#"1 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 3<TCP:[1]>
1 bind(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(5555), sin_addr=inet_addr("0.0.0.0")}, 16) = 0
1 listen(3<TCP:[1]>, 1)         = 0
1 bind(4<TCPv6:[2]>, {sa_family=AF_INET6, sin6_port=htons(0), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::", &sin6_addr), sin6_scope_id=0}, 28) = 0
1 listen(4<TCPv6:[2]>, 1)         = 0
2 getsockname(9<TCPv6:[2]>, {sa_family=AF_INET6, sin6_port=htons(50208), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::", &sin6_addr), sin6_scope_id=0}, [128 => 28]) = 0
1 bind(5<UNIX-STREAM:[3]>, {sa_family=AF_UNIX, sun_path="/run/x.sock"}, 110) = 0
1 listen(5<UNIX-STREAM:[3]>, 1)         = 0
1 bind(5<UNIX-STREAM:[4]>, {sa_family=AF_UNIX}, 2) = 0
1 listen(5<UNIX-STREAM:[4]>, 1)         = 0
1 getsockname(5<UNIX-STREAM:[4]>, {sa_family=AF_UNIX, sun_path=@"be8d6"}, [128 => 8]) = 0
1 bind(6<TCP:[5]>, {sa_family=AF_INET, sin_port=htons(5556), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
1 listen(6<TCP:[6]>, 1)         = -1 EOPNOTSUPP (Operation not supported)
1 listen(7<TCP:[127.0.0.1:7777]>, 1)         = 0
1 listen(8<TCPv6:[[::1]:7778]>, 1)         = 0
"#,
    );
    nothing_unresolved(&truth);
    let expected = [
        "tcp 0.0.0.0 5555",
        "tcp 127.0.0.1 7777",
        "tcp :: 50208",
        "tcp ::1 7778",
        "unix /run/x.sock 0",
        "unix @be8d6 0",
    ];
    assert_eq!(endpoints(&truth.listens), expected);
    assert_eq!(started("1 listen(3<TCP:[1]>, 1) = 0\n").unresolved.len(), 1);
}

#[test]
fn questions_to_port_53() {
    let query = r"\xa0\xf3\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05\x50\x6c\x61\x69\x6e\x04\x74\x65\x73\x74\x00\x00\x01\x00\x01";
    let answer = r"\xa0\xf3\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x03\x61\x6e\x73\x00\x00\x01\x00\x01";
    let other = r"\xab\xf1\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03\xff\x2e\x62\x00\x30\x39\x00\x01";
    let port_53 = r#"{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("\x31\x32\x37\x2e\x30\x2e\x30\x2e\x31")}"#;
    let header = |bytes: &str| {
        format!("msg_name=NULL, msg_namelen=0, msg_iov=[{{iov_base=\"{bytes}\", iov_len=36}}], msg_iovlen=1")
    };
    let truth = started(&format!(
        "1 connect(6<UDP:[1]>, {port_53}, 16) = 0
1 sendmmsg(6<UDP:[1]>, [{{msg_hdr={{{}}}, msg_len=36}}, {{msg_hdr={{{}}}, msg_len=36}}], 2, MSG_NOSIGNAL) = 1
",
        header(query),
        header(other)
    ));
    nothing_unresolved(&truth);
    let found: Vec<_> =
        truth.dns.iter().map(|(name, kind)| format!("{} {kind}", name.to_escaped())).collect();
    assert_eq!(found, ["plain.test A"], "the second message was not sent");

    let each_way = [
        format!("1 sendto(3<UDP:[2]>, \"{other}\", 29, 0, {port_53}, 16) = 29"),
        format!(
            "1 sendmsg(3<UDP:[2]>, {{msg_name={port_53}, msg_namelen=16, msg_iov=[{{iov_base=\"{other}\", iov_len=34}}], msg_iovlen=1}}, 0) = 34"
        ),
        format!("1 connect(3<UDPv6:[2]>, {port_53}, 16) = 0\n2 write(9<UDPv6:[2]>, \"{other}\", 29) = 29"),
        format!(
            "1 connect(3<TCP:[2]>, {port_53}, 16) = 0\n1 write(3<TCP:[2]>, \"\\x00\\x15\", 2) = 2\n1 write(3<TCP:[2]>, \"{other}\", 21) = 21"
        ),
        format!("1 write(3<UDP:[127.0.0.1:4000->127.0.0.1:53]>, \"{other}\", 29) = 29"),
    ];
    for lines in each_way {
        let truth = started(&lines);
        nothing_unresolved(&truth);
        let found: Vec<_> =
            truth.dns.iter().map(|(name, kind)| format!("{} {kind}", name.to_escaped())).collect();
        assert_eq!(found, ["\\xff.b TYPE12345"], "{lines}");
    }

    let root = r"\xab\xf1\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01";
    let truth = started(&format!("1 sendto(3<UDP:[2]>, \"{root}\", 17, 0, {port_53}, 16) = 17"));
    assert_eq!(truth.dns, BTreeSet::from([(RawText::from("."), "NS".to_owned())]));

    let none = [
        format!("1 sendto(3<UDP:[2]>, \"{query}\", 29, 0, {}, 16) = 29", port_53.replace("53", "5353")),
        format!(
            "1 sendto(3<UDP:[2]>, \"{query}\", 29, 0, {port_53}, 16) = -1 EPERM (Operation not permitted)"
        ),
        format!(
            "1 connect(3<UDP:[2]>, {port_53}, 16) = 0\n1 connect(3<UDP:[2]>, {{sa_family=AF_UNSPEC, sa_data=\"\"}}, 16) = 0\n1 write(3<UDP:[2]>, \"{query}\", 29) = 29"
        ),
    ];
    for lines in none {
        let truth = started(&lines);
        nothing_unresolved(&truth);
        assert_eq!(truth.dns, BTreeSet::new(), "{lines}");
    }
    assert_eq!(
        started(&format!("1 sendto(3<UDP:[2]>, \"{answer}\", 29, 0, {port_53}, 16) = 29")).unresolved.len(),
        1
    );
}

#[test]
fn a_line_that_is_cut_is_reported() {
    assert_eq!(started("1 openat(AT_FDCWD</>, \"/etc/pas").unresolved.len(), 1);
}

#[test]
fn the_export_is_one_object_a_line() {
    let truth = started("1 openat(AT_FDCWD</>, \"x\", O_RDONLY) = 3</a\\\\b\\377\\n>\n");
    let mut out = Vec::new();
    truth.write_json_lines(&mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"kind\":\"exec\",\"exe\":\"/usr/bin/true\"}\n{\"kind\":\"file\",\"path\":\"/a\\\\\\\\b\\\\xff\\n\"}\n"
    );
}

#[test]
fn what_is_in_a_span_of_time_is_told_apart() {
    let log = "1 100.000000 execve(\"/bin/true\", [\"true\"], 0x1 /* 5 vars */) = 0
1 101.000000 openat(AT_FDCWD</>, \"\\x61\", O_RDONLY) = 3</before>
1 102.000000 openat(AT_FDCWD</>, \"\\x62\", O_RDONLY) = 3</in>
1 103.000000 openat(AT_FDCWD</>, \"\\x63\", O_RDONLY <unfinished ...>
2 104.000000 openat(AT_FDCWD</>, \"\\x64\", O_RDONLY) = 3</ends-after>
1 104.500000 <... openat resumed>) = 3</split>
2 106.000000 openat(AT_FDCWD</>, \"\\x65\", O_RDONLY) = 3</after>
1 104.600000 +++ exited with 0 +++
";
    let (within, all) = parse_within(log.as_bytes(), rootfs().path(), 101_500_000..105_000_000);
    assert_eq!(texts(&within.files), ["/in", "/split"]);
    assert_eq!((within.execs.len(), all.execs.len(), all.files.len()), (0, 1, 5));
    assert_eq!(parse(log.as_bytes(), rootfs().path()), all);
    nothing_unresolved(&all);
}
