//! The whole path: containers run, are captured, merged and queried; exact nodes come out.

use wsp_tests::podman::{Container, eventually};
use wsp_tests::program::wsp;

use super::daemon::{Place, of};
use super::{Api, Capture, image, snapshots};

#[test]
fn containers_become_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let busy = image("busy-1");
    let path = folder.path().join("store");
    let store = path.display().to_string();
    let spool = folder.path().join("spool").display().to_string();
    let capture = Capture::start(
        &["run", "--store", &store, "--spool", &spool, "--interval", "10m", "--runtime-socket", &api.url],
        "capturing",
    );
    let always = "cat /etc/passwd > /tmp/copy; nc -l -p 7070 & sleep 1; nc 127.0.0.1 7070 < /dev/null; kill $! 2>/dev/null";
    for number in 0..4 {
        // One of four also reads another file.
        let script = if number == 3 { format!("{always}; cat /etc/hosts") } else { always.to_owned() };
        let name = format!("wsp-pipeline-{number}");
        let container = Container::create(&name, &["--network=none", &busy, "/bin/sh", "-c", &script]);
        container.start();
        container.wait();
    }
    eventually("four snapshots are there", || {
        let of_mine = |name: Option<&str>| name.is_some_and(|name| name.starts_with("wsp-pipeline"));
        snapshots(&path).iter().filter(|snapshot| of_mine(snapshot.meta.container.name.as_deref())).count()
            == 4
    });
    capture.stop();
    let _ = wsp(["merge", "--store", &store, "--buckets", "2"]).ok();

    let query = |sql: &str| wsp(["sql", sql, "--store", &store, "--format", "csv"]).ok();
    assert_eq!(
        query("select image, status, snapshot_count, container_count from profiles"),
        "image,status,snapshot_count,container_count\nlocalhost/demo/busy:1,learning,4,4\n"
    );
    assert_eq!(
        query(
            "select kind, argv0, target, container_count, eligible_containers from (
               select n.kind, p.argv0, n.target, n.container_count, n.eligible_containers from nodes n
               left join nodes p on p.node_id = n.parent_id
               where n.kind <> 'process'
             ) order by 1, 2, 3"
        ),
        "kind,argv0,target,container_count,eligible_containers\n\
         connect,nc,tcp 127.0.0.1 7070,4,4\n\
         file,cat,/etc/hosts,1,4\n\
         file,cat,/etc/passwd,4,4\n\
         file,sh,/dev/null,4,4\n\
         file,sh,/tmp/copy,4,4\n\
         listen,nc,tcp :: 7070,4,4\n"
    );
    assert_eq!(
        query(
            "select argv0, root_kind, container_count, commonality from nodes where kind = 'process' order by argv0, commonality desc"
        ),
        "argv0,root_kind,container_count,commonality\ncat,,4,1.0\ncat,init,1,0.25\nnc,,4,1.0\nsh,init,4,1.0\nsleep,,4,1.0\n"
    );
    let shown = wsp(["show", "localhost/demo/busy:1", "--store", &store]).ok();
    assert!(shown.contains("[init] sh (/bin/busybox)"), "{shown}");
}

#[test]
fn what_is_always_there_has_commonality_one_whoever_was_met_late() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let place = Place::new(|_| api.url.clone());
    // At its start each does something once; then the same again and again.
    let script =
        "cat /etc/passwd >/dev/null; nc -l -p 7070 & while :; do read -r _ </etc/hostname; sleep 0.2; done";
    let start = |kind: &str, count: usize| -> Vec<Container> {
        let name = |number: usize| format!("wsp-mix-{kind}-{number}");
        let fixed = ["--network=none", &image("busy-1"), "/bin/sh", "-c", script];
        let new = (0..count).map(|number| Container::create(&name(number), &fixed));
        new.inspect(Container::start).collect()
    };
    let late = start("late", 2);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let daemon = place.start(&["--interval", "2s", "--max-containers", "16", "--start-slots", "8"]);
    let born = start("born", 3);
    eventually("three snapshots of each", || {
        let all = place.store.snapshots();
        late.iter().chain(&born).all(|container| of(&all, &container.name) >= 3)
    });
    daemon.stop();
    drop((late, born));
    let all = place.store.snapshots();
    assert_eq!(all.iter().filter(|one| one.meta.covers_start).count(), 3);

    let store = folder.path().join("store").display().to_string();
    std::fs::create_dir_all(&store).unwrap();
    let (from, to) = (place.folder.path().join("s3/bucket/snapshots"), folder.path().join("store/snapshots"));
    std::fs::rename(from, to).unwrap();
    let _ = wsp(["merge", "--store", &store, "--buckets", "1"]).ok();
    let query = |sql: &str| wsp(["sql", sql, "--store", &store, "--format", "csv"]).ok();
    assert_eq!(
        query("select image, container_count from profiles"),
        "image,container_count\nlocalhost/demo/busy:1,5\n"
    );
    // Judged among the containers that could have shown it: for what belongs to the start, those that were seen to start.
    let nodes = "select n.kind, coalesce(n.argv0, p.argv0) as program, n.target, n.container_count, n.eligible_containers, n.commonality
                 from nodes n left join nodes p on p.node_id = n.parent_id and n.kind <> 'process' order by 1, 2, 3";
    assert_eq!(
        query(nodes),
        "kind,program,target,container_count,eligible_containers,commonality\n\
         file,cat,/etc/passwd,3,3,1.0\n\
         file,sh,/dev/null,3,3,1.0\n\
         file,sh,/etc/hostname,3,3,1.0\n\
         listen,nc,tcp :: 7070,3,3,1.0\n\
         process,cat,cat (/bin/busybox),3,3,1.0\n\
         process,nc,nc (/bin/busybox),3,3,1.0\n\
         process,sh,sh (/bin/busybox),3,3,1.0\n\
         process,sleep,sleep (/bin/busybox),3,3,1.0\n"
    );
}
