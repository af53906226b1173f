//! What strace saw and what a snapshot has, in the same terms: by kind, as texts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int32Type;
use wsp_schemas::paths::normalise;
use wsp_schemas::snapshot::Verified;
use wsp_schemas::text::{RawText, escape};
use wsp_tests::strace::{Address, Endpoint, Truth};

use super::{access, of_kind, text};

/// Kind → facts of that kind.
pub(super) type Facts = BTreeMap<&'static str, BTreeSet<Vec<String>>>;

/// What strace saw.
pub(super) fn of_truth(truth: &Truth) -> Facts {
    let rules = |path: &RawText| vec![escape(&normalise(path.as_bytes())).into_owned()];
    let dns = |(name, rtype): &(RawText, String)| vec![name.to_escaped(), rtype.clone()];
    BTreeMap::from([
        ("files", truth.files.iter().map(rules).collect()),
        ("execs", truth.execs.iter().map(rules).collect()),
        ("connects", truth.connects.iter().map(|end| endpoint(end, false)).collect()),
        ("listens", truth.listens.iter().map(|end| endpoint(end, true)).collect()),
        ("dns", truth.dns.iter().map(dns).collect()),
    ])
}

/// What a snapshot has.
pub(super) fn of_snapshot(snapshot: &Verified) -> Facts {
    BTreeMap::from([
        ("files", opened_files(snapshot)),
        ("execs", of_kind(snapshot, "process", &["exe"])),
        ("connects", sockets(snapshot, "connect")),
        ("listens", sockets(snapshot, "listen")),
        ("dns", of_kind(snapshot, "dns", &["dns_name", "dns_type"])),
    ])
}

/// What an open leaves in the column `access`.
const OPENED: [&str; 5] = ["append", "create", "lookup", "read", "write"];

/// Rules: memory files have no name in a file system; the truth leaves them out, the snapshot marks them. Names that were changed and
/// code that was mapped are no opens.
fn opened_files(snapshot: &Verified) -> BTreeSet<Vec<String>> {
    let rows = &snapshot.rows;
    (0..rows.num_rows())
        .filter(|row| access(rows, *row).iter().any(|word| OPENED.contains(&word.as_str())))
        .filter(|row| text(rows, "file_origin", *row).as_deref() != Some("memfd"))
        .filter_map(|row| Some(vec![text(rows, "path", row)?]))
        .collect()
}

fn endpoint(end: &Endpoint, own: bool) -> Vec<String> {
    let address = match &end.address {
        // Rule: a listening socket on an own address is `self`.
        Address::Ip(ip) if own && !is_everywhere(*ip) => "self".to_owned(),
        Address::Path(path) => escape(&normalise(&clean(path.as_bytes()))).into_owned(),
        other => other.to_text(),
    };
    vec![end.protocol.clone(), address, end.port.to_string()]
}

/// Rule: a unix socket's path stands as it was named, without `.` and doubled slashes, a relative one with `./` in front.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let lead: &[u8] = if path.starts_with(b"/") { b"" } else { b"." };
    parts.fold(lead.to_vec(), |mut out, part| {
        out.push(b'/');
        out.extend_from_slice(part);
        out
    })
}

fn is_everywhere(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback()
}

fn sockets(snapshot: &Verified, kind: &str) -> BTreeSet<Vec<String>> {
    let rows = &snapshot.rows;
    let ports = rows["port"].as_primitive::<Int32Type>();
    (0..rows.num_rows())
        .filter(|row| text(rows, "kind", *row).as_deref() == Some(kind) && ports.is_valid(*row))
        .map(|row| {
            let column = |name| text(rows, name, row).unwrap_or_default();
            vec![column("protocol"), column("address"), ports.value(row).to_string()]
        })
        .collect()
}
