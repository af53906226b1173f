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

/* Of connect(2), arch/x86/entry/syscalls/syscall_64.tbl. */
#define NR_CONNECT 42

/*
 * Thread in connect(2) -> when it was born, where cgroup/connect* told of the call already: its exit has nothing to add. The birth, because
 * a thread that is killed in the call leaves its entry to whoever has its number later.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u64);
} connects_told SEC(".maps");

/*
 * Tells of an attempt to connect to an internet address, which the kernel has copied: what another thread does to the caller's memory or
 * descriptors meanwhile hides nothing, and it is all one whether connect(2), a 32-bit one, io_uring or MSG_FASTOPEN leads here. Whether the
 * attempt succeeds is not known yet.
 */
static __always_inline int tell_internet_connect(struct bpf_sock_addr *ctx, bool six)
{
	struct wsp_socket_address *event;
	struct task_struct *task = bpf_get_current_task_btf();
	u64 thread = bpf_get_current_pid_tgid(), born = task->start_boottime;
	struct actor actor;
	u32 *words;

	/* Another family is refused after this. */
	if (ctx->user_family != (six ? AF_INET6 : AF_INET) || !find_actor(&actor, thread >> 32))
		return 1;
	SCRATCH(scratch, actor.cgroup, WSP_KIND_CONNECT);
	if (!scratch)
		return 1;
	event = begin_address(scratch, &actor, WSP_KIND_CONNECT);
	event->family = ctx->user_family;
	event->protocol = ctx->protocol;
	event->port = bpf_ntohs(ctx->user_port);
	words = (void *)event->address;
	if (six) {
		words[0] = ctx->user_ip6[0];
		words[1] = ctx->user_ip6[1];
		words[2] = ctx->user_ip6[2];
		words[3] = ctx->user_ip6[3];
	} else {
		words[0] = ctx->user_ip4;
	}
	tell_address(scratch, &actor, event);
	if (call_of(task) == NR_CONNECT)
		bpf_map_update_elem(&connects_told, &thread, &born, BPF_ANY);
	return 1;
}

/*
 * Of the container's own cgroup, whose programs run before those of cgroups above, which may replace the address (kernel/bpf/cgroup.c,
 * compute_effective_progs). Since 4.17. They always allow. Fallback: the exit of connect, and io_uring's submissions.
 */
SEC("cgroup/connect4")
int internet_connect4(struct bpf_sock_addr *ctx)
{
	return tell_internet_connect(ctx, false);
}

SEC("cgroup/connect6")
int internet_connect6(struct bpf_sock_addr *ctx)
{
	return tell_internet_connect(ctx, true);
}

/*
 * Tells of an attempt to connect by what lies in the caller's memory: to unix sockets, and where no cgroup program tells. A call that a
 * signal ends counts too.
 */
static __always_inline void tell_connect(struct actor *actor, const void *address, u32 address_len, u16 protocol, long ret,
					 bool internet)
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
	} named = {};
	struct wsp_socket_address *event;
	SCRATCH(scratch, actor->cgroup, WSP_KIND_CONNECT);
	u64 len;

	if (!scratch || bpf_probe_read_user(&named.family, sizeof(named.family), address))
		return;
	if (is_argument_error(ret, named.family) || (named.family != AF_UNIX && !internet))
		return;
	event = begin_address(scratch, actor, WSP_KIND_CONNECT);
	event->result = ret;
	event->family = named.family;
	event->protocol = protocol;
	switch (named.family) {
	case AF_INET:
		bpf_probe_read_user(&named, 8, address);
		__builtin_memcpy(event->address, &named.v4, sizeof(named.v4));
		event->port = bpf_ntohs(named.port);
		break;
	case AF_INET6:
		bpf_probe_read_user(&named, 24, address);
		__builtin_memcpy(event->address, named.six.v6, sizeof(named.six.v6));
		event->port = bpf_ntohs(named.port);
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

/* True, once, where the current thread's connect was told by a cgroup program. */
static __always_inline bool is_connect_told(struct task_struct *task)
{
	u64 thread = bpf_get_current_pid_tgid(), *born = bpf_map_lookup_elem(&connects_told, &thread);
	bool told = born && *born == task->start_boottime;

	if (born)
		bpf_map_delete_elem(&connects_told, &thread);
	return told;
}

static __always_inline int connected_with(long ret)
{
	struct pt_regs *regs;
	struct actor actor;
	struct sock *sock;

	if (!is_actor(&actor) || is_connect_told(actor.task))
		return 0;
	regs = (void *)bpf_task_pt_regs(actor.task);
	sock = sock_of_fd(actor.task, regs->di);
	if (sock)
		tell_connect(&actor, (void *)regs->si, regs->dx, BPF_CORE_READ(sock, sk_protocol), ret, true);
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
