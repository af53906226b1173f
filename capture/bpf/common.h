/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps, settings, and the way of a record into the ring buffer. */
#ifndef WSP_COMMON_H
#define WSP_COMMON_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "wsp_abi.h"

#ifndef NULL
#define NULL ((void *)0)
#endif

/* Set by userspace before load. */

/* Mount namespace of the host: what executes there is the runtime, not the container. */
const volatile u32 host_mnt_ns = 0;
/* Containers are recognised by the names of new cgroups. */
const volatile u32 discover = 0;
/* A new container takes a free slot at its cgroup's creation, before userspace hears of it: its first exec is in. */
const volatile u32 claim = 0;
/* Number of the hierarchy whose cgroups are containers: 0 is cgroup v2, any other one is of v1. */
const volatile u32 hierarchy = 0;
/* Programs on the containers' cgroups tell of connections, whatever leads to them. */
const volatile u32 cgroup_connects = 0;
/* Key of the hashes by which what was seen already is known: a container cannot make two of its paths meet. */
const volatile u64 hash_key_0 = 0;
const volatile u64 hash_key_1 = 0;
/* So much in the ring buffer wakes userspace, which looks by itself now and then: a wake-up costs more than most records do. */
const volatile u64 wake_bytes = 0;
/* The token bucket of each container: what an event takes, and how much it holds. Nanoseconds; 0: no bucket. */
const volatile u64 token_ns = 0;
const volatile u64 bucket_ns = 0;
/* Overlay inodes hold a counted `struct ovl_entry *` (Linux 6.5 and later) instead of a `struct ovl_path`. */
const volatile u32 ovl_has_entry = 0;
/* FMODE_BACKING (include/linux/fs.h), which moved in 6.14: a file that overlayfs opened below itself. 0 before 6.5. */
const volatile u32 fmode_backing = 0;

/* A component with its NUL; the walk may write this much beyond what it then accepts. */
#define NAME_BYTES 256
/* Argument vector, script string, and four paths. */
#define DATA_BYTES (WSP_ARGV_BYTES + WSP_PATH_BYTES + 4 * WSP_PATH_BYTES + NAME_BYTES)
#define FRONT_BYTES 256
/* More than any kernel has. */
#define MAX_CONTROLLERS 32

/* Of a kernel object, as many bytes of its start as its fields that are read lie in. */
#define HEAD_BYTES 128

/* State of a path walk (path.h). */
struct walk {
	u64 dentry;
	u64 mount;
	u64 mnt_root;
	u64 mnt_parent;
	u64 mnt_mountpoint;
	u32 start;
	u32 left_mount_at;
	u16 flags;
	u16 hops;
	u32 done;
};

struct sip {
	u64 v0;
	u64 v1;
	u64 v2;
	u64 v3;
};

/* State of a hash (hash.h). */
struct hash {
	struct sip sip;
	u32 pos;
	u32 end;
	u32 until_nul;
	u32 reserved;
};

/*
 * Where a record is put together: the fixed part ends where `data` begins, so that the two are contiguous. Positions are
 * kept here and not on the stack: the verifier of older kernels runs the callback of bpf_loop once and takes what it then
 * knows of stack values for always true, while it knows nothing of map values and keeps every bound check.
 *
 * One per CPU, taken by one program at a time (SCRATCH): those on functions can be preempted where the kernel can be, and
 * another task's may run meanwhile. Programs on packets must not use it: none of the others fires in an interrupt.
 */
struct scratch {
	struct walk walk;
	struct hash hash;
	u32 pos;
	u32 busy;
	u8 head[HEAD_BYTES];
	u8 front[FRONT_BYTES];
	u8 data[DATA_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 32 << 20);
} events SEC(".maps");

/* Id of a container's cgroup or of any descendant -> id of the container's top cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u64);
} containers SEC(".maps");

/* Top cgroups whose activity is emitted, and not only their lineage. Userspace sizes it: no more than there are slots. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u32);
} tracked SEC(".maps");

/*
 * Free slots. Who takes one out, this side or userspace, may put one container into `tracked`; who takes that out again
 * puts the slot back. So both together never hold more than userspace put in here at first.
 */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 1024);
	__uint(key_size, 0);
	__uint(value_size, sizeof(u32));
} slots SEC(".maps");

/*
 * Thread group id -> the container whose tree the process is in. Not task storage, although that needs no bound: a
 * thread that executes takes over the thread group id of its leader, whose task (and storage) goes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct wsp_process);
} processes SEC(".maps");

/*
 * What was told already in the open window of a container -> how often it was seen again. Userspace takes a container's
 * entries out when its window closes. Where it is full, what happens again is told again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, u64);
	__type(value, struct wsp_seen);
} seen SEC(".maps");

/* Top cgroup -> when its token bucket will be full again (see has_token). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u64);
} buckets SEC(".maps");

/* Events lost, ever. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct wsp_lost_key);
	__type(value, u64);
} lost SEC(".maps");

/* Hides a value's history from clang, which would otherwise drop or move the bound checks that the verifier needs. */
#define opaque(value) asm volatile("" : "+r"(value))

static __always_inline void count_lost(u64 cgroup, u32 kind, u32 cause)
{
	struct wsp_lost_key key = { .cgroup = cgroup, .kind = kind, .cause = cause };
	u64 *count = bpf_map_lookup_elem(&lost, &key);

	if (!count) {
		u64 zero = 0;

		bpf_map_update_elem(&lost, &key, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&lost, &key);
		if (!count) {
			/* The table is full: cgroup 0 has its rows from the start. */
			key.cgroup = 0;
			count = bpf_map_lookup_elem(&lost, &key);
			if (!count)
				return;
		}
	}
	__sync_fetch_and_add(count, 1);
}

static __always_inline void release_scratch(struct scratch **scratch)
{
	if (*scratch)
		(*scratch)->busy = 0;
}

/* Takes the work space of this CPU; where it is in use, what was to be told is lost, and counted. */
static __always_inline struct scratch *take_scratch(u64 cgroup, u32 kind)
{
	u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	if (!scratch)
		return NULL;
	if (__sync_lock_test_and_set(&scratch->busy, 1)) {
		count_lost(cgroup, kind, WSP_LOST_BUSY);
		return NULL;
	}
	scratch->pos = 0;
	return scratch;
}

/* Declares a variable with the work space, which is given back where the variable ends. Null where there is none. */
#define SCRATCH(name, cgroup, kind) \
	struct scratch *name __attribute__((cleanup(release_scratch))) = take_scratch(cgroup, kind)

/* The fixed part of a record, `size` bytes that end where the data begins. */
#define front_of(scratch, type) ((type *)((scratch)->front + FRONT_BYTES - sizeof(type)))

static __always_inline void fill(struct wsp_record *record, u32 kind, u64 cgroup, u32 pid)
{
	record->at = bpf_ktime_get_boot_ns();
	record->cgroup = cgroup;
	record->key = 0;
	record->pid = pid;
	record->kind = kind;
}

/*
 * Sheds in this order: sockets, DNS, system calls, files; execs and forks last. An event that finds less in the bucket than
 * its kind leaves for the graver ones is not told. Ends of processes and containers are always told.
 */
static __always_inline u32 tenths_of_bucket(u32 kind)
{
	switch (kind) {
	case WSP_KIND_CONNECT:
	case WSP_KIND_LISTEN:
	case WSP_KIND_ACCEPT:
		return 5;
	case WSP_KIND_DNS:
		return 6;
	case WSP_KIND_SYSCALL:
	case WSP_KIND_CAPABILITY:
		return 7;
	case WSP_KIND_OPEN:
	case WSP_KIND_CHANGE:
		return 8;
	default:
		return 10;
	}
}

/*
 * A token bucket as the generic cell rate algorithm has it (ITU-T I.371): one word, the time at which it is full again. A race
 * of two CPUs gives one of them its event for nothing.
 */
static __always_inline bool has_token(u64 cgroup, u32 kind)
{
	u64 now, full, *stored;

	if (!token_ns)
		return true;
	now = bpf_ktime_get_boot_ns();
	stored = bpf_map_lookup_elem(&buckets, &cgroup);
	if (!stored) {
		full = now + token_ns;
		bpf_map_update_elem(&buckets, &cgroup, &full, BPF_NOEXIST);
		return true;
	}
	full = *stored > now ? *stored : now;
	if ((full - now) * 10 >= bucket_ns * tenths_of_bucket(kind)) {
		count_lost(cgroup, kind, WSP_LOST_SHED);
		return false;
	}
	*stored = full + token_ns;
	return true;
}

/* How userspace learns of the next record. Of containers it learns at once. */
static __always_inline u64 wake_flags(u32 kind)
{
	if (kind == WSP_KIND_CREATED || kind == WSP_KIND_GONE ||
	    bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_bytes)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

/* Hands over `size` bytes of fixed part and `scratch->pos` bytes of data. False where it is lost, and counted. */
static __always_inline bool submit(struct scratch *scratch, struct wsp_record *record, u32 size)
{
	u32 len = scratch->pos;

	opaque(len);
	if (len > DATA_BYTES || !has_token(record->cgroup, record->kind))
		return false;
	if (bpf_ringbuf_output(&events, record, size + len, wake_flags(record->kind))) {
		count_lost(record->cgroup, record->kind, WSP_LOST_RING_FULL);
		return false;
	}
	return true;
}

/* Hands over a fixed part alone, whatever the bucket says: an end that is not told would leave behind what ended. */
static __always_inline void submit_end(struct wsp_record *record, u32 size)
{
	if (bpf_ringbuf_output(&events, record, size, wake_flags(record->kind)))
		count_lost(record->cgroup, record->kind, WSP_LOST_RING_FULL);
}

/* Hands over a fixed part alone. */
static __always_inline void submit_short(struct wsp_record *record, u32 size)
{
	if (has_token(record->cgroup, record->kind))
		submit_end(record, size);
}

/* True where the same was told already: then it is counted. */
static __always_inline bool seen_again(u64 key, u64 at)
{
	struct wsp_seen *entry = bpf_map_lookup_elem(&seen, &key);

	if (!entry)
		return false;
	__sync_fetch_and_add(&entry->events, 1);
	entry->last = at;
	return true;
}

/* Hands over what was not seen before under a key; only what reached the ring is marked as seen. */
static __always_inline void submit_once(struct scratch *scratch, struct wsp_record *record, u32 size, u64 key)
{
	struct wsp_seen none = {};

	record->key = key;
	if (!seen_again(key, record->at) && submit(scratch, record, size))
		bpf_map_update_elem(&seen, &key, &none, BPF_NOEXIST);
}

/*
 * A kernel object is read by one copy of its start (`read_head`), of which the fields are then taken (`HEAD`): a copy a field would
 * cost ten times as much as its bytes do. Where a kernel has a field further back, it is read by itself. One object at a time.
 */
#define read_head(scratch, object, bytes) bpf_probe_read_kernel((scratch)->head, bytes, object)
#define HEAD(scratch, object, bytes, field)                                                     \
	({                                                                                      \
		typeof((object)->field) value = 0;                                              \
		u64 at = bpf_core_field_offset(typeof(*(object)), field);                       \
		if (at + sizeof(value) <= (bytes))                                              \
			value = *(typeof(value) *)((scratch)->head + at);                       \
		else                                                                            \
			bpf_core_read(&value, sizeof(value), &(object)->field);                 \
		value;                                                                          \
	})

/*
 * The id of the cgroup that the current task is in, in the hierarchy that counts. A css_set has a css a controller, in an order that is each
 * kernel's own; which of them belong to a hierarchy their root says.
 */
static __always_inline u64 current_cgroup(struct task_struct *task)
{
	struct cgroup_subsys_state **subsys, *css;
	u32 controllers = bpf_core_field_size(struct css_set, subsys) / sizeof(*subsys);
	struct cgroup *cgroup;

	if (!hierarchy)
		return bpf_get_current_cgroup_id();
	subsys = (void *)BPF_CORE_READ(task, cgroups) + bpf_core_field_offset(struct css_set, subsys);
	for (u32 i = 0; i < MAX_CONTROLLERS && i < controllers; i++) {
		if (bpf_probe_read_kernel(&css, sizeof(css), subsys + i) || !css)
			continue;
		cgroup = BPF_CORE_READ(css, cgroup);
		if ((u32)BPF_CORE_READ(cgroup, root, hierarchy_id) == hierarchy)
			return BPF_CORE_READ(cgroup, kn, id);
	}
	return 0;
}

/* `task` is a pointer that the verifier knows as one to a task: what it points to is read without a call. */
static __always_inline struct file *file_of_fd(struct task_struct *task, u32 fd)
{
	struct files_struct *files = task->files;
	struct file **fds, *file = NULL;
	struct fdtable *fdt;

	/* Kernels whose types say what RCU protects have these checked. */
	if (!files)
		return NULL;
	fdt = files->fdt;
	if (!fdt || fd >= fdt->max_fds)
		return NULL;
	fds = fdt->fd;
	bpf_probe_read_kernel(&file, sizeof(file), fds + fd);
	return file;
}

#endif
