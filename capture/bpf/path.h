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

/*
 * One step up: over a mount point, or over one component, which is appended to the data. Reads without locks: a rename
 * during the walk can mix old and new names, never memory (the reads are checked, names hold no NUL and are cut at one).
 */
static long walk_step(u32 index, void *unused)
{
	u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);
	struct walk *walk;
	struct dentry *dentry, *parent;
	const unsigned char *name;
	u32 pos;
	long len;

	if (!scratch)
		return 1;
	walk = &scratch->walk;
	dentry = (void *)walk->dentry;

	if (walk->dentry == walk->mnt_root) {
		struct mount *mount = (void *)walk->mount;
		struct mount *above = BPF_CORE_READ(mount, mnt_parent);

		if (above == mount || !above) {
			walk->done = 1;
			return 1;
		}
		if (!walk->hops)
			walk->left_mount_at = scratch->pos;
		walk->hops++;
		walk->dentry = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = (u64)above;
		walk->mnt_root = (u64)BPF_CORE_READ(above, mnt.mnt_root);
		return 0;
	}

	parent = BPF_CORE_READ(dentry, d_parent);
	name = BPF_CORE_READ(dentry, d_name.name);
	pos = scratch->pos;
	opaque(pos);
	if (pos > DATA_BYTES - NAME_BYTES)
		return 1;
	len = bpf_probe_read_kernel_str(scratch->data + pos, NAME_BYTES, name);
	if (len <= 1 || pos + len > walk->start + WSP_PATH_BYTES)
		return 1;
	if (parent == dentry) {
		/* A root that is not this mount's: what hangs in no tree (memfd). */
		walk->flags |= WSP_PATH_DETACHED;
		walk->done = 1;
		scratch->pos = pos + len;
		return 1;
	}
	scratch->pos = pos + len;
	walk->dentry = (u64)parent;
	return 0;
}

/*
 * struct ovl_inode ends { struct inode vfs_inode; struct dentry *__upperdentry; X; ... } where X is the lower path's
 * layer (up to 6.4) or a `struct ovl_entry *` that starts with the number of lower layers. overlayfs may be a module,
 * whose types CO-RE cannot reach from here; the size of struct inode it can.
 */
static __always_inline u16 overlay_flags(struct inode *inode)
{
	void *behind = (void *)inode + bpf_core_type_size(struct inode);
	u64 upper = 0, lower = 0;
	u16 flags = 0;

	bpf_probe_read_kernel(&upper, sizeof(upper), behind);
	bpf_probe_read_kernel(&lower, sizeof(lower), behind + sizeof(upper));
	if (upper)
		flags |= WSP_PATH_OVERLAY_UPPER;
	if (lower && ovl_has_entry) {
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
	struct walk *walk = &scratch->walk;
	struct mount *mount = mount_of(mnt);
	u32 start = scratch->pos;
	struct inode *inode;
	u16 flags;

	walk->dentry = (u64)dentry;
	walk->mount = (u64)mount;
	walk->mnt_root = (u64)BPF_CORE_READ(mnt, mnt_root);
	walk->start = start;
	walk->left_mount_at = 0;
	walk->flags = 0;
	walk->hops = 0;
	walk->done = 0;
	bpf_loop(WALK_STEPS, walk_step, NULL, 0);

	flags = walk->flags;
	if (!walk->done)
		flags |= WSP_PATH_TRUNCATED;
	/* Nothing named above the file's mount: it is mounted at `/` (over the hidden first mount, or is it). */
	if (walk->done && (!walk->hops || walk->left_mount_at == scratch->pos))
		flags |= WSP_PATH_ON_ROOT_MOUNT;
	if (!BPF_CORE_READ(dentry, d_hash.pprev) && BPF_CORE_READ(dentry, d_parent) != dentry)
		flags |= WSP_PATH_DELETED;
	inode = BPF_CORE_READ(dentry, d_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFDIR)
		flags |= WSP_PATH_DIRECTORY;
	info->magic = BPF_CORE_READ(dentry, d_sb, s_magic);
	if (info->magic == OVERLAYFS_SUPER_MAGIC)
		flags |= overlay_flags(inode);
	info->len = scratch->pos - start;
	info->flags = flags;
}

static __always_inline void append_file_path(struct scratch *scratch, struct file *file, struct wsp_path_info *info)
{
	append_path(scratch, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), info);
}

#endif
