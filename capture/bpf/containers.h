/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Containers come and go with their cgroups. */
#ifndef WSP_CONTAINERS_H
#define WSP_CONTAINERS_H

#include "common.h"

#define CONTAINER_ID_DIGITS 64

/* State of the search for a container id in the last component of a cgroup path; lives in `scratch->walk`. */
struct id_search {
	u32 run;
	u32 longest;
	u32 monitor;
	/* Where the component begins, and whether the one before it is podman's parent of all. */
	u32 start;
	u32 in_podman;
	/* It is a slice of systemd's up to here. */
	u32 slice;
};

#define before(back) (scratch->data[index - (back)])

/*
 * Looks at byte `index` of the path: counts hex digits in a row and starts over at a slash. "conmon" just before is
 * podman's and CRI-O's monitor (libpod-conmon-<id>, crio-conmon-<id>), which is no container; nor is a pod of podman's
 * (libpod_parent/<id>, machine-libpod_pod_<id>.slice), whose containers are below it.
 */
static long id_step(u32 index, void *unused)
{
	u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);
	struct id_search *search;
	u8 byte;

	if (!scratch || index >= WSP_PATH_BYTES)
		return 1;
	search = (void *)&scratch->walk;
	byte = scratch->data[index];
	if (!byte)
		return 1;
	search->slice = index >= 5 && byte == 'e' && before(1) == 'c' && before(2) == 'i' && before(3) == 'l' && before(4) == 's' &&
			before(5) == '.';
	if ((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f')) {
		search->run++;
		if (search->run > search->longest)
			search->longest = search->run;
		return 0;
	}
	search->run = 0;
	if (byte == '/') {
		search->longest = 0;
		search->monitor = 0;
		search->start = index + 1;
		search->in_podman = index >= 10 && before(1) == 't' && before(2) == 'n' && before(3) == 'e' && before(4) == 'r' &&
				    before(5) == 'a' && before(6) == 'p' && before(7) == '_' && before(8) == 'd' && before(9) == 'o' &&
				    before(10) == 'p';
	}
	if (byte == 'm' && index >= 3 && scratch->data[index - 1] == 'n' && scratch->data[index - 2] == 'o' &&
	    scratch->data[index - 3] == 'c')
		search->monitor = 1;
	return 0;
}

/*
 * void cgroup_mkdir(struct cgroup *cgrp, const char *path), in kernel/cgroup/cgroup.c after the cgroup became visible.
 * Since 4.13; as BTF tracepoint 5.5. Fallback: none (userspace adopts containers that it hears of otherwise).
 */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_made, struct cgroup *cgrp, const char *path)
{
	u64 id, parent, top, *known;
	struct id_search *search;
	struct wsp_created *created;
	u32 slot;
	long len;

	if ((u32)BPF_CORE_READ(cgrp, root, hierarchy_id) != hierarchy)
		return 0;
	id = BPF_CORE_READ(cgrp, kn, id);
	parent = BPF_CORE_READ(cgrp, self.parent, cgroup, kn, id);
	known = bpf_map_lookup_elem(&containers, &parent);
	if (known) {
		top = *known;
		if (bpf_map_update_elem(&containers, &id, &top, BPF_ANY))
			count_lost(top, WSP_KIND_CREATED, WSP_LOST_MAP_FULL);
		return 0;
	}
	if (!discover)
		return 0;

	SCRATCH(scratch, id, WSP_KIND_CREATED);
	if (!scratch)
		return 0;
	len = bpf_probe_read_kernel_str(scratch->data, WSP_PATH_BYTES, path);
	if (len <= 1)
		return 0;
	search = (void *)&scratch->walk;
	search->run = 0;
	search->longest = 0;
	search->monitor = 0;
	search->start = 0;
	search->in_podman = 0;
	search->slice = 0;
	bpf_loop(WSP_PATH_BYTES, id_step, NULL, 0);
	if (search->longest < CONTAINER_ID_DIGITS || search->monitor || search->slice)
		return 0;
	if (search->in_podman && len - 1 - search->start == CONTAINER_ID_DIGITS)
		return 0;

	if (bpf_map_update_elem(&containers, &id, &id, BPF_ANY)) {
		count_lost(id, WSP_KIND_CREATED, WSP_LOST_MAP_FULL);
		return 0;
	}
	if (claim && !bpf_map_pop_elem(&slots, &slot) && bpf_map_update_elem(&tracked, &id, &slot, BPF_NOEXIST))
		bpf_map_push_elem(&slots, &slot, BPF_ANY);
	scratch->pos = len - 1;
	created = front_of(scratch, struct wsp_created);
	fill(&created->record, WSP_KIND_CREATED, id, 0);
	created->path_len = len - 1;
	created->reserved = 0;
	submit(scratch, &created->record, sizeof(*created));
	return 0;
}

/* void cgroup_rmdir(struct cgroup *cgrp, const char *path). Since 4.13. Fallback: none (userspace calls forget). */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_gone, struct cgroup *cgrp, const char *path)
{
	struct wsp_record record;
	u64 id, *known, top;

	if ((u32)BPF_CORE_READ(cgrp, root, hierarchy_id) != hierarchy)
		return 0;
	id = BPF_CORE_READ(cgrp, kn, id);
	known = bpf_map_lookup_elem(&containers, &id);
	if (!known)
		return 0;
	top = *known;
	bpf_map_delete_elem(&containers, &id);
	if (top != id)
		return 0;
	fill(&record, WSP_KIND_GONE, id, 0);
	submit_end(&record, sizeof(record));
	bpf_map_delete_elem(&buckets, &id);
	return 0;
}

#endif
