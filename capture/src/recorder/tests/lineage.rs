use super::*;

#[test]
fn nginx_has_the_same_ids_from_birth_and_joined_late() {
    let born = script()
        .exec(100, "/usr/bin/dash", "sh /docker-entrypoint.sh nginx")
        .run(100, 101, "/usr/bin/find", "find /docker-entrypoint.d")
        .exit(101)
        .exec(100, "/usr/sbin/nginx", "nginx -g daemon")
        .open(100, "/etc/nginx/nginx.conf", 0)
        .event(
            100,
            Body::Listen {
                local: Endpoint {
                    protocol: Transport::Tcp,
                    address: Address::Ip([0, 0, 0, 0].into()),
                    port: 80,
                },
            },
        )
        .fork(100, 102)
        .fork(100, 103)
        .open(102, "/usr/share/nginx/html/index.html", 0)
        .born();
    let late = script()
        .initial(100, None, "/usr/sbin/nginx", "nginx -g daemon")
        .initial(102, Some(100), "/usr/sbin/nginx", "nginx: worker")
        .initial(103, Some(100), "/usr/sbin/nginx", "nginx: worker")
        .event(
            100,
            Body::InitialListen {
                local: Endpoint {
                    protocol: Transport::Tcp,
                    address: Address::Ip([0, 0, 0, 0].into()),
                    port: 80,
                },
            },
        )
        .open(103, "/usr/share/nginx/html/index.html", 0)
        .joined();
    insta::assert_snapshot!(born.tree(), @r"
    [init] /usr/bin/dash
      /usr/bin/find
    [init] /usr/sbin/nginx was /usr/bin/dash (3 processes)
      file /etc/nginx/nginx.conf read
      file /usr/share/nginx/html/index.html read
      listen tcp 0.0.0.0:80
    ");
    insta::assert_snapshot!(late.tree(), @r"
    [init] /usr/sbin/nginx (3 processes) initial x3
      file /usr/share/nginx/html/index.html read
      listen tcp 0.0.0.0:80 initial
    ");
    for shown in ["[init] /usr/sbin/nginx", "file /usr/share", "listen tcp"] {
        assert_eq!(born.id(shown), late.id(shown), "{shown}");
    }
}

#[test]
fn only_direct_repeats_fold() {
    let tree = script()
        .exec(100, "/bin/sh", "sh a")
        .run(100, 101, "/bin/sh", "sh b")
        .run(101, 102, "/usr/bin/python3", "python3 c")
        .run(102, 103, "/bin/sh", "sh d")
        .run(103, 104, "/bin/sh", "sh e")
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/sh (2 processes) x2
      /usr/bin/python3
        /bin/sh (2 processes) x2
    ");
    let args: Vec<String> = tree.process("[init] /bin/sh").args.iter().map(RawText::to_escaped).collect();
    assert_eq!(args, ["sh a", "sh b"]);
}

#[test]
fn a_daemon_hangs_from_who_forked_it() {
    let tree = script()
        .exec(100, "/sbin/start", "start")
        .run(100, 101, "/usr/sbin/httpd", "httpd")
        .fork(101, 102)
        .exit(101)
        // Its parent is now the init; nobody says so, and nothing changes.
        .run(102, 103, "/usr/bin/cgi", "cgi")
        .exit(102)
        .open(103, "/srv/data", 1)
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /sbin/start
      /usr/sbin/httpd (2 processes)
        /usr/bin/cgi
          file /srv/data write
    ");
}

#[test]
fn execs_in_place_hang_from_the_same_fork_parent() {
    let tree = script()
        .exec(100, "/bin/tini", "tini")
        .run(100, 101, "/bin/sh", "sh")
        .exec(101, "/usr/bin/env", "env app")
        .exec(101, "/usr/bin/app", "app")
        // The first exec of a forked child replaces nothing of its own.
        .run(101, 102, "/bin/true", "true")
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/tini
      /bin/sh
      /usr/bin/env was /bin/sh
      /usr/bin/app was /usr/bin/env
        /bin/true
    ");
}

#[test]
fn an_exec_in_place_into_the_parents_program_is_the_parent() {
    let tree = script()
        .exec(100, "/bin/sh", "sh")
        .run(100, 101, "/bin/env", "env sh")
        .exec(101, "/bin/sh", "sh")
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/sh was /bin/env (2 processes) x2
      /bin/env
    ");
}

#[test]
fn a_session_is_never_the_entrypoint() {
    let tree = script()
        .exec(100, "/bin/sh", "sh -c loop")
        .exec(120, "/bin/sh", "sh")
        .run(120, 121, "/bin/ls", "ls")
        .exec(120, "/bin/cat", "cat")
        .run(100, 122, "/bin/ls", "ls")
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/sh
      /bin/ls
    [exec_session] /bin/sh
      /bin/ls
    [exec_session] /bin/cat was /bin/sh
    ");
}

#[test]
fn without_a_private_pid_namespace_the_first_is_the_init() {
    let shared = |ns_pid, level| {
        let mut exec = exec(ns_pid, "/bin/sh", "sh");
        exec.pid_ns_level = level;
        Body::Exec(exec)
    };
    for (ns_pid, level) in [(4000, 0), (8, 1), (1, 0)] {
        let tree = script().event(4000, shared(ns_pid, level)).event(4001, shared(ns_pid + 1, level)).born();
        assert_eq!(tree.tree(), "[init] /bin/sh\n[exec_session] /bin/sh\n");
    }
}

#[test]
fn the_initial_init_is_told_or_is_pid_1_or_the_earliest() {
    let initial = |pid: u32, ns_pid, started| {
        let mut exec = exec(ns_pid, "/bin/x", "x");
        exec.started = Some(BootTime(started));
        (pid, Body::InitialProcess { parent: None, parent_is_guess: false, exec })
    };
    let init_of = |processes: Vec<(u32, Body)>, told: Option<Pid>| {
        let mut recorder = Recorder::new(Options::default(), Met::Running, told, at(1000));
        let mut script = script();
        for (pid, body) in processes {
            script = script.event(pid, body);
        }
        script.into_recorder(&mut recorder);
        recorder.init
    };
    let all = || vec![initial(10, 7, 300), initial(11, 1, 200), initial(12, 8, 100)];
    assert_eq!(init_of(all(), Some(Pid(10))), Some(Pid(10)));
    assert_eq!(init_of(all(), None), Some(Pid(11)));
    assert_eq!(init_of(all(), Some(Pid(99))), Some(Pid(11)));
    assert_eq!(init_of(vec![initial(10, 7, 300), initial(12, 8, 100)], None), Some(Pid(12)));
}

#[test]
fn what_was_lost_leaves_marks_and_no_guesses() {
    let tree = script()
        .exec(100, "/bin/sh", "sh")
        .lost(LostKind::Fork, 1)
        // Its fork was lost.
        .exec(101, "/bin/ls", "ls")
        .open(101, "/etc/a", 0)
        // Neither its fork nor its exec was seen.
        .open(102, "/etc/b", 0)
        .run(102, 103, "/bin/cat", "cat")
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/sh
    [exec_session] /bin/ls incomplete
      file /etc/a read incomplete
    [exec_session] /bin/cat incomplete
    file /etc/b read incomplete
    ");
}

#[test]
fn a_pid_that_was_taken_again_is_another_process() {
    let started = |ms| {
        let mut exec = exec(9, "/bin/new", "new");
        exec.started = Some(at(ms));
        Body::Exec(exec)
    };
    // Its exit was lost: it started long after the one that was known.
    let tree = script()
        .exec(100, "/bin/sh", "sh")
        .run(100, 101, "/bin/old", "old")
        .wait(5000)
        .event(101, started(5000))
        .born();
    assert_eq!(tree.tree(), "[init] /bin/sh\n  /bin/old\n[exec_session] /bin/new\n");
    let tree =
        script().exec(100, "/bin/sh", "sh").run(100, 101, "/bin/old", "old").event(101, started(1001)).born();
    assert_eq!(tree.tree(), "[init] /bin/sh\n  /bin/old\n  /bin/new was /bin/old\n");
}

#[test]
fn scripts_and_applets_are_part_of_what_a_process_is() {
    let mut hook = exec(2, "/bin/busybox", "/bin/sh ./hook.sh");
    hook.script = Some("./hook.sh".into());
    hook.cwd = "/srv/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into();
    let tree = script()
        .exec(100, "/bin/busybox", "/bin/sh")
        .run(100, 101, "/bin/busybox", "ls")
        .run(100, 102, "/bin/busybox", "-sh")
        .fork(100, 103)
        .event(103, Body::Exec(hook))
        .born();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/busybox =sh (2 processes) x2
      /bin/busybox =ls
      /bin/busybox =sh #!/srv/<id>/hook.sh
    ");
}

#[test]
fn guessed_parents_mark_all_below() {
    let tree = script()
        .initial(100, None, "/bin/init", "init")
        .initial_guess(101, Some(100), true, "/bin/a", "a")
        .initial(102, Some(101), "/bin/b", "b")
        .run(102, 103, "/bin/c", "c")
        .run(100, 104, "/bin/d", "d")
        .joined();
    insta::assert_snapshot!(tree.tree(), @r"
    [init] /bin/init initial
      /bin/a initial incomplete
        /bin/b initial incomplete
          /bin/c incomplete
      /bin/d
    ");
}

#[test]
fn depth_is_capped() {
    let mut script = script().exec(100, "/bin/p0", "p");
    for n in 1..200_u32 {
        script = script.run(99 + n, 100 + n, &format!("/bin/p{n}"), "p");
    }
    let tree = script.born();
    assert_eq!(tree.nodes.len(), 200);
    let at_cap = tree.id("/bin/p63");
    for node in &tree.nodes {
        let exe = node.exe.as_ref().unwrap().to_escaped();
        let n: u32 = exe.trim_start_matches("/bin/p").parse().unwrap();
        assert_eq!(node.lineage_complete, n < MAX_DEPTH, "{exe}");
        if n >= MAX_DEPTH {
            assert_eq!(node.parent, Some(at_cap), "{exe}");
        }
    }
}

#[test]
fn later_windows_know_who_was_there() {
    let mut recorder = Recorder::new(Options::default(), Met::Unstarted, None, at(1000));
    let first = script().exec(100, "/bin/sh", "sh").run(100, 101, "/bin/app", "app").run(
        100,
        102,
        "/bin/idle",
        "idle",
    );
    let first = first.into_recorder(&mut recorder);
    let mut second = script();
    second.ms = 1010;
    let second = second
        .open(101, "/etc/x", 0)
        .run(101, 103, "/bin/tool", "tool")
        .exit(100)
        .into_recorder(&mut recorder);
    insta::assert_snapshot!(second.tree(), @r"
    [init] /bin/sh initial
      /bin/app initial
        file /etc/x read
        /bin/tool
    ");
    assert_eq!(first.id("/bin/app"), second.id("/bin/app"));
    assert!(first.meta.covers_start && !second.meta.covers_start);
    assert_eq!(second.meta.window_start, first.meta.window_end);
    assert_eq!(second.nodes[0].first_seen_ms, 0);
    let mut third = script();
    third.ms = 1020;
    assert_eq!(third.into_recorder(&mut recorder).tree(), "");
}

#[test]
fn forks_without_exec_are_counted_once() {
    let mut recorder = Recorder::new(Options::default(), Met::Unstarted, None, at(1000));
    // Forked in one window, executed in the next: the count of the second is not lowered.
    let first = script().exec(100, "/bin/sh", "sh").fork(100, 101).into_recorder(&mut recorder);
    assert_eq!(first.process("[init]").processes, 2);
    let mut second = script();
    second.ms = 1010;
    let second = second.exec(101, "/bin/ls", "ls").fork(100, 102).into_recorder(&mut recorder);
    assert_eq!(second.process("[init]").processes, 2);
}
