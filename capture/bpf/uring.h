/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What processes of a tracked container do by io_uring, past the system calls: opens, changes of names, connects. Requests are told as they
 * are submitted, by the name that they were given: whether they succeed is not known by then.
 */
#ifndef WSP_URING_H
#define WSP_URING_H

#include "common.h"
#include "change.h"
#include "file.h"
#include "socket.h"

/* include/uapi/linux/io_uring.h */
enum {
	IORING_OP_CONNECT = 16,
	IORING_OP_OPENAT = 18,
	IORING_OP_OPENAT2 = 28,
	IORING_OP_RENAMEAT = 35,
	IORING_OP_UNLINKAT = 36,
	IORING_OP_MKDIRAT = 37,
	IORING_OP_SYMLINKAT = 38,
	IORING_OP_LINKAT = 39,
};

/* include/linux/io_uring_types.h: the descriptor is of the ring's own table. */
#define REQ_F_FIXED_FILE 1

static __always_inline const void *name_in(struct filename *filename)
{
	return BPF_CORE_READ(filename, name);
}

/* The request is prepared by then: names are copied into the kernel. Opens are told, or changes of names. */
static __always_inline void tell_request(struct io_kiocb *request, bool opens)
{
	struct named named = { .in_kernel = true, .dirfd = AT_FDCWD, .new_dirfd = AT_FDCWD };
	u8 opcode = BPF_CORE_READ(request, opcode);
	struct actor actor;

	if ((opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2) != opens || !is_actor(&actor))
		return;
	switch (opcode) {
	case IORING_OP_OPENAT:
	case IORING_OP_OPENAT2: {
		struct io_open *open = (void *)request;

		named.op = WSP_OP_OPEN;
		named.mode = BPF_CORE_READ(open, how.flags);
		named.dirfd = BPF_CORE_READ(open, dfd);
		named.name = name_in(BPF_CORE_READ(open, filename));
		break;
	}
	case IORING_OP_UNLINKAT: {
		struct io_unlink *gone = (void *)request;

		named.op = BPF_CORE_READ(gone, flags) & AT_REMOVEDIR ? WSP_OP_RMDIR : WSP_OP_UNLINK;
		named.dirfd = BPF_CORE_READ(gone, dfd);
		named.name = name_in(BPF_CORE_READ(gone, filename));
		break;
	}
	case IORING_OP_MKDIRAT: {
		struct io_mkdir *made = (void *)request;

		named.op = WSP_OP_MKDIR;
		named.mode = BPF_CORE_READ(made, mode) & MODE_BITS;
		named.dirfd = BPF_CORE_READ(made, dfd);
		named.name = name_in(BPF_CORE_READ(made, filename));
		break;
	}
	case IORING_OP_RENAMEAT: {
		struct io_rename *renamed = (void *)request;

		named.op = WSP_OP_RENAME;
		named.two = true;
		named.dirfd = BPF_CORE_READ(renamed, old_dfd);
		named.name = name_in(BPF_CORE_READ(renamed, oldpath));
		named.new_dirfd = BPF_CORE_READ(renamed, new_dfd);
		named.new_name = name_in(BPF_CORE_READ(renamed, newpath));
		break;
	}
	case IORING_OP_LINKAT: {
		struct io_link *linked = (void *)request;

		named.op = WSP_OP_LINK;
		named.two = true;
		named.dirfd = BPF_CORE_READ(linked, old_dfd);
		named.name = name_in(BPF_CORE_READ(linked, oldpath));
		named.new_dirfd = BPF_CORE_READ(linked, new_dfd);
		named.new_name = name_in(BPF_CORE_READ(linked, newpath));
		break;
	}
	case IORING_OP_SYMLINKAT: {
		struct io_link *linked = (void *)request;

		named.op = WSP_OP_SYMLINK;
		named.dirfd = BPF_CORE_READ(linked, new_dfd);
		named.name = name_in(BPF_CORE_READ(linked, newpath));
		break;
	}
	default:
		return;
	}
	tell_change(&actor, &named);
}

/*
 * The socket is not looked up yet: it is what the descriptor says, or, where that is of the ring's own table, unknown, and taken for one
 * of TCP.
 */
static __always_inline void tell_connect_request(struct io_kiocb *request)
{
	struct io_connect *connect = (void *)request;
	struct sock *sock = NULL;
	struct actor actor;

	if (BPF_CORE_READ(request, opcode) != IORING_OP_CONNECT || !is_actor(&actor))
		return;
	if (!(BPF_CORE_READ(request, flags) & REQ_F_FIXED_FILE))
		sock = sock_of_fd(actor.task, BPF_CORE_READ(request, cqe.fd));
	tell_connect(&actor, BPF_CORE_READ(connect, addr), BPF_CORE_READ(connect, addr_len),
		     sock ? BPF_CORE_READ(sock, sk_protocol) : IPPROTO_TCP, 0, !cgroup_connects);
}

/*
 * void io_uring_submit_req(struct io_kiocb *req). Since 6.3.
 * void io_uring_submit_sqe(struct io_kiocb *req, bool force_nonblock): its name before 6.3. Since 6.0 with the request.
 */
#define ON_REQUEST(name, expression)                        \
	SEC("tp_btf/io_uring_submit_req")                   \
	int name##_submitted(u64 *ctx)                      \
	{                                                   \
		expression;                                 \
		return 0;                                   \
	}                                                   \
	SEC("tp_btf/io_uring_submit_sqe")                   \
	int name##_submitted_before_6_3(u64 *ctx)           \
	{                                                   \
		expression;                                 \
		return 0;                                   \
	}

ON_REQUEST(open, tell_request((void *)ctx[0], true))
ON_REQUEST(change, tell_request((void *)ctx[0], false))
ON_REQUEST(connect, tell_connect_request((void *)ctx[0]))

#endif
