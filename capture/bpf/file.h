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
	struct task_struct *task;
	u64 cgroup;
	u64 lineage;
	u64 at; /* of an opener: the time, no more than a tick ago */
	u32 tgid;
};

/* False where nobody wants to know what the process does. */
static __always_inline bool find_actor(struct actor *actor, u32 tgid)
{
	struct wsp_process *state = bpf_map_lookup_elem(&processes, &tgid);

	if (!state)
		return false;
	actor->tgid = tgid;
	actor->cgroup = state->cgroup;
	actor->lineage = state->lineage;
	return bpf_map_lookup_elem(&tracked, &actor->cgroup);
}

/* The same of the current task. */
static __always_inline bool is_actor(struct actor *actor)
{
	actor->task = bpf_get_current_task_btf();
	return find_actor(actor, actor->task->tgid);
}

/* How often userspace ceased to track a container. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} untracked SEC(".maps");

/*
 * The last process that opened a file on this CPU, for the rest of the tick (jiffy): who opens often does so hundreds of times in one, and
 * looking it up and reading the clock take a third of what an open that was told already costs. Noted at exits of calls alone: a task that
 * is about to execute something else is at none.
 */
struct opener {
	u64 tick;
	u64 at;
	u64 untracked;
	u64 exec_id;
	u64 cgroup;
	u64 lineage;
	u32 tgid;
	u32 busy; /* is being written: programs on functions can be preempted */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct opener);
} openers SEC(".maps");

/* True where the current task is one whose opens are told. */
static __always_inline bool is_opener(struct actor *actor)
{
	u64 tick = bpf_jiffies64(), times, exec_id;
	volatile struct opener *last;
	volatile u64 *so_far;
	u32 zero = 0;

	so_far = bpf_map_lookup_elem(&untracked, &zero);
	last = bpf_map_lookup_elem(&openers, &zero);
	if (!so_far || !last)
		return false;
	/* Before it is asked who is tracked: what ceases to be meanwhile is not noted as if it were. */
	times = *so_far;
	actor->task = bpf_get_current_task_btf();
	actor->tgid = actor->task->tgid;
	exec_id = actor->task->self_exec_id;
	if (last->tgid == actor->tgid && last->tick == tick && last->exec_id == exec_id && last->untracked == times) {
		actor->cgroup = last->cgroup;
		actor->lineage = last->lineage;
		actor->at = last->at;
		/* Still: another one's process may stand here by now. */
		if (last->tgid == actor->tgid)
			return true;
	}
	if (!find_actor(actor, actor->tgid))
		return false;
	if (__sync_lock_test_and_set(&last->busy, 1)) {
		actor->at = bpf_ktime_get_boot_ns();
		return true;
	}
	last->tgid = 0;
	if (last->tick != tick) {
		last->at = bpf_ktime_get_boot_ns();
		last->tick = tick;
	}
	actor->at = last->at;
	last->untracked = times;
	last->exec_id = exec_id;
	last->cgroup = actor->cgroup;
	last->lineage = actor->lineage;
	last->tgid = actor->tgid;
	last->busy = 0;
	return true;
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
	hash_data(scratch, from, from + info->len);
}

/*
 * A fact about a file that was walked a moment ago: a process that opens the same file thousands of times a second has its path walked
 * a hundred times a second. It is the same file where dentry, parent, name, inode, mount and the mount's place are; a directory further up
 * that was renamed meanwhile is noticed at the next walk, and its rename is told by itself.
 */
struct walked {
	u64 lineage;
	u64 detail;
	u64 mnt;
	u64 mnt_parent;
	u64 mnt_mountpoint;
	u64 dentry;
	u64 parent;
	u64 name;
	u64 inode;
	/* What it is known as (`seen`), and when it was walked. */
	u64 key;
	u64 at;
};

#define WALKED_ENTRIES 512
#define WALKED_NS 10000000ULL

/* Each place is of the last that came there. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WALKED_ENTRIES);
	__type(key, u32);
	__type(value, struct walked);
} recently_walked SEC(".maps");

/* Fills in what tells one file from others, and finds its place. */
static __always_inline struct walked *find_walked(struct scratch *scratch, struct actor *actor, u32 flags,
						  struct path *path, struct walked *now)
{
	struct dentry *dentry = path->dentry;
	u32 place;

	enter_mount(scratch, mount_of(path->mnt));
	read_head(scratch, dentry, DENTRY_BYTES);
	now->lineage = actor->lineage;
	now->detail = (u64)flags << 1 | !HEAD(scratch, dentry, DENTRY_BYTES, d_hash.pprev);
	now->mnt = (u64)path->mnt;
	now->mnt_parent = scratch->walk.mnt_parent;
	now->mnt_mountpoint = scratch->walk.mnt_mountpoint;
	now->dentry = (u64)dentry;
	now->parent = (u64)HEAD(scratch, dentry, DENTRY_BYTES, d_parent);
	now->name = (u64)HEAD(scratch, dentry, DENTRY_BYTES, d_name.hash) << 32 |
		    HEAD(scratch, dentry, DENTRY_BYTES, d_name.len);
	now->inode = (u64)HEAD(scratch, dentry, DENTRY_BYTES, d_inode);
	place = (now->dentry >> 6 ^ now->dentry >> 15 ^ now->lineage ^ flags) % WALKED_ENTRIES;
	return bpf_map_lookup_elem(&recently_walked, &place);
}

static __always_inline bool is_walked(struct walked *known, struct walked *now, u64 at)
{
	return known->dentry == now->dentry && known->lineage == now->lineage && known->detail == now->detail &&
	       known->mnt == now->mnt && known->mnt_parent == now->mnt_parent &&
	       known->mnt_mountpoint == now->mnt_mountpoint && known->parent == now->parent && known->name == now->name &&
	       known->inode == now->inode && at - known->at < WALKED_NS;
}

/*
 * Tells of an open file, once. The kernel drops O_CREAT from a file's flags; here it says more: that this call made the file. What has
 * unwanted flags is left to others.
 */
static __always_inline void tell_open(struct actor *actor, struct file *file, u32 unwanted_flags, u32 unwanted_mode)
{
	SCRATCH(scratch, actor->cgroup, WSP_KIND_OPEN);
	struct walked now, *known;
	struct wsp_opened *opened;
	struct path path;
	u32 flags, mode;

	if (!scratch || read_head(scratch, file, HEAD_BYTES))
		return;
	flags = HEAD(scratch, file, HEAD_BYTES, f_flags);
	mode = HEAD(scratch, file, HEAD_BYTES, f_mode);
	path.mnt = HEAD(scratch, file, HEAD_BYTES, f_path.mnt);
	path.dentry = HEAD(scratch, file, HEAD_BYTES, f_path.dentry);
	if (flags & unwanted_flags || mode & unwanted_mode)
		return;
	flags &= ~O_CREAT;
	if (mode & FMODE_CREATED)
		flags |= O_CREAT;
	opened = front_of(scratch, struct wsp_opened);
	known = find_walked(scratch, actor, flags, &path, &now);
	/* A file that was just made may have another's place in memory. */
	if (known && !(flags & O_CREAT) && is_walked(known, &now, actor->at) && seen_again(known->key, actor->at))
		return;

	fill(&opened->record, WSP_KIND_OPEN, actor->cgroup, actor->tgid);
	opened->flags = flags;
	opened->reserved = 0;
	append_path(scratch, path.mnt, path.dentry, &opened->file);
	switch (opened->file.magic) {
	case PIPEFS_MAGIC:
	case SOCKFS_MAGIC:
	case ANON_INODE_FS_MAGIC:
	case NSFS_MAGIC:
		return;
	}
	begin_key(scratch, actor, WSP_KIND_OPEN, flags);
	add_path_to_key(scratch, 0, &opened->file);
	now.key = hash_end(scratch);
	now.at = actor->at;
	submit_once(scratch, &opened->record, sizeof(*opened), now.key);
	if (known)
		*known = now;
}

static __always_inline int opened_as(long fd)
{
	struct actor actor;
	struct file *file;

	if (fd < 0 || !is_opener(&actor))
		return 0;
	file = file_of_fd(actor.task, fd);
	if (file) /* else another thread closed it */
		tell_open(&actor, file, 0, 0);
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

/* Not -1: that is what the kernel itself puts there (a core dump's opens). */
#define OTHER_CALL (-(1L << 32))

/* The number of the 64-bit system call that a task is in; OTHER_CALL in a 32-bit one, whose numbers are others, and in a worker of io_uring. */
static __always_inline long call_of(struct task_struct *task)
{
	if (task->flags & PF_IO_WORKER || task->thread_info.status & TS_COMPAT)
		return OTHER_CALL;
	return ((struct pt_regs *)bpf_task_pt_regs(task))->orig_ax;
}

/*
 * int security_file_open(struct file *file), on every way to open a file: here for opens that no system call above shows, by io_uring
 * and by 32-bit calls. Since 5.5 as fentry. Fallback: uring.h. What exec opens, its own hook tells.
 */
SEC("fentry/security_file_open")
int file_opened_otherwise(u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	struct actor actor;
	long call;

	if (!is_actor(&actor))
		return 0;
	call = call_of(actor.task);
	if (call != OTHER_CALL && call != NR_IO_URING_ENTER)
		return 0;
	actor.at = bpf_ktime_get_boot_ns();
	/* Nor what overlayfs opens below itself for it. */
	tell_open(&actor, file, FMODE_EXEC, fmode_backing);
	return 0;
}

#endif
