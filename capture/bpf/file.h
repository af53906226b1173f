/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that processes of a tracked container open. */
#ifndef WSP_FILE_H
#define WSP_FILE_H

#include "common.h"
#include "path.h"

#define O_CREAT 0100
/* include/linux/fs.h, the same bit since 4.19. */
#define FMODE_CREATED 0x100000

/* The container of the current process, 0 where its activity is not wanted. */
static __always_inline u64 tracked_cgroup(u32 *tgid)
{
	struct wsp_process *state;
	u64 cgroup;

	*tgid = bpf_get_current_pid_tgid() >> 32;
	state = bpf_map_lookup_elem(&processes, tgid);
	if (!state)
		return 0;
	cgroup = state->cgroup;
	return bpf_map_lookup_elem(&tracked, &cgroup) ? cgroup : 0;
}

/*
 * tracepoint/syscalls/sys_exit_{open,creat,openat,openat2,open_by_handle_at}: the descriptor is in the table by then, so
 * the path is the opened file's own and not an argument. Since 2.6.33. This is itself the fallback for lsm/file_open.
 * 32-bit system calls do not pass here: the kernel leaves them out of its tracepoints. Nor do opens by io_uring.
 */
SEC("tracepoint/syscalls/sys_exit_openat")
int file_opened(struct sys_exit_context *ctx)
{
	struct wsp_opened *opened;
	struct scratch *scratch;
	struct file *file;
	unsigned long magic;
	u64 cgroup;
	u32 tgid;

	if (ctx->ret < 0)
		return 0;
	cgroup = tracked_cgroup(&tgid);
	if (!cgroup)
		return 0;
	file = file_of_fd((void *)bpf_get_current_task(), ctx->ret);
	if (!file)
		return 0; /* another thread closed it */
	magic = BPF_CORE_READ(file, f_inode, i_sb, s_magic);
	if (magic == PIPEFS_MAGIC || magic == SOCKFS_MAGIC || magic == ANON_INODE_FS_MAGIC || magic == NSFS_MAGIC)
		return 0;

	scratch = get_scratch();
	if (!scratch)
		return 0;
	opened = front_of(scratch, struct wsp_opened);
	fill(&opened->record, WSP_KIND_OPEN, cgroup, tgid);
	opened->flags = BPF_CORE_READ(file, f_flags);
	/* The kernel drops O_CREAT from f_flags; this says more: that the call made the file. */
	if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED)
		opened->flags |= O_CREAT;
	opened->reserved = 0;
	append_file_path(scratch, file, &opened->file);
	/* Here, between walk and hand-over, is the place to drop what was seen already. Reserve before marking as seen. */
	submit(scratch, &opened->record, sizeof(*opened));
	return 0;
}

#endif
