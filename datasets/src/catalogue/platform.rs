//! What every container does, whatever its image: the C library, Kubernetes mounts, cgroups, a health probe.

use wsp_schemas::identity::RootKind;

use super::builder::{Builder, Owner, Program};
use super::crowds::{Alphabet, Crowd, Scope};

/// Adds it to an image with that main process; returns the shell of the health probe.
pub(super) fn add(b: &mut Builder, main: &Owner) -> Owner {
    let g = b.always("libc");
    b.reads(
        g,
        main,
        &[
            "/etc/ld.so.cache",
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            "/usr/lib/x86_64-linux-gnu/libm.so.6",
            "/etc/nsswitch.conf",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/dev/urandom",
        ],
    );
    // The path rules make these the same in all containers.
    let g = b.always("procfs-and-cgroup");
    for path in [
        "/proc/{pid}/status",
        "/proc/{pid}/task/{tid}/comm",
        "/sys/fs/cgroup/kubepods.slice/kubepods-{qos}.slice/kubepods-{qos}-pod{pod_}.slice/cri-containerd-{container}.scope/memory.max",
        "/sys/fs/cgroup/kubepods.slice/kubepods-{qos}.slice/kubepods-{qos}-pod{pod_}.slice/cri-containerd-{container}.scope/cpu.max",
    ] {
        b.file(g, main, path, &["read"], "pseudo");
    }
    let g = b.always("mounts");
    for path in [
        "/etc/config/{time}/app.yaml",
        "/etc/config/{time}/logging.yaml",
        "/var/run/secrets/kubernetes.io/serviceaccount/{time}/ca.crt",
    ] {
        b.file(g, main, path, &["read"], "volume");
    }
    // A liveness probe enters from outside, and not before the container is up.
    let g = b.periodic("liveness-probe");
    let probe = b.root(
        g,
        RootKind::ExecSession,
        Program { exe: "/usr/bin/dash", args: "sh -c 'test -e /tmp/alive'", ..Program::default() },
    );
    b.reads(g, &probe, &["/tmp/alive"]);

    // An operator who looks around, now and then: an exec session, not an attack.
    let g = b.sometimes("operator-session", 0.04, 0.15);
    let shell = b.root(
        g,
        RootKind::ExecSession,
        Program { exe: "/usr/bin/busybox", args: "sh", ..Program::default() },
    );
    let top =
        b.child(g, &shell, Program { exe: "/usr/bin/busybox", args: "top -b -n 1", ..Program::default() });
    b.file(g, &top, "/proc/{pid}/stat", &["read"], "pseudo");
    b.reads(g, &top, &["/proc/stat", "/proc/meminfo"]);

    // Temporary files that no path rule knows, beside one that all containers have.
    let g = b.always("scratch");
    b.writes(g, main, "tmpfs", &["/tmp/.lock"]);
    b.crowd(Crowd::new("temp-files", (0.8, 0.6), (1, 12), Scope::Window, Alphabet::Mixed(6)).file(
        main,
        "/tmp/tmp{name}",
        "tmpfs",
    ));
    b.crowd(Crowd::new("instance-id", (1.0, 1.0), (1, 1), Scope::Container, Alphabet::Hex(16)).file(
        main,
        "/var/lib/instance/{name}.id",
        "upper",
    ));
    probe
}
