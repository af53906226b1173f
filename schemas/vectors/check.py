#!/usr/bin/env python3
"""Computes every vector anew, from FORMAT.md and not from the Rust code: node ids, workload keys, path rules, text escape.

pip install blake3; python3 schemas/vectors/check.py
"""

import json
import pathlib
import re
import sys

from blake3 import blake3

HERE = pathlib.Path(__file__).parent
KINDS = ["process", "file", "dns", "connect", "listen", "syscall", "capability"]


def escape(raw: bytes) -> str:
    out = []
    for char in raw.decode("utf-8", "surrogateescape"):
        if 0xDC80 <= ord(char) <= 0xDCFF:
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        else:
            out.append("\\\\" if char == "\\" else char)
    return "".join(out)


def unescape(text: str) -> bytes:
    def one(match):
        if match[0] == "\\\\":
            return b"\\"
        if re.fullmatch(rb"\\x[89a-f][0-9a-f]", match[0].encode()):
            return bytes([int(match[0][2:], 16)])
        raise ValueError(text)

    out, at = b"", 0
    for match in re.finditer(r"\\(?:\\|x..|.?)", text, re.S):
        out += text[at : match.start()].encode() + one(match)
        at = match.end()
    out += text[at:].encode()
    if escape(out) != text:
        raise ValueError(text)
    return out


def field(raw):
    return b"\xff" * 8 if raw is None else len(raw).to_bytes(8, "little") + raw


def node_id(vector) -> str:
    def text(name):
        return unescape(vector[name]) if vector.get(name) is not None else None

    parent = bytes.fromhex(vector["parent"]) if vector.get("parent") else None
    kind = vector["kind"]
    data = b"wsp.node.v1" + bytes([KINDS.index(kind) + 1])
    if kind == "process":
        if parent is not None:
            data += field(b"process") + field(parent)
        else:
            data += field(b"root") + field(vector["root_kind"].encode())
        data += field(text("exe")) + field(text("argv0")) + field(text("script"))
    else:
        data += field(parent)
        if kind == "file":
            data += field(text("path"))
        elif kind == "dns":
            data += field(text("dns_name")) + field(vector["dns_type"].encode())
        elif kind in ("connect", "listen"):
            data += field(vector["protocol"].encode()) + field(text("address"))
            data += field(vector["port"].to_bytes(2, "little"))
        else:
            data += field(vector["name"].encode())
    return blake3(data).hexdigest()[:32]


def workload(reference: str):
    """Name and tag of a reference, as docker and containerd read it."""
    rest, digest = reference.split("@") if "@" in reference else (reference, None)
    head, _, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    name = f"{head}/{last}" if head else last
    first, slash, _ = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    registry, repository = name.split("/", 1)
    if registry in ("docker.io", "index.docker.io"):
        registry = "docker.io"
        repository = repository if "/" in repository else f"library/{repository}"
    return f"{registry}/{repository}", tag or (f"@{digest}" if digest else "latest")


def workload_key(name: str, tag: str) -> str:
    return blake3(b"wsp.workload.v1" + field(name.encode()) + field(tag.encode())).hexdigest()[:16]


def normalise(raw: bytes, version: int) -> bytes:
    uuid = rb"[0-9a-f]{8}([-_])[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}"
    out, before, place, below_pid, below_proc = [], b"", b"", False, False
    for part in raw.split(b"/"):
        number = re.fullmatch(rb"[0-9]+", part)
        small = re.fullmatch(rb"[0-9]{1,10}", part)
        if before == b"proc" and number:
            part, below_pid = b"<pid>", True
        elif before == b"task" and number and below_pid:
            part = b"<tid>"
        elif before == b"kubepods" and part in (b"burstable", b"besteffort"):
            part = b"<qos>"
        elif version >= 2 and small and place == b"dev/pts":
            part = b"<n>"
        elif version >= 2 and place == b"system/cpu" and re.fullmatch(rb"cpu[0-9]{1,10}", part):
            part = b"cpu<n>"
        elif version >= 2 and place == b"system/node" and re.fullmatch(rb"node[0-9]{1,10}", part):
            part = b"node<n>"
        elif version >= 2 and small and before in (b"fd", b"fdinfo") and below_proc:
            part = b"<fd>"
        elif version >= 2 and small and before.startswith(b"hsperfdata_"):
            part = b"<pid>"
        elif re.fullmatch(rb"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+", part):
            part = b"..<time>"
        elif re.fullmatch(rb"dm-\d+", part):
            part = b"dm-<n>"
        elif re.fullmatch(rb"loop\d+", part):
            part = b"loop<n>"
        else:
            edge = rb"(?:(?<![0-9a-f])|(?<=pod))"
            part = re.sub(edge + rb"[0-9a-f]{64}(?![0-9a-f])", b"<id>", part)
            part = re.sub(edge + uuid + rb"(?![0-9a-f])", b"<uid>", part)
            part = re.sub(rb"(?<=pod)[0-9a-f]{32}(?![0-9a-f])", b"<uid>", part)
            if part.startswith(b"kubepods"):
                part = re.sub(rb"burstable|besteffort", b"<qos>", part)
        # A path may hold what an earlier version of the rules made of it.
        below_pid = below_pid or (before == b"proc" and part == b"<pid>")
        below_proc = below_proc or (before == b"proc" and part in (b"<pid>", b"self"))
        place, before = before + b"/" + part, part
        out.append(part)
    return b"/".join(out)


def main() -> int:
    wrong = []

    def check(what, found, expected):
        if found != expected:
            wrong.append(f"{what}: {found!r}, expected {expected!r}")

    def load(path):
        return json.loads((HERE / path).read_text())

    count = 0
    for vector in load("../src/identity/golden.json"):
        check(vector, node_id(vector), vector["id"])
        count += 1
    for vector in load("workloads.json"):
        name, tag = workload(vector["reference"])
        key = workload_key(name, tag)
        check(vector, (name, tag, key), (vector["name"], vector["tag"], vector["key"]))
        check(vector, int(key, 16) % 16, vector["bucket_of_16"])
        count += 1
    for version in (1, 2):
        for vector in load(f"paths-v{version}.json"):
            for path in (vector["raw"], vector["normal"]):
                check(vector, escape(normalise(unescape(path), version)), vector["normal"])
            # A later version after an earlier one.
            first = normalise(unescape(vector["raw"]), 1)
            check(vector, normalise(first, 2), normalise(unescape(vector["raw"]), 2))
            count += 1
    for vector in load("text.json"):
        if (text := vector.get("text")) is not None:
            check(vector, escape(bytes.fromhex(vector["bytes"])), text)
            check(vector, unescape(text).hex(), vector["bytes"])
        if (text := vector.get("refused")) is not None:
            try:
                wrong.append(f"{vector}: accepted as {unescape(text)!r}")
            except ValueError:
                pass
        count += 1
    print("\n".join(wrong) or f"{count} vectors hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
