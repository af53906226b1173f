#!/usr/bin/python3
"""What interpreters do: imports, sockets of every kind, threads, forks, renames under open files, odd names.

usage: python.py, in localhost/demo/tools:1 (any image with python3)
"""
import contextlib
import ctypes
import json
import multiprocessing
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading

WORK = tempfile.mkdtemp(prefix="python-")
os.chdir(WORK)


def stream_server(family, address):
    """Listens on a port of the kernel's choice and connects to it."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind((address, 0))
        server.listen(4)
        port = server.getsockname()[1]

        def serve():
            for _ in range(2):
                peer, _ = server.accept()
                peer.sendall(peer.recv(100))
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        for _ in range(2):
            with socket.create_connection((address, port)) as client:
                client.sendall(b"ping")
                assert client.recv(100) == b"ping"
        thread.join()
        # An IPv4-mapped address on an inet6 socket, refused
        if family == socket.AF_INET6:
            with socket.socket(family) as client:
                client.connect_ex(("::ffff:127.0.0.1", port))


def listening_without_bind():
    with socket.socket() as server:
        server.listen(1)
        server.getsockname()
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.listen(1)
        server.getsockname()


def datagrams():
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
            receiver.bind((address, 0))
            port = receiver.getsockname()[1]
            sender.sendto(b"no connect", (address, port))
            sender.connect((address, port))
            sender.send(b"connected")
            receiver.recv(100)
            receiver.recv(100)


def unix_sockets():
    odd = os.fsdecode(b"sock \xff\n'\"")
    for name in ("plain.sock", f"{WORK}/absolute.sock", odd, "\0abstract", "\0abs\xc3\xa9 \n name"):
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(name)
            server.listen(1)
            client.connect(name)
            server.accept()[0].close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver, socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM
    ) as sender:
        receiver.bind("datagram.sock")
        sender.connect("datagram.sock")
        sender.send(b"x")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("")  # a name of the kernel's choice
        server.listen(1)
        server.getsockname()
    left, right = socket.socketpair()
    # A socket that another process was handed, and connected there
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        if os.fork() == 0:
            _, fds, _, _ = socket.recv_fds(right, 10, 1)
            socket.socket(fileno=fds[0]).connect(("127.0.0.1", port))
            os._exit(0)
        socket.send_fds(left, [b"x"], [client.fileno()])
        server.accept()[0].close()
        os.wait()
    left.close()
    right.close()


def failing_connects():
    """Every outcome that counts, and the ones that do not."""
    def attempt(family, kind, address):
        with socket.socket(family, kind) as client:
            client.settimeout(0.2)
            with contextlib.suppress(OSError):
                client.connect(address)

    attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 1))
    attempt(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 1))
    attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.2", 2))
    attempt(socket.AF_INET, socket.SOCK_DGRAM, ("127.255.255.255", 3))  # broadcast: EACCES
    attempt(socket.AF_UNIX, socket.SOCK_STREAM, "nobody.sock")  # ENOENT: does not count
    open("regular", "w").close()
    attempt(socket.AF_UNIX, socket.SOCK_STREAM, "regular")  # ECONNREFUSED
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", 4))
    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 5))
        libc.connect(client.fileno(), bytes(16), 16)  # AF_UNSPEC
        libc.connect(client.fileno(), None, 16)  # EFAULT
    libc.connect(999, bytes(16), 16)  # EBADF


def files():
    # Renamed and unlinked while open; opened again through /proc
    with open("before", "w+") as file:
        os.rename("before", "after")
        file.write("x")
        file.flush()
        os.close(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY))
        os.unlink("after")
        os.close(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY))
    os.close(os.open(".", os.O_PATH))
    os.close(os.open("/etc/passwd", os.O_PATH | os.O_NOFOLLOW))
    with contextlib.suppress(OSError):
        fd = os.open(WORK, os.O_TMPFILE | os.O_RDWR)
        os.write(fd, b"x")
        os.link(f"/proc/self/fd/{fd}", "from-tmpfile", src_dir_fd=None, follow_symlinks=True)
        os.close(fd)
        open("from-tmpfile").close()
    memory = os.memfd_create("memory file")
    os.close(os.open(f"/proc/self/fd/{memory}", os.O_RDONLY))
    read, _ = os.pipe()
    os.close(os.open(f"/proc/self/fd/{read}", os.O_RDONLY))
    os.close(os.open("/proc/self/ns/net", os.O_RDONLY))
    directory = os.open("/usr/lib", os.O_DIRECTORY)
    os.close(os.open("os-release", os.O_RDONLY, dir_fd=directory))
    os.close(os.open("../bin/../share", os.O_RDONLY, dir_fd=directory))
    shutil.copyfile("/etc/hostname", "copied")
    with open("/dev/shm/shared", "w") as file:
        file.write("x")
    os.unlink("/dev/shm/shared")
    terminal, slave = os.openpty()
    os.close(os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY))
    with sqlite3.connect("data.sqlite") as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (1)")
    database.close()
    for flags in (os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_TRUNC | os.O_SYNC):
        os.close(os.open("flags", flags))
    # openat2 and creat, which Python does not call
    libc = ctypes.CDLL(None, use_errno=True)
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0x08)  # RESOLVE_BENEATH
    libc.syscall(437, directory, b"os-release", how, 24)
    libc.creat(b"created", 0o644)
    libc.syscall(2, b"created", os.O_RDONLY)
    for name in ("missing", "missing/deeper", "flags/not-a-directory"):
        with contextlib.suppress(OSError):
            open(name)


def odd_names():
    for name in (
        b"new\nline", b"'single' \"double\"", b"\xff\xfe\x80", b"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", b"\x01\x1b[31m\x7f",
        b"back\\slash \\x41 \\101", b"<angle> [bracket] {brace} (paren) -> =", b" lead and trail ", b"n" * 255,
        b"\xf0" * 255, b"octal \0011 \\0", b"unfinished ...>", b"ends (deleted)", "\u202egnp.exe".encode(), b"pipe:[123]", b"%s%n",
    ):
        with open(name, "wb") as file:
            file.write(b"x")
        open(name, "rb").close()
        os.rename(name, b"renamed")
        open(b"renamed").close()
    # A path of about 4000 bytes cannot be named in one call from here, but can be walked to
    for _ in range(19):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    with open("at the bottom", "w") as file:
        file.write("x")
    os.chdir(WORK)


def processes():
    subprocess.run(["/bin/true"], check=True)
    subprocess.run("echo shell | cat", shell=True, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ls", "-l"], check=True, cwd="/usr", stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-c", "import json; open('from-child', 'w').write(json.dumps({}))"], check=True)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(touch, range(4))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(abs, range(2))
    # execveat of a file descriptor, of a memory file, and by a thread that is not the first
    shutil.copy("/bin/true", "copy-of-true")
    for fd in (os.open("copy-of-true", os.O_RDONLY), memory_program()):
        if os.fork() == 0:
            os.execve(fd, ["by-descriptor"], {})
        os.wait()
    if os.fork() == 0:
        threading.Thread(target=lambda: os.execv("/bin/echo", ["echo", "from a thread"])).start()
        threading.Event().wait()
    os.wait()
    # Forks of forks whose parents are gone
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            with open("orphan", "w"):
                os._exit(0)
        os._exit(0)
    os.wait()
    with contextlib.suppress(OSError):
        os.execv("/nowhere", ["x"])
    threads = [threading.Thread(target=touch, args=(f"thread-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def touch(name):
    with open(f"touched-{name}", "w") as file:
        file.write(str(name))


def memory_program():
    fd = os.memfd_create("program", 0)
    with open("/bin/true", "rb") as source:
        os.write(fd, source.read())
    return fd


if __name__ == "__main__":
    stream_server(socket.AF_INET, "127.0.0.1")
    stream_server(socket.AF_INET6, "::1")
    listening_without_bind()
    datagrams()
    unix_sockets()
    failing_connects()
    files()
    odd_names()
    processes()
    json.dump({"done": True}, open("result.json", "w"))
    os.chdir("/")
    shutil.rmtree(WORK)
    print("python: done")
