//! Kinds of images. Each builds what makes it what it is; the filler then gives it the size that was asked for.

use wsp_schemas::identity::RootKind;

use super::builder::{Builder, Owner, Program};
use super::crowds::{Alphabet, Crowd, Scope};

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
        build: web,
        files: &[
            "/usr/lib/nginx/modules/ngx_{word}_{n}_module.so",
            "/etc/nginx/snippets/{word}-{n}.conf",
            "/srv/www/{word}/{n}.html",
        ],
        tools: &["/usr/bin/gzip", "/usr/sbin/logrotate", "/usr/bin/openssl", "/usr/bin/certbot"],
    },
    Archetype {
        name: "cache",
        build: cache,
        files: &[
            "/usr/lib/redis/modules/{word}{n}.so",
            "/etc/redis/conf.d/{word}-{n}.conf",
            "/usr/share/zoneinfo/{word}/{n}",
        ],
        tools: &["/usr/bin/redis-cli", "/usr/bin/redis-check-rdb", "/usr/bin/sha256sum"],
    },
    Archetype {
        name: "database",
        build: database,
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
        build: worker,
        files: &[
            "/usr/share/perl5/{word}/{word}{n}.pm",
            "/etc/cron.d/{word}-{n}",
            "/usr/share/locale/{word}/{n}.mo",
        ],
        tools: &["/usr/bin/rsync", "/usr/bin/tar", "/usr/bin/perl", "/usr/bin/mail"],
    },
    Archetype {
        name: "jvm",
        build: jvm,
        files: &[
            "/app/lib/{word}-core-{n}.jar",
            "/usr/lib/jvm/java-17/lib/lib{word}{n}.so",
            "/app/config/{word}-{n}.properties",
        ],
        tools: &["/usr/lib/jvm/java-17/bin/jcmd", "/usr/lib/jvm/java-17/bin/jstack", "/usr/bin/unzip"],
    },
    Archetype {
        name: "node",
        build: node,
        files: &[
            "/app/node_modules/{word}-{n}/index.js",
            "/app/node_modules/{word}-{n}/package.json",
            "/app/dist/{word}.{n}.js",
        ],
        tools: &["/usr/bin/git", "/usr/local/bin/npm", "/usr/bin/convert"],
    },
    Archetype {
        name: "python",
        build: python,
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

fn web(b: &mut Builder) -> Owner {
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

fn cache(b: &mut Builder) -> Owner {
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

fn database(b: &mut Builder) -> Owner {
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

fn worker(b: &mut Builder) -> Owner {
    entrypoint(
        b,
        "/usr/local/bin/start-jobs",
        &[("/usr/bin/env", "/etc/environment"), ("/usr/bin/crontab", "/etc/crontab")],
    );
    let g = b.always("cron");
    let main = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/sbin/cron",
            args: "cron -f",
            exec_from: Some("/usr/bin/dash"),
            ..Program::default()
        },
    );
    b.reads(g, &main, &["/etc/crontab", "/etc/passwd", "/etc/localtime"]);
    b.writes(g, &main, "tmpfs", &["/run/crond.pid"]);
    let g = b.periodic("five-minute-job");
    let job = b.child(
        g,
        &main,
        Program {
            exe: "/usr/bin/perl",
            args: "perl /usr/local/bin/collect",
            script: Some("/usr/local/bin/collect"),
            uid: 1000,
            ..Program::default()
        },
    );
    b.reads(g, &job, &["/usr/local/bin/collect", "/etc/collect.conf"]);
    b.calls(g, &job, "metrics.ops.svc.cluster.local", 9091);
    b.guessed_when_late(g);
    let g = b.sometimes("nightly-report", 0.8, 0.12);
    let report = b.child(
        g,
        &main,
        Program {
            exe: "/usr/bin/python3.11",
            args: "python3 /usr/local/bin/report --day yesterday",
            uid: 1000,
            ..Program::default()
        },
    );
    b.reads(
        g,
        &report,
        &["/usr/local/bin/report", "/usr/lib/python3.11/csv.py", "/usr/lib/python3.11/smtplib.py"],
    );
    b.calls(g, &report, "smtp.example.com", 587);
    b.writes(g, &report, "volume", &["/var/reports/latest.csv"]);
    b.crowd(Crowd::new("spool", (0.9, 0.7), (1, 25), Scope::Window, Alphabet::Hex(10)).file(
        &job,
        "/var/spool/jobs/{name}.job",
        "volume",
    ));
    b.crowd(Crowd::new("built-jobs", (0.3, 0.4), (1, 5), Scope::Window, Alphabet::Digits(9)).process(
        &main,
        "/tmp/go-build{name}/b001/exe/job",
        "/etc/collect.conf",
    ));
    main
}

fn jvm(b: &mut Builder) -> Owner {
    entrypoint(
        b,
        "/app/bin/start.sh",
        &[
            ("/usr/bin/dirname", "/app/bin"),
            ("/usr/bin/awk", "/proc/meminfo"),
            ("/usr/bin/cat", "/app/VERSION"),
        ],
    );
    let g = b.always("java");
    let main = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/lib/jvm/java-17/bin/java",
            args: "java -Xmx512m -jar /app/app.jar",
            uid: 1000,
            exec_from: Some("/usr/bin/dash"),
            ..Program::default()
        },
    );
    b.listen(g, &main, "tcp", "::", 8080);
    b.listen(g, &main, "tcp", "::", 8081);
    b.reads(
        g,
        &main,
        &[
            "/app/app.jar",
            "/usr/lib/jvm/java-17/lib/modules",
            "/usr/lib/jvm/java-17/lib/server/libjvm.so",
            "/usr/lib/jvm/java-17/conf/security/java.security",
            "/sys/fs/cgroup/cpu.max",
            "/proc/self/maps",
            "/etc/ssl/certs/java/cacerts",
        ],
    );
    b.calls(g, &main, "orders-db.data.svc.cluster.local", 5432);
    let g = b.sometimes("message-broker", 0.5, 0.8);
    b.calls(g, &main, "kafka-0.kafka.data.svc.cluster.local", 9092);
    b.calls(g, &main, "kafka-1.kafka.data.svc.cluster.local", 9092);
    b.reads(g, &main, &["/app/lib/kafka-clients-3.7.jar", "/app/lib/lz4-java-1.8.jar"]);
    let g = b.sometimes("heap-dump", 0.05, 0.2);
    b.writes(g, &main, "volume", &["/var/dumps/java.hprof"]);
    b.crowd(Crowd::new("perf-data", (1.0, 0.8), (1, 2), Scope::Container, Alphabet::Digits(5)).file(
        &main,
        "/tmp/hsperfdata_app/{name}",
        "tmpfs",
    ));
    b.crowd(Crowd::new("upload-parts", (0.5, 0.5), (1, 30), Scope::Window, Alphabet::Digits(8)).file(
        &main,
        "/tmp/tomcat.8080/work/upload_{name}.tmp",
        "tmpfs",
    ));
    b.crowd(
        Crowd::new("tenant-names", (0.4, 0.6), (2, 10), Scope::Window, Alphabet::Hex(8))
            .dns(&main, "{name}.tenants.example.com"),
    );
    main
}

fn node(b: &mut Builder) -> Owner {
    entrypoint(b, "/usr/local/bin/docker-entrypoint.sh", &[("/usr/bin/env", "/etc/environment")]);
    let g = b.always("node");
    let main = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/local/bin/node",
            args: "node /app/server.js",
            uid: 1000,
            exec_from: Some("/usr/bin/dash"),
            ..Program::default()
        },
    );
    b.listen(g, &main, "tcp", "::", 3000);
    b.reads(
        g,
        &main,
        &[
            "/app/server.js",
            "/app/package.json",
            "/usr/lib/ssl/openssl.cnf",
            "/proc/self/cgroup",
            "/sys/fs/cgroup/memory.max",
        ],
    );
    b.calls(g, &main, "sessions.data.svc.cluster.local", 6379);
    let g = b.sometimes("image-resizing", 0.4, 0.5);
    let convert = b.child(
        g,
        &main,
        Program {
            exe: "/usr/bin/identify",
            args: "identify -format %wx%h -",
            uid: 1000,
            ..Program::default()
        },
    );
    b.reads(
        g,
        &convert,
        &[
            "/etc/ImageMagick-6/policy.xml",
            "/etc/ImageMagick-6/colors.xml",
            "/usr/lib/x86_64-linux-gnu/libMagickCore-6.so",
        ],
    );
    let g = b.sometimes("payments", 0.85, 0.6);
    b.calls(g, &main, "api.payments.example.com", 443);
    b.crowd(Crowd::new("sessions", (0.9, 0.8), (2, 20), Scope::Window, Alphabet::Hex(6)).file(
        &main,
        "/tmp/sess_{name}",
        "tmpfs",
    ));
    b.crowd(Crowd::new("webhooks", (0.5, 0.6), (1, 8), Scope::Window, Alphabet::Address).connect(&main, 443));
    main
}

fn python(b: &mut Builder) -> Owner {
    entrypoint(
        b,
        "/app/entrypoint.sh",
        &[("/usr/bin/env", "/etc/environment"), ("/usr/bin/sleep", "/etc/localtime")],
    );
    let g = b.startup("migrations", 0.9);
    let migrate = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/local/bin/python3.12-migrate",
            args: "python manage.py migrate",
            uid: 1000,
            ..Program::default()
        },
    );
    b.reads(g, &migrate, &["/app/manage.py", "/app/settings.py"]);
    b.calls(g, &migrate, "app-db.data.svc.cluster.local", 5432);
    let g = b.always("gunicorn");
    let main = b.root(
        g,
        RootKind::Init,
        Program {
            exe: "/usr/local/bin/python3.12",
            args: "python3 /usr/local/bin/gunicorn app:app",
            uid: 1000,
            exec_from: Some("/usr/bin/dash"),
            ..Program::default()
        },
    );
    b.listen(g, &main, "tcp", "0.0.0.0", 8000);
    b.reads(
        g,
        &main,
        &[
            "/usr/local/bin/gunicorn",
            "/app/app.py",
            "/app/settings.py",
            "/usr/local/lib/libpython3.12.so.1.0",
            "/usr/local/pyvenv.cfg",
        ],
    );
    b.calls(g, &main, "app-db.data.svc.cluster.local", 5432);
    let g = b.sometimes("pdf-rendering", 0.25, 0.4);
    let pdf = b.child(
        g,
        &main,
        Program { exe: "/usr/bin/wkhtmltoimage", args: "wkhtmltoimage - -", uid: 1000, ..Program::default() },
    );
    b.reads(
        g,
        &pdf,
        &[
            "/etc/fonts/fonts.conf",
            "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
            "/usr/lib/x86_64-linux-gnu/libQt5WebKit.so.5",
        ],
    );
    let g = b.sometimes("object-storage", 0.6, 0.7);
    b.calls(g, &main, "media.s3.example.com", 443);
    b.crowd(Crowd::new("worker-heartbeats", (1.0, 1.0), (2, 5), Scope::Container, Alphabet::Mixed(8)).file(
        &main,
        "/tmp/wgunicorn-{name}",
        "deleted",
    ));
    b.crowd(Crowd::new("bytecode", (0.4, 0.3), (1, 20), Scope::Window, Alphabet::Digits(15)).file(
        &main,
        "/app/__pycache__/views.cpython-312.pyc.{name}",
        "upper",
    ));
    main
}
