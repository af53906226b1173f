//! What a process did in all.

use std::collections::{HashMap, HashSet};

use wsp_schemas::identity::Kind;
use wsp_schemas::snapshot::{NodeColumn, Scan};

/// Counts of one process.
#[derive(Debug, Default)]
pub(super) struct Activity {
    children: i64,
    files_read: i64,
    files_written: i64,
    files_deleted: i64,
    dns_names: i64,
    dns_longest_label: i64,
    dns_most_below: i64,
    peers: i64,
    peer_ports: i64,
}

const ACCESS: NodeColumn = NodeColumn::named("access");
const DNS_NAME: NodeColumn = NodeColumn::named("dns_name");
const ADDRESS: NodeColumn = NodeColumn::named("address");
const PORT: NodeColumn = NodeColumn::named("port");

/// By row; of rows that are no processes, zeros.
pub(super) fn of(scan: &Scan) -> Vec<Activity> {
    let mut activity: Vec<Activity> = Vec::new();
    activity.resize_with(scan.len(), Activity::default);
    let mut names: HashMap<usize, HashSet<&str>> = HashMap::new();
    let mut peers: HashMap<usize, HashSet<&str>> = HashMap::new();
    let mut ports: HashMap<usize, HashSet<i32>> = HashMap::new();
    for row in 0..scan.len() {
        let Some(owner) = scan.owner(row) else { continue };
        let counts = &mut activity[owner];
        match scan.kind(row) {
            Kind::Process => counts.children += 1,
            Kind::File => counts.add_file(scan.texts(ACCESS, row)),
            Kind::Dns => {
                names.entry(owner).or_default().extend(scan.text(DNS_NAME, row));
            }
            Kind::Connect => {
                peers.entry(owner).or_default().extend(scan.text(ADDRESS, row));
                ports.entry(owner).or_default().extend(scan.int32(PORT, row));
            }
            Kind::Listen | Kind::Syscall | Kind::Capability => {}
        }
    }
    for (owner, names) in names {
        let mut below: HashMap<&str, i64> = HashMap::new();
        let counts = &mut activity[owner];
        for name in &names {
            let longest = name.split('.').map(str::len).max().unwrap_or_default();
            counts.dns_longest_label = counts.dns_longest_label.max(count(longest));
            let last_two = name.rmatch_indices('.').nth(1).map_or(*name, |(at, _)| &name[at + 1..]);
            *below.entry(last_two).or_default() += 1;
        }
        counts.dns_names = count(names.len());
        counts.dns_most_below = below.into_values().max().unwrap_or_default();
    }
    peers.into_iter().for_each(|(owner, peers)| activity[owner].peers = count(peers.len()));
    ports.into_iter().for_each(|(owner, ports)| activity[owner].peer_ports = count(ports.len()));
    activity
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Activity {
    fn add_file<'a>(&mut self, access: impl Iterator<Item = &'a str>) {
        let (mut read, mut written, mut deleted) = (false, false, false);
        for word in access {
            match word {
                "read" => read = true,
                "write" | "create" | "append" | "truncate" | "rename_from" | "rename_to" | "chmod"
                | "chown" | "link_to" | "symlink" | "mkdir" | "mknod" => written = true,
                "unlink" | "rmdir" => deleted = true,
                _ => {}
            }
        }
        self.files_read += i64::from(read);
        self.files_written += i64::from(written);
        self.files_deleted += i64::from(deleted);
    }

    /// The value of a column.
    pub(super) fn count(&self, name: &str) -> Option<i64> {
        Some(match name {
            "children" => self.children,
            "files_read" => self.files_read,
            "files_written" => self.files_written,
            "files_deleted" => self.files_deleted,
            "dns_names" => self.dns_names,
            "dns_longest_label" => self.dns_longest_label,
            "dns_most_below" => self.dns_most_below,
            "peers" => self.peers,
            "peer_ports" => self.peer_ports,
            _ => return None,
        })
    }
}
