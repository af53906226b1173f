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
    /// By row: the place in `counts`; of what is no process, the last one.
    places: Vec<usize>,
    counts: Vec<Activity>,
}

impl Activities {
    /// What the process of a row did; none of what is no process.
    pub(crate) fn get(&self, row: usize) -> Option<&Activity> {
        let (_, counts) = self.counts.split_last()?;
        counts.get(*self.places.get(row)?)
    }

    fn at(&mut self, process: usize) -> &mut Activity {
        &mut self.counts[self.places[process]]
    }

    /// Memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        self.places.len() * size_of::<usize>() + self.counts.len() * size_of::<Activity>()
    }
}

/// Counts what the processes did.
pub(crate) fn of(scan: &Scan) -> Activities {
    let is_process = |row: &usize| scan.kind(*row) == Kind::Process;
    let processes = (0..scan.len()).filter(is_process).count();
    let mut next = 0..processes;
    let place = |row| if is_process(&row) { next.next() } else { None };
    let mut activity = Activities {
        places: (0..scan.len()).map(place).map(|place| place.unwrap_or(processes)).collect(),
        counts: vec![Activity::default(); processes + 1],
    };
    let mut names: Vec<(usize, &str)> = Vec::new();
    let mut peers: Vec<(usize, &str)> = Vec::new();
    let mut ports: Vec<(usize, i32)> = Vec::new();
    for row in 0..scan.len() {
        let Some(owner) = scan.owner(row) else { continue };
        match scan.kind(row) {
            Kind::Process => activity.at(owner).children += 1,
            Kind::File => activity.at(owner).add_file(scan.texts(ACCESS, row)),
            Kind::Dns => names.extend(scan.text(DNS_NAME, row).map(|name| (owner, name))),
            Kind::Connect => {
                peers.extend(scan.text(ADDRESS, row).map(|address| (owner, address)));
                ports.extend(scan.int32(PORT, row).map(|port| (owner, port)));
            }
            Kind::Listen | Kind::Syscall | Kind::Capability => {}
        }
    }
    for names in of_each_owner(&mut names) {
        let counts = activity.at(names[0].0);
        counts.dns_names = count(names.len());
        let labels = names.iter().flat_map(|(_, name)| name.split('.'));
        counts.dns_longest_label = count(labels.map(str::len).max().unwrap_or_default());
        let mut below: Vec<&str> = names.iter().map(|(_, name)| last_two_labels(name)).collect();
        below.sort_unstable();
        let most = below.chunk_by(|a, b| a == b).map(<[_]>::len).max();
        counts.dns_most_below = count(most.unwrap_or_default());
    }
    of_each_owner(&mut peers).for_each(|peers| activity.at(peers[0].0).peers = count(peers.len()));
    of_each_owner(&mut ports).for_each(|ports| activity.at(ports[0].0).peer_ports = count(ports.len()));
    activity
}

/// What is different of each owner; no owner has nothing.
fn of_each_owner<T: Ord>(all: &mut Vec<(usize, T)>) -> impl Iterator<Item = &[(usize, T)]> {
    all.sort_unstable();
    all.dedup();
    all.chunk_by(|a, b| a.0 == b.0)
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
