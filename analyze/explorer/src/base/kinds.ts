import type { Kind, Severity } from "../contract";

export const KINDS: readonly Kind[] = ["process", "file", "dns", "connect", "listen", "syscall", "capability"];

export const KIND_NAMES: { readonly [kind in Kind]: { readonly one: string, readonly many: string, readonly brief: string } } = {
  process: { one: "process", many: "processes", brief: "proc" },
  file: { one: "file", many: "files", brief: "files" },
  dns: { one: "DNS name", many: "DNS names", brief: "dns" },
  connect: { one: "connection", many: "connections", brief: "conn" },
  listen: { one: "listening socket", many: "listening sockets", brief: "listen" },
  syscall: { one: "system call", many: "system calls", brief: "sysc" },
  capability: { one: "capability", many: "capabilities", brief: "caps" },
};

export const SEVERITIES: readonly Severity[] = ["critical", "high", "medium", "low"];
export const severityRank = (severity: Severity): number => SEVERITIES.indexOf(severity);
