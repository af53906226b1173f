import type { Kind, Severity } from "../contract";

export const KINDS: readonly Kind[] = ["process", "file", "dns", "connect", "listen", "syscall", "capability"];

export const KIND_NAMES: {
  readonly [kind in Kind]: { readonly one: string; readonly many: string; readonly brief: string; readonly briefOne: string };
} = {
  process: { one: "process", many: "processes", brief: "proc", briefOne: "proc" },
  file: { one: "file", many: "files", brief: "files", briefOne: "file" },
  dns: { one: "DNS name", many: "DNS names", brief: "dns", briefOne: "dns" },
  connect: { one: "connection", many: "connections", brief: "conn", briefOne: "conn" },
  listen: { one: "listening socket", many: "listening sockets", brief: "listen", briefOne: "listen" },
  syscall: { one: "system call", many: "system calls", brief: "sysc", briefOne: "sysc" },
  capability: { one: "capability", many: "capabilities", brief: "caps", briefOne: "cap" },
};

export const SEVERITIES: readonly Severity[] = ["critical", "high", "medium", "low"];
export const severityRank = (severity: Severity): number => SEVERITIES.indexOf(severity);
