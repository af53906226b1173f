//! Applications and jobs.

use wsp_schemas::identity::RootKind;

use super::entrypoint;
use crate::catalogue::builder::{Builder, Owner, Program};
use crate::catalogue::crowds::{Alphabet, Crowd, Scope};

pub(super) fn worker(b: &mut Builder) -> Owner {
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

pub(super) fn jvm(b: &mut Builder) -> Owner {
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
    b.writes(g, &main, "tmpfs", &["/tmp/hsperfdata_app/{pid}"]);
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

pub(super) fn node(b: &mut Builder) -> Owner {
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

pub(super) fn python(b: &mut Builder) -> Owner {
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
