/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* System calls and capabilities that processes of a tracked container use. */
#ifndef WSP_USE_H
#define WSP_USE_H

#include "common.h"
#include "file.h"
#include "hash.h"

static __always_inline void tell_use(struct actor *actor, u32 kind, u32 number)
{
	SCRATCH(scratch, actor->cgroup, kind);
	struct wsp_used *used;

	if (!scratch)
		return;
	used = front_of(scratch, struct wsp_used);
	fill(&used->record, kind, actor->cgroup, actor->tgid);
	used->number = number;
	used->reserved = 0;
	begin_key(scratch, actor, kind, number);
	submit_once(scratch, &used->record, sizeof(*used), hash_end(scratch));
}

/*
 * void sys_enter(struct pt_regs *regs, long id), before the call. Since 2.6.32; as BTF tracepoint 5.5. On the way of every
 * system call of the host: attached where it is asked for only.
 */
SEC("tp_btf/sys_enter")
int syscall_used(u64 *ctx)
{
	struct actor actor;
	long id = ctx[1];

	if (id < 0 || !is_actor(&actor))
		return 0;
	if (actor.task->thread_info.status & TS_COMPAT)
		return 0;
	tell_use(&actor, WSP_KIND_SYSCALL, id);
	return 0;
}

/*
 * Only what was granted is told, and only to the task itself: overlayfs works on the files below it with the credentials of who
 * mounted it.
 */
static __always_inline int checked_capability(u64 cred, u32 cap, int ret)
{
	struct actor actor;

	if (!ret && is_actor(&actor) && cred == (u64)actor.task->real_cred)
		tell_use(&actor, WSP_KIND_CAPABILITY, cap);
	return 0;
}

/*
 * void cap_capable(const struct cred *cred, struct user_namespace *target_ns, const struct user_namespace *capable_ns,
 * int cap, int ret), after the check. Since 6.14. Fallback: the exit of the function.
 */
SEC("tp_btf/cap_capable")
int capability_used(u64 *ctx)
{
	return checked_capability(ctx[0], ctx[3], ctx[4]);
}

/* int cap_capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts). As fexit since 5.5. */
SEC("fexit/cap_capable")
int capability_used_at_exit(u64 *ctx)
{
	return checked_capability(ctx[0], ctx[2], ctx[4]);
}

#endif
