//! From lines to whole system calls.
//!
//! With `-f` a call that others interrupt is printed in two parts, `name(… <unfinished ...>` and `<... name resumed>…`.

use std::collections::HashMap;

use super::values;

/// One thing in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A system call that returned.
    Call(Call),
    /// A system call that has not returned yet at this point of the log. Only for calls that make a process: the child
    /// can appear before its maker's call returns.
    Enter {
        /// Thread.
        tid: u32,
    },
    /// A thread is gone.
    Exit {
        /// Thread.
        tid: u32,
    },
    /// A thread executed a program and so became its process's first thread.
    Superseded {
        /// The first thread, whose number lives on.
        leader: u32,
        /// The thread that called exec.
        by: u32,
    },
    /// Not understood.
    Unreadable(String),
}

/// One thing in the log, and when it happened, where the log says so (`-ttt`), in microseconds since the epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Timed {
    pub(super) entry: Entry,
    /// It began then.
    pub(super) from: Option<u64>,
    /// It was over by then: the same thread's next line.
    pub(super) until: Option<u64>,
}

/// A system call that returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Thread, as strace numbers it.
    pub(super) tid: u32,
    /// Name.
    pub(super) name: String,
    /// Arguments as printed.
    pub(super) args: Vec<Vec<u8>>,
    /// What stands after the `=`.
    pub(super) result: Vec<u8>,
}

impl Call {
    /// An argument, or nothing.
    pub(super) fn arg(&self, at: usize) -> &[u8] {
        self.args.get(at).map_or(b"", Vec::as_slice)
    }

    /// The returned number, where the call did not fail.
    pub(super) fn ok(&self) -> Option<u64> {
        let digits = self.result.iter().take_while(|b| b.is_ascii_digit()).count();
        std::str::from_utf8(&self.result[..digits]).ok()?.parse().ok()
    }

    /// The name of the error, where the call failed.
    pub(super) fn errno(&self) -> Option<&str> {
        let rest = self.result.strip_prefix(b"-1 ").or_else(|| self.result.strip_prefix(b"? "))?;
        let name = rest.split(|b| *b == b' ').next()?;
        std::str::from_utf8(name).ok()
    }
}

/// Puts the parts of calls together, in the order in which the calls returned.
pub(super) fn join(trace: &[u8]) -> Vec<Timed> {
    let mut open: HashMap<u32, (Option<u64>, Vec<u8>)> = HashMap::new();
    let mut latest: HashMap<u32, usize> = HashMap::new();
    let mut entries: Vec<Timed> = Vec::new();
    for line in trace.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let Some((tid, body)) = split_tid(line) else {
            entries.push(Timed { entry: unreadable(line), from: None, until: None });
            continue;
        };
        let (at, body) = split_time(body);
        if let Some(entry) = latest.remove(&tid).and_then(|at| entries.get_mut(at)) {
            entry.until = at;
        }
        let (entry, from) = if body.starts_with(b"+++ superseded by execve in pid ") {
            let Some(by) = number(&body[b"+++ superseded by execve in pid ".len()..]) else { continue };
            if let Some(part) = open.remove(&by) {
                open.insert(tid, part);
            }
            (Entry::Superseded { leader: tid, by }, at)
        } else if body.starts_with(b"+++ ") {
            open.remove(&tid);
            (Entry::Exit { tid }, at)
        } else if body.starts_with(b"--- ") {
            // Signals do not matter.
            continue;
        } else if let Some(rest) = body.strip_prefix(b"<... ") {
            let mut from = None;
            let whole = find(rest, b" resumed>").and_then(|end| {
                let mut whole = match open.remove(&tid) {
                    Some((began, part)) => {
                        from = began;
                        part
                    }
                    // The call began before strace was attached: its arguments are not in the log.
                    None => [&rest[..end], b"("].concat(),
                };
                whole.extend_from_slice(&rest[end + b" resumed>".len()..]);
                split_call(tid, &whole)
            });
            (whole.map_or_else(|| unreadable(line), Entry::Call), from)
        } else if let Some(part) = begun(body) {
            let makes = [&b"clone"[..], b"fork", b"vfork"].iter().any(|name| part.starts_with(name));
            open.insert(tid, (at, part.to_vec()));
            if !makes {
                continue;
            }
            (Entry::Enter { tid }, at)
        } else {
            (split_call(tid, body).map_or_else(|| unreadable(line), Entry::Call), at)
        };
        latest.insert(tid, entries.len());
        entries.push(Timed { entry, from, until: None });
    }
    entries
}

/// The part of a call that is on this line, where it ends on another one. A thread that executes a program ends its
/// call as another thread: `<pid changed to 7 ...>`.
fn begun(body: &[u8]) -> Option<&[u8]> {
    let inner = body.strip_suffix(b" ...>")?;
    let at = inner.windows(2).rposition(|window| window == b" <")?;
    let known = [&b" <unfinished"[..], b" <detached", b" <pid changed to "]
        .iter()
        .any(|mark| inner[at..].starts_with(mark));
    known.then_some(&inner[..at])
}

fn unreadable(line: &[u8]) -> Entry {
    Entry::Unreadable(String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned())
}

fn split_tid(line: &[u8]) -> Option<(u32, &[u8])> {
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    let tid = number(line)?;
    Some((tid, line[digits..].trim_ascii_start()))
}

/// The time in front of a call, and the call. No call's name starts with a digit.
fn split_time(body: &[u8]) -> (Option<u64>, &[u8]) {
    let end = body.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    let time = std::str::from_utf8(&body[..end]).ok().and_then(|text| text.split_once('.'));
    let micros = time.and_then(|(seconds, micros)| {
        Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
    });
    if micros.is_some() { (micros, body[end..].trim_ascii_start()) } else { (None, body) }
}

/// The decimal number at the start.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn split_call(tid: u32, text: &[u8]) -> Option<Call> {
    let paren = text.iter().position(|b| *b == b'(')?;
    let name = std::str::from_utf8(&text[..paren]).ok()?.to_owned();
    let (args, rest) = values::split_until(&text[paren + 1..], b')')?;
    let result = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii().to_vec();
    Some(Call { tid, name, args: args.into_iter().map(<[u8]>::to_vec).collect(), result })
}
