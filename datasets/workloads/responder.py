#!/usr/bin/env python3
"""Answers DNS questions on 127.0.0.1:53: 127.0.0.1 for every A, nothing for other types."""
import socket
import struct

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    query, peer = server.recvfrom(4096)
    end = query.find(b"\0", 12)
    kind = query[end + 1:end + 3]
    if end < 0 or len(kind) < 2:
        continue
    is_a = kind == b"\0\1"
    record = b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if is_a else b""
    server.sendto(query[:2] + struct.pack(">5H", 0x8180, 1, is_a, 0, 0) + query[12:end + 5] + record, peer)
