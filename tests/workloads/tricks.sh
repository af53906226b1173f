#!/bin/bash
# What somebody does who got in and does not want to be seen: each trick must leave the node that a defender needs.
#
# usage: tricks.sh TRICK, in localhost/demo/tools:1; TRICK is a function below. With seccomp=unconfined (io_uring) and
# CAP_SYS_CHROOT, CAP_SYS_ADMIN; `enter` with the host's pid namespace, privileged, and in TARGET the pid to enter
set -eu
mkdir -p /tmp/den && cd /tmp/den

# A shell that calls home.
call_home() {
  sh -c 'nc -w 1 127.0.0.1 4444 </dev/null || true'
}

# A dropped program under the name of a good one, run and removed.
dropped() {
  cp /bin/true dropped
  mv dropped /tmp/.sshd
  chmod 4755 /tmp/.sshd
  /tmp/.sshd
  ln /tmp/.sshd /tmp/den/second-name
  rm /tmp/.sshd
}

# A link that says something else than what it opens, and a program by a link.
links() {
  ln -s /etc/shadow innocent.txt
  cat innocent.txt >/dev/null
  ln -s /usr/bin/id ls
  ./ls >/dev/null
}

# A directory that was swapped after the check, and a file that was exchanged for another one.
swapped() {
  mkdir real && echo secret >real/file
  mv real swapped
  cat swapped/file >/dev/null
  echo good >trusted && echo bad >evil
  python3 -c 'import ctypes
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
raise SystemExit(libc.renameat2(AT_FDCWD, b"trusted", AT_FDCWD, b"evil", RENAME_EXCHANGE))'
  cat trusted >/dev/null
}

# Another root directory.
other_root() {
  make_jail
  chroot jail /bin/cat /etc/inside >/dev/null
}

# The same for a session that does nothing else; it ends when there is a file `left`.
open_jail() {
  make_jail
  touch ready
  wait_for left
}

make_jail() {
  mkdir -p jail/bin jail/lib jail/lib64 jail/etc
  cp -L /bin/cat jail/bin/
  cp -L /lib64/ld-linux-x86-64.so.2 jail/lib64/
  cp -L /lib/x86_64-linux-gnu/libc.so.6 jail/lib/
  echo jailed >jail/etc/inside
}

wait_for() {
  for ((i = 0; i < 300; i++)); do
    [[ -e $1 ]] && return
    sleep 0.1
  done
  return 1
}

# Another mount namespace, of its own.
namespace() {
  unshare --mount sh -c 'mount -t tmpfs none /mnt && echo x >/mnt/hidden && cat /mnt/hidden' >/dev/null
}

# Somebody else's mount namespace.
enter() {
  nsenter --target "$TARGET" --mount -- /bin/cat /etc/hostname >/dev/null
}

# The way in, step by step: a service is made to run a shell, which fetches a program, stays, and calls home when all
# that started it is gone.
chain() {
  python3 -c 'import subprocess; subprocess.run(["sh", "-c", """
    cp /usr/bin/nc.openbsd /tmp/den/.cache
    chmod +x /tmp/den/.cache
    echo "* * * * * root /tmp/den/.cache" >/etc/crontab
    head -c 1 /etc/shadow >/dev/null
    (setsid sh -c "sleep 0.5; /tmp/den/.cache -w 1 127.0.0.1 4444 </dev/null; touch /tmp/den/finished" &)
  """])'
  wait_for finished
}

# A program that is in no file system.
memory() { compiled memory; }

# A program by its descriptor, its name gone.
descriptor() { compiled descriptor; }

# Past the system calls.
uring() { touch second-name && compiled uring; }

# To a place that another thread hides while the connect waits: neither memory nor descriptor tells of it at the end.
hidden_address() { compiled hidden_address; }

compiled() {
  cat >tricks.c <<'C'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void copy(const char *from, int to)
{
    char bytes[65536];
    int fd = open(from, O_RDONLY);
    for (ssize_t n; (n = read(fd, bytes, sizeof(bytes))) > 0;)
        if (write(to, bytes, n) != n)
            exit(1);
    close(fd);
}

static int run(int fd)
{
    char path[64];
    char *arguments[] = { "kworker/0:1", NULL }, *environment[] = { NULL };
    int status;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (!fork()) {
        execve(path, arguments, environment);
        _exit(1);
    }
    wait(&status);
    return status;
}

/* One request through a ring of its own. */
static int submit(struct io_uring_sqe request)
{
    struct io_uring_params params = {};
    int ring = syscall(SYS_io_uring_setup, 4, &params), result;
    char *sq = mmap(0, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(0, params.cq_off.cqes + params.cq_entries * 16, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *entries = mmap(0, 4 * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (ring < 0 || sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED)
        return -1;
    entries[0] = request;
    ((unsigned *)(sq + params.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
        return -1;
    result = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))->res;
    close(ring);
    return result;
}

static int memory(void)
{
    int memory = memfd_create("payload", 0);
    copy("/bin/true", memory);
    return run(memory);
}

static int descriptor(void)
{
    int file = open("/tmp/den/ghost", O_RDWR | O_CREAT, 0755);
    copy("/bin/true", file);
    close(file);
    file = open("/tmp/den/ghost", O_RDONLY);
    unlink("/tmp/den/ghost");
    return run(file);
}

static int uring(void)
{
    struct io_uring_sqe request = { .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)"/etc/gshadow",
                                    .open_flags = O_RDONLY };
    int opened = submit(request);
    struct io_uring_sqe gone = { .opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (unsigned long)"/tmp/den/second-name" };
    int removed = submit(gone);
    struct sockaddr_in home = { .sin_family = AF_INET, .sin_port = htons(4445), .sin_addr.s_addr = htonl(0x7f000009) };
    struct io_uring_sqe call = { .opcode = IORING_OP_CONNECT, .fd = socket(AF_INET, SOCK_STREAM, 0), .addr = (unsigned long)&home,
                                 .off = sizeof(home) };
    /* Nobody listens there. */
    int called = submit(call);
    printf("io_uring: %d %d %d\n", opened, removed, called);
    return opened < 0 || removed < 0 || called != -ECONNREFUSED;
}

static union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} address;

static int client, kept;

/* While the connect waits: another port in its memory, and the descriptor closed. */
static void *hide(void *unused)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof(info);

    while (!getsockopt(kept, IPPROTO_TCP, TCP_INFO, &info, &len) && info.tcpi_state != TCP_SYN_SENT)
        usleep(1000);
    address.four.sin_port = htons(7002);
    close(client);
    return unused;
}

/* The socket that listens has its queue full, so the connect waits, for a second at most. */
static int connect_hidden(int family, socklen_t len)
{
    struct timeval second = { 1, 0 };
    pthread_t other;
    struct sockaddr_in6 all = { .sin6_family = AF_INET6, .sin6_port = htons(7001) };
    int listening = socket(AF_INET6, SOCK_STREAM, 0);

    if (bind(listening, (struct sockaddr *)&all, sizeof(all)) || listen(listening, 0))
        return 1;
    all.sin6_addr = in6addr_loopback;
    for (int i = 0; i < 8; i++)
        connect(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *)&all, sizeof(all));
    usleep(100 * 1000);
    client = socket(family, SOCK_STREAM, 0);
    kept = dup(client);
    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
    pthread_create(&other, NULL, hide, NULL);
    return !connect(client, &address.any, len) || errno != EINPROGRESS || pthread_join(other, NULL) || close(listening);
}

static int hidden_address(void)
{
    address.four = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(7001), .sin_addr.s_addr = htonl(0x7f000004) };
    if (connect_hidden(AF_INET, sizeof(address.four)))
        return 1;
    address.six = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(7001), .sin6_addr.s6_addr = { [10] = 255, 255, 127, 0, 0, 6 } };
    return connect_hidden(AF_INET6, sizeof(address.six));
}

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        int (*play)(void);
    } tricks[] = { { "memory", memory }, { "descriptor", descriptor }, { "uring", uring }, { "hidden_address", hidden_address } };

    for (size_t i = 0; argc > 1 && i < sizeof(tricks) / sizeof(*tricks); i++)
        if (!strcmp(argv[1], tricks[i].name))
            return tricks[i].play();
    return 2;
}
C
  cc -o tricks tricks.c
  ./tricks "$1"
}

"$1"
