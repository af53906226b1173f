//! Foreign code that runs.

use super::loads;
use crate::catalogue::builder::{Builder, Owner, Program};

pub(super) fn add(b: &mut Builder, main: &Owner, probe: &Owner) {
    web_shell(b, main);
    memory(b, main);
    script(b, main);
    session(b, probe);
}

/// The server writes what was uploaded, and then runs it.
fn web_shell(b: &mut Builder, main: &Owner) {
    let g = b.attack("web-shell");
    b.writes(g, main, "upper", &["/srv/www/uploads/.thumb.php"]);
    let cgi = b.child(
        g,
        main,
        Program {
            exe: "/usr/bin/php-cgi8.2",
            args: "php-cgi /srv/www/uploads/.thumb.php",
            uid: 33,
            ..Program::default()
        },
    );
    b.file(g, &cgi, "/srv/www/uploads/.thumb.php", &["read"], "upper");
    let shell =
        b.child(g, &cgi, Program { exe: "/usr/bin/dash", args: "sh -c id", uid: 33, ..Program::default() });
    loads(b, g, &shell);
    let id = b.child(g, &shell, Program { exe: "/usr/bin/id", args: "id", uid: 33, ..Program::default() });
    b.reads(g, &id, &["/etc/passwd", "/etc/group"]);
}

/// Programs that are in no file system of a disk.
fn memory(b: &mut Builder, main: &Owner) {
    let g = b.attack("memfd-execution");
    let payload = b.child(
        g,
        main,
        Program {
            exe: "/memfd:payload",
            args: "[kworker/0:1]",
            uid: 33,
            origin: "memfd",
            ..Program::default()
        },
    );
    b.file(g, &payload, "/proc/{pid}/maps", &["read"], "pseudo");
    b.connect(g, &payload, "tcp", "198.51.100.23", 443, &[]);

    let g = b.attack("shm-execution");
    b.writes(g, main, "tmpfs", &["/dev/shm/.x12"]);
    let dropped = b.child(
        g,
        main,
        Program {
            exe: "/dev/shm/.x12",
            args: "/dev/shm/.x12 -d",
            uid: 33,
            origin: "tmpfs",
            ..Program::default()
        },
    );
    b.reads(g, &dropped, &["/proc/cpuinfo", "/etc/passwd"]);
    b.connect(g, &dropped, "tcp", "203.0.113.17", 8443, &[]);
}

/// A one-liner: an interpreter with its program in the command line.
fn script(b: &mut Builder, main: &Owner) {
    let g = b.attack("fileless-script");
    let perl = b.child(
        g,
        main,
        Program {
            exe: "/usr/bin/perl5.36",
            args: "perl -MIO::Socket -e 'exec pack(q(H*), <STDIN>)'",
            uid: 33,
            ..Program::default()
        },
    );
    loads(b, g, &perl);
    b.reads(g, &perl, &["/usr/lib/x86_64-linux-gnu/perl-base/IO/Socket.pm"]);
    b.connect(g, &perl, "tcp", "192.0.2.80", 80, &[]);
    let shell = b.child(
        g,
        &perl,
        Program { exe: "/usr/bin/dash", args: "sh -c 'uname -a; id'", uid: 33, ..Program::default() },
    );
    loads(b, g, &shell);
}

/// An exec session whose shell is the health probe's, with nothing but programs that the image runs anyway.
fn session(b: &mut Builder, probe: &Owner) {
    let g = b.attack("living-off-the-land");
    b.reads(g, probe, &["/etc/shadow", "/home/app/.profile"]);
    b.file(g, probe, "/proc/{pid}/environ", &["read"], "pseudo");
    for exe in b.tools().iter().take(2) {
        let tool = b.child(g, probe, Program { exe, ..Program::default() });
        loads(b, g, &tool);
    }
}
