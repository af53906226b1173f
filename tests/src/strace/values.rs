//! Arguments as strace prints them: strings, structures, and file descriptors with what they refer to.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wsp_schemas::text::RawText;

use super::Address;

/// Splits at the commas of this level, up to `close`; gives the parts and what follows `close`.
///
/// Quoted strings, brackets and `<…>` after file descriptors are passed over whole. `None` where `close` is not there.
pub(super) fn split_until(text: &[u8], close: u8) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut at = 0;
    let mut depth = 0usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at)?,
            b'<' => at = end_of_annotation(text, at)?,
            b'/' if text[at..].starts_with(b"/*") => {
                at += text[at..].windows(2).position(|w| w == b"*/")? + 1;
            }
            _ if depth == 0 && byte == close => {
                let last = text[from..at].trim_ascii();
                if !(last.is_empty() && parts.is_empty()) {
                    parts.push(last);
                }
                return Some((parts, &text[at + 1..]));
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                parts.push(text[from..at].trim_ascii());
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the string that starts at `at` ends.
fn end_of_string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the `<…>` that starts at `at` ends. Inside, `<` and `>` of a name are escaped, and a name is never quoted
/// except in a socket; `<char 1:3>` and `->` are strace's own.
fn end_of_annotation(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match text.get(at)? {
            b'"' => at = end_of_string(text, at)?,
            b'\\' => at += 1,
            b'<' => depth += 1,
            b'-' if text.get(at + 1) == Some(&b'>') => at += 1,
            b'>' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The members of a `{…}` or the elements of a `[…]`.
pub(super) fn members(text: &[u8]) -> Vec<&[u8]> {
    let close = match text.first() {
        Some(b'{') => b'}',
        Some(b'[') => b']',
        _ => return Vec::new(),
    };
    split_until(&text[1..], close).map_or_else(Vec::new, |(parts, _)| parts)
}

/// The value of a member `name=value` of a `{…}`.
pub(super) fn member<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let pair = |part: &'a [u8]| part.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    members(text).into_iter().find_map(pair)
}

/// A quoted string. `None` where it is none, or where strace cut it (`"…"...`).
pub(super) fn string(text: &[u8]) -> Option<Vec<u8>> {
    let end = end_of_string(text, text.iter().position(|b| *b == b'"').filter(|at| *at == 0)?)?;
    (end + 1 == text.len()).then(|| unquote(&text[1..end]))
}

/// The bytes that strace's escapes stand for: `\xNN`, `\NNN` (one to three octal digits), and those of C.
pub(super) fn unquote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits = |from: usize, most: usize, radix: u32| {
            let is_digit = |b: &&u8| char::from(**b).is_digit(radix);
            let count = text.iter().skip(from).take(most).take_while(is_digit).count();
            let digits = std::str::from_utf8(text.get(from..from + count)?).ok()?;
            Some((u8::try_from(u32::from_str_radix(digits, radix).ok()?).ok()?, count))
        };
        let escape = text.get(at).copied().unwrap_or(b'\\');
        let (value, used) = match escape {
            b'x' => digits(at + 1, 2, 16).map_or((b'x', 1), |(value, count)| (value, count + 1)),
            b'0'..=b'7' => digits(at, 3, 8).unwrap_or((escape, 1)),
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'r' => (b'\r', 1),
            b'v' => (0x0b, 1),
            b'f' => (0x0c, 1),
            b'a' => (0x07, 1),
            b'b' => (0x08, 1),
            other => (other, 1),
        };
        out.push(value);
        at += used;
    }
    out
}

/// What a file descriptor refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A path, in bytes; whether it was gone when strace looked.
    Path(Vec<u8>, bool),
    /// A memory file: `/memfd:name`.
    Memory(Vec<u8>),
    /// A socket.
    Socket(SocketRef),
    /// Something without a path: `pipe:[1]`, `anon_inode:[eventpoll]`, `net:[1]`.
    Anonymous,
}

/// A socket as strace names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SocketRef {
    /// `tcp`, `udp`, `unix` …; none where strace could not tell.
    pub(super) protocol: Option<String>,
    /// Inode number, where strace shows it: the socket's identity across dup, fork and exec.
    pub(super) inode: Option<u64>,
    /// Local end, where strace shows it.
    pub(super) local: Option<(Address, u16)>,
    /// Remote end, where strace shows it.
    pub(super) remote: Option<(Address, u16)>,
}

/// What `3</path>`, `AT_FDCWD</path>`, `4<TCP:[123]>` … refers to; none where strace shows nothing.
pub(super) fn target(text: &[u8]) -> Option<Target> {
    let open = text.iter().position(|b| *b == b'<')?;
    if !text[..open].iter().all(|b| b.is_ascii_digit()) && !text.starts_with(b"AT_FDCWD<") {
        return None;
    }
    let close = end_of_annotation(text, open)?;
    let deleted = text[close + 1..].starts_with(b"(deleted)");
    let mut inner = &text[open + 1..close];
    let plain = unquote(inner);
    if let Some((family, rest)) = socket_family(&plain) {
        return Some(Target::Socket(socket(family, rest)));
    }
    // `/dev/null<char 1:3>`: a `<` of a name would be escaped.
    if let Some(device) = inner.iter().position(|b| *b == b'<') {
        inner = &inner[..device];
    }
    let path = unquote(inner);
    Some(match path.first() {
        Some(b'/') if path.starts_with(b"/memfd:") && deleted => Target::Memory(path),
        Some(b'/') => Target::Path(path, deleted),
        _ => Target::Anonymous,
    })
}

/// Splits `TCPv6:[…]` into protocol name and content.
fn socket_family(text: &[u8]) -> Option<(&str, &[u8])> {
    let colon = text.iter().position(|b| *b == b':')?;
    let family = std::str::from_utf8(&text[..colon]).ok()?;
    let named = family == "socket" || family.starts_with(|c: char| c.is_ascii_uppercase());
    let content = text[colon + 1..].strip_prefix(b"[")?.strip_suffix(b"]")?;
    named.then_some((family, content))
}

fn socket(family: &str, content: &[u8]) -> SocketRef {
    let base = family.strip_suffix("v6").unwrap_or(family);
    let protocol = match base {
        "socket" => None,
        "TCP" | "MPTCP" => Some("tcp".to_owned()),
        "UDP" => Some("udp".to_owned()),
        unix if unix.starts_with("UNIX") => Some("unix".to_owned()),
        other => Some(other.to_ascii_lowercase()),
    };
    let text = String::from_utf8_lossy(content);
    let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let is_inode = digits.len() == text.len() || protocol.as_deref() == Some("unix");
    let (local, remote) = match text.split_once("->") {
        Some((local, remote)) => (ip_and_port(local), ip_and_port(remote)),
        None => (ip_and_port(&text), None),
    };
    SocketRef { protocol, inode: digits.parse().ok().filter(|_| is_inode), local, remote }
}

/// `127.0.0.1:80` or `[::1]:80`.
fn ip_and_port(text: &str) -> Option<(Address, u16)> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some((Address::Ip(canonical(ip)), port.parse().ok()?))
}

fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// A socket address argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketAddress {
    /// Inet, inet6 or unix with a name.
    Named(Address, u16),
    /// A unix address without a name: the kernel chooses one.
    Unnamed,
    /// `AF_UNSPEC`: dissolves an association.
    Unspecified,
    /// Another family, or not decoded.
    Other,
}

/// Reads `{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}` and its kin.
pub(super) fn socket_address(text: &[u8]) -> SocketAddress {
    read_address(text).unwrap_or(SocketAddress::Other)
}

fn read_address(text: &[u8]) -> Option<SocketAddress> {
    let port = |name| {
        let value = member(text, name)?.strip_prefix(b"htons(")?;
        u16::try_from(super::lines::number(value)?).ok()
    };
    Some(match member(text, "sa_family")? {
        b"AF_INET" => {
            let quoted = member(text, "sin_addr")?.strip_prefix(b"inet_addr(")?.strip_suffix(b")")?;
            let ip: Ipv4Addr = std::str::from_utf8(&string(quoted)?).ok()?.parse().ok()?;
            SocketAddress::Named(Address::Ip(ip.into()), port("sin_port")?)
        }
        b"AF_INET6" => {
            let call = members(text).into_iter().find_map(|part| part.strip_prefix(b"inet_pton("))?;
            let (args, _) = split_until(call, b')')?;
            let ip: Ipv6Addr = std::str::from_utf8(&string(args.get(1)?)?).ok()?.parse().ok()?;
            SocketAddress::Named(Address::Ip(canonical(ip.into())), port("sin6_port")?)
        }
        b"AF_UNIX" => match member(text, "sun_path") {
            None => SocketAddress::Unnamed,
            Some(path) => match path.strip_prefix(b"@") {
                Some(name) => SocketAddress::Named(Address::Abstract(RawText::new(string(name)?)), 0),
                None => SocketAddress::Named(Address::Path(RawText::new(string(path)?)), 0),
            },
        },
        b"AF_UNSPEC" => SocketAddress::Unspecified,
        _ => SocketAddress::Other,
    })
}

/// A string argument, for messages.
pub(super) fn shown(text: &[u8]) -> Cow<'_, str> {
    match string(text) {
        Some(bytes) => RawText::new(bytes).to_escaped().into(),
        None => String::from_utf8_lossy(text),
    }
}
