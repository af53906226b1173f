//! Servers that keep or hand out data.

use wsp_schemas::identity::RootKind;

use super::entrypoint;
use crate::catalogue::builder::{Builder, Owner, Program};
use crate::catalogue::crowds::{Alphabet, Crowd, Scope};

pub(super) fn web(b: &mut Builder) -> Owner {
    entrypoint(
        b,
        "/docker-entrypoint.sh",
        &[("/usr/bin/find", "/docker-entrypoint.d"), ("/usr/bin/sed", "/etc/nginx/nginx.conf.template")],
    );
    let g = b.always("nginx");
    let from = Some("/usr/bin/dash");
    let master = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/sbin/nginx",
            args: "nginx -g 'daemon off;'",
            exec_from: from,
            ..Program::default()
        },
    );
    b.listen(g, &master, "tcp", "0.0.0.0", 80);
    b.listen(g, &master, "tcp", "::", 80);
    b.reads(
        g,
        &master,
        &[
            "/etc/nginx/nginx.conf",
            "/etc/nginx/mime.types",
            "/etc/passwd",
            "/etc/group",
            "/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0",
            "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        ],
    );
    b.writes(g, &master, "tmpfs", &["/run/nginx.pid"]);
    b.capabilities(g, &master, &["CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"]);
    let worker = b.child(
        g,
        &master,
        Program {
            exe: "/usr/sbin/nginx-worker",
            args: "nginx: worker process",
            uid: 33,
            ..Program::default()
        },
    );
    b.reads(g, &worker, &["/srv/www/index.html", "/srv/www/site.css"]);
    b.writes(g, &worker, "volume", &["/var/log/nginx/access.log", "/var/log/nginx/error.log"]);
    let g = b.sometimes("upstream", 0.7, 0.9);
    b.calls(g, &worker, "api.shop.svc.cluster.local", 8080);
    b.writes(g, &worker, "upper", &["/var/cache/nginx/proxy_temp"]);
    let g = b.sometimes("log-rotation", 0.5, 0.25);
    let rotate = b.child(
        g,
        &master,
        Program { exe: "/usr/sbin/logrotate", args: "logrotate /etc/logrotate.conf", ..Program::default() },
    );
    b.reads(g, &rotate, &["/etc/logrotate.conf", "/etc/logrotate.d/nginx"]);
    b.writes(g, &rotate, "volume", &["/var/lib/logrotate/status", "/var/log/nginx/access.log.1"]);
    b.crowd(Crowd::new("body-buffers", (0.6, 0.7), (2, 20), Scope::Window, Alphabet::Digits(10)).file(
        &worker,
        "/var/lib/nginx/body/{name}",
        "upper",
    ));
    master
}

pub(super) fn cache(b: &mut Builder) -> Owner {
    entrypoint(
        b,
        "/usr/local/bin/docker-entrypoint.sh",
        &[("/usr/bin/id", "/etc/passwd"), ("/usr/bin/chown", "/data")],
    );
    let g = b.always("redis");
    let main = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/bin/redis-server",
            args: "redis-server *:6379",
            uid: 999,
            exec_from: Some("/usr/bin/dash"),
            ..Program::default()
        },
    );
    b.listen(g, &main, "tcp", "0.0.0.0", 6379);
    b.reads(
        g,
        &main,
        &[
            "/etc/redis/redis.conf",
            "/proc/sys/vm/overcommit_memory",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/proc/sys/net/core/somaxconn",
        ],
    );
    let g = b.sometimes("persistence", 0.6, 0.7);
    let save = b.child(
        g,
        &main,
        Program {
            exe: "/usr/bin/redis-server-bgsave",
            args: "redis-rdb-bgsave",
            uid: 999,
            ..Program::default()
        },
    );
    b.writes(g, &save, "volume", &["/data/dump.rdb"]);
    let g = b.sometimes("replica", 0.3, 0.9);
    b.calls(g, &main, "redis-primary.data.svc.cluster.local", 6379);
    b.writes(g, &main, "volume", &["/data/appendonly.aof"]);
    b.crowd(Crowd::new("rdb-temporaries", (0.6, 0.5), (1, 4), Scope::Window, Alphabet::Digits(5)).file(
        &main,
        "/data/temp-{name}.rdb",
        "volume",
    ));
    b.crowd(
        Crowd::new("cluster-peers", (0.4, 0.8), (2, 9), Scope::Container, Alphabet::Address)
            .connect(&main, 16379),
    );
    main
}

pub(super) fn database(b: &mut Builder) -> Owner {
    entrypoint(
        b,
        "/usr/local/bin/docker-entrypoint.sh",
        &[
            ("/usr/bin/id", "/etc/passwd"),
            ("/usr/bin/mkdir", "/var/lib/postgresql"),
            ("/usr/bin/chmod", "/var/run/postgresql"),
        ],
    );
    let g = b.always("postgres");
    let exe =
        |args| Program { exe: "/usr/lib/postgresql/15/bin/postgres", args, uid: 999, ..Program::default() };
    let main = b.root(
        g,
        RootKind::Init,
        Program { exec_from: Some("/usr/bin/dash"), ..exe("postgres -D /var/lib/postgresql/data") },
    );
    b.listen(g, &main, "tcp", "0.0.0.0", 5432);
    b.listen(g, &main, "unix", "/run/postgresql/.s.PGSQL.5432", 0);
    b.reads(
        g,
        &main,
        &[
            "/var/lib/postgresql/data/postgresql.conf",
            "/var/lib/postgresql/data/pg_hba.conf",
            "/etc/passwd",
            "/usr/share/zoneinfo/Etc/UTC",
        ],
    );
    b.writes(
        g,
        &main,
        "volume",
        &[
            "/var/lib/postgresql/data/postmaster.pid",
            "/var/lib/postgresql/data/global/pg_control",
            "/var/lib/postgresql/data/pg_wal",
        ],
    );
    let g = b.startup("initdb", 0.25);
    let init = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/lib/postgresql/15/bin/initdb",
            args: "initdb -D /var/lib/postgresql/data",
            uid: 999,
            ..Program::default()
        },
    );
    b.reads(
        g,
        &init,
        &["/usr/share/postgresql/15/postgres.bki", "/usr/share/postgresql/15/system_views.sql"],
    );
    b.writes(g, &init, "volume", &["/var/lib/postgresql/data/PG_VERSION"]);
    let g = b.sometimes("archive", 0.3, 0.4);
    let archive = b.child(
        g,
        &main,
        Program {
            exe: "/usr/local/bin/wal-g",
            args: "wal-g wal-push pg_wal/000000010000000000000001",
            uid: 999,
            ..Program::default()
        },
    );
    b.calls(g, &archive, "backups.s3.example.com", 443);
    b.reads(g, &archive, &["/etc/wal-g.json", "/etc/ssl/certs/ca-certificates.crt"]);
    b.crowd(Crowd::new("sort-files", (0.7, 0.5), (1, 15), Scope::Window, Alphabet::Digits(6)).file(
        &main,
        "/var/lib/postgresql/data/base/pgsql_tmp/pgsql_tmp{name}.0",
        "volume",
    ));
    b.crowd(Crowd::new("relations", (1.0, 0.9), (4, 12), Scope::Container, Alphabet::Digits(5)).file(
        &main,
        "/var/lib/postgresql/data/base/16384/{name}",
        "volume",
    ));
    main
}
