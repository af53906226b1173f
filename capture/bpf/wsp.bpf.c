/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel side of wsp-capture: one object, one ring buffer, one file a concern.
 *
 * Floor: Linux 6.1 with BTF. No kfuncs, so that it loads there. What each hook is for and what replaces it where it is
 * missing stands in src/probe/hooks.rs.
 */
#include "common.h"
#include "hash.h"
#include "path.h"
#include "containers.h"
#include "file.h"
#include "change.h"
#include "process.h"
#include "socket.h"
#include "dns.h"
#include "use.h"
#include "uring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
