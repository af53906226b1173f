//! The attach table: every hook of the kernel side, what it serves, and what stands in where it is missing.

use std::fmt;

use serde::Serialize;

/// A sensor, by the name that stands in snapshot files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensor {
    /// Execs, forks, exits, containers. Without it nothing runs.
    Process,
    /// Opened files.
    File,
    /// Outgoing connections.
    Connect,
    /// Listening sockets.
    Listen,
    /// DNS messages.
    Dns,
    /// Capabilities that were granted.
    Capability,
    /// System calls; runs only where it is asked for.
    Syscall,
}

impl Sensor {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Process, Self::File, Self::Connect, Self::Listen, Self::Dns, Self::Capability, Self::Syscall];

    /// Those that run if nobody says: system calls cost every process of the host, and more.
    pub const DEFAULT: [Self; 6] =
        [Self::Process, Self::File, Self::Connect, Self::Listen, Self::Dns, Self::Capability];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::File => "file",
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Dns => "dns",
            Self::Capability => "capability",
            Self::Syscall => "syscall",
        }
    }
}

impl fmt::Display for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where programs are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A BTF tracepoint, for as long as the probe lives.
    Lineage(&'static str),
    /// A BTF tracepoint, while anything is tracked.
    Tracepoint(&'static str),
    /// The entry of a kernel function, while anything is tracked.
    Function(&'static str),
    /// The exit of a kernel function, while anything is tracked.
    FunctionExit(&'static str),
    /// The exits of system calls, each by a program of its own on the function that serves it (`fexit_<call>`), while anything is
    /// tracked. A call that the kernel does not have is left out; the first must be there.
    CallFunctions(&'static [&'static str]),
    /// The exits of system calls, all by one program on their tracepoints, likewise.
    CallTracepoints(&'static [&'static str]),
    /// `cgroup/connect*` and `sendmsg*` of each tracked container's cgroup.
    CgroupAddress,
    /// `cgroup_skb/*` of each tracked container's cgroup.
    CgroupPackets,
    /// Runs once over the open files of all processes, when a container begins to be tracked that ran before.
    OpenFiles,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// The C function; empty where each call has its own.
    pub program: &'static str,
    /// What it serves.
    pub sensor: Sensor,
    /// The hook as it is named in reports.
    pub name: &'static str,
    /// Where.
    pub point: Point,
    /// What the kernel calls it with.
    pub prototype: &'static str,
    /// First kernel that has the hook and what the program needs of it.
    pub since: &'static str,
    /// What happens where it cannot be attached.
    pub fallback: &'static str,
}

impl Hook {
    /// The C functions.
    pub fn programs(&self) -> Vec<String> {
        match self.point {
            Point::CallFunctions(calls) => calls.iter().map(|call| format!("fexit_{call}")).collect(),
            _ => vec![self.program.to_owned()],
        }
    }

    /// True for a hook on a function of the kernel, which not every kernel allows.
    pub fn is_on_function(&self) -> bool {
        matches!(self.point, Point::Function(_) | Point::FunctionExit(_) | Point::CallFunctions(_))
    }
}

/// What a sensor needs one hook for. The first that the kernel takes serves it.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// In order of preference; all of one sensor.
    pub hooks: &'static [Hook],
    /// The sensor runs without it, and sees less.
    pub optional: bool,
}

impl Part {
    /// What it serves.
    pub fn sensor(&self) -> Sensor {
        self.hooks.first().map_or(Sensor::Process, |hook| hook.sensor)
    }
}

/// All rows.
pub fn hooks() -> impl Iterator<Item = &'static Hook> {
    PARTS.iter().flat_map(|part| part.hooks)
}

const OPENS: &[&str] = &["openat", "openat2", "open", "creat", "open_by_handle_at"];
const CHANGES: &[&str] = &[
    "unlinkat",
    "unlink",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "truncate",
];
const ACCEPTS: &[&str] = &["accept4", "accept"];

const CALL_FUNCTION: &str = "(const struct pt_regs *regs), returns long";
const CALL_FUNCTION_SINCE: &str = "5.15 (bpf_task_pt_regs)";
const CALL_TRACEPOINT: &str = "{ u64 common; int nr; long ret; }";

const fn lineage(
    program: &'static str,
    name: &'static str,
    event: &'static str,
    prototype: &'static str,
) -> Hook {
    Hook {
        program,
        sensor: Sensor::Process,
        name,
        point: Point::Lineage(event),
        prototype,
        since: "5.17 (bpf_loop)",
        fallback: "none: the probe does not load",
    }
}

const fn call_functions(
    sensor: Sensor,
    name: &'static str,
    calls: &'static [&'static str],
    fallback: &'static str,
) -> Hook {
    Hook {
        program: "",
        sensor,
        name,
        point: Point::CallFunctions(calls),
        prototype: CALL_FUNCTION,
        since: CALL_FUNCTION_SINCE,
        fallback,
    }
}

const fn call_tracepoints(
    sensor: Sensor,
    program: &'static str,
    name: &'static str,
    calls: &'static [&'static str],
    fallback: &'static str,
) -> Hook {
    Hook {
        program,
        sensor,
        name,
        point: Point::CallTracepoints(calls),
        prototype: CALL_TRACEPOINT,
        since: CALL_FUNCTION_SINCE,
        fallback,
    }
}

const fn requests(sensor: Sensor, program: &'static str, name: &'static str, fallback: &'static str) -> Hook {
    Hook {
        program,
        sensor,
        name,
        point: Point::Tracepoint("io_uring_submit_req"),
        prototype: "(struct io_kiocb *req)",
        since: "6.3",
        fallback,
    }
}

const fn requests_before_6_3(
    sensor: Sensor,
    program: &'static str,
    name: &'static str,
    fallback: &'static str,
) -> Hook {
    Hook {
        program,
        sensor,
        name,
        point: Point::Tracepoint("io_uring_submit_sqe"),
        prototype: "(struct io_kiocb *req, bool force_nonblock)",
        since: "6.0",
        fallback,
    }
}

const fn cgroup(
    sensor: Sensor,
    program: &'static str,
    name: &'static str,
    point: Point,
    since: &'static str,
) -> Hook {
    let prototype = match point {
        Point::CgroupPackets => "(struct __sk_buff *skb)",
        _ => "(struct bpf_sock_addr *ctx)",
    };
    let fallback = match sensor {
        Sensor::Connect => {
            "the exit of connect, and io_uring's submissions: what lies in the caller's memory by then"
        }
        _ => "none: no DNS nodes",
    };
    Hook { program, sensor, name, point, prototype, since, fallback }
}

/// The table.
pub const PARTS: &[Part] = &[
    Part {
        optional: false,
        hooks: &[lineage(
            "process_executed",
            "tp_btf/sched_process_exec",
            "sched_process_exec",
            "(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)",
        )],
    },
    Part {
        optional: false,
        hooks: &[lineage(
            "process_forked",
            "tp_btf/sched_process_fork",
            "sched_process_fork",
            "(struct task_struct *parent, struct task_struct *child)",
        )],
    },
    Part {
        optional: false,
        hooks: &[lineage(
            "process_exited",
            "tp_btf/sched_process_exit",
            "sched_process_exit",
            "(struct task_struct *task), 6.16: and (bool group_dead)",
        )],
    },
    Part {
        optional: false,
        hooks: &[lineage(
            "cgroup_made",
            "tp_btf/cgroup_mkdir",
            "cgroup_mkdir",
            "(struct cgroup *cgrp, const char *path)",
        )],
    },
    Part {
        optional: false,
        hooks: &[lineage(
            "cgroup_gone",
            "tp_btf/cgroup_rmdir",
            "cgroup_rmdir",
            "(struct cgroup *cgrp, const char *path)",
        )],
    },
    Part {
        optional: false,
        hooks: &[
            call_functions(Sensor::File, "fexit/__x64_sys_openat", OPENS, "tracepoint/sys_exit_openat"),
            call_tracepoints(
                Sensor::File,
                "file_opened",
                "tracepoint/sys_exit_openat",
                OPENS,
                "none: no file nodes",
            ),
        ],
    },
    Part {
        optional: true,
        hooks: &[
            Hook {
                program: "file_opened_otherwise",
                sensor: Sensor::File,
                name: "fentry/security_file_open",
                point: Point::Function("security_file_open"),
                prototype: "(struct file *file)",
                since: "5.15 (bpf_task_pt_regs)",
                fallback: "tp_btf/io_uring_submit_req (opens)",
            },
            requests(
                Sensor::File,
                "open_submitted",
                "tp_btf/io_uring_submit_req (opens)",
                "tp_btf/io_uring_submit_sqe (opens)",
            ),
            requests_before_6_3(
                Sensor::File,
                "open_submitted_before_6_3",
                "tp_btf/io_uring_submit_sqe (opens)",
                "none: opens by io_uring are not seen",
            ),
        ],
    },
    Part {
        optional: true,
        hooks: &[
            requests(
                Sensor::File,
                "change_submitted",
                "tp_btf/io_uring_submit_req (changes)",
                "tp_btf/io_uring_submit_sqe (changes)",
            ),
            requests_before_6_3(
                Sensor::File,
                "change_submitted_before_6_3",
                "tp_btf/io_uring_submit_sqe (changes)",
                "none: names that are changed by io_uring are not seen",
            ),
        ],
    },
    Part {
        optional: true,
        hooks: &[
            call_functions(Sensor::File, "fexit/__x64_sys_unlinkat", CHANGES, "tracepoint/sys_exit_unlinkat"),
            call_tracepoints(
                Sensor::File,
                "name_changed",
                "tracepoint/sys_exit_unlinkat",
                CHANGES,
                "none: names that are changed are not seen",
            ),
        ],
    },
    Part {
        optional: true,
        hooks: &[
            call_functions(Sensor::File, "fexit/__x64_sys_mmap", &["mmap"], "tracepoint/sys_exit_mmap"),
            call_tracepoints(
                Sensor::File,
                "code_mapped",
                "tracepoint/sys_exit_mmap",
                &["mmap"],
                "none: mapped code is not told from what is read",
            ),
        ],
    },
    Part {
        optional: false,
        hooks: &[
            call_functions(
                Sensor::Connect,
                "fexit/__x64_sys_connect",
                &["connect"],
                "tracepoint/sys_exit_connect",
            ),
            call_tracepoints(
                Sensor::Connect,
                "socket_connected",
                "tracepoint/sys_exit_connect",
                &["connect"],
                "none: no connect nodes",
            ),
        ],
    },
    Part {
        optional: true,
        hooks: &[cgroup(
            Sensor::Connect,
            "internet_connect4",
            "cgroup/connect4 (connects)",
            Point::CgroupAddress,
            "4.17",
        )],
    },
    Part {
        optional: true,
        hooks: &[cgroup(
            Sensor::Connect,
            "internet_connect6",
            "cgroup/connect6 (connects)",
            Point::CgroupAddress,
            "4.17",
        )],
    },
    Part {
        optional: true,
        hooks: &[
            requests(
                Sensor::Connect,
                "connect_submitted",
                "tp_btf/io_uring_submit_req (connects)",
                "tp_btf/io_uring_submit_sqe (connects)",
            ),
            requests_before_6_3(
                Sensor::Connect,
                "connect_submitted_before_6_3",
                "tp_btf/io_uring_submit_sqe (connects)",
                "none: connections by io_uring are not seen",
            ),
        ],
    },
    Part {
        optional: false,
        hooks: &[
            call_functions(
                Sensor::Listen,
                "fexit/__x64_sys_listen",
                &["listen"],
                "tracepoint/sys_exit_listen",
            ),
            call_tracepoints(
                Sensor::Listen,
                "socket_listens",
                "tracepoint/sys_exit_listen",
                &["listen"],
                "none: no listen nodes",
            ),
        ],
    },
    Part {
        optional: true,
        hooks: &[
            call_functions(Sensor::Listen, "fexit/__x64_sys_accept4", ACCEPTS, "tracepoint/sys_exit_accept4"),
            call_tracepoints(
                Sensor::Listen,
                "socket_accepted",
                "tracepoint/sys_exit_accept4",
                ACCEPTS,
                "none: peers are not seen",
            ),
        ],
    },
    Part {
        optional: false,
        hooks: &[cgroup(Sensor::Dns, "dns_egress", "cgroup_skb/egress", Point::CgroupPackets, "4.10")],
    },
    Part {
        optional: false,
        hooks: &[cgroup(Sensor::Dns, "dns_ingress", "cgroup_skb/ingress", Point::CgroupPackets, "4.10")],
    },
    Part {
        optional: false,
        hooks: &[cgroup(Sensor::Dns, "dns_connect4", "cgroup/connect4", Point::CgroupAddress, "4.17")],
    },
    Part {
        optional: false,
        hooks: &[cgroup(Sensor::Dns, "dns_connect6", "cgroup/connect6", Point::CgroupAddress, "4.17")],
    },
    Part {
        optional: false,
        hooks: &[cgroup(Sensor::Dns, "dns_sendmsg4", "cgroup/sendmsg4", Point::CgroupAddress, "4.18")],
    },
    Part {
        optional: false,
        hooks: &[cgroup(Sensor::Dns, "dns_sendmsg6", "cgroup/sendmsg6", Point::CgroupAddress, "4.18")],
    },
    Part {
        optional: true,
        hooks: &[Hook {
            program: "dns_connected_before",
            sensor: Sensor::Dns,
            name: "iter/task_file",
            point: Point::OpenFiles,
            prototype: "(struct bpf_iter_meta *meta, struct task_struct *task, u32 fd, struct file *file)",
            since: "5.11 (bpf_sock_from_file)",
            fallback: "none: what is asked on sockets that were connected before is not seen, nor where their port was translated",
        }],
    },
    Part {
        optional: false,
        hooks: &[
            Hook {
                program: "capability_used",
                sensor: Sensor::Capability,
                name: "tp_btf/cap_capable",
                point: Point::Tracepoint("cap_capable"),
                prototype: "(const struct cred *cred, struct user_namespace *target_ns, const struct user_namespace *capable_ns, int cap, int ret)",
                since: "6.14",
                fallback: "fexit/cap_capable",
            },
            Hook {
                program: "capability_used_at_exit",
                sensor: Sensor::Capability,
                name: "fexit/cap_capable",
                point: Point::FunctionExit("cap_capable"),
                prototype: "(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts), returns int",
                since: "5.5",
                fallback: "none: no capability nodes",
            },
        ],
    },
    Part {
        optional: false,
        hooks: &[Hook {
            program: "syscall_used",
            sensor: Sensor::Syscall,
            name: "tp_btf/sys_enter",
            point: Point::Tracepoint("sys_enter"),
            prototype: "(struct pt_regs *regs, long id)",
            since: "5.5",
            fallback: "none: no syscall nodes",
        }],
    },
];
