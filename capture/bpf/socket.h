/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses that processes of a tracked container connect to and listen on. */
#ifndef WSP_SOCKET_H
#define WSP_SOCKET_H

#include "common.h"
#include "file.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

#define ENOENT 2
#define EBADF 9
#define EFAULT 14
#define EINVAL 22
#define ENOTSOCK 88
#define EAFNOSUPPORT 97
#define EISCONN 106
#define EALREADY 114

#define SUN_PATH_OFFSET 2

static __always_inline struct sock *sock_of_fd(struct task_struct *task, u32 fd)
{
	struct file *file = file_of_fd(task, fd);
	struct socket *socket;

	if (!file || BPF_CORE_READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline struct wsp_socket_address *begin_address(struct scratch *scratch, struct actor *actor, u32 kind)
{
	struct wsp_socket_address *event = front_of(scratch, struct wsp_socket_address);

	__builtin_memset(event, 0, sizeof(*event));
	fill(&event->record, kind, actor->cgroup, actor->tgid);
	return event;
}

/* Tells of an address, once. */
static __always_inline void tell_address(struct scratch *scratch, struct actor *actor,
					 struct wsp_socket_address *event)
{
	begin_key(scratch, actor, event->record.kind, (u32)event->family << 16 | event->protocol);
	hash_word(scratch, (u64)event->port << 16 | event->peer_family);
	hash_word(scratch, *(u64 *)event->address);
	hash_word(scratch, *(u64 *)(event->address + 8));
	hash_word(scratch, *(u64 *)event->peer);
	hash_word(scratch, *(u64 *)(event->peer + 8));
	hash_data(scratch, 0, scratch->pos);
	submit_once(scratch, &event->record, sizeof(*event), hash_end(scratch));
}

/* Nothing was addressed: the call was wrong in itself, or there is nothing at the address. */
static __always_inline bool is_argument_error(long ret, u16 family)
{
	switch (ret) {
	case -EFAULT:
	case -EBADF:
	case -ENOTSOCK:
	case -EINVAL:
	case -EAFNOSUPPORT:
	case -EISCONN:
	case -EALREADY:
		return true;
	case -ENOENT:
		return family == AF_UNIX;
	default:
		return false;
	}
}

/* An internet address as it was named. */
struct named_address {
	u16 family;
	__be16 port;
	u8 address[16];
};

/*
 * Thread -> the address that it connects to, as the kernel took it from the caller's memory, between cgroup/connect* and the call's exit.
 * By then another thread may have put another address there (a time-of-check to time-of-use race, which a blocking connect makes easy).
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct named_address);
} connecting SEC(".maps");

static __always_inline int note_address(struct bpf_sock_addr *ctx, bool six)
{
	struct named_address named = { .family = ctx->user_family, .port = ctx->user_port };
	u32 *words = (void *)named.address;
	u64 thread = bpf_get_current_pid_tgid();

	if (six) {
		words[0] = ctx->user_ip6[0];
		words[1] = ctx->user_ip6[1];
		words[2] = ctx->user_ip6[2];
		words[3] = ctx->user_ip6[3];
	} else {
		words[0] = ctx->user_ip4;
	}
	bpf_map_update_elem(&connecting, &thread, &named, BPF_ANY);
	return 1;
}

/*
 * Of the container's own cgroup, whose programs run before those of cgroups above, which may replace the address (kernel/bpf/cgroup.c,
 * compute_effective_progs). Since 4.17. They always allow. Fallback: the caller's memory at the exit.
 */
SEC("cgroup/connect4")
int address_named4(struct bpf_sock_addr *ctx)
{
	return note_address(ctx, false);
}

SEC("cgroup/connect6")
int address_named6(struct bpf_sock_addr *ctx)
{
	return note_address(ctx, true);
}

/* Takes out what the current thread connects to; its family is 0 where nobody noted it. */
static __always_inline void take_address(struct named_address *named)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct named_address *noted = bpf_map_lookup_elem(&connecting, &thread);

	if (!noted)
		return;
	*named = *noted;
	bpf_map_delete_elem(&connecting, &thread);
}

/* Reads an address from the caller's memory: of a unix socket, the family alone. */
static __always_inline bool read_address(struct named_address *named, const void *address)
{
	struct {
		u16 family;
		__be16 port;
		union {
			__be32 v4;
			struct {
				u32 flow;
				u8 v6[16];
			} six;
		};
	} given = {};

	if (bpf_probe_read_user(&given.family, sizeof(given.family), address))
		return false;
	named->family = given.family;
	switch (given.family) {
	case AF_INET:
		bpf_probe_read_user(&given, 8, address);
		__builtin_memcpy(named->address, &given.v4, sizeof(given.v4));
		break;
	case AF_INET6:
		bpf_probe_read_user(&given, 24, address);
		__builtin_memcpy(named->address, given.six.v6, sizeof(given.six.v6));
		break;
	}
	named->port = given.port;
	return true;
}

/*
 * Tells of an attempt to connect: to what was noted, or to what lies in the caller's memory. A call that a signal ends counts too. Names of
 * unix sockets are the caller's, who may have changed them meanwhile.
 */
static __always_inline void tell_connect(struct actor *actor, struct named_address *named, const void *address,
					 u32 address_len, u16 protocol, long ret)
{
	struct wsp_socket_address *event;
	SCRATCH(scratch, actor->cgroup, WSP_KIND_CONNECT);
	u64 len;

	if (!scratch || (!named->family && !read_address(named, address)))
		return;
	if (is_argument_error(ret, named->family))
		return;
	event = begin_address(scratch, actor, WSP_KIND_CONNECT);
	event->result = ret;
	event->family = named->family;
	event->protocol = protocol;
	switch (named->family) {
	case AF_INET:
	case AF_INET6:
		__builtin_memcpy(event->address, named->address, sizeof(named->address));
		event->port = bpf_ntohs(named->port);
		break;
	case AF_UNIX:
		event->protocol = 0;
		len = address_len - SUN_PATH_OFFSET;
		opaque(len);
		if (len == 0 || len > WSP_UNIX_PATH_BYTES)
			return;
		if (bpf_probe_read_user(scratch->data, len, address + SUN_PATH_OFFSET))
			return;
		event->name_len = len;
		scratch->pos = len;
		break;
	default:
		return;
	}
	tell_address(scratch, actor, event);
}

static __always_inline int connected_with(long ret)
{
	struct named_address named = {};
	struct pt_regs *regs;
	struct actor actor;
	struct sock *sock;

	if (!is_actor(&actor))
		return 0;
	regs = (void *)bpf_task_pt_regs(actor.task);
	take_address(&named);
	sock = sock_of_fd(actor.task, regs->di);
	if (!sock)
		return 0;
	/* What an earlier call left behind is not this one's. */
	if (BPF_CORE_READ(sock, __sk_common.skc_family) == AF_UNIX)
		named.family = 0;
	tell_connect(&actor, &named, (void *)regs->si, regs->dx, BPF_CORE_READ(sock, sk_protocol), ret);
	return 0;
}

/* The exit of connect. */
SEC("tracepoint/syscalls/sys_exit_connect")
int socket_connected(struct sys_exit_context *ctx)
{
	return connected_with(ctx->ret);
}
EXIT_OF(connect, connected_with(RETURNED))

/* Takes down the local end of a socket. False where it has none that could be told. */
static __always_inline bool take_local(struct scratch *scratch, struct sock *sock, struct wsp_socket_address *event)
{
	struct unix_address *name;
	u32 len;

	event->family = BPF_CORE_READ(sock, __sk_common.skc_family);
	event->protocol = BPF_CORE_READ(sock, sk_protocol);
	switch (event->family) {
	case AF_INET:
		event->port = BPF_CORE_READ(sock, __sk_common.skc_num);
		bpf_core_read(event->address, sizeof(__be32), &sock->__sk_common.skc_rcv_saddr);
		return true;
	case AF_INET6:
		event->port = BPF_CORE_READ(sock, __sk_common.skc_num);
		bpf_core_read(event->address, sizeof(event->address), &sock->__sk_common.skc_v6_rcv_saddr);
		return true;
	case AF_UNIX:
		event->protocol = 0;
		name = BPF_CORE_READ((struct unix_sock *)sock, addr);
		if (!name)
			return false;
		len = (u32)BPF_CORE_READ(name, len) - SUN_PATH_OFFSET;
		opaque(len);
		if (len == 0 || len > WSP_UNIX_PATH_BYTES)
			return false;
		if (bpf_probe_read_kernel(scratch->data, len,
					  (void *)name + bpf_core_field_offset(struct unix_address, name) +
						  SUN_PATH_OFFSET))
			return false;
		event->name_len = len;
		scratch->pos = len;
		return true;
	default:
		return false;
	}
}

static __always_inline int listens_with(long ret)
{
	struct wsp_socket_address *event;
	struct pt_regs *regs;
	struct actor actor;
	struct sock *sock;

	if (ret || !is_actor(&actor))
		return 0;
	regs = (void *)bpf_task_pt_regs(actor.task);
	sock = sock_of_fd(actor.task, BPF_CORE_READ(regs, di));
	if (!sock)
		return 0;
	SCRATCH(scratch, actor.cgroup, WSP_KIND_LISTEN);
	if (!scratch)
		return 0;
	event = begin_address(scratch, &actor, WSP_KIND_LISTEN);
	if (take_local(scratch, sock, event))
		tell_address(scratch, &actor, event);
	return 0;
}

/* The exit of listen: the socket is bound by then, its port the real one. */
SEC("tracepoint/syscalls/sys_exit_listen")
int socket_listens(struct sys_exit_context *ctx)
{
	return listens_with(ctx->ret);
}
EXIT_OF(listen, listens_with(RETURNED))

/* The local end is the listening socket's: an accepted one has an address of its own where that listens on any. */
static __always_inline int accepted_as(long fd)
{
	struct sock *listening, *accepted;
	struct wsp_socket_address *event;
	struct pt_regs *regs;
	struct actor actor;

	if (fd < 0 || !is_actor(&actor))
		return 0;
	regs = (void *)bpf_task_pt_regs(actor.task);
	listening = sock_of_fd(actor.task, BPF_CORE_READ(regs, di));
	accepted = sock_of_fd(actor.task, fd);
	if (!listening || !accepted)
		return 0;
	SCRATCH(scratch, actor.cgroup, WSP_KIND_ACCEPT);
	if (!scratch)
		return 0;
	event = begin_address(scratch, &actor, WSP_KIND_ACCEPT);
	if (!take_local(scratch, listening, event))
		return 0;
	event->peer_family = BPF_CORE_READ(accepted, __sk_common.skc_family);
	if (event->peer_family == AF_INET)
		bpf_core_read(event->peer, sizeof(__be32), &accepted->__sk_common.skc_daddr);
	if (event->peer_family == AF_INET6)
		bpf_core_read(event->peer, sizeof(event->peer), &accepted->__sk_common.skc_v6_daddr);
	tell_address(scratch, &actor, event);
	return 0;
}

/* The exits of accept and accept4: a peer came to a listening socket. Its port is nobody's choice, and not told. */
SEC("tracepoint/syscalls/sys_exit_accept4")
int socket_accepted(struct sys_exit_context *ctx)
{
	return accepted_as(ctx->ret);
}
EXIT_OF(accept, accepted_as(RETURNED))
EXIT_OF(accept4, accepted_as(RETURNED))

#endif
