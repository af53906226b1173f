//! Addresses as nodes have them.

use std::net::IpAddr;

use wsp_schemas::paths;
use wsp_schemas::text::RawText;

use crate::event::{Address, Endpoint, Transport};

/// Value of the column `protocol`.
pub(super) fn protocol(transport: Transport) -> String {
    match transport {
        Transport::Tcp => "tcp".to_owned(),
        Transport::Udp => "udp".to_owned(),
        Transport::Unix => "unix".to_owned(),
        Transport::Other(number) => format!("ip{number}"),
    }
}

/// A unix address: the path after the rules; `@` in front of an abstract name. None for an IP address.
///
/// A relative path stays one, with `./` in front: the working directory is known as of the last exec, not as of the call.
pub(super) fn unix_address(address: &Address) -> Option<RawText> {
    match address {
        Address::Ip(_) => None,
        Address::Abstract(name) => Some([b"@", name.as_bytes()].concat().into()),
        Address::Path(path) => {
            Some(paths::normalise(join(&RawText::default(), path).as_bytes()).into_owned().into())
        }
    }
}

/// The local end of a listening socket: `self` for an address that only this container has.
pub(super) fn own_address(local: &Endpoint) -> RawText {
    match &local.address {
        Address::Ip(ip) if ip.is_unspecified() || ip.is_loopback() => ip_text(*ip),
        Address::Ip(_) => "self".into(),
        other => unix_address(other).unwrap_or_default(),
    }
}

/// An IP address as text.
pub(super) fn ip_text(ip: IpAddr) -> RawText {
    ip.to_string().as_str().into()
}

/// A path as the kernel would take it: joined to the working directory where it is relative, without `.` and doubled
/// slashes. `..` stays, for what it means depends on links.
pub(super) fn join(cwd: &RawText, path: &RawText) -> RawText {
    let path = path.as_bytes();
    if path.is_empty() {
        return RawText::default();
    }
    let full = if path.starts_with(b"/") {
        path.to_vec()
    } else if cwd.is_empty() {
        // Not known where: told apart from an abstract name all the same.
        [b"./", path].concat()
    } else {
        [cwd.as_bytes(), b"/", path].concat()
    };
    let mut out = Vec::with_capacity(full.len());
    for (at, part) in full.split(|byte| *byte == b'/').enumerate() {
        if at == 0 {
            out.extend_from_slice(part);
        } else if !part.is_empty() && part != b"." {
            out.push(b'/');
            out.extend_from_slice(part);
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_addresses() {
        let at = |address: Address| unix_address(&address).unwrap().to_escaped();
        assert_eq!(at(Address::Path("/run//./x.sock".into())), "/run/x.sock");
        assert_eq!(at(Address::Path("x.sock".into())), "./x.sock");
        assert_eq!(at(Address::Path("./x.sock".into())), "./x.sock");
        assert_eq!(at(Address::Path("@x".into())), "./@x");
        assert_eq!(at(Address::Abstract("x".into())), "@x");
        assert_eq!(at(Address::Path("/proc/42/x".into())), "/proc/<pid>/x");
        assert_eq!(at(Address::Path("/".into())), "/");
    }

    #[test]
    fn own_addresses() {
        let own = |ip: &str| {
            let address = Address::Ip(ip.parse().unwrap());
            own_address(&Endpoint { protocol: Transport::Tcp, address, port: 1 }).to_escaped()
        };
        assert_eq!(
            [own("0.0.0.0"), own("::"), own("127.0.0.1"), own("10.0.0.7")],
            ["0.0.0.0", "::", "127.0.0.1", "self"]
        );
    }
}
