//! Which cgroups tell containers from each other: those of cgroup v2 where that is mounted, else those of one controller of v1.
//!
//! Where both are there (hybrid hosts) v2 counts: its programs see the network of a container, and runtimes make its cgroup there too. But
//! not where somebody else mounted v2 for itself (Cilium, Calico) on a host with v1: runtimes know it at its usual places only.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Controllers of v1 in which every runtime gives a container a cgroup of its own, the best first.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "devices", "cpu", "freezer"];

/// Where runtimes look for v2, below the host's root.
const V2_PLACES: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];

/// A hierarchy of cgroups, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    mount: PathBuf,
    /// Its number in /proc: 0 is cgroup v2.
    id: u32,
    controller: &'static str,
}

impl Hierarchy {
    /// The one of this host that counts; none where nothing is mounted that would do.
    pub fn of_host() -> io::Result<Option<Self>> {
        let mountinfo = fs::read("/proc/self/mountinfo")?;
        // Not there where the kernel has no v1 at all.
        Ok(Self::among(&mountinfo, &fs::read("/proc/cgroups").unwrap_or_default()))
    }

    fn among(mountinfo: &[u8], controllers: &[u8]) -> Option<Self> {
        let v2 = |place: &dyn Fn(&Path) -> bool| {
            let mount = mount_of(mountinfo, |kind, _, at| kind == b"cgroup2" && place(at))?;
            Some(Self { mount, id: 0, controller: "" })
        };
        let usual = v2(&|at| V2_PLACES.iter().any(|place| at.ends_with(place)));
        if usual.is_some() {
            return usual;
        }
        let v1 = CONTROLLERS.into_iter().find_map(|controller| {
            let id = number_of(controllers, controller)?;
            let has =
                |options: &[u8]| options.split(|byte| *byte == b',').any(|one| one == controller.as_bytes());
            let mount = mount_of(mountinfo, |kind, options, _| kind == b"cgroup" && has(options))?;
            Some(Self { mount, id, controller })
        });
        v1.or_else(|| v2(&|_| true))
    }

    /// Where it is mounted: `/sys/fs/cgroup`, `/sys/fs/cgroup/unified` on hybrid hosts, `/sys/fs/cgroup/memory` with v1 alone.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Its number in the kernel: 0 is cgroup v2.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its controller, where it is one of v1.
    pub fn controller(&self) -> Option<&'static str> {
        (self.id != 0).then_some(self.controller)
    }

    /// The cgroup of a process in it, below the mount, by the text of its `/proc/<pid>/cgroup`.
    pub fn path_in<'a>(&self, cgroups: &'a [u8]) -> Option<&'a [u8]> {
        let prefix = format!("{}:", self.id);
        let mut lines = cgroups.split(|byte| *byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(prefix.as_bytes()))?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        line.get(colon + 1..)
    }
}

/// The first mount of a file system of that type, options and place; one of the whole hierarchy is preferred to one of a part of it.
fn mount_of(mountinfo: &[u8], is_it: impl Fn(&[u8], &[u8], &Path) -> bool) -> Option<PathBuf> {
    let mut part = None;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let separator = fields.iter().position(|field| *field == b"-");
        let (Some(separator), Some(root), Some(at)) = (separator, fields.get(3), fields.get(4)) else {
            continue;
        };
        let Some(kind) = fields.get(separator + 1) else { continue };
        let at = PathBuf::from(OsString::from_vec(unescape_octal(at)));
        if !is_it(kind, fields.get(separator + 3).copied().unwrap_or_default(), &at) {
            continue;
        }
        if *root == b"/" {
            return Some(at);
        }
        part.get_or_insert(at);
    }
    part
}

/// The number of the v1 hierarchy that a controller is in, by the text of `/proc/cgroups`; none where it is in none.
fn number_of(controllers: &[u8], controller: &str) -> Option<u32> {
    let text = String::from_utf8_lossy(controllers);
    let mut lines = text.lines().map(str::split_whitespace);
    let mut line = lines.find_map(|mut line| (line.next() == Some(controller)).then_some(line))?;
    line.next()?.parse().ok().filter(|number| *number != 0)
}

/// mountinfo writes space, tab, newline and backslash as `\040` and the like.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'\\'
            && let Some((digits, after)) = tail.split_first_chunk::<3>()
            && let Some(value) = octal(digits)
        {
            out.push(value);
            rest = after;
        } else {
            out.push(byte);
        }
    }
    out
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// What must hold of any text: see [`crate::fuzz`].
#[cfg(all(feature = "ebpf", any(test, feature = "fuzz")))]
pub(crate) fn check(bytes: &[u8]) {
    if let Some(found) = Hierarchy::among(bytes, bytes) {
        assert_eq!(found.controller().is_none(), found.id() == 0);
        let _ = found.path_in(bytes);
    }
    assert!(unescape_octal(bytes).len() <= bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
        34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
    const CGROUPS: &[u8] = b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
        cpu\t2\t4\t1\ncpuacct\t2\t4\t1\nmemory\t4\t56\t1\npids\t0\t1\t1\n";

    fn found(mountinfo: &[u8], cgroups: &[u8]) -> Option<(String, u32, Option<&'static str>)> {
        let found = Hierarchy::among(mountinfo, cgroups)?;
        Some((found.mount().display().to_string(), found.id(), found.controller()))
    }

    #[test]
    fn v2_counts_where_runtimes_look_for_it_or_where_there_is_no_v1() {
        let own: &[u8] = b"40 31 0:38 / /run/cilium/cgroupv2 rw - cgroup2 none rw\n";
        let unified = b"41 31 0:38 / /host/sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let hybrid = [V1, own, unified].concat();
        assert_eq!(found(&hybrid, CGROUPS), Some(("/host/sys/fs/cgroup/unified".to_owned(), 0, None)));
        // Somebody's own, which runtimes do not know.
        let memory = Some(("/sys/fs/cgroup/memory".to_owned(), 4, Some("memory")));
        assert_eq!(found(&[V1, own].concat(), CGROUPS), memory);
        let alone = b"1 2 0:1 / /uni\\040fied rw - cgroup2 x rw\n";
        assert_eq!(found(alone, CGROUPS), Some(("/uni fied".to_owned(), 0, None)));
        let twice = b"1 2 0:1 /a /b rw - cgroup2 x rw\n1 2 0:1 / /c rw - cgroup2 x rw\n";
        assert_eq!(found(twice, b""), Some(("/c".to_owned(), 0, None)));
        assert_eq!(found(b"", CGROUPS), None);
    }

    #[test]
    fn with_v1_alone_a_controller_is_chosen_that_is_mounted() {
        assert_eq!(found(V1, CGROUPS), Some(("/sys/fs/cgroup/memory".to_owned(), 4, Some("memory"))));
        // Where it is switched off it is in no hierarchy.
        let off = String::from_utf8_lossy(CGROUPS).replace("memory\t4\t56\t1", "memory\t0\t1\t0");
        let cpu = Some(("/sys/fs/cgroup/cpu,cpuacct".to_owned(), 2, Some("cpu")));
        assert_eq!(found(V1, off.as_bytes()), cpu);
        assert_eq!(found(V1, b""), None);
    }

    #[test]
    fn a_process_has_a_cgroup_in_each() {
        let cgroups = b"11:memory:/docker/x:y\n2:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/u\n";
        let of = |id| Hierarchy { mount: PathBuf::new(), id, controller: "" }.path_in(cgroups);
        assert_eq!(of(0), Some(&b"/u"[..]));
        assert_eq!(of(11), Some(&b"/docker/x:y"[..]));
        assert_eq!((of(2), of(3)), (Some(&b"/c"[..]), None));
    }
}
