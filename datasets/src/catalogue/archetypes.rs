//! Kinds of images. Each builds what makes it what it is; the filler then gives it the size that was asked for.

mod apps;
mod servers;

use wsp_schemas::identity::RootKind;

use super::builder::{Builder, Owner, Program};

/// A kind of image.
#[derive(Debug)]
pub(crate) struct Archetype {
    pub(crate) name: &'static str,
    /// Builds the core; returns the main process, a root that is in every window.
    pub(crate) build: fn(&mut Builder) -> Owner,
    /// Where its filler files live: `{word}` and `{n}` make them different.
    pub(crate) files: &'static [&'static str],
    /// Programs that it may start.
    pub(crate) tools: &'static [&'static str],
}

/// Image `i` is of kind `i` modulo their number.
pub(crate) const ARCHETYPES: [Archetype; 7] = [
    Archetype {
        name: "web",
        build: servers::web,
        files: &[
            "/usr/lib/nginx/modules/ngx_{word}_{n}_module.so",
            "/etc/nginx/snippets/{word}-{n}.conf",
            "/srv/www/{word}/{n}.html",
        ],
        tools: &["/usr/bin/gzip", "/usr/sbin/logrotate", "/usr/bin/openssl", "/usr/bin/certbot"],
    },
    Archetype {
        name: "cache",
        build: servers::cache,
        files: &[
            "/usr/lib/redis/modules/{word}{n}.so",
            "/etc/redis/conf.d/{word}-{n}.conf",
            "/usr/share/zoneinfo/{word}/{n}",
        ],
        tools: &["/usr/bin/redis-cli", "/usr/bin/redis-check-rdb", "/usr/bin/sha256sum"],
    },
    Archetype {
        name: "database",
        build: servers::database,
        files: &[
            "/usr/lib/postgresql/15/lib/{word}{n}.so",
            "/usr/share/postgresql/15/extension/{word}--{n}.sql",
            "/usr/share/postgresql/15/timezonesets/{word}{n}",
        ],
        tools: &[
            "/usr/lib/postgresql/15/bin/pg_dump",
            "/usr/bin/psql",
            "/usr/bin/gzip",
            "/usr/lib/postgresql/15/bin/pg_basebackup",
        ],
    },
    Archetype {
        name: "worker",
        build: apps::worker,
        files: &[
            "/usr/share/perl5/{word}/{word}{n}.pm",
            "/etc/cron.d/{word}-{n}",
            "/usr/share/locale/{word}/{n}.mo",
        ],
        tools: &["/usr/bin/rsync", "/usr/bin/tar", "/usr/bin/perl", "/usr/bin/mail"],
    },
    Archetype {
        name: "jvm",
        build: apps::jvm,
        files: &[
            "/app/lib/{word}-core-{n}.jar",
            "/usr/lib/jvm/java-17/lib/lib{word}{n}.so",
            "/app/config/{word}-{n}.properties",
        ],
        tools: &["/usr/lib/jvm/java-17/bin/jcmd", "/usr/lib/jvm/java-17/bin/jstack", "/usr/bin/unzip"],
    },
    Archetype {
        name: "node",
        build: apps::node,
        files: &[
            "/app/node_modules/{word}-{n}/index.js",
            "/app/node_modules/{word}-{n}/package.json",
            "/app/dist/{word}.{n}.js",
        ],
        tools: &["/usr/bin/git", "/usr/local/bin/npm", "/usr/bin/convert"],
    },
    Archetype {
        name: "python",
        build: apps::python,
        files: &[
            "/usr/local/lib/python3.12/site-packages/{word}/{word}_{n}.py",
            "/usr/lib/python3.12/{word}{n}.py",
            "/app/templates/{word}/{n}.html",
        ],
        tools: &["/usr/bin/ffmpeg", "/usr/bin/pdftotext", "/usr/bin/gcc", "/usr/bin/wkhtmltopdf"],
    },
];

/// The entrypoint script that ends in an exec of the main program: a root of its own, seen only at the start.
fn entrypoint(b: &mut Builder, script: &str, tools: &[(&str, &str)]) {
    let g = b.startup("entrypoint", 1.0);
    let sh = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/bin/dash",
            args: &format!("/bin/sh {script}"),
            script: Some(script),
            ..Program::default()
        },
    );
    b.reads(g, &sh, &["/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6", script]);
    for (exe, reads) in tools {
        let tool = b.child(g, &sh, Program { exe, ..Program::default() });
        b.reads(g, &tool, &["/etc/ld.so.cache", reads]);
    }
    // Only where no configuration is mounted.
    let g = b.startup("default-configuration", 0.35);
    let copy = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/bin/cp",
            args: "cp -n /usr/share/defaults/app.conf /etc/app.conf",
            ..Program::default()
        },
    );
    b.reads(g, &copy, &["/usr/share/defaults/app.conf"]);
    b.writes(g, &copy, "upper", &["/etc/app.conf"]);
}
