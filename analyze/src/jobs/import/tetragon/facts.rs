//! What an event says that a process did.

use std::net::IpAddr;

use wsp_schemas::address::is_nameable;
use wsp_schemas::snapshot::{Fact, File, Socket};
use wsp_schemas::text::RawText;

use super::event::{AddressArgument, Argument, Event, Kind, PathArgument, SockArgument};
use crate::jobs::import::{access, values};

/// Bits of `security_file_permission`'s mask.
const MASKS: [(i64, &str); 3] = [(1, "exec"), (4, "read"), (2, "write")];

/// The facts of an event; none where its arguments tell of none. `cwd` is where the process stood.
pub(in crate::jobs::import) fn facts(kind: Kind, event: &Event, cwd: &[u8]) -> Result<Vec<Fact>, String> {
    let protocol = || event.protocol.as_deref().unwrap_or_default().to_lowercase();
    match kind {
        Kind::Connect => {
            let mut socket =
                remote(&protocol(), event.destination_ip.as_deref(), event.destination_port, "dest")?;
            if let Some(socket) = &mut socket {
                rename(socket, event.destination_names.as_deref().unwrap_or_default())?;
            }
            Ok(socket.map(Fact::Connect).into_iter().collect())
        }
        Kind::Listen | Kind::Accept => {
            // Of an accepted connection the source is the container's own end.
            let ip = event.ip.as_deref().or(event.source_ip.as_deref());
            let socket = own(&protocol(), ip, event.port.or(event.source_port))?;
            Ok(socket.map(Fact::Listen).into_iter().collect())
        }
        Kind::Dns => dns(event),
        Kind::Kprobe | Kind::Lsm | Kind::Tracepoint => arguments(event, cwd),
        _ => Ok(Vec::new()),
    }
}

fn arguments(event: &Event, cwd: &[u8]) -> Result<Vec<Fact>, String> {
    let args = event.args.as_deref().unwrap_or_default();
    let function = event.function_name.as_deref().or(event.event.as_deref()).unwrap_or_default();
    let function = access::call_name(function);
    if let Some(socket) = socket(function, args)? {
        return Ok(vec![socket]);
    }
    let capability = args.iter().find_map(|arg| arg.capability_arg.as_ref()?.name.as_deref());
    if let Some(name) = capability {
        let name =
            values::name("the capability", name.strip_prefix("CAP_").unwrap_or(name), values::NAME_BYTES)?;
        return Ok(name.map(Fact::Capability).into_iter().collect());
    }
    files(function, args, cwd)
}

/// Of the two names of a rename or link the first is the old one.
fn files(function: &str, args: &[Argument], cwd: &[u8]) -> Result<Vec<Fact>, String> {
    let mut done: Vec<&'static str> = access::of_call(function).into_iter().collect();
    if function.contains("file_permission") {
        let mask = args.iter().find_map(|arg| arg.int_arg).unwrap_or(0);
        done = MASKS.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, word)| *word).collect();
    }
    let mut found = Vec::new();
    for arg in args {
        let by_kernel = [&arg.file_arg, &arg.path_arg, &arg.linux_binprm_arg].into_iter().flatten().next();
        let (path, source) = match (by_kernel, &arg.string_arg) {
            (Some(path), _) => (whole(path)?, "kernel"),
            (None, Some(text)) if takes_path(function) => (given(text, cwd)?, "argument"),
            _ => continue,
        };
        let Some(raw) = path else { continue };
        let second = match done.as_slice() {
            ["rename_from"] if !found.is_empty() => Some("rename_to"),
            ["link_from"] if !found.is_empty() => Some("link_to"),
            _ => None,
        };
        let path = values::normal(&raw);
        found.push(Fact::File(File {
            path_raw: (raw != path).then_some(raw),
            path,
            access: second.map_or_else(|| done.clone(), |word| vec![word]),
            mode: None,
            path_source: source,
            file_origin: "unknown",
        }));
        if found.len() == 2 {
            break;
        }
    }
    Ok(found)
}

/// A path that the kernel walked. What has no path (`pipe:[7]`) is no file; older versions leave out the first slash.
fn whole(path: &PathArgument) -> Result<Option<RawText>, String> {
    let text = path.path.as_deref().unwrap_or_default();
    let raw = values::raw("a file's path", text, values::PATH_BYTES)?;
    if text.is_empty() || (!text.starts_with('/') && text.contains(":[")) {
        return Ok(None);
    }
    let mount = path.mount.as_deref().unwrap_or_default();
    values::raw("a mount's path", mount, values::PATH_BYTES)?;
    Ok(Some(values::joined(b"", &[mount.as_bytes(), b"/", raw.as_bytes()].concat())))
}

/// A path as the process gave it.
fn given(text: &str, cwd: &[u8]) -> Result<Option<RawText>, String> {
    let raw = values::raw("a file's path", text, values::PATH_BYTES)?;
    Ok((!raw.is_empty()).then(|| values::joined(cwd, raw.as_bytes())))
}

/// The texts among the arguments of a system call are paths.
fn takes_path(function: &str) -> bool {
    const CALLS: [&str; 10] =
        ["open", "unlink", "rename", "rmdir", "mkdir", "mknod", "chmod", "chown", "truncate", "readlink"];
    CALLS.iter().any(|call| function.contains(call))
}

fn socket(function: &str, args: &[Argument]) -> Result<Option<Fact>, String> {
    let sock = args.iter().find_map(|arg| arg.sock_arg.as_ref());
    let addr = args.iter().find_map(|arg| arg.sockaddr_arg.as_ref());
    if sock.is_none() && addr.is_none() {
        return Ok(None);
    }
    let protocol = sock.map_or_else(|| "unknown".to_owned(), protocol);
    let told = |own: bool| {
        let of_sock = |sock: &SockArgument| {
            if own { (sock.saddr.clone(), sock.sport) } else { (sock.daddr.clone(), sock.dport) }
        };
        let of_addr = |addr: &AddressArgument| (addr.addr.clone(), addr.port);
        addr.map(of_addr).or_else(|| sock.map(of_sock)).unwrap_or_default()
    };
    if ["listen", "accept", "bind"].iter().any(|word| function.contains(word)) {
        let (ip, port) = told(true);
        return Ok(own(&protocol, ip.as_deref(), port)?.map(Fact::Listen));
    }
    // Who sends on a connection need not have made it.
    if function.contains("connect") || (function.contains("sendmsg") && protocol == "udp") {
        let (ip, port) = told(false);
        return Ok(remote(&protocol, ip.as_deref(), port, "remote")?.map(Fact::Connect));
    }
    Ok(None)
}

fn protocol(sock: &SockArgument) -> String {
    let named = sock.protocol.as_deref().and_then(|name| name.strip_prefix("IPPROTO_"));
    let by_type = match sock.kind.as_deref() {
        Some("SOCK_STREAM") => "tcp",
        Some("SOCK_DGRAM") => "udp",
        _ => "unknown",
    };
    match named {
        Some(name @ ("TCP" | "UDP")) => name.to_lowercase(),
        Some("SCTP") => "ip132".to_owned(),
        _ => by_type.to_owned(),
    }
}

/// The other end of a connection; none where it is not told.
fn remote(protocol: &str, ip: Option<&str>, port: Option<u32>, what: &str) -> Result<Option<Socket>, String> {
    let Some(ip) = address(ip)? else { return Ok(None) };
    Ok(Some(Socket {
        protocol: checked(protocol)?,
        address: ip.to_string().as_str().into(),
        port: number(port, what)?,
        ..Socket::default()
    }))
}

/// The own end of a socket that listens: `self` for an address that only this container has.
fn own(protocol: &str, ip: Option<&str>, port: Option<u32>) -> Result<Option<Socket>, String> {
    let Some(ip) = address(ip)? else { return Ok(None) };
    let same_everywhere = ip.is_unspecified() || ip.is_loopback();
    let address = if same_everywhere { ip.to_string().as_str().into() } else { "self".into() };
    let protocol = checked(protocol)?;
    Ok(Some(Socket { protocol, address, port: number(port, "own")?, ..Socket::default() }))
}

/// By the name that the container's resolver gave, where one may stand for the address.
fn rename(socket: &mut Socket, names: &[String]) -> Result<(), String> {
    let ip = std::str::from_utf8(socket.address.as_bytes()).ok().and_then(|ip| ip.parse::<IpAddr>().ok());
    let Some(name) = names.first().filter(|_| ip.is_some_and(is_nameable)) else { return Ok(()) };
    let Some(name) = dns_name(name)?.filter(|name| is_host_name(name.as_bytes())) else { return Ok(()) };
    socket.remote_ips = ip.map(|ip| ip.to_string()).into_iter().collect();
    socket.address = name;
    socket.name_source = Some("dns");
    Ok(())
}

/// It cannot be taken for an address.
fn is_host_name(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && std::str::from_utf8(name).is_ok_and(|name| name.parse::<IpAddr>().is_err())
}

fn address(text: Option<&str>) -> Result<Option<IpAddr>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let ip: IpAddr = text.parse().map_err(|_| format!("`{}` is no address", values::shortened(text, 64)))?;
    Ok(Some(ip.to_canonical()))
}

fn number(port: Option<u32>, what: &str) -> Result<u16, String> {
    let port = port.unwrap_or(0);
    u16::try_from(port).map_err(|_| format!("the {what} port is {port}"))
}

fn checked(protocol: &str) -> Result<String, String> {
    Ok(values::name("the protocol", protocol, 32)?.unwrap_or_else(|| "unknown".to_owned()))
}

fn dns(event: &Event) -> Result<Vec<Fact>, String> {
    let Some(dns) = event.dns.as_ref().filter(|dns| dns.response != Some(true)) else {
        return Ok(Vec::new());
    };
    let Some(name) = dns_name(dns.query.as_deref().unwrap_or_default())? else { return Ok(Vec::new()) };
    let types = dns.question_types.as_deref().unwrap_or(&[1]);
    let facts =
        types.iter().take(8).map(|number| Fact::Dns { name: name.clone(), rtype: record_type(*number) });
    Ok(facts.collect())
}

/// Lower case, no trailing dot.
fn dns_name(text: &str) -> Result<Option<RawText>, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_lowercase();
    let name = values::raw("a DNS name", &name, values::NAME_BYTES)?;
    Ok((!name.is_empty()).then_some(name))
}

/// Names of the common record types, as a recorder has them.
fn record_type(number: u32) -> String {
    match number {
        1 => "A".to_owned(),
        2 => "NS".to_owned(),
        5 => "CNAME".to_owned(),
        6 => "SOA".to_owned(),
        12 => "PTR".to_owned(),
        15 => "MX".to_owned(),
        16 => "TXT".to_owned(),
        28 => "AAAA".to_owned(),
        33 => "SRV".to_owned(),
        64 => "SVCB".to_owned(),
        65 => "HTTPS".to_owned(),
        255 => "ANY".to_owned(),
        257 => "CAA".to_owned(),
        other => format!("TYPE{other}"),
    }
}
