/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process tree of a container: who enters it, and what runs in it. Attached for as long as the probe lives. */
#ifndef WSP_PROCESS_H
#define WSP_PROCESS_H

#include "common.h"
#include "change.h"
#include "file.h"
#include "hash.h"
#include "path.h"

/*
 * void sched_process_fork(struct task_struct *parent, struct task_struct *child), in kernel_clone before the child is
 * woken: its record precedes all that the child does. Since 2.6; as BTF tracepoint 5.5. Fallback: none.
 */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_forked, struct task_struct *parent, struct task_struct *child)
{
	u32 parent_tgid = BPF_CORE_READ(parent, tgid);
	u32 child_tgid = BPF_CORE_READ(child, tgid);
	struct wsp_process *state, inherited;
	struct wsp_forked forked;

	if (child_tgid == parent_tgid)
		return 0; /* a thread */
	state = bpf_map_lookup_elem(&processes, &parent_tgid);
	if (!state)
		return 0;
	inherited = *state;
	inherited.place = state->lineage;
	if (bpf_map_update_elem(&processes, &child_tgid, &inherited, BPF_ANY))
		count_lost(inherited.cgroup, WSP_KIND_FORK, WSP_LOST_MAP_FULL);
	fill(&forked.record, WSP_KIND_FORK, inherited.cgroup, parent_tgid);
	forked.child = child_tgid;
	forked.reserved = 0;
	submit_short(&forked.record, sizeof(forked));
	return 0;
}

/*
 * void sched_process_exit(struct task_struct *p), from 6.16 with a second argument (bool group_dead), which is why that
 * is not used: signal->live was counted down just before. Since 2.6; as BTF tracepoint 5.5. Fallback: none.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exited, struct task_struct *task)
{
	u32 tgid = BPF_CORE_READ(task, tgid);
	struct wsp_process *state;
	struct wsp_record record;
	u64 cgroup;

	state = bpf_map_lookup_elem(&processes, &tgid);
	if (!state || BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	cgroup = state->cgroup;
	/* Two last threads can both see 0; one of them removes the state. */
	if (bpf_map_delete_elem(&processes, &tgid))
		return 0;
	fill(&record, WSP_KIND_EXIT, cgroup, tgid);
	submit_end(&record, sizeof(record));
	return 0;
}

/* Appends the argument vector as the kernel laid it out: strings, each with its NUL. */
static __always_inline void append_argv(struct scratch *scratch, struct task_struct *task, struct wsp_executed *exec)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start);
	unsigned long len = BPF_CORE_READ(task, mm, arg_end) - start;
	u32 pos = scratch->pos;

	if (len > WSP_ARGV_BYTES) {
		len = WSP_ARGV_BYTES;
		exec->flags |= WSP_EXEC_ARGV_TRUNCATED;
	}
	opaque(pos);
	opaque(len);
	if (pos > DATA_BYTES - WSP_ARGV_BYTES || len > WSP_ARGV_BYTES)
		return;
	if (bpf_probe_read_user(scratch->data + pos, len, (void *)start)) {
		/* Paged out in the instant since exec wrote it. */
		exec->flags |= WSP_EXEC_ARGV_TRUNCATED;
		return;
	}
	exec->argv_len = len;
	scratch->pos = pos + len;
}

#define DEV_FD_PREFIX 8

/* N of "/dev/fd/N" (as execveat names what has only a descriptor), or -1. */
static __always_inline s32 fd_of_name(const char *filename)
{
	static const char prefix[DEV_FD_PREFIX] = "/dev/fd/";
	char name[DEV_FD_PREFIX + 11] = {};
	s32 fd = -1;

	if (bpf_probe_read_kernel_str(name, sizeof(name), filename) <= DEV_FD_PREFIX)
		return -1;
#pragma unroll
	for (int i = 0; i < DEV_FD_PREFIX; i++)
		if (name[i] != prefix[i])
			return -1;
#pragma unroll
	for (int i = DEV_FD_PREFIX; i < (int)sizeof(name) - 2; i++) {
		if (name[i] < '0' || name[i] > '9')
			break;
		fd = (fd < 0 ? 0 : fd * 10) + (name[i] - '0');
	}
	return fd;
}

/* Appends the script's name as exec was given it, where a `#!` line (or binfmt_misc) put another program in its place. */
static __always_inline struct file *append_script(struct scratch *scratch, struct task_struct *task,
						  struct linux_binprm *bprm, struct wsp_executed *exec)
{
	const char *filename = BPF_CORE_READ(bprm, filename);
	u32 pos = scratch->pos;
	long len;
	s32 fd;

	if (BPF_CORE_READ(bprm, interp) == filename)
		return NULL;
	opaque(pos);
	if (pos > DATA_BYTES - WSP_PATH_BYTES)
		return NULL;
	len = bpf_probe_read_kernel_str(scratch->data + pos, WSP_PATH_BYTES, filename);
	if (len <= 1)
		return NULL;
	exec->script_len = len - 1;
	scratch->pos = pos + len - 1;
	fd = fd_of_name(filename);
	return fd < 0 ? NULL : file_of_fd(task, fd);
}

static __always_inline void describe_fd(struct task_struct *task, u32 fd, struct wsp_descriptor *descriptor)
{
	struct file *file = file_of_fd(task, fd);

	descriptor->mode = file ? BPF_CORE_READ(file, f_inode, i_mode) : 0;
	descriptor->rdev = file ? BPF_CORE_READ(file, f_inode, i_rdev) : 0;
}

static __always_inline void describe_task(struct task_struct *task, struct wsp_executed *exec)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);
	/* An array of one up to 6.4, a flexible one since: its start is all that both have. */
	struct upid *upids = (void *)pid + bpf_core_field_offset(struct pid, numbers);
	struct upid *upid = (void *)upids + level * bpf_core_type_size(struct upid);

	exec->started = BPF_CORE_READ(task, group_leader, start_boottime);
	exec->uids[0] = BPF_CORE_READ(cred, uid.val);
	exec->uids[1] = BPF_CORE_READ(cred, euid.val);
	exec->uids[2] = BPF_CORE_READ(cred, suid.val);
	exec->gids[0] = BPF_CORE_READ(cred, gid.val);
	exec->gids[1] = BPF_CORE_READ(cred, egid.val);
	exec->gids[2] = BPF_CORE_READ(cred, sgid.val);
	exec->ns_pid = BPF_CORE_READ(upid, nr);
	exec->pid_ns_level = level;
	exec->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	if (BPF_CORE_READ(task, signal, tty))
		exec->flags |= WSP_EXEC_TTY;
	describe_fd(task, 0, &exec->stdio[0]);
	describe_fd(task, 1, &exec->stdio[1]);
	describe_fd(task, 2, &exec->stdio[2]);
	BPF_CORE_READ_INTO(&exec->comm, task, comm);
}

/*
 * void sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm), once the new image is in
 * place: credentials, arguments and the thread group are the new program's. Since 3.4; as BTF tracepoint 5.5.
 * Fallback: none.
 *
 * The entry rule: a task enters the tree when it first executes inside the mount namespace of a container in whose cgroup
 * it is. The runtime's own steps (runc init executes itself from the host's namespace) are before that.
 */
/*
 * What tells the node of a program from others of the same place, as userspace makes it, or finer: executable, script, and
 * the name it was called by. A script's path depends on the working directory.
 */
static __always_inline u64 lineage_of(struct scratch *scratch, u64 place, struct wsp_executed *exec)
{
	u32 program = exec->argv_len, cwd = program + exec->script_len + exec->exe.len;

	hash_begin(scratch, place);
	hash_string(scratch, 0, exec->argv_len);
	hash_data(scratch, program, exec->script_len ? scratch->pos : cwd);
	return hash_end(scratch);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_executed, struct task_struct *task, s32 old_pid, struct linux_binprm *bprm)
{
	u32 tgid = BPF_CORE_READ(task, tgid);
	struct wsp_process *state, entered = {};
	struct wsp_executed *exec;
	struct actor actor;
	struct file *script;

	state = bpf_map_lookup_elem(&processes, &tgid);
	if (state) {
		entered = *state;
	} else {
		u64 id = current_cgroup(task);
		u64 *top = bpf_map_lookup_elem(&containers, &id);

		if (!top || BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum) == host_mnt_ns)
			return 0;
		entered.cgroup = *top;
		/* What enters from outside shares its place with nothing: whether it is the init, userspace decides. */
		entered.place = bpf_ktime_get_boot_ns() ^ (u64)tgid << 32;
		if (bpf_map_update_elem(&processes, &tgid, &entered, BPF_ANY))
			count_lost(entered.cgroup, WSP_KIND_EXEC, WSP_LOST_MAP_FULL);
	}

	SCRATCH(scratch, entered.cgroup, WSP_KIND_EXEC);
	if (!scratch)
		return 0;
	exec = front_of(scratch, struct wsp_executed);
	__builtin_memset(exec, 0, sizeof(*exec));
	fill(&exec->record, WSP_KIND_EXEC, entered.cgroup, tgid);
	describe_task(task, exec);
	append_argv(scratch, task, exec);
	script = append_script(scratch, task, bprm, exec);
	append_file_path(scratch, BPF_CORE_READ(task, mm, exe_file), &exec->exe);
	append_path(scratch, BPF_CORE_READ(task, fs, pwd.mnt), BPF_CORE_READ(task, fs, pwd.dentry), &exec->cwd);
	if (script) {
		exec->flags |= WSP_EXEC_SCRIPT_AT_FD;
		append_file_path(scratch, script, &exec->script_dir);
	}
	entered.lineage = lineage_of(scratch, entered.place, exec);
	/* Only what is there: where the table was full, that was counted. */
	bpf_map_update_elem(&processes, &tgid, &entered, BPF_EXIST);
	submit(scratch, &exec->record, sizeof(*exec));
	actor.cgroup = entered.cgroup;
	actor.lineage = entered.lineage;
	actor.tgid = tgid;
	actor.task = task;
	if (bpf_map_lookup_elem(&tracked, &actor.cgroup))
		tell_loader(scratch, &actor);
	return 0;
}

#endif
