#!/bin/bash
# What somebody does who got in and does not want to be seen: each trick must leave the node that a defender needs.
#
# usage: tricks.sh, in localhost/demo/tools:1, with seccomp=unconfined (io_uring) and CAP_SYS_CHROOT, CAP_SYS_ADMIN
set -eu
mkdir -p /tmp/den && cd /tmp/den

# A shell that calls home.
sh -c 'nc -w 1 127.0.0.1 4444 </dev/null || true'

# A dropped program under the name of a good one, run and removed.
cp /bin/true dropped
mv dropped /tmp/.sshd
chmod 4755 /tmp/.sshd
/tmp/.sshd
ln /tmp/.sshd /tmp/den/second-name
rm /tmp/.sshd

# A link that says something else than what it opens.
ln -s /etc/shadow innocent.txt
cat innocent.txt >/dev/null

# A directory that was swapped after the check.
mkdir real && echo secret >real/file
mv real swapped
cat swapped/file >/dev/null

# Another root directory.
mkdir -p jail/bin jail/lib jail/lib64 jail/etc
cp -L /bin/cat jail/bin/
cp -L /lib64/ld-linux-x86-64.so.2 jail/lib64/
cp -L /lib/x86_64-linux-gnu/libc.so.6 jail/lib/
echo jailed >jail/etc/inside
chroot jail /bin/cat /etc/inside >/dev/null

# Another mount namespace.
unshare --mount sh -c 'mount -t tmpfs none /mnt && echo x >/mnt/hidden && cat /mnt/hidden' >/dev/null

cat >tricks.c <<'C'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
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

static void run(int fd)
{
    char path[64];
    char *arguments[] = { "kworker/0:1", NULL }, *environment[] = { NULL };
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (!fork()) {
        execve(path, arguments, environment);
        _exit(1);
    }
    wait(NULL);
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

int main(void)
{
    /* A program that is in no file system. */
    int memory = memfd_create("payload", 0);
    copy("/bin/true", memory);
    run(memory);
    close(memory);
    /* A program by its descriptor, its name gone. */
    int file = open("/tmp/den/ghost", O_RDWR | O_CREAT, 0755);
    copy("/bin/true", file);
    close(file);
    file = open("/tmp/den/ghost", O_RDONLY);
    unlink("/tmp/den/ghost");
    run(file);
    /* Past the system calls. */
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
C
cc -o tricks tricks.c
./tricks
