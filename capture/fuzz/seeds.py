#!/usr/bin/env python3
"""Writes the seeds of the corpora: small, well-formed input, from which a fuzzer finds its way. What it found stands beside them."""

import json
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def record(kind, rest, pid=7):
    return struct.pack("=QQII", 1_000_000_000, 42, pid, kind) + rest


def path(length, flags=8 | 32):
    return struct.pack("=IHH", 0x794C7630, length, flags)


def executed(argv, script, exe, cwd, directory, flags):
    fixed = struct.pack("=Q", 900_000_000) + path(len(exe)) + path(len(cwd)) + path(len(directory))
    fixed += struct.pack("=III", len(script), len(argv), flags) + struct.pack("=6I", *[1000] * 6)
    fixed += struct.pack("=III", 1, 1, 0xF0000001) + struct.pack("=6I", 0o10600, 0, 0o20666, 1 << 20 | 3, 0, 0)
    return record(4, fixed + b"sh".ljust(16, b"\0") + argv + script + exe + cwd + directory)


def socket(kind, family, address, name=b""):
    fixed = struct.pack("=iHHHHI", 0, family, 6, 443, len(name), 0) + address.ljust(16, b"\0")
    return record(kind, fixed + name)


def name(text):
    return b"".join(bytes([len(part)]) + part for part in text.encode().split(b".")) + b"\0"


def message(question, answers=b"", count=0, flags=0x0100):
    return struct.pack(">6H", 1, flags, 1, count, 0, 0) + name(question) + struct.pack(">HH", 1, 1) + answers


def answer(rtype, data):
    return struct.pack(">HHHIH", 0xC00C, rtype, 1, 60, len(data)) + data


def main():
    query = message("api.example.com")
    reply = message(
        "api.example.com",
        answer(5, name("edge.example.net")) + answer(1, bytes([192, 0, 2, 7])) + answer(28, bytes(16)), 3, 0x8180,
    )
    write("dns", "query", query)
    write("dns", "reply", reply)
    write("dns", "root", message("."))

    decode = {
        "created": record(1, struct.pack("=II", 9, 0) + b"/a/docker"),
        "gone": record(2, b""),
        "fork": record(3, struct.pack("=II", 8, 0)),
        "exec": executed(b"sh\0-c\0x\0", b"", b"busybox\0bin\0", b"srv\0", b"", 2),
        "script": executed(b"sh\0/dev/fd/3/x\0", b"/dev/fd/3/x", b"sh\0bin\0", b"", b"srv\0", 4),
        "exit": record(5, b""),
        "open": record(6, path(11) + struct.pack("=II", 0o101, 0) + b"passwd\0etc\0"),
        "connect4": socket(7, 2, bytes([192, 0, 2, 7])),
        "connect6": socket(7, 10, bytes(range(16))),
        "unix": socket(7, 1, b"", b"/run/a.sock\0"),
        "abstract": socket(8, 1, b"", b"\0name"),
        "dns": record(9, struct.pack("=QHHI", 3, 0, 0, len(query)) + query),
    }
    for key, data in decode.items():
        write("decode", key, data)

    header = {"event_log": 1, "kernel": "6.1", "wall_at_boot_ns": 1_795_000_000_000_000_000, "sensors": ["file tracepoint/x"]}
    program = {
        "exe": {"path": "/bin/sh", "origin": "image"}, "argv": ["sh", "-c", "x"], "comm": "sh", "cwd": "/", "uids": [0, 0, 0],
        "tty": False, "stdio": ["pipe", "null", "file"], "ns_pid": 1, "pid_ns_level": 1, "mnt_ns": 2, "started": 1_000_000_000,
    }
    ip = {"protocol": "tcp", "address": {"ip": "192.0.2.7"}, "port": 443}
    bodies = [
        {"event": "container_created", "path": "/a"},
        {"event": "exec", **program},
        {"event": "fork", "child": 8},
        {"event": "open", "file": {"path": "/etc/\\xff", "origin": "upper"}, "flags": 577},
        {"event": "dns", "socket": 3, "answer": False, "tcp": False, "message": query.hex()},
        {"event": "dns", "socket": 3, "answer": True, "tcp": False, "message": reply.hex()},
        {"event": "connect", "remote": ip, "result": 0},
        {"event": "listen", "local": {"protocol": "unix", "address": {"path": "/run/x"}}},
        {"event": "title", "argv": ["worker --password x"]},
        {"event": "lost", "kind": "open", "cause": "ring_full", "events": 3},
        {"event": "exit"},
        {"event": "container_gone"},
    ]
    events = [{"at": 2_000_000_000 + n, "cgroup": 42, "pid": 7, **body} for n, body in enumerate(bodies)]
    about = {"container": {"cgroup": 42, "id": "c", "image": "nginx:1.25", "sensors": [{"kind": "file", "hook": "x"}]}}
    opened, closed = {"window": {"cgroup": 42, "opened": 1_500_000_000}}, {"close": {"cgroup": 42, "closed": 3_000_000_000}}
    lines = lambda *all: "".join(json.dumps(line) + "\n" for line in all).encode()
    write("event_log", "events", lines(header, *events))
    write("event_log", "windows", lines(header, about, opened, *events, closed))
    initial = {"event": "initial_process", "parent": None, "parent_is_guess": False, "exec": program}
    write("event_log", "initial", lines(header, about, opened, {"at": 2_000_000_000, "cgroup": 42, "pid": 7, **initial}, closed))

    proc = {
        "stat": b"7 (a) b (c) S 3 7 7 34816 7 4194304 1 2 3 4 5 6 7 8 20 0 1 0 250 10 20\n",
        "status": b"Name:\tsh\nUid:\t0\t1\t2\t3\nGid:\t0\t1\t2\t3\nNSpid:\t77\t1\n",
        "mountinfo": b"31 23 0:28 / / rw - overlay overlay rw\n41 31 0:38 / /sys/fs/cg\\040x rw shared:9 - cgroup2 cgroup2 rw\n",
        "fdinfo": b"pos:\t0\nflags:\t0100002\nmnt_id:\t31\nino:\t9\n",
        "unix": b"0000000000000000: 00000002 00000000 00010000 0001 01 4321 /run/a b.sock\n0: 2 0 00010000 0001 01 4322 @name\n",
        "cmdline": b"sh\0/srv/run.sh\0\0x\0",
        "release": b"6.1.0-28-cloud-amd64\n",
    }
    for key, data in proc.items():
        write("proc", key, data)

    key = b"snapshots~date=2026-11-24~hour=03~0123456789abcdef-1795489200123-0198b5a2-7c1e-7d55-9a3c-6f2e5d4c3b2a.parquet"
    # As `arbitrary` reads a list of pairs of byte strings: lengths stand at the end.
    write("spool", "key", b"\x01" + key + bytes(8) + bytes([len(key)]))
    write("spool", "names", b"\x01" + b"..\x01a/b\x01\xff\x00")

    # Steps of all kinds; the fuzzer finds their order.
    write("recorder", "zeros", bytes(256))
    write("recorder", "steps", bytes((n * 37 + n // 7) % 256 for n in range(1500)))

    files = sorted(ROOT.glob("datasets/recordings/snapshots/*/*/*.parquet"), key=lambda file: (file.stat().st_size, file.name))
    for n, file in enumerate(files[:1] + files[len(files) // 3 : len(files) // 3 + 1]):
        write("snapshot", f"recording-{n}", file.read_bytes())
    for old in ["no-rows", "recorded-rules-1"]:
        write("snapshot", f"version-1-{old}", (ROOT / f"schemas/tests/snapshot/version-1/{old}.parquet").read_bytes())

    corpus = json.loads((ROOT / "schemas/vectors/args.json").read_text())
    for kind, every in [("secret", 7), ("readable", 13)]:
        for n, argv in enumerate(corpus[kind][::every]):
            words = "\0".join(argv).replace("⟦", "").replace("⟧", "")
            write("args", f"{kind}-{n}", words.encode())


if __name__ == "__main__":
    main()
