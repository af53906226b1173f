#!/usr/bin/python3
"""What resolvers do: lookups through the C library and by hand, over UDP and TCP, answered by a responder in here.

usage: dns.py, in localhost/demo/tools:1 (any image with python3), in a network namespace where port 53 is free
"""
import contextlib
import ctypes
import os
import random
import socket
import struct
import subprocess
import threading

PORT = 53
TYPES = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65, "unknown": 12345}


def question(name, kind):
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b".") if label)
    header = struct.pack(">6H", random.randrange(65536), 0x0100, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">2H", kind, 1)


def answer(query):
    """127.0.0.1 for every A, NXDOMAIN for what is under .invalid, truncation for large.*; empty for the rest."""
    end = 12
    while query[end]:
        end += query[end] + 1
    name, (kind,) = query[12:end].lower(), struct.unpack(">H", query[end + 1:end + 3])
    code = 3 if name.endswith(b"\7invalid") else 0
    records = b""
    if kind == 1 and not code:
        records = b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1])
    cut = 0x0200 if b"\5large" in name else 0
    flags = 0x8180 | code | cut
    return struct.pack(">2s5H", query[:2], flags, 1, bool(records), 0, 0) + query[12:end + 5] + records, flags & ~0x0200


def serve_udp(server):
    while True:
        query, peer = server.recvfrom(4096)
        server.sendto(answer(query)[0], peer)


def serve_tcp(server):
    while True:
        peer, _ = server.accept()
        with peer, contextlib.suppress(OSError, IndexError, struct.error):
            while True:
                size = struct.unpack(">H", peer.recv(2, socket.MSG_WAITALL))[0]
                query = peer.recv(size, socket.MSG_WAITALL)
                reply, whole = answer(query)
                reply = reply[:2] + struct.pack(">H", whole) + reply[4:]
                peer.sendall(struct.pack(">H", len(reply)) + reply)


def main():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", PORT))
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", PORT))
    tcp.listen(8)
    threading.Thread(target=serve_udp, args=(udp,), daemon=True).start()
    threading.Thread(target=serve_tcp, args=(tcp,), daemon=True).start()
    with open("/etc/resolv.conf", "w") as conf:
        conf.write("nameserver 127.0.0.1\nsearch corp.test ns.corp.test\noptions ndots:2 timeout:1 attempts:1\n")

    # Through the C library: A and AAAA in one sendmmsg, the search list, TCP after truncation
    for name in ("plain.example.test", "short", "nothing.invalid", "MiXeD.Example.TEST.", "large.example.test",
                 "b\u00fccher.example.test", "_srv._tcp.example.test"):
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, 80)
    with contextlib.suppress(OSError):
        socket.gethostbyname("ipv4only.example.test")
        socket.gethostbyaddr("127.9.9.9")
    subprocess.run(["getent", "hosts", "from-getent.example.test"], stdout=subprocess.DEVNULL, check=False)
    subprocess.run(["getent", "ahostsv6", "six.example.test"], stdout=subprocess.DEVNULL, check=False)

    # By hand: sendto, send, sendmsg, write, writev; every type; odd names
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        for kind, number in TYPES.items():
            raw.sendto(question(f"{kind.lower()}.raw.test".encode(), number), ("127.0.0.1", PORT))
            raw.recv(4096)
        for name in (b"sp ace.raw.test", b"\xff\xfe.raw.test", b"quote'\".raw.test", b"x" * 63 + b".raw.test", b""):
            raw.sendto(question(name, 1), ("127.0.0.1", PORT))
            raw.recv(4096)
        raw.sendmsg([question(b"sendmsg.raw.test", 1)], [], 0, ("127.0.0.1", PORT))
        raw.recv(4096)
        raw.connect(("127.0.0.1", PORT))
        raw.send(question(b"send.raw.test", 1))
        raw.recv(4096)
        os.write(raw.fileno(), question(b"write.raw.test", 1))
        raw.recv(4096)
        whole = question(b"writev.raw.test", 1)
        os.writev(raw.fileno(), [whole[:20], whole[20:]])
        raw.recv(4096)
        duplicate = os.dup(raw.fileno())
        if os.fork() == 0:
            os.write(duplicate, question(b"from-child.raw.test", 1))
            os._exit(0)
        os.wait()
        os.read(duplicate, 4096)
    mapped = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    mapped.connect(("::ffff:127.0.0.1", PORT))
    mapped.send(question(b"mapped.raw.test", 28))
    mapped.recv(4096)

    # Over TCP: in one piece, length first, two questions on one connection
    with socket.create_connection(("127.0.0.1", PORT)) as stream:
        for name, split in ((b"tcp-whole.raw.test", 0), (b"tcp-parts.raw.test", 2)):
            query = question(name, 1)
            framed = struct.pack(">H", len(query)) + query
            if split:
                stream.sendall(framed[:split])
            stream.sendall(framed[split:])
            stream.recv(4096)

    # A socket of another port: no DNS, whatever it carries
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(question(b"not-port-53.raw.test", 1), ("127.0.0.1", 5353))
    # An exchange that the C library itself makes with res_query
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libresolv.so.2").__res_query(b"res-query.example.test", 1, 16, ctypes.create_string_buffer(512), 512)
    print("dns: done")


main()
