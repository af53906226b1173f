//! What a process did in all.

use wsp_schemas::identity::Kind;
use wsp_schemas::snapshot::{NodeColumn, Scan};

/// Counts of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Activity {
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

/// What all processes of a snapshot did.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    /// By row: the place in `counts`; none of what is no process.
    places: Vec<Option<u32>>,
    counts: Vec<Activity>,
}

impl Activities {
    /// What the process of a row did; none of what is no process.
    pub(crate) fn get(&self, row: usize) -> Option<&Activity> {
        self.counts.get((*self.places.get(row)?)? as usize)
    }

    fn get_mut(&mut self, row: usize) -> Option<&mut Activity> {
        self.counts.get_mut((*self.places.get(row)?)? as usize)
    }

    /// Memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        self.places.len() * size_of::<Option<u32>>() + self.counts.len() * size_of::<Activity>()
    }
}

/// Counts what the processes did.
pub(crate) fn of(scan: &Scan) -> Activities {
    let mut processes = 0..;
    let place = |row| if scan.kind(row) == Kind::Process { processes.next() } else { None };
    let places: Vec<Option<u32>> = (0..scan.len()).map(place).collect();
    let counts = vec![Activity::default(); places.iter().flatten().count()];
    let mut activity = Activities { places, counts };
    let mut names: Vec<(usize, &str)> = Vec::new();
    let mut peers: Vec<(usize, &str)> = Vec::new();
    let mut ports: Vec<(usize, i32)> = Vec::new();
    for row in 0..scan.len() {
        let Some(owner) = scan.owner(row) else { continue };
        let Some(counts) = activity.get_mut(owner) else { continue };
        match scan.kind(row) {
            Kind::Process => counts.children += 1,
            Kind::File => counts.add_file(scan.texts(ACCESS, row)),
            Kind::Dns => names.extend(scan.text(DNS_NAME, row).map(|name| (owner, name))),
            Kind::Connect => {
                peers.extend(scan.text(ADDRESS, row).map(|address| (owner, address)));
                ports.extend(scan.int32(PORT, row).map(|port| (owner, port)));
            }
            Kind::Listen | Kind::Syscall | Kind::Capability => {}
        }
    }
    for (owner, names) in of_each_owner(&mut names) {
        let Some(counts) = activity.get_mut(owner) else { continue };
        counts.dns_names = count(names.len());
        let labels = names.iter().flat_map(|(_, name)| name.split('.'));
        counts.dns_longest_label = count(labels.map(str::len).max().unwrap_or_default());
        let mut below: Vec<&str> = names.iter().map(|(_, name)| last_two_labels(name)).collect();
        below.sort_unstable();
        let most = below.chunk_by(|a, b| a == b).map(<[_]>::len).max();
        counts.dns_most_below = count(most.unwrap_or_default());
    }
    for (owner, peers) in of_each_owner(&mut peers) {
        activity.get_mut(owner).into_iter().for_each(|counts| counts.peers = count(peers.len()));
    }
    for (owner, ports) in of_each_owner(&mut ports) {
        activity.get_mut(owner).into_iter().for_each(|counts| counts.peer_ports = count(ports.len()));
    }
    activity
}

/// What is different of each owner.
fn of_each_owner<T: Ord>(all: &mut Vec<(usize, T)>) -> impl Iterator<Item = (usize, &[(usize, T)])> {
    all.sort_unstable();
    all.dedup();
    all.chunk_by(|a, b| a.0 == b.0).filter_map(|all| Some((all.first()?.0, all)))
}

fn last_two_labels(name: &str) -> &str {
    name.rmatch_indices('.').nth(1).map_or(name, |(at, _)| &name[at + 1..])
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
