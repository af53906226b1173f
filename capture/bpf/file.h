/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that processes of a tracked container open. */
#ifndef WSP_FILE_H
#define WSP_FILE_H

#include "common.h"
#include "exits.h"
#include "hash.h"
#include "path.h"

#define O_CREAT 0100
/* arch/x86/include/asm/thread_info.h: a 32-bit call, whose numbers are others. */
#define TS_COMPAT 2
/* include/linux/fs.h, the same bit since 4.19. */
#define FMODE_CREATED 0x100000

/* The current process, as one whose activity is told. */
struct actor {
	u64 cgroup;
	u64 lineage;
	u32 tgid;
};

/* False where nobody wants to know. */
static __always_inline bool is_actor(struct actor *actor)
{
	struct wsp_process *state;

	actor->tgid = bpf_get_current_pid_tgid() >> 32;
	state = bpf_map_lookup_elem(&processes, &actor->tgid);
	if (!state)
		return false;
	actor->cgroup = state->cgroup;
	actor->lineage = state->lineage;
	return bpf_map_lookup_elem(&tracked, &actor->cgroup);
}

/* Starts the key of something that the process does; what it is follows. */
static __always_inline void begin_key(struct scratch *scratch, struct actor *actor, u32 kind, u32 detail)
{
	hash_begin(scratch, actor->lineage);
	hash_word(scratch, (u64)kind << 32 | detail);
}

/* Adds a path section that starts at `from`. */
static __always_inline void add_path_to_key(struct scratch *scratch, u32 from, struct wsp_path_info *info)
{
	hash_word(scratch, (u64)info->flags << 32 | info->magic);
	hash_data(scratch, from, from + info->len, 0);
}

/* Tells of an open file, once. */
static __always_inline void tell_open(struct actor *actor, struct file *file, u32 flags)
{
	unsigned long magic = BPF_CORE_READ(file, f_inode, i_sb, s_magic);
	struct wsp_opened *opened;
	struct scratch *scratch;

	if (magic == PIPEFS_MAGIC || magic == SOCKFS_MAGIC || magic == ANON_INODE_FS_MAGIC || magic == NSFS_MAGIC)
		return;
	scratch = get_scratch();
	if (!scratch)
		return;
	opened = front_of(scratch, struct wsp_opened);
	fill(&opened->record, WSP_KIND_OPEN, actor->cgroup, actor->tgid);
	opened->flags = flags;
	opened->reserved = 0;
	append_file_path(scratch, file, &opened->file);
	begin_key(scratch, actor, WSP_KIND_OPEN, flags);
	add_path_to_key(scratch, 0, &opened->file);
	submit_once(scratch, &opened->record, sizeof(*opened), hash_end(scratch));
}

static __always_inline int opened_as(long fd)
{
	struct actor actor;
	struct file *file;
	u32 flags;

	if (fd < 0 || !is_actor(&actor))
		return 0;
	file = file_of_fd((void *)bpf_get_current_task(), fd);
	if (!file)
		return 0; /* another thread closed it */
	flags = BPF_CORE_READ(file, f_flags);
	/* The kernel drops O_CREAT from f_flags; this says more: that the call made the file. */
	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		flags |= O_CREAT;
	tell_open(&actor, file, flags);
	return 0;
}

/*
 * The exits of open, creat, openat, openat2, open_by_handle_at (exits.h): the descriptor is in the table by then, so the path is the
 * opened file's own and not an argument. 32-bit system calls do not pass here: the kernel leaves them out of its tracepoints. Nor do
 * opens by io_uring (uring.h).
 */
SEC("tracepoint/syscalls/sys_exit_openat")
int file_opened(struct sys_exit_context *ctx)
{
	return opened_as(ctx->ret);
}
EXIT_OF(openat, opened_as(RETURNED))
EXIT_OF(openat2, opened_as(RETURNED))
EXIT_OF(open, opened_as(RETURNED))
EXIT_OF(creat, opened_as(RETURNED))
EXIT_OF(open_by_handle_at, opened_as(RETURNED))

#define FMODE_EXEC 0x20
#define PF_IO_WORKER 0x10
#define NR_IO_URING_ENTER 426

/*
 * int security_file_open(struct file *file), on every way to open a file: here for opens that no system call above shows, by io_uring
 * and by 32-bit calls. Since 5.5 as fentry. Fallback: uring.h. What exec opens, its own hook tells.
 */
SEC("fentry/security_file_open")
int file_opened_otherwise(u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = (void *)ctx[0];
	struct actor actor;
	u32 flags;

	if (!is_actor(&actor))
		return 0;
	if (!(BPF_CORE_READ(task, flags) & PF_IO_WORKER) && !(BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) &&
	    BPF_CORE_READ((struct pt_regs *)bpf_task_pt_regs(task), orig_ax) != NR_IO_URING_ENTER)
		return 0;
	flags = BPF_CORE_READ(file, f_flags);
	/* Nor what overlayfs opens below itself for it. */
	if (flags & FMODE_EXEC || BPF_CORE_READ(file, f_mode) & fmode_backing)
		return 0;
	flags &= ~O_CREAT;
	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		flags |= O_CREAT;
	tell_open(&actor, file, flags);
	return 0;
}

#endif
