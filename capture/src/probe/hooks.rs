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
}

impl Sensor {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Process, Self::File, Self::Connect, Self::Listen, Self::Dns];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::File => "file",
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Dns => "dns",
        }
    }
}

impl fmt::Display for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A BTF tracepoint, for as long as the probe lives.
    Btf(&'static str),
    /// The exits of system calls, while anything is tracked. A call that the architecture or kernel does not have is left
    /// out; the first must be there.
    SyscallExits(&'static [&'static str]),
    /// `cgroup/connect*` and `sendmsg*` of each tracked container's cgroup.
    CgroupAddress,
    /// `cgroup_skb/*` of each tracked container's cgroup.
    CgroupPackets,
    /// A better hook that this version does not have yet.
    NotInThisVersion,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// The C function; empty where there is none yet.
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

/// The table, in order of preference within a sensor.
pub const HOOKS: &[Hook] = &[
    Hook {
        program: "cgroup_made",
        sensor: Sensor::Process,
        name: "tp_btf/cgroup_mkdir",
        point: Point::Btf("cgroup_mkdir"),
        prototype: "(struct cgroup *cgrp, const char *path)",
        since: "5.5",
        fallback: "none: the probe does not load",
    },
    Hook {
        program: "cgroup_gone",
        sensor: Sensor::Process,
        name: "tp_btf/cgroup_rmdir",
        point: Point::Btf("cgroup_rmdir"),
        prototype: "(struct cgroup *cgrp, const char *path)",
        since: "5.5",
        fallback: "none: the probe does not load",
    },
    Hook {
        program: "process_forked",
        sensor: Sensor::Process,
        name: "tp_btf/sched_process_fork",
        point: Point::Btf("sched_process_fork"),
        prototype: "(struct task_struct *parent, struct task_struct *child)",
        since: "5.5",
        fallback: "none: the probe does not load",
    },
    Hook {
        program: "process_exited",
        sensor: Sensor::Process,
        name: "tp_btf/sched_process_exit",
        point: Point::Btf("sched_process_exit"),
        prototype: "(struct task_struct *task), 6.16: and (bool group_dead)",
        since: "5.5",
        fallback: "none: the probe does not load",
    },
    Hook {
        program: "process_executed",
        sensor: Sensor::Process,
        name: "tp_btf/sched_process_exec",
        point: Point::Btf("sched_process_exec"),
        prototype: "(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)",
        since: "5.17 (bpf_loop)",
        fallback: "none: the probe does not load",
    },
    Hook {
        program: "",
        sensor: Sensor::File,
        name: "lsm/file_open",
        point: Point::NotInThisVersion,
        prototype: "(struct file *file)",
        since: "5.7, with bpf among the active LSMs",
        fallback: "fentry/security_file_open",
    },
    Hook {
        program: "",
        sensor: Sensor::File,
        name: "fentry/security_file_open",
        point: Point::NotInThisVersion,
        prototype: "(struct file *file)",
        since: "5.5",
        fallback: "tracepoint/sys_exit_openat",
    },
    Hook {
        program: "file_opened",
        sensor: Sensor::File,
        name: "tracepoint/sys_exit_openat",
        point: Point::SyscallExits(&[
            "sys_exit_openat",
            "sys_exit_openat2",
            "sys_exit_open",
            "sys_exit_creat",
            "sys_exit_open_by_handle_at",
        ]),
        prototype: "{ u64 common; int nr; long ret; }",
        since: "5.17 (bpf_loop)",
        fallback: "none: no file nodes",
    },
    Hook {
        program: "",
        sensor: Sensor::Connect,
        name: "lsm/socket_connect",
        point: Point::NotInThisVersion,
        prototype: "(struct socket *sock, struct sockaddr *address, int addrlen)",
        since: "5.7, with bpf among the active LSMs",
        fallback: "tracepoint/sys_exit_connect",
    },
    Hook {
        program: "socket_connected",
        sensor: Sensor::Connect,
        name: "tracepoint/sys_exit_connect",
        point: Point::SyscallExits(&["sys_exit_connect"]),
        prototype: "{ u64 common; int nr; long ret; }",
        since: "5.15 (bpf_task_pt_regs)",
        fallback: "none: no connect nodes",
    },
    Hook {
        program: "socket_listens",
        sensor: Sensor::Listen,
        name: "tracepoint/sys_exit_listen",
        point: Point::SyscallExits(&["sys_exit_listen"]),
        prototype: "{ u64 common; int nr; long ret; }",
        since: "5.15 (bpf_task_pt_regs)",
        fallback: "none: no listen nodes",
    },
    Hook {
        program: "dns_connect4",
        sensor: Sensor::Dns,
        name: "cgroup/connect4",
        point: Point::CgroupAddress,
        prototype: "(struct bpf_sock_addr *ctx)",
        since: "4.17",
        fallback: "none: no DNS nodes",
    },
    Hook {
        program: "dns_connect6",
        sensor: Sensor::Dns,
        name: "cgroup/connect6",
        point: Point::CgroupAddress,
        prototype: "(struct bpf_sock_addr *ctx)",
        since: "4.17",
        fallback: "none: no DNS nodes",
    },
    Hook {
        program: "dns_sendmsg4",
        sensor: Sensor::Dns,
        name: "cgroup/sendmsg4",
        point: Point::CgroupAddress,
        prototype: "(struct bpf_sock_addr *ctx)",
        since: "4.18",
        fallback: "none: no DNS nodes",
    },
    Hook {
        program: "dns_sendmsg6",
        sensor: Sensor::Dns,
        name: "cgroup/sendmsg6",
        point: Point::CgroupAddress,
        prototype: "(struct bpf_sock_addr *ctx)",
        since: "4.18",
        fallback: "none: no DNS nodes",
    },
    Hook {
        program: "dns_egress",
        sensor: Sensor::Dns,
        name: "cgroup_skb/egress",
        point: Point::CgroupPackets,
        prototype: "(struct __sk_buff *skb)",
        since: "4.10",
        fallback: "none: no DNS nodes",
    },
    Hook {
        program: "dns_ingress",
        sensor: Sensor::Dns,
        name: "cgroup_skb/ingress",
        point: Point::CgroupPackets,
        prototype: "(struct __sk_buff *skb)",
        since: "4.10",
        fallback: "none: no DNS nodes",
    },
];
