/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths, walked from the kernel's own dentries up to the top of the mount namespace. */
#ifndef WSP_PATH_H
#define WSP_PATH_H

#include "common.h"

#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define PIPEFS_MAGIC 0x50495045
#define SOCKFS_MAGIC 0x534f434b
#define ANON_INODE_FS_MAGIC 0x09041934
#define NSFS_MAGIC 0x6e736673

#define S_IFMT 0170000
#define S_IFDIR 0040000

/* The shortest component takes two bytes of a section; mount crossings take a step and no byte. */
#define WALK_STEPS (WSP_PATH_BYTES / 2 + 1024)

static __always_inline struct mount *mount_of(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

/* As far as the fields that a step needs, and most names, lie. */
#define DENTRY_BYTES 112
#define MOUNT_BYTES 64
/* Of names that the kernel keeps in the dentry itself, no more (DNAME_INLINE_LEN, include/linux/dcache.h). */
#define INLINE_NAME_BYTES 40

/* Makes a mount the one that is walked. */
static __always_inline void enter_mount(struct scratch *scratch, struct mount *mount)
{
	struct walk *walk = &scratch->walk;

	read_head(scratch, mount, MOUNT_BYTES);
	walk->mount = (u64)mount;
	walk->mnt_root = (u64)HEAD(scratch, mount, MOUNT_BYTES, mnt.mnt_root);
	walk->mnt_parent = (u64)HEAD(scratch, mount, MOUNT_BYTES, mnt_parent);
	walk->mnt_mountpoint = (u64)HEAD(scratch, mount, MOUNT_BYTES, mnt_mountpoint);
}

/* Goes to a dentry: its head is read where the next step needs it. */
static __always_inline long enter_dentry(struct scratch *scratch, struct dentry *dentry)
{
	scratch->walk.dentry = (u64)dentry;
	return scratch->walk.mnt_root == (u64)dentry ? 0 : read_head(scratch, dentry, DENTRY_BYTES);
}

/* What a walk's steps are given. */
struct walk_context {
	struct scratch *scratch;
};

/*
 * One step up: over a mount point, or over one component, which is appended to the data. Reads without locks: a rename
 * during the walk can mix old and new names, never memory (the reads are checked, and so is where a name ends).
 */
static long walk_step(u32 index, struct walk_context *context)
{
	struct scratch *scratch = context->scratch;
	struct walk *walk = &scratch->walk;
	struct dentry *dentry = (void *)walk->dentry, *parent;
	const unsigned char *name;
	u64 inlined;
	u32 pos, len;

	if (walk->dentry == walk->mnt_root) {
		struct dentry *mountpoint = (void *)walk->mnt_mountpoint;

		if (walk->mnt_parent == walk->mount || !walk->mnt_parent) {
			walk->done = 1;
			return 1;
		}
		if (!walk->hops)
			walk->left_mount_at = scratch->pos;
		walk->hops++;
		enter_mount(scratch, (void *)walk->mnt_parent);
		return enter_dentry(scratch, mountpoint) != 0;
	}

	parent = HEAD(scratch, dentry, DENTRY_BYTES, d_parent);
	name = HEAD(scratch, dentry, DENTRY_BYTES, d_name.name);
	/* With its NUL. */
	len = HEAD(scratch, dentry, DENTRY_BYTES, d_name.len) + 1;
	pos = scratch->pos;
	opaque(pos);
	opaque(len);
	if (pos > DATA_BYTES - NAME_BYTES || len <= 1 || len > NAME_BYTES)
		return 1;
	inlined = (u64)name - (u64)dentry;
	if (inlined <= DENTRY_BYTES - INLINE_NAME_BYTES && len <= INLINE_NAME_BYTES) {
#pragma unroll
		for (int i = 0; i < INLINE_NAME_BYTES; i += sizeof(u64))
			*(u64 *)(scratch->data + pos + i) = *(u64 *)(scratch->head + inlined + i);
	} else if (bpf_probe_read_kernel_str(scratch->data + pos, NAME_BYTES, name) != len) {
		return 1;
	}
	/* Torn by a rename: a path without the rest says that it is cut. */
	if (scratch->data[pos + len - 1] || pos + len > walk->start + WSP_PATH_BYTES)
		return 1;
	scratch->pos = pos + len;
	if (parent == dentry) {
		/* A root that is not this mount's: what hangs in no tree (memfd). */
		walk->flags |= WSP_PATH_DETACHED;
		walk->done = 1;
		return 1;
	}
	return enter_dentry(scratch, parent) != 0;
}

/*
 * struct ovl_inode ends { struct inode vfs_inode; struct dentry *__upperdentry; X; ... } where X is the lower path's
 * layer (up to 6.4) or a `struct ovl_entry *` that starts with the number of lower layers. overlayfs may be a module,
 * whose types CO-RE cannot reach from here; the size of struct inode it can.
 */
static __always_inline u16 overlay_flags(struct inode *inode)
{
	u64 behind[2] = {}, lower;
	u16 flags = 0;

	bpf_probe_read_kernel(behind, sizeof(behind), (void *)inode + bpf_core_type_size(struct inode));
	lower = behind[1];
	if (behind[0])
		flags |= WSP_PATH_OVERLAY_UPPER;
	/* What has no file above has one below. */
	if (behind[0] && lower && ovl_has_entry) {
		u32 layers = 0;

		bpf_probe_read_kernel(&layers, sizeof(layers), (void *)lower);
		lower = layers;
	}
	if (lower)
		flags |= WSP_PATH_OVERLAY_LOWER;
	return flags;
}

/* Appends the path of (mnt, dentry), leaf first, and says what it is in `info`. */
static __always_inline void append_path(struct scratch *scratch, struct vfsmount *mnt, struct dentry *dentry,
					struct wsp_path_info *info)
{
	struct walk_context context = { .scratch = scratch };
	struct walk *walk = &scratch->walk;
	u32 start = scratch->pos;
	struct super_block *sb;
	struct inode *inode;
	u16 flags = 0;

	walk->dentry = (u64)dentry;
	walk->start = start;
	walk->left_mount_at = 0;
	walk->flags = 0;
	walk->hops = 0;
	walk->done = 0;
	enter_mount(scratch, mount_of(mnt));
	/* Also where it is the mount's root. */
	read_head(scratch, dentry, DENTRY_BYTES);
	inode = HEAD(scratch, dentry, DENTRY_BYTES, d_inode);
	sb = HEAD(scratch, dentry, DENTRY_BYTES, d_sb);
	if (!HEAD(scratch, dentry, DENTRY_BYTES, d_hash.pprev) && HEAD(scratch, dentry, DENTRY_BYTES, d_parent) != dentry)
		flags |= WSP_PATH_DELETED;
	bpf_loop(WALK_STEPS, walk_step, &context, 0);

	flags |= walk->flags;
	if (!walk->done)
		flags |= WSP_PATH_TRUNCATED;
	/* Nothing named above the file's mount: it is mounted at `/` (over the hidden first mount, or is it). */
	if (walk->done && (!walk->hops || walk->left_mount_at == scratch->pos))
		flags |= WSP_PATH_ON_ROOT_MOUNT;
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFDIR)
		flags |= WSP_PATH_DIRECTORY;
	info->magic = BPF_CORE_READ(sb, s_magic);
	if (info->magic == OVERLAYFS_SUPER_MAGIC)
		flags |= overlay_flags(inode);
	info->len = scratch->pos - start;
	info->flags = flags;
}

static __always_inline void append_file_path(struct scratch *scratch, struct file *file, struct wsp_path_info *info)
{
	struct path path = {};

	bpf_core_read(&path, sizeof(path), &file->f_path);
	append_path(scratch, path.mnt, path.dentry, info);
}

#endif
