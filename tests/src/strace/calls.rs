//! From system calls to the truth.

use std::collections::HashMap;
use std::path::Path;

use wsp_schemas::text::RawText;

use super::lines::{Call, Entry};
use super::rootfs::{Rootfs, absolute};
use super::values::{SocketAddress, SocketRef, Target};
use super::{Address, Endpoint, Truth, dns, lines, values};

/// True for an outcome of connect(2) that means: an address was named, and the kernel tried it.
pub(super) fn connect_counts(protocol: &str, errno: Option<&str>) -> bool {
    match errno {
        Some("EFAULT" | "EBADF" | "ENOTSOCK" | "EINVAL" | "EAFNOSUPPORT" | "EISCONN" | "EALREADY") => false,
        Some("ENOENT") => protocol != "unix",
        _ => true,
    }
}

/// What is known of a thread.
#[derive(Debug, Clone, Default)]
struct Task {
    cwd: Vec<u8>,
    exe: Vec<u8>,
}

/// What is known of a socket.
#[derive(Debug, Clone, Default)]
struct Socket {
    protocol: Option<String>,
    local: Option<(Address, u16)>,
    peer_port: Option<u16>,
    listens: bool,
    /// It began to when that counted.
    listens_counts: bool,
    /// Start of a TCP DNS message whose rest is still to be written.
    pending: Vec<u8>,
}

/// Goes through a log once.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rootfs: Rootfs<'a>,
    /// What was done when it counted.
    truth: Truth,
    /// What was done when it did not.
    besides: Truth,
    counts: bool,
    started: bool,
    tasks: HashMap<u32, Task>,
    /// Threads inside a call that makes a process, latest last.
    makers: Vec<u32>,
    sockets: HashMap<u64, Socket>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rootfs: &'a Path) -> Self {
        Self {
            rootfs: Rootfs::new(rootfs),
            truth: Truth::default(),
            besides: Truth::default(),
            counts: true,
            started: false,
            tasks: HashMap::new(),
            makers: Vec::new(),
            sockets: HashMap::new(),
        }
    }

    pub(super) fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Call(call) => self.call(call),
            Entry::Enter { tid } => {
                self.task(*tid);
                self.makers.push(*tid);
            }
            Entry::Exit { tid } => {
                self.tasks.remove(tid);
                self.makers.retain(|maker| maker != tid);
            }
            Entry::Superseded { leader, by } => {
                let task = self.tasks.remove(by).unwrap_or_default();
                self.tasks.insert(*leader, task);
            }
            Entry::Unreadable(line) => self.unresolved(format!("line not understood: {line}")),
        }
    }

    /// Whether what comes next counts.
    pub(super) fn count(&mut self, counts: bool) {
        if self.counts != counts {
            std::mem::swap(&mut self.truth, &mut self.besides);
            self.counts = counts;
        }
    }

    /// What counted, and everything.
    pub(super) fn finish(mut self) -> (Truth, Truth) {
        for (inode, socket) in std::mem::take(&mut self.sockets) {
            if !socket.listens {
                continue;
            }
            self.count(socket.listens_counts);
            let protocol = socket.protocol.unwrap_or_else(|| "unknown".to_owned());
            match socket.local {
                Some((address, port)) if port != 0 || protocol == "unix" => {
                    self.truth.listens.insert(Endpoint { protocol, address, port });
                }
                other => self.unresolved(format!(
                    "{protocol} socket {inode} listens on {other:?}: its port is not in the log"
                )),
            }
        }
        self.count(true);
        if !self.started {
            self.truth.unresolved.insert("no successful exec: the container did not start".to_owned());
        }
        let mut all = self.besides;
        all.extend(self.truth.clone());
        (self.truth, all)
    }

    fn unresolved(&mut self, what: String) {
        if self.started {
            self.truth.unresolved.insert(what);
        }
    }

    /// What is known of a thread. One that was not seen before inherits from the thread that is making a process now:
    /// where there are several, the latest one, whose child is not here yet.
    fn task(&mut self, tid: u32) -> &mut Task {
        if !self.tasks.contains_key(&tid) {
            let maker = self.makers.iter().rev().find_map(|maker| self.tasks.get(maker));
            let task = maker.cloned().unwrap_or_else(|| Task { cwd: b"/".to_vec(), exe: Vec::new() });
            self.tasks.insert(tid, task);
        }
        self.tasks.entry(tid).or_default()
    }

    fn call(&mut self, call: &Call) {
        // A working directory that strace shows is better than one that is worked out.
        if let Some(Target::Path(cwd, _)) =
            call.arg(0).starts_with(b"AT_FDCWD<").then(|| values::target(call.arg(0))).flatten()
        {
            self.task(call.tid).cwd = cwd;
        } else {
            self.task(call.tid);
        }
        match call.name.as_str() {
            "clone" | "clone3" | "fork" | "vfork" => self.made(call),
            "chdir" | "fchdir" => self.chdir(call),
            "execve" | "execveat" => self.exec(call),
            _ if !self.started => {}
            "chroot" | "pivot_root" if call.ok().is_some() => {
                self.unresolved(format!(
                    "{}: execs are looked up from the container's first root",
                    call.name
                ));
            }
            "open" | "openat" | "openat2" | "creat" | "open_by_handle_at" => self.open(call),
            "socket" => self.socket(call),
            "bind" | "getsockname" => self.local(call),
            "connect" => self.connect(call),
            "listen" => self.listen(call),
            "sendto" | "sendmsg" | "sendmmsg" => self.send(call),
            "write" | "writev" => {
                self.send(call);
                self.written(call);
            }
            "pwrite64" => self.written(call),
            "copy_file_range" => self.copied(call, 0, 2),
            "sendfile" => self.copied(call, 1, 0),
            "symlink" | "symlinkat" | "link" | "linkat" | "rename" | "renameat" | "renameat2" => {
                self.named(call);
            }
            _ => {}
        }
    }

    /// The child starts as its maker is now: nothing of the maker's can change before its call returns.
    fn made(&mut self, call: &Call) {
        self.makers.retain(|maker| *maker != call.tid);
        // `= 6 /* 20422 in strace's PID NS */`: strace's own number is in the comment where there are two.
        let inner = call.ok().and_then(|pid| u32::try_from(pid).ok());
        let comment = call.result.windows(3).position(|w| w == b"/* ");
        let outer = comment.and_then(|at| lines::number(&call.result[at + 3..]));
        if let (Some(child), Some(maker)) = (outer.or(inner), self.tasks.get(&call.tid).cloned())
            && inner != Some(0)
        {
            self.tasks.entry(child).or_insert(maker);
        }
    }

    fn chdir(&mut self, call: &Call) {
        if call.ok() != Some(0) {
            return;
        }
        if let Some(Target::Path(path, _)) = values::target(call.arg(0)) {
            self.task(call.tid).cwd = path;
        } else if let Some(path) = values::string(call.arg(0)) {
            let path = absolute(&path, &self.task(call.tid).cwd);
            self.task(call.tid).cwd = self.rootfs.resolve(&path);
        }
    }

    fn exec(&mut self, call: &Call) {
        if call.ok() != Some(0) {
            return;
        }
        self.started = true;
        let task = self.task(call.tid).clone();
        let (directory, path) = match call.name.as_str() {
            "execve" => (None, values::string(call.arg(0))),
            _ => (values::target(call.arg(0)), values::string(call.arg(1))),
        };
        let Some(path) = path else {
            return self.unresolved(format!(
                "exec of a path that is not in the log: {}",
                values::shown(call.arg(0))
            ));
        };
        if path.is_empty() {
            return match directory {
                Some(Target::Path(path, _)) => self.ran(call.tid, &path, b"/"),
                Some(Target::Memory(exe)) => self.ran_exactly(call.tid, exe),
                _ => self.unresolved("exec of a file descriptor without a path".to_owned()),
            };
        }
        if matches!(path.as_slice(), b"/proc/self/exe" | b"/proc/thread-self/exe" | b"/proc/curproc/exe") {
            return self.ran_exactly(call.tid, task.exe);
        }
        if path.starts_with(b"/proc/") || path.starts_with(b"/dev/fd/") {
            return self.unresolved(format!("exec of {}", RawText::new(path).to_escaped()));
        }
        let cwd = match directory {
            Some(Target::Path(directory, _)) => directory,
            _ => task.cwd,
        };
        self.ran(call.tid, &path, &cwd);
    }

    fn ran(&mut self, tid: u32, path: &[u8], cwd: &[u8]) {
        let program = self.rootfs.program(path, cwd);
        if !program.found {
            self.unresolved(format!(
                "exec of {}, which is not there any more",
                RawText::new(path).to_escaped()
            ));
        }
        if program.is_script {
            self.truth.scripts.insert(RawText::new(path));
        }
        self.ran_exactly(tid, program.exe);
    }

    fn ran_exactly(&mut self, tid: u32, exe: Vec<u8>) {
        self.truth.execs.insert(RawText::new(exe.clone()));
        self.task(tid).exe = exe;
    }

    fn open(&mut self, call: &Call) {
        if call.ok().is_none() {
            return;
        }
        match values::target(&call.result) {
            Some(Target::Path(mut path, deleted)) => {
                let suffix = b" (deleted)";
                // strace takes a name that really ends so for the kernel's mark.
                let asked =
                    values::string(call.arg(usize::from(call.name != "open" && call.name != "creat")));
                if deleted && asked.is_some_and(|asked| asked.ends_with(suffix)) && !path.ends_with(suffix) {
                    path.extend_from_slice(suffix);
                }
                let truncates =
                    |arg: &Vec<u8>| !arg.starts_with(b"\"") && arg.windows(7).any(|part| part == b"O_TRUNC");
                if call.name == "creat" || call.args.iter().any(truncates) {
                    self.rootfs.truncated(&path);
                }
                self.truth.files.insert(RawText::new(path));
            }
            Some(Target::Memory(_) | Target::Socket(_) | Target::Anonymous) => {}
            None => self.unresolved(format!(
                "{} returned a file without a path: {}",
                call.name,
                values::shown(call.arg(1))
            )),
        }
    }

    fn written(&mut self, call: &Call) {
        let bytes = if call.name == "writev" { gather(call.arg(1)) } else { start_of_string(call.arg(1)) };
        let at_start = call.name != "pwrite64" || call.arg(3) == b"0";
        if let (Some(_), Some(Target::Path(path, _)), Some(bytes)) =
            (call.ok(), values::target(call.arg(0)), bytes)
            && at_start
        {
            self.rootfs.written(&path, &bytes);
        }
    }

    fn copied(&mut self, call: &Call, from: usize, to: usize) {
        if let (Some(Target::Path(from, _)), Some(Target::Path(to, _)), Some(1..)) =
            (values::target(call.arg(from)), values::target(call.arg(to)), call.ok())
        {
            self.rootfs.copied(&from, &to);
        }
    }

    /// Another name for a file, or a symbolic link.
    fn named(&mut self, call: &Call) {
        if call.ok() != Some(0) {
            return;
        }
        let cwd = self.task(call.tid).cwd.clone();
        let path = |at: usize, directory: Option<usize>| {
            let base = match directory.and_then(|at| values::target(call.arg(at))) {
                Some(Target::Path(path, _)) => path,
                _ => cwd.clone(),
            };
            values::string(call.arg(at)).map(|path| absolute(&path, &base))
        };
        let (from, to) = match call.name.as_str() {
            "symlink" | "symlinkat" => {
                let at = call.name == "symlinkat";
                let link = if at { path(2, Some(1)) } else { path(1, None) };
                if let (Some(link), Some(target)) = (link, values::string(call.arg(0))) {
                    self.rootfs.linked(&link, target);
                }
                return;
            }
            "link" | "rename" => (path(0, None), path(1, None)),
            _ => (path(1, Some(0)), path(3, Some(2))),
        };
        if let (Some(from), Some(to)) = (from, to) {
            self.rootfs.renamed(&from, &to, call.name.starts_with("rename"));
        }
    }

    /// The socket behind a file descriptor, with what strace shows of it.
    fn known(&mut self, text: &[u8]) -> Option<(SocketRef, &mut Socket)> {
        let Some(Target::Socket(socket)) = values::target(text) else { return None };
        // Where strace shows addresses in place of the inode there is nothing to remember by.
        let known = self.sockets.entry(socket.inode.unwrap_or(0)).or_default();
        if socket.inode.is_none() {
            *known = Socket::default();
        }
        if socket.protocol.is_some() {
            known.protocol.clone_from(&socket.protocol);
        }
        if socket.local.is_some() {
            known.local.clone_from(&socket.local);
        }
        if let Some((_, port)) = &socket.remote {
            known.peer_port = Some(*port);
        }
        Some((socket, known))
    }

    fn socket(&mut self, call: &Call) {
        let (family, kind) = (call.arg(0), call.arg(1));
        let protocol = match (family, kind) {
            (b"AF_UNIX", _) => "unix",
            (b"AF_INET" | b"AF_INET6", kind) if kind.starts_with(b"SOCK_STREAM") => "tcp",
            (b"AF_INET" | b"AF_INET6", kind) if kind.starts_with(b"SOCK_DGRAM") => "udp",
            _ => return,
        };
        if call.ok().is_some()
            && let Some((_, socket)) = self.known(&call.result)
        {
            socket.protocol.get_or_insert_with(|| protocol.to_owned());
        }
    }

    fn local(&mut self, call: &Call) {
        if call.ok() != Some(0) {
            return;
        }
        let address = values::socket_address(call.arg(1));
        if let Some((_, socket)) = self.known(call.arg(0))
            && let SocketAddress::Named(address, port) = address
        {
            socket.local = Some((address, port));
        }
    }

    fn connect(&mut self, call: &Call) {
        let address = values::socket_address(call.arg(1));
        let shown = String::from_utf8_lossy(call.arg(0)).into_owned();
        let Some((_, socket)) = self.known(call.arg(0)) else { return };
        let protocol = socket.protocol.clone();
        let succeeded = call.ok().is_some() || call.errno() == Some("EINPROGRESS");
        match address {
            SocketAddress::Named(address, port) => {
                if succeeded {
                    socket.peer_port = Some(port);
                }
                let Some(protocol) = protocol else {
                    return self.unresolved(format!("connect on a socket of unknown protocol: {shown}"));
                };
                if call.result == b"?" {
                    return self.unresolved(format!("connect never returned: {shown}"));
                }
                if connect_counts(&protocol, call.errno()) {
                    self.truth.connects.insert(Endpoint { protocol, address, port });
                }
            }
            SocketAddress::Unspecified => socket.peer_port = None,
            SocketAddress::Unnamed | SocketAddress::Other => {}
        }
    }

    fn listen(&mut self, call: &Call) {
        if call.ok() != Some(0) {
            return;
        }
        let counts = self.counts;
        let Some((shown, socket)) = self.known(call.arg(0)) else { return };
        if shown.inode.is_some() {
            socket.listens = true;
            socket.listens_counts = counts;
            return;
        }
        match (shown.protocol, shown.local) {
            (Some(protocol), Some((address, port))) if port != 0 => {
                self.truth.listens.insert(Endpoint { protocol, address, port });
            }
            _ => self.unresolved(format!("listen on {}", String::from_utf8_lossy(call.arg(0)))),
        }
    }

    fn send(&mut self, call: &Call) {
        let Some(sent) = call.ok() else { return };
        let Some((_, socket)) = self.known(call.arg(0)) else { return };
        let peer_port = socket.peer_port;
        let over_tcp = socket.protocol.as_deref() == Some("tcp");
        let messages: Vec<(Option<u16>, Option<Vec<u8>>)> = match call.name.as_str() {
            "write" => vec![(peer_port, values::string(call.arg(1)))],
            "writev" => vec![(peer_port, gather(call.arg(1)))],
            "sendto" => vec![(port_of(call.arg(4)).or(peer_port), values::string(call.arg(1)))],
            "sendmsg" => vec![message(call.arg(1), peer_port)],
            _ => {
                let headers = values::members(call.arg(1))
                    .into_iter()
                    .filter_map(|entry| values::member(entry, "msg_hdr"));
                headers
                    .map(|header| message(header, peer_port))
                    .take(usize::try_from(sent).unwrap_or(usize::MAX))
                    .collect()
            }
        };
        for (_, payload) in messages.into_iter().filter(|(port, _)| *port == Some(53)) {
            let questions = match payload {
                Some(payload) if over_tcp => self.tcp_questions(call, &payload, sent),
                Some(payload) => dns::questions(&payload),
                None => None,
            };
            match questions {
                Some(questions) => self.truth.dns.extend(questions),
                None => self.unresolved(format!("{} to port 53 is no DNS question", call.name)),
            }
        }
    }

    /// A message may be written in two parts: its length, then itself.
    fn tcp_questions(&mut self, call: &Call, payload: &[u8], sent: u64) -> Option<Vec<(RawText, String)>> {
        let (_, socket) = self.known(call.arg(0))?;
        socket.pending.extend(payload.iter().take(usize::try_from(sent).ok()?));
        let mut found = Vec::new();
        while let Some((length, rest)) = socket.pending.split_at_checked(2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            if rest.len() < length {
                break;
            }
            found.extend(dns::questions(&rest[..length])?);
            socket.pending.drain(..2 + length);
        }
        Some(found)
    }
}

/// A string, or as much of it as strace printed.
fn start_of_string(text: &[u8]) -> Option<Vec<u8>> {
    values::string(text.strip_suffix(b"...").unwrap_or(text))
}

fn port_of(address: &[u8]) -> Option<u16> {
    match values::socket_address(address) {
        SocketAddress::Named(Address::Ip(_), port) => Some(port),
        _ => None,
    }
}

/// Peer port and payload of a `struct msghdr`.
fn message(header: &[u8], peer_port: Option<u16>) -> (Option<u16>, Option<Vec<u8>>) {
    let named = values::member(header, "msg_name").and_then(port_of);
    (named.or(peer_port), values::member(header, "msg_iov").and_then(gather))
}

/// The bytes of an array of `struct iovec`.
fn gather(vectors: &[u8]) -> Option<Vec<u8>> {
    let parts: Option<Vec<Vec<u8>>> = values::members(vectors)
        .into_iter()
        .map(|v| values::string(values::member(v, "iov_base")?))
        .collect();
    parts.map(|parts| parts.concat())
}
