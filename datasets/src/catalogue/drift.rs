//! What healthy workloads come to do after they were learned. Each kind lies close to something that the image does anyway;
//! a kind that an image has nothing of the sort for is left out.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wsp_schemas::identity::RootKind;
use wsp_schemas::snapshot::File;

use super::builder::{Builder, Owner, Program};
use crate::seed::pick;

/// Adds the kinds. Nothing of them is in any other group.
pub(super) fn add(b: &mut Builder, main: &Owner) {
    files(b, main);
    mounted(b, main);
    remotes(b);
    programs(b, main);
}

/// One more of what processes read and write already.
fn files(b: &mut Builder, main: &Owner) {
    let plain = |file: &&File| file.access == ["read"] && file.file_origin == "image";
    let read = b.files(main).filter(plain).map(|file| file.path.to_escaped());
    // What stands in /etc itself belongs to nothing that has siblings.
    let read: Vec<String> = read.filter(|path| path.rfind('/') != Some("/etc".len())).collect();
    if !read.is_empty() {
        let g = b.drift("another-file", 0.8);
        let beside = pick(&mut b.rng, &read);
        let path = renamed(beside, &mut b.rng);
        b.reads(g, main, &[&path]);
    }
    let log = b.processes().collect::<Vec<_>>().into_iter().find_map(|owner| {
        let written = b.files(&owner).map(|file| file.path.to_escaped()).find(|path| path.ends_with(".log"));
        written.map(|path| (owner, path))
    });
    if let Some((owner, path)) = log {
        let g = b.drift("rotated-log", 0.5);
        b.file(g, &owner, &format!("{path}.7"), &["write", "create", "rename_to"], "volume");
    }
    let g = b.drift("cache-file", 0.4);
    let number = b.rng.random_range(2..100_u8);
    b.writes(g, main, "tmpfs", &[&format!("/tmp/.cache-{number}")]);
    let g = b.drift("time-zone", 0.3);
    let zone = *pick(&mut b.rng, &["Europe/Berlin", "America/Chicago", "Asia/Tokyo", "Australia/Perth"]);
    b.reads(g, main, &[&format!("/usr/share/zoneinfo/{zone}")]);
    let g = b.drift("library-version", 0.9);
    let patch = b.rng.random_range(2..20_u8);
    let library = format!("/usr/lib/x86_64-linux-gnu/libm.so.6.{patch}");
    b.file(g, main, &library, &["read", "exec"], "image");
}

/// A certificate under its next name, in a mount that is known.
fn mounted(b: &mut Builder, main: &Owner) {
    let g = b.drift("renewed-certificate", 1.0);
    let serial = b.rng.random_range(2..100_u8);
    for suffix in ["crt", "key"] {
        b.file(g, main, &format!("/etc/config/{{time}}/tls-{serial}.{suffix}"), &["read"], "volume");
    }
}

/// Another one of the remotes that a process talks to.
fn remotes(b: &mut Builder) {
    if let Some((owner, name, port)) = b.service()
        && let Some((host, domain)) = name.split_once('.')
    {
        let g = b.drift("new-name", 0.7);
        let number = b.rng.random_range(2..20_u8);
        b.calls(g, &owner, &format!("{host}-replica-{number}.{domain}"), port);
    }
    if let Some((owner, port)) = b.peers() {
        let g = b.drift("new-address", 0.6);
        // Beyond what crowds of addresses draw from.
        let (middle, last) = (b.rng.random::<u8>(), b.rng.random_range(1..255_u8));
        b.connect(g, &owner, "tcp", &format!("10.210.{middle}.{last}"), port, &[]);
    }
}

/// Tools that people and schedules start.
fn programs(b: &mut Builder, main: &Owner) {
    let g = b.drift("config-reload", 0.3);
    let reload = b.child(
        g,
        main,
        Program {
            exe: "/usr/local/bin/reload-config",
            args: "reload-config --if-changed",
            uid: 1000,
            ..Program::default()
        },
    );
    b.reads(g, &reload, &["/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6"]);
    b.file(g, &reload, "/etc/config/{time}/app.yaml", &["read"], "volume");
    let g = b.drift("operator-command", 0.1);
    let df =
        b.root(g, RootKind::ExecSession, Program { exe: "/usr/bin/df", args: "df -h", ..Program::default() });
    b.reads(g, &df, &["/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6"]);
    b.file(g, &df, "/proc/{pid}/mountinfo", &["read"], "pseudo");
}

/// A sibling: the last number in the file's name is another one, or it gets one.
fn renamed(path: &str, rng: &mut ChaCha8Rng) -> String {
    let number = rng.random_range(200_000..1_000_000_u32);
    let start = path.rfind('/').map_or(0, |at| at + 1);
    let (directory, name) = path.split_at(start);
    match name.rfind(|c: char| c.is_ascii_digit()) {
        Some(last) => {
            let head = name[..=last].trim_end_matches(|c: char| c.is_ascii_digit());
            format!("{directory}{head}{number}{}", &name[last + 1..])
        }
        None => match name.split_once('.') {
            Some((stem, rest)) => format!("{directory}{stem}-{number}.{rest}"),
            None => format!("{directory}{name}-{number}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_lie_beside_what_they_are_named_after() {
        let mut rng = crate::seed::rng(1, "renamed", &[]);
        for (path, head, tail) in [
            ("/etc/nginx/mime.types", "/etc/nginx/mime-", ".types"),
            ("/usr/lib/nginx/ngx_geo_12_module.so", "/usr/lib/nginx/ngx_geo_", "_module.so"),
            ("/app/v2/VERSION", "/app/v2/VERSION-", ""),
            ("/app/lib/3", "/app/lib/", ""),
        ] {
            let new = renamed(path, &mut rng);
            let number = new.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
            assert!(number.is_some_and(|number| number.len() == 6 && number.parse::<u32>().is_ok()), "{new}");
        }
    }
}
