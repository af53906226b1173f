/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The exits of system calls, in two ways that say the same:
 *
 * - fexit/__x64_sys_NAME(const struct pt_regs *regs), a program each. Costs nobody but who makes that call. Since 5.5, where the kernel
 *   allows tracing programs on functions.
 * - tracepoint/syscalls/sys_exit_NAME, one program for many. Since 2.6.33. While any is attached, every task of the host takes the
 *   slow way through all its system calls.
 *
 * Arguments are read at the exit, from the registers as the entry saved them (x86-64 keeps them), so no table of pending calls can be
 * full. Helper bpf_task_pt_regs 5.15.
 */
#ifndef WSP_EXITS_H
#define WSP_EXITS_H

#include "common.h"

/* In an expression of EXIT_OF: what the call returned, and its number. */
#define RETURNED ((long)ctx[1])
#define NUMBER ((s32)BPF_CORE_READ((struct pt_regs *)ctx[0], orig_ax))

#define EXIT_OF(name, expression)                \
	SEC("fexit/__x64_sys_" #name)            \
	int fexit_##name(u64 *ctx)               \
	{                                        \
		return expression;               \
	}

#endif
