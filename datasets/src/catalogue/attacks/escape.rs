//! More rights, and out of the container.

use super::loads;
use crate::catalogue::builder::{Builder, Owner, Program};

pub(super) fn add(b: &mut Builder, main: &Owner, probe: &Owner) {
    runtime(b, main);
    namespaces(b, main);
    debugger(b, probe, main);
    module(b, main);
    setuid(b, main);
}

/// The container runtime's socket, where it is mounted: whoever may write to it is root on the host.
fn runtime(b: &mut Builder, main: &Owner) {
    let g = b.attack("runtime-socket");
    let curl = b.child(
        g,
        main,
        Program {
            exe: "/usr/bin/curl",
            args: "curl -s --unix-socket /var/run/docker.sock http://d/containers/json",
            ..Program::default()
        },
    );
    loads(b, g, &curl);
    b.connect(g, &curl, "unix", "/var/run/docker.sock", 0, &[]);
    b.connect(g, &curl, "unix", "/run/containerd/containerd.sock", 0, &[]);
}

/// Into the host's namespaces.
fn namespaces(b: &mut Builder, main: &Owner) {
    let g = b.attack("namespace-escape");
    let nsenter = b.child(
        g,
        main,
        Program { exe: "/usr/bin/nsenter", args: "nsenter -t 1 -a -- sh", ..Program::default() },
    );
    b.capabilities(g, &nsenter, &["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE"]);
    for space in ["mnt", "net", "pid", "uts"] {
        b.file(g, &nsenter, &format!("/proc/{{pid}}/ns/{space}"), &["read"], "pseudo");
    }
    let shell = b.child(
        g,
        &nsenter,
        Program {
            exe: "/usr/bin/dash",
            args: "sh",
            ns_changed: true,
            origin: "unknown",
            ..Program::default()
        },
    );
    for path in ["/etc/kubernetes/kubelet.conf", "/etc/shadow"] {
        b.file(g, &shell, path, &["read"], "unknown");
    }
}

/// Code into the main process.
fn debugger(b: &mut Builder, probe: &Owner, main: &Owner) {
    let g = b.attack("process-injection");
    let gdb = b.child(
        g,
        probe,
        Program { exe: "/usr/bin/gdb", args: "gdb -p 1 -batch -x /tmp/i", ..Program::default() },
    );
    b.capabilities(g, &gdb, &["CAP_SYS_PTRACE"]);
    b.reads(g, &gdb, &["/tmp/i", &main.exe]);
    b.file(g, &gdb, "/proc/{pid}/mem", &["read", "write"], "pseudo");
    b.file(g, &gdb, "/proc/{pid}/maps", &["read"], "pseudo");
}

/// Code into the kernel.
fn module(b: &mut Builder, main: &Owner) {
    let g = b.attack("kernel-module");
    b.writes(g, main, "upper", &["/var/tmp/.m/diamorphine.ko"]);
    let insmod = b.child(
        g,
        main,
        Program { exe: "/usr/bin/kmod", args: "insmod /var/tmp/.m/diamorphine.ko", ..Program::default() },
    );
    b.capabilities(g, &insmod, &["CAP_SYS_MODULE"]);
    b.file(g, &insmod, "/var/tmp/.m/diamorphine.ko", &["read"], "upper");
    b.reads(g, &insmod, &["/proc/modules"]);
}

/// A shell that runs as root whoever starts it.
fn setuid(b: &mut Builder, main: &Owner) {
    let g = b.attack("setuid-escalation");
    let copy = b.child(
        g,
        main,
        Program { exe: "/usr/bin/cp", args: "cp /usr/bin/bash /var/tmp/.sh", ..Program::default() },
    );
    b.writes(g, &copy, "upper", &["/var/tmp/.sh"]);
    let chmod = b.child(
        g,
        main,
        Program { exe: "/usr/bin/chmod", args: "chmod 4755 /var/tmp/.sh", ..Program::default() },
    );
    b.chmod(g, &chmod, "/var/tmp/.sh", 0o4755, "upper");
    let shell = b.child(
        g,
        main,
        Program {
            exe: "/var/tmp/.sh",
            args: "/var/tmp/.sh -p",
            origin: "upper",
            cred_change: true,
            ..Program::default()
        },
    );
    b.capabilities(g, &shell, &["CAP_SETUID", "CAP_DAC_OVERRIDE"]);
    b.reads(g, &shell, &["/etc/shadow"]);
}
