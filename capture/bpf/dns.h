/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * DNS messages of a tracked container. Whose a socket is, and that it speaks DNS, is decided in process context where it is
 * addressed (port 53 as the caller names it); packets are matched by their socket. So address translation on
 * the way (Docker's resolver at 127.0.0.11, service addresses) does not matter. What was addressed before is looked for once.
 *
 * Attached to the container's cgroup only, but for that look. Needs no scratch: packets are handled in interrupts too.
 */
#ifndef WSP_DNS_H
#define WSP_DNS_H

#include "common.h"
#include "file.h"
#include "socket.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define DNS_PORT 53
#define DNS_HEADER_BYTES 12

/* Kept with the socket itself, since 5.2: every packet asks for it, and it goes when the socket does. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct wsp_dns_socket);
} dns_sockets SEC(".maps");

static __always_inline void note_owner(struct wsp_dns_socket *socket, struct actor *actor)
{
	if (!socket) {
		count_lost(actor->cgroup, WSP_KIND_DNS, WSP_LOST_MAP_FULL);
		return;
	}
	socket->cgroup = actor->cgroup;
	socket->pid = actor->tgid;
}

static __always_inline int note_addressed(struct bpf_sock_addr *ctx)
{
	struct actor actor;

	if (ctx->user_port == bpf_htons(DNS_PORT) && find_actor(&actor, bpf_get_current_pid_tgid() >> 32))
		note_owner(ctx->sk ? bpf_sk_storage_get(&dns_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE) : NULL,
			   &actor);
	return 1;
}

/* cgroup/connect4, connect6 since 4.17; sendmsg4, sendmsg6 (unconnected UDP) since 4.18. They always allow. */
SEC("cgroup/connect4")
int dns_connect4(struct bpf_sock_addr *ctx)
{
	return note_addressed(ctx);
}

SEC("cgroup/connect6")
int dns_connect6(struct bpf_sock_addr *ctx)
{
	return note_addressed(ctx);
}

SEC("cgroup/sendmsg4")
int dns_sendmsg4(struct bpf_sock_addr *ctx)
{
	return note_addressed(ctx);
}

SEC("cgroup/sendmsg6")
int dns_sendmsg6(struct bpf_sock_addr *ctx)
{
	return note_addressed(ctx);
}

/*
 * Sockets that were connected before anybody looked: resolvers keep theirs for long. Run over all open files once the programs
 * above are attached. Packets come by the cgroup that a socket was made in, so that this says whose it is, wherever it was passed
 * to; of its processes there that hold it, the first counts as who asks. The port is the one that the kernel connected to: where a
 * program on the way there (of a service mesh) has put another one in its place, it is not known.
 */
SEC("iter/task_file")
int dns_connected_before(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct wsp_dns_socket *mark;
	struct socket *socket;
	u64 id, *top, *holder;
	struct actor actor;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	sk = socket ? socket->sk : NULL;
	if (!sk || sk->__sk_common.skc_dport != bpf_htons(DNS_PORT) ||
	    (sk->sk_protocol != IPPROTO_UDP && sk->sk_protocol != IPPROTO_TCP))
		return 0;
	id = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	top = bpf_map_lookup_elem(&containers, &id);
	if (!top)
		return 0;
	actor.cgroup = *top;
	actor.tgid = task->tgid;
	id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	holder = bpf_map_lookup_elem(&containers, &id);
	if (!holder || *holder != actor.cgroup || !bpf_map_lookup_elem(&tracked, &actor.cgroup))
		return 0;
	mark = bpf_sk_storage_get(&dns_sockets, sk, NULL, 0);
	if (mark && mark->cgroup == actor.cgroup)
		return 0;
	note_owner(bpf_sk_storage_get(&dns_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE), &actor);
	return 0;
}

static __always_inline u8 load_byte(struct __sk_buff *skb, u32 offset)
{
	u8 byte = 0;

	bpf_skb_load_bytes(skb, offset, &byte, sizeof(byte));
	return byte;
}

static __always_inline int note_packet(struct __sk_buff *skb, u16 answer)
{
	struct wsp_dns_socket *socket;
	struct wsp_dns_message *message;
	struct bpf_sock *sk = skb->sk;
	u32 offset, len, transport;
	u16 tcp = 0;
	u8 version;

	if (!sk)
		return 1;
	socket = bpf_sk_storage_get(&dns_sockets, sk, NULL, 0);
	if (!socket)
		return 1;

	version = load_byte(skb, 0) >> 4;
	if (version == 4) {
		offset = (load_byte(skb, 0) & 0xf) * 4;
		transport = load_byte(skb, 9);
	} else if (version == 6) {
		/* Extension headers do not come with what a stub resolver sends. */
		offset = 40;
		transport = load_byte(skb, 6);
	} else {
		return 1;
	}
	if (transport == IPPROTO_UDP) {
		offset += 8;
	} else if (transport == IPPROTO_TCP) {
		tcp = 1;
		offset += (load_byte(skb, offset + 12) >> 4) * 4;
	} else {
		return 1;
	}
	if (skb->len < offset + DNS_HEADER_BYTES)
		return 1;
	len = skb->len - offset;
	if (tcp) {
		/*
		 * Best effort: the first message of a segment that starts with one. Where the length went ahead in a
		 * segment of its own, the message starts the next one; userspace drops what is no message.
		 */
		u32 prefix = load_byte(skb, offset) << 8 | load_byte(skb, offset + 1);

		if (prefix >= DNS_HEADER_BYTES && prefix <= len - 2) {
			offset += 2;
			len = prefix;
		}
	}
	if (len > WSP_DNS_BYTES)
		len = WSP_DNS_BYTES;

	if (!has_token(socket->cgroup, WSP_KIND_DNS))
		return 1;
	message = bpf_ringbuf_reserve(&events, sizeof(*message) + WSP_DNS_BYTES, 0);
	if (!message) {
		count_lost(socket->cgroup, WSP_KIND_DNS, WSP_LOST_RING_FULL);
		return 1;
	}
	fill(&message->record, WSP_KIND_DNS, socket->cgroup, socket->pid);
	message->socket = bpf_get_socket_cookie(skb);
	message->answer = answer;
	message->tcp = tcp;
	message->len = len;
	opaque(len);
	if (len < DNS_HEADER_BYTES || len > WSP_DNS_BYTES || bpf_skb_load_bytes(skb, offset, message + 1, len)) {
		bpf_ringbuf_discard(message, BPF_RB_NO_WAKEUP);
		return 1;
	}
	bpf_ringbuf_submit(message, wake_flags(WSP_KIND_DNS));
	return 1;
}

/* cgroup_skb since 4.10. Always lets pass. */
SEC("cgroup_skb/egress")
int dns_egress(struct __sk_buff *skb)
{
	return note_packet(skb, 0);
}

SEC("cgroup_skb/ingress")
int dns_ingress(struct __sk_buff *skb)
{
	return note_packet(skb, 1);
}

#endif
