// What a container of some image does: a tree of specifications `{ kind, target, share, ... }` under processes.

const fact = (kind, target, share = 1, more = {}) => ({ kind, target, share, phase: "startup", ...more });
const file = (path, share = 1, access = ["read"], more = {}) =>
  fact("file", path, share, {
    attributes: [
      ["access", access],
      ["file_origin", ["image"]],
    ],
    ...more,
  });
const process = (target, share, children, more = {}) =>
  fact("process", target, share, { children, exe: more.exe ?? target.split(" ")[0], ...more });

const LIBRARIES = [
  "libc.so.6",
  "libcrypto.so.3",
  "libssl.so.3",
  "libz.so.1.2.13",
  "libpcre2-8.so.0.11.2",
  "libcrypt.so.1",
  "libm.so.6",
  "libdl.so.2",
  "libresolv.so.2",
  "libnss_files.so.2",
];
const libraries = (count) => LIBRARIES.slice(0, count).map((name) => file(`/usr/lib/x86_64-linux-gnu/${name}`));
const capability = (...names) => names.map((name) => fact("capability", name));
const syscalls = (...names) => names.map((name) => fact("syscall", name, 1));

/** A web server with the entrypoint of its image. */
export function nginx(random) {
  const script = (name, children) =>
    process(
      `/usr/bin/dash /docker-entrypoint.d/${name}`,
      1,
      [file(`/docker-entrypoint.d/${name}`), ...libraries(1), ...children],
      {
        exe: "/usr/bin/dash",
        attributes: [
          ["script", [`/docker-entrypoint.d/${name}`]],
          ["args", [`/bin/sh /docker-entrypoint.d/${name}`]],
        ],
      },
    );
  const tool = (name, ...files) => process(`/usr/bin/${name}`, 1, [...libraries(2), ...files]);

  const cache = Array.from({ length: 70 }, () =>
    file(`/var/cache/nginx/proxy_temp/${random.between(1, 9)}/${random.hex(8)}`, 0.04, ["create", "write", "unlink"], {
      phase: "steady",
      folded: true,
    }),
  );
  const worker = process(
    "/usr/sbin/nginx",
    1,
    [
      ...["index.html", "50x.html", "favicon.ico", "assets/app.js", "assets/app.css"].map((name, at) =>
        file(`/usr/share/nginx/html/${name}`, 1 - at * 0.17, ["read"], { phase: "steady" }),
      ),
      {
        ...file("/var/cache/nginx/proxy_temp/*", 0.96, ["create", "write", "unlink"]),
        phase: "steady",
        pattern: "[0-9]/[0-9a-f]{8}",
        members: cache,
      },
      file("/var/log/nginx/access.log", 1, ["write"], { phase: "steady" }),
      fact("dns", "orders.shop.svc.cluster.local. A", 1, {
        phase: "steady",
        attributes: [["search_suffixes", ["shop.svc.cluster.local", "svc.cluster.local"]]],
      }),
      fact("dns", "payments.example.com AAAA", 0.43, { phase: "steady" }),
      fact("connect", "tcp orders.shop.svc.cluster.local 8080", 1, {
        phase: "steady",
        attributes: [
          ["remote_ips", ["10.96.4.17", "10.96.4.18", "10.96.7.201"]],
          ["name_source", ["dns"]],
        ],
      }),
      fact("connect", "tcp payments.example.com 443", 0.43, { phase: "steady", attributes: [["remote_ips", ["203.0.113.44"]]] }),
      fact("connect", "tcp 169.254.169.254 80", 0.03, { phase: "steady" }),
      ...capability("CAP_NET_BIND_SERVICE"),
      ...syscalls("epoll_wait", "sendfile", "accept4"),
    ],
    {
      attributes: [
        ["uids", ["101"]],
        ["comm", ["nginx"]],
        ["args", ["nginx: worker process"]],
      ],
    },
  );

  const master = process(
    "/usr/sbin/nginx",
    1,
    [
      ...libraries(8),
      ...["nginx.conf", "mime.types", "conf.d/default.conf"].map((name) => file(`/etc/nginx/${name}`)),
      file("/run/nginx.pid", 1, ["create", "write"], {
        attributes: [
          ["access", ["create", "write"]],
          ["file_origin", ["upper"]],
        ],
      }),
      file("/var/run/secrets/kubernetes.io/serviceaccount/..<timestamp>/token", 0.3),
      fact("listen", "tcp self 80"),
      fact("listen", "tcp self 443", 0.8),
      fact("listen", "tcp6 self 80"),
      ...capability("CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"),
      ...syscalls("setgroups", "prctl", "capset"),
      worker,
    ],
    {
      attributes: [
        ["args", ["nginx -g daemon off;"]],
        ["exec_from", ["/usr/bin/dash"]],
        ["cwd", ["/"]],
      ],
    },
  );

  return [
    process(
      "/usr/bin/dash /docker-entrypoint.sh",
      1,
      [
        file("/docker-entrypoint.sh"),
        ...libraries(1),
        process("/usr/bin/find", 1, [...libraries(3), file("/docker-entrypoint.d")]),
        process("/usr/bin/sort", 1, libraries(4)),
        script("10-listen-on-ipv6-by-default.sh", [
          tool("basename"),
          tool("cut"),
          tool("dpkg-query", file("/var/lib/dpkg/status")),
          tool("md5sum", file("/etc/nginx/conf.d/default.conf")),
          tool(
            "sed",
            file("/etc/nginx/conf.d/default.conf", 1, ["read", "rename_to"]),
            file("/etc/nginx/conf.d/sed<random>", 1, ["create", "write"]),
          ),
        ]),
        script("20-envsubst-on-templates.sh", [tool("envsubst", file("/etc/nginx/templates/default.conf.template", 0.6))]),
        script("30-tune-worker-processes.sh", [process("/usr/bin/getconf", 0.53, libraries(1))]),
      ],
      {
        exe: "/usr/bin/dash",
        root: "init",
        attributes: [
          ["script", ["/docker-entrypoint.sh"]],
          ["args", ["/bin/sh /docker-entrypoint.sh nginx -g daemon off;"]],
          ["comm", ["docker-entrypoi"]],
        ],
      },
    ),
    { ...master, root: "init" },
    process(
      "/usr/bin/dash",
      0.97,
      [
        ...libraries(1),
        process(
          "/usr/bin/curl",
          0.97,
          [
            ...libraries(10),
            file("/etc/ssl/certs/ca-certificates.crt"),
            file("/etc/hosts"),
            file("/etc/resolv.conf"),
            fact("dns", "localhost A", 1, { phase: "steady" }),
            fact("connect", "tcp 127.0.0.1 80", 1, { phase: "steady" }),
          ],
          { phase: "steady", attributes: [["args", ["curl -fsS http://localhost/healthz"]]] },
        ),
      ],
      { root: "exec_session", phase: "steady", attributes: [["args", ["/bin/sh -c curl -fsS http://localhost/healthz"]]] },
    ),
    process(
      "/usr/bin/bash",
      0.04,
      [
        ...libraries(2),
        file("/home/app/.bash_history", 1, ["read", "write"]),
        file("/etc/passwd"),
        process("/usr/bin/cat", 1, [file("/etc/shadow", 1, ["read"])], { phase: "steady" }),
        process(
          "/tmp/.x/kworker",
          1,
          [
            fact("dns", "pool.minexmr.example TXT", 1, { phase: "steady" }),
            fact("connect", "tcp pool.minexmr.example 3333", 1, { phase: "steady" }),
            fact("connect", "tcp 198.51.100.7 4444", 1, { phase: "steady" }),
          ],
          {
            phase: "steady",
            attributes: [
              ["file_origin", ["upper"]],
              ["written_in_window", ["true"]],
            ],
          },
        ),
      ],
      {
        root: "exec_session",
        phase: "steady",
        late: true,
        attributes: [
          ["tty", ["true"]],
          ["args", ["bash"]],
        ],
      },
    ),
  ];
}

export const HOSTILE = [
  "<script>alert(1)</script>",
  '"><img src=x onerror=alert(document.domain)>',
  "/tmp/\u202egpj.exe\u202c",
  "/tmp/line\nbreak\ttab\u0007bell\u001b[31mred\u0000nul",
  "/srv/\\xff\\xfe\\\\literal\\u{202e}",
  "/srv/שלום/مرحبا/файл.txt",
  "javascript:alert(1)//{{constructor.constructor('alert(1)')()}}",
  `/srv/${"deeply-nested-folder/".repeat(200)}end`,
  "</script><script>alert(2)</script><!--",
  "/srv/zero\u200bwidth\u2066isolate\u2069\ufeff",
  "/srv/👩‍👩‍👧‍👦/\u{e0041}tag\u00ad",
  "' OR 1=1; --",
  "/srv/%3Cb%3E&lt;b&gt;&amp;",
  "__proto__",
];

/** The tree of some image, with texts that try to break out of where they are shown. */
export function hostile(random) {
  const roots = nginx(random);
  roots.push(
    process(
      "/tmp/<b>bold</b>",
      0.04,
      HOSTILE.flatMap((text) => [
        file(text, 0.9),
        fact("dns", `${text.slice(0, 80)} A`, 0.5, { attributes: [["<i>name</i>", [text]]] }),
        process(text, 0.3, [file(`${text}/x`)]),
      ]),
      { root: "exec_session", attributes: HOSTILE.map((text) => [text.slice(0, 30), [text, text]]) },
    ),
  );
  return roots;
}

const WORDS = [
  "order",
  "cart",
  "invoice",
  "session",
  "metric",
  "report",
  "batch",
  "queue",
  "index",
  "search",
  "audit",
  "export",
  "image",
  "render",
  "mail",
  "sync",
];

/** As many nodes as wanted: an application server with workers, modules and temporary files. */
export function application(random, wanted) {
  const roots = nginx(random);
  let made = 220;
  const exes = [
    "/usr/bin/python3.12",
    "/usr/local/bin/node",
    "/usr/bin/dash",
    "/usr/bin/git",
    "/usr/bin/gs",
    "/usr/bin/convert",
    "/usr/bin/tar",
    "/usr/bin/java",
  ];
  const shares = [1, 1, 1, 1, 0.97, 0.9, 0.7, 0.5, 0.2, 0.1, 0.03];
  const grow = (depth) => {
    const folder = `/srv/app/${random.pick(WORDS)}/${random.pick(WORDS)}`;
    const children = [];
    for (let left = random.between(4, 60); left > 0 && made < wanted; left -= 1, made += 1) {
      children.push(
        file(
          `${folder}/${random.pick(WORDS)}_${random.pick(WORDS)}${random.below(400)}.${random.pick(["py", "js", "json", "so", "html"])}`,
          random.pick(shares),
          random.pick([["read"], ["read"], ["write", "create"]]),
          { phase: random.pick(["startup", "steady"]) },
        ),
      );
    }
    for (let left = random.between(0, 4); left > 0 && made < wanted; left -= 1, made += 2) {
      const host = `${random.pick(WORDS)}-${random.below(40)}.internal.example`;
      children.push(
        fact("dns", `${host} A`, random.pick(shares), { phase: "steady" }),
        fact("connect", `tcp ${host} ${random.pick([443, 5432, 6379, 9092])}`, random.pick(shares), { phase: "steady" }),
      );
    }
    if (random.chance(0.1)) children.push(fact("listen", `tcp self ${random.between(8000, 9999)}`));
    if (random.chance(0.2)) children.push(...syscalls(random.pick(["ptrace", "mount", "bpf", "clone3", "io_uring_setup"])));
    for (let left = depth < 6 ? random.between(0, 4) : 0; left > 0 && made < wanted; left -= 1) children.push(grow(depth + 1));
    made += 1;
    return process(random.pick(exes), random.pick(shares), children, {
      attributes: [["args", [`worker --queue ${random.pick(WORDS)}`]]],
    });
  };
  const root = process("/usr/bin/python3.12 /srv/app/main.py", 1, [], { root: "init", exe: "/usr/bin/python3.12" });
  while (made < wanted) root.children.push(grow(1));
  roots.unshift(root);
  return roots;
}
