/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names that processes of a tracked container change: unlink, rename, mkdir and the like, and code that they map.
 *
 * At the exit of a call there is no file to walk from: the name is told as the process gave it, with the directory that it was
 * relative to, and marked as an argument (another thread may have changed it meanwhile, and links in it are not resolved).
 */
#ifndef WSP_CHANGE_H
#define WSP_CHANGE_H

#include "common.h"
#include "file.h"
#include "hash.h"
#include "path.h"

#define AT_FDCWD -100
#define AT_REMOVEDIR 0x200
#define PROT_EXEC 4

/* Permission bits, as chmod takes them. */
#define MODE_BITS 07777

/* Appends a name and the path that it is relative to. `name` is in user memory, or in the kernel's. */
static __always_inline bool append_name(struct scratch *scratch, struct task_struct *task, s32 dirfd, const void *name,
					bool in_kernel, u32 *name_len, struct wsp_path_info *dir)
{
	struct vfsmount *mnt;
	struct dentry *dentry;
	u32 pos = scratch->pos;
	struct file *file;
	u8 first = 0;
	long len = 1;

	opaque(pos);
	if (pos > DATA_BYTES - 2 * WSP_PATH_BYTES)
		return false;
	if (name) {
		len = in_kernel ? bpf_probe_read_kernel_str(scratch->data + pos, WSP_PATH_BYTES, name) :
				  bpf_probe_read_user_str(scratch->data + pos, WSP_PATH_BYTES, name);
		if (len < 1)
			return false;
		first = scratch->data[pos];
	}
	*name_len = len - 1;
	scratch->pos = pos + len - 1;
	if (first == '/') {
		mnt = BPF_CORE_READ(task, fs, root.mnt);
		dentry = BPF_CORE_READ(task, fs, root.dentry);
	} else if (dirfd == AT_FDCWD) {
		mnt = BPF_CORE_READ(task, fs, pwd.mnt);
		dentry = BPF_CORE_READ(task, fs, pwd.dentry);
	} else {
		file = file_of_fd(task, dirfd);
		if (!file)
			return false;
		mnt = BPF_CORE_READ(file, f_path.mnt);
		dentry = BPF_CORE_READ(file, f_path.dentry);
	}
	append_path(scratch, mnt, dentry, dir);
	return true;
}

/* What a call named. */
struct named {
	u32 op;
	u32 mode;
	s32 dirfd;
	s32 new_dirfd;
	const void *name;
	const void *new_name;
	bool in_kernel;
	bool two;
};

static __always_inline void tell_change(struct actor *actor, struct named *named)
{
	struct task_struct *task = actor->task;
	SCRATCH(scratch, actor->cgroup, WSP_KIND_CHANGE);
	struct wsp_changed *changed;

	if (!scratch)
		return;
	changed = front_of(scratch, struct wsp_changed);
	__builtin_memset(changed, 0, sizeof(*changed));
	fill(&changed->record, WSP_KIND_CHANGE, actor->cgroup, actor->tgid);
	changed->op = named->op;
	changed->mode = named->mode;
	if (!append_name(scratch, task, named->dirfd, named->name, named->in_kernel, &changed->name_lens[0],
			 &changed->dirs[0])) {
		count_lost(actor->cgroup, WSP_KIND_CHANGE, WSP_LOST_UNREADABLE);
		return;
	}
	if (named->two && !append_name(scratch, task, named->new_dirfd, named->new_name, named->in_kernel,
				       &changed->name_lens[1], &changed->dirs[1])) {
		count_lost(actor->cgroup, WSP_KIND_CHANGE, WSP_LOST_UNREADABLE);
		return;
	}
	begin_key(scratch, actor, WSP_KIND_CHANGE, named->op);
	hash_word(scratch, (u64)named->mode << 32 | changed->name_lens[0]);
	hash_word(scratch, (u64)changed->name_lens[1] << 32 | changed->dirs[0].len);
	hash_data(scratch, 0, scratch->pos);
	submit_once(scratch, &changed->record, sizeof(*changed), hash_end(scratch));
}

/*
 * What overlayfs maps is the file below it (`struct backing_file`, 6.5 and later), which knows its place in the overlay beside its own.
 * Before 6.5 it has the overlay's place for its own.
 */
static __always_inline struct path *mapped_path(struct file *file)
{
	if (bpf_core_type_exists(struct backing_file) && BPF_CORE_READ(file, f_mode) & fmode_backing)
		return (void *)file + bpf_core_field_offset(struct backing_file, user_path);
	return (void *)file + bpf_core_field_offset(struct file, f_path);
}

/* Tells that the code of a file is mapped, once. */
static __always_inline void tell_exec_mapping(struct scratch *scratch, struct actor *actor, struct path *path)
{
	struct wsp_changed *changed;

	scratch->pos = 0;
	changed = front_of(scratch, struct wsp_changed);
	__builtin_memset(changed, 0, sizeof(*changed));
	fill(&changed->record, WSP_KIND_CHANGE, actor->cgroup, actor->tgid);
	changed->op = WSP_OP_EXEC;
	append_path(scratch, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry), &changed->dirs[0]);
	begin_key(scratch, actor, WSP_KIND_CHANGE, WSP_OP_EXEC);
	add_path_to_key(scratch, 0, &changed->dirs[0]);
	submit_once(scratch, &changed->record, sizeof(*changed), hash_end(scratch));
}

#define AT_BASE 7
/* Pairs of the auxiliary vector that are looked at: AT_BASE is among the first. */
#define AUXV_PAIRS 16

static long take_mapping(struct task_struct *task, struct vm_area_struct *vma, void *unused)
{
	u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	if (scratch)
		scratch->walk.dentry = (u64)BPF_CORE_READ(vma, vm_file);
	return 0;
}

/*
 * The loader (ELF interpreter) that the kernel itself opened and mapped for a new program: no call of the program's shows it. Where it
 * lies is in the auxiliary vector. Helper bpf_find_vma 5.17.
 */
static __always_inline void tell_loader(struct scratch *scratch, struct actor *actor)
{
	struct task_struct *task = actor->task;
	u64 base = 0, *pairs;
	void *vector;

	pairs = (u64 *)scratch->data;
	vector = (void *)BPF_CORE_READ(task, mm) + bpf_core_field_offset(struct mm_struct, saved_auxv);
	if (bpf_probe_read_kernel(pairs, AUXV_PAIRS * 2 * sizeof(u64), vector))
		return;
#pragma unroll
	for (int i = 0; i < AUXV_PAIRS; i++)
		if (pairs[2 * i] == AT_BASE)
			base = pairs[2 * i + 1];
	scratch->walk.dentry = 0;
	if (!base || bpf_find_vma(task, base, take_mapping, NULL, 0) || !scratch->walk.dentry)
		return;
	tell_exec_mapping(scratch, actor, mapped_path((void *)scratch->walk.dentry));
}

/* x86-64 numbers of the calls (arch/x86/entry/syscalls/syscall_64.tbl). */
enum {
	NR_TRUNCATE = 76, NR_RENAME = 82, NR_MKDIR = 83, NR_RMDIR = 84, NR_LINK = 86, NR_UNLINK = 87, NR_SYMLINK = 88,
	NR_CHMOD = 90, NR_FCHMOD = 91, NR_CHOWN = 92, NR_FCHOWN = 93, NR_LCHOWN = 94, NR_MKNOD = 133, NR_MKDIRAT = 258,
	NR_MKNODAT = 259, NR_FCHOWNAT = 260, NR_UNLINKAT = 263, NR_RENAMEAT = 264, NR_LINKAT = 265, NR_SYMLINKAT = 266,
	NR_FCHMODAT = 268, NR_RENAMEAT2 = 316, NR_FCHMODAT2 = 452,
};

/* What the call was given. False for a call that is not of these. */
static __always_inline bool name_of_call(s32 nr, u64 *args, struct named *named)
{
	named->dirfd = AT_FDCWD;
	named->new_dirfd = AT_FDCWD;
	named->name = (void *)args[0];
	switch (nr) {
	case NR_UNLINK:
		named->op = WSP_OP_UNLINK;
		return true;
	case NR_RMDIR:
		named->op = WSP_OP_RMDIR;
		return true;
	case NR_TRUNCATE:
		named->op = WSP_OP_TRUNCATE;
		return true;
	case NR_CHOWN:
	case NR_LCHOWN:
		named->op = WSP_OP_CHOWN;
		return true;
	case NR_MKDIR:
		named->op = WSP_OP_MKDIR;
		named->mode = args[1] & MODE_BITS;
		return true;
	case NR_MKNOD:
		named->op = WSP_OP_MKNOD;
		named->mode = args[1] & MODE_BITS;
		return true;
	case NR_CHMOD:
		named->op = WSP_OP_CHMOD;
		named->mode = args[1] & MODE_BITS;
		return true;
	case NR_FCHMOD:
		named->op = WSP_OP_CHMOD;
		named->dirfd = args[0];
		named->name = NULL;
		named->mode = args[1] & MODE_BITS;
		return true;
	case NR_FCHOWN:
		named->op = WSP_OP_CHOWN;
		named->dirfd = args[0];
		named->name = NULL;
		return true;
	case NR_RENAME:
	case NR_LINK:
		named->op = nr == NR_LINK ? WSP_OP_LINK : WSP_OP_RENAME;
		named->new_name = (void *)args[1];
		named->two = true;
		return true;
	case NR_SYMLINK:
		named->op = WSP_OP_SYMLINK;
		named->name = (void *)args[1];
		return true;
	case NR_SYMLINKAT:
		named->op = WSP_OP_SYMLINK;
		named->dirfd = args[1];
		named->name = (void *)args[2];
		return true;
	case NR_RENAMEAT:
	case NR_RENAMEAT2:
	case NR_LINKAT:
		named->op = nr == NR_LINKAT ? WSP_OP_LINK : WSP_OP_RENAME;
		named->dirfd = args[0];
		named->name = (void *)args[1];
		named->new_dirfd = args[2];
		named->new_name = (void *)args[3];
		named->two = true;
		return true;
	case NR_UNLINKAT:
		named->op = args[2] & AT_REMOVEDIR ? WSP_OP_RMDIR : WSP_OP_UNLINK;
		break;
	case NR_MKDIRAT:
		named->op = WSP_OP_MKDIR;
		named->mode = args[2] & MODE_BITS;
		break;
	case NR_MKNODAT:
		named->op = WSP_OP_MKNOD;
		named->mode = args[2] & MODE_BITS;
		break;
	case NR_FCHMODAT:
	case NR_FCHMODAT2:
		named->op = WSP_OP_CHMOD;
		named->mode = args[2] & MODE_BITS;
		break;
	case NR_FCHOWNAT:
		named->op = WSP_OP_CHOWN;
		break;
	default:
		return false;
	}
	named->dirfd = args[0];
	named->name = (void *)args[1];
	return true;
}

static __always_inline int changed_by(long ret, s32 nr)
{
	struct named named = {};
	struct pt_regs *regs;
	struct actor actor;
	u64 args[4];

	if (ret < 0 || !is_actor(&actor))
		return 0;
	regs = (void *)bpf_task_pt_regs(actor.task);
	args[0] = BPF_CORE_READ(regs, di);
	args[1] = BPF_CORE_READ(regs, si);
	args[2] = BPF_CORE_READ(regs, dx);
	args[3] = BPF_CORE_READ(regs, r10);
	if (name_of_call(nr, args, &named))
		tell_change(&actor, &named);
	return 0;
}

/* The exits of unlink, rename, mkdir, link, symlink, mknod, chmod, chown, truncate and their relatives, where the call succeeded. */
SEC("tracepoint/syscalls/sys_exit_unlinkat")
int name_changed(struct sys_exit_context *ctx)
{
	return changed_by(ctx->ret, ctx->nr);
}
EXIT_OF(unlinkat, changed_by(RETURNED, NR_UNLINKAT))
EXIT_OF(unlink, changed_by(RETURNED, NR_UNLINK))
EXIT_OF(rmdir, changed_by(RETURNED, NR_RMDIR))
EXIT_OF(rename, changed_by(RETURNED, NR_RENAME))
EXIT_OF(renameat, changed_by(RETURNED, NR_RENAMEAT))
EXIT_OF(renameat2, changed_by(RETURNED, NR_RENAMEAT2))
EXIT_OF(link, changed_by(RETURNED, NR_LINK))
EXIT_OF(linkat, changed_by(RETURNED, NR_LINKAT))
EXIT_OF(symlink, changed_by(RETURNED, NR_SYMLINK))
EXIT_OF(symlinkat, changed_by(RETURNED, NR_SYMLINKAT))
EXIT_OF(mkdir, changed_by(RETURNED, NR_MKDIR))
EXIT_OF(mkdirat, changed_by(RETURNED, NR_MKDIRAT))
EXIT_OF(mknod, changed_by(RETURNED, NR_MKNOD))
EXIT_OF(mknodat, changed_by(RETURNED, NR_MKNODAT))
EXIT_OF(chmod, changed_by(RETURNED, NR_CHMOD))
EXIT_OF(fchmod, changed_by(RETURNED, NR_FCHMOD))
EXIT_OF(fchmodat, changed_by(RETURNED, NR_FCHMODAT))
EXIT_OF(fchmodat2, changed_by(RETURNED, NR_FCHMODAT2))
EXIT_OF(chown, changed_by(RETURNED, NR_CHOWN))
EXIT_OF(lchown, changed_by(RETURNED, NR_LCHOWN))
EXIT_OF(fchown, changed_by(RETURNED, NR_FCHOWN))
EXIT_OF(fchownat, changed_by(RETURNED, NR_FCHOWNAT))
EXIT_OF(truncate, changed_by(RETURNED, NR_TRUNCATE))

static __always_inline int mapped_at(long address)
{
	struct pt_regs *regs;
	struct actor actor;
	struct file *file;

	/* An error is the negative of a small number; addresses of the upper half are the kernel's own. */
	if (address < 0 || !is_actor(&actor))
		return 0;
	regs = (void *)bpf_task_pt_regs(actor.task);
	if (!(regs->dx & PROT_EXEC) || (s32)regs->r8 < 0)
		return 0;
	file = file_of_fd(actor.task, regs->r8);
	if (!file)
		return 0;
	SCRATCH(scratch, actor.cgroup, WSP_KIND_CHANGE);
	if (scratch)
		tell_exec_mapping(scratch, &actor, mapped_path(file));
	return 0;
}

/* The exit of mmap: the code of a file is mapped (libraries, plugins). */
SEC("tracepoint/syscalls/sys_exit_mmap")
int code_mapped(struct sys_exit_context *ctx)
{
	return mapped_at(ctx->ret);
}
EXIT_OF(mmap, mapped_at(RETURNED))

#endif
