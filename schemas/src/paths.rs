//! Explicit path rules: what differs between two containers of one image for reasons that say nothing about behaviour.
//!
//! Applied to files, scripts and executables before hashing. Rules are versioned and cumulative: applying a later version
//! to the result of an earlier one gives the later version's result, and applying a version twice changes nothing. So
//! files of older versions can be brought to this one ([`crate::snapshot::Scanner`] does), and their nodes are then those
//! of newer files. A profile revision says which version it was made with; a stable one keeps it.

use std::borrow::Cow;

/// The version of the rules in this library; a file says which one its paths went through.
pub const RULES_VERSION: i32 = 2;

/// One rule, for the documentation.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The first version that has it.
    pub since: i32,
    /// Which component of a path it looks at.
    pub component: &'static str,
    /// What stands there afterwards.
    pub becomes: &'static str,
    /// What the component was.
    pub what: &'static str,
}

const fn rule(since: i32, component: &'static str, becomes: &'static str, what: &'static str) -> Rule {
    Rule { since, component, becomes, what }
}

/// All rules. Sources of the later ones: devpts(5); `Documentation/ABI/testing/sysfs-devices-system-cpu` and
/// `sysfs-devices-node` of the kernel; proc_pid_fd(5), proc_pid_fdinfo(5); `perfMemory_posix.cpp` of OpenJDK.
pub const RULES: [Rule; 15] = [
    rule(1, "`N` after `proc`", "`<pid>`", "process ids"),
    rule(1, "`N` after `task`, below `proc/<pid>`", "`<tid>`", "thread ids"),
    rule(
        1,
        "`..YYYY_MM_DD_hh_mm_ss.N`",
        "`..<time>`",
        "generations of Kubernetes AtomicWriter volumes (ConfigMap, Secret, projected token, downward API)",
    ),
    rule(1, "64 hex digits", "`<id>`", "container ids, image digests, layer ids"),
    rule(1, "UUID with `-` or `_`", "`<uid>`", "pod ids"),
    rule(1, "32 hex digits after `pod`", "`<uid>`", "ids of static pods"),
    rule(
        1,
        "`burstable`, `besteffort` in a `kubepods` component",
        "`<qos>`",
        "quality-of-service class of the pod",
    ),
    rule(
        1,
        "`kubepods` cgroup drivers' `burstable`, `besteffort` component after it",
        "`<qos>`",
        "the same, cgroupfs driver",
    ),
    rule(1, "`dm-N`", "`dm-<n>`", "device-mapper devices"),
    rule(1, "`loopN`", "`loop<n>`", "loop devices"),
    rule(2, "`N` after `dev/pts`", "`<n>`", "pseudo-terminals: the next free one"),
    rule(2, "`cpuN` after `system/cpu`", "`cpu<n>`", "CPUs: as many as the host has"),
    rule(2, "`nodeN` after `system/node`", "`node<n>`", "NUMA nodes: as many as the host has"),
    rule(
        2,
        "`N` after `fd` or `fdinfo`, below `proc/<pid>` or `proc/self`",
        "`<fd>`",
        "file descriptors: the next free one",
    ),
    rule(2, "`N` after `hsperfdata_…`", "`<pid>`", "process ids: performance data of Java processes"),
];

/// The path after all rules of [`RULES_VERSION`]; borrowed where none applies.
pub fn normalise(path: &[u8]) -> Cow<'_, [u8]> {
    normalise_as(RULES_VERSION, path)
}

/// The path after all rules of a version; borrowed where none applies. A version after [`RULES_VERSION`] is like it.
pub fn normalise_as(version: i32, path: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut kept = 0;
    let mut context = Context::default();
    for part in path.split(|byte| *byte == b'/') {
        let start = kept;
        kept += part.len() + 1;
        let new = component(version, part, &context);
        if let (Cow::Owned(_), None) = (&new, &out) {
            out = Some(path[..start].to_vec());
        }
        context = context.after(&new);
        if let Some(out) = &mut out {
            out.extend_from_slice(&new);
            out.push(b'/');
        }
    }
    match out {
        Some(mut out) => {
            out.pop();
            Cow::Owned(out)
        }
        None => Cow::Borrowed(path),
    }
}

/// What the components before the present one were.
#[derive(Default)]
struct Context {
    after: After,
    /// Below `proc/<pid>`.
    below_pid: bool,
    /// Below `proc/self`.
    below_self: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum After {
    #[default]
    Other,
    Proc,
    Task,
    Kubepods,
    Dev,
    Pts,
    System,
    Cpus,
    Nodes,
    Descriptors,
    JavaProcesses,
}

impl Context {
    fn after(&self, part: &[u8]) -> Self {
        let after = match part {
            b"proc" => After::Proc,
            b"task" => After::Task,
            b"kubepods" => After::Kubepods,
            b"dev" => After::Dev,
            b"pts" if self.after == After::Dev => After::Pts,
            b"system" => After::System,
            b"cpu" if self.after == After::System => After::Cpus,
            b"node" if self.after == After::System => After::Nodes,
            b"fd" | b"fdinfo" if self.below_pid || self.below_self => After::Descriptors,
            _ if part.starts_with(b"hsperfdata_") => After::JavaProcesses,
            _ => After::Other,
        };
        let below = |name: &[u8]| self.after == After::Proc && part == name;
        Self {
            after,
            below_pid: self.below_pid || below(b"<pid>"),
            below_self: self.below_self || below(b"self"),
        }
    }
}

fn component<'a>(version: i32, part: &'a [u8], context: &Context) -> Cow<'a, [u8]> {
    let number = is_number(part);
    match context.after {
        After::Proc if number => return Cow::Owned(b"<pid>".to_vec()),
        After::Task if number && context.below_pid => return Cow::Owned(b"<tid>".to_vec()),
        After::Kubepods if matches!(part, b"burstable" | b"besteffort") => {
            return Cow::Owned(b"<qos>".to_vec());
        }
        _ => {}
    }
    if version >= 2
        && let Some(new) = component_v2(part, context)
    {
        return Cow::Owned(new.to_vec());
    }
    if is_atomic_writer(part) {
        return Cow::Owned(b"..<time>".to_vec());
    }
    for (prefix, replacement) in [(&b"dm-"[..], &b"dm-<n>"[..]), (b"loop", b"loop<n>")] {
        if part.strip_prefix(prefix).is_some_and(is_number) {
            return Cow::Owned(replacement.to_vec());
        }
    }
    let ids = replace_ids(part);
    if part.starts_with(b"kubepods") { replace_qos(ids) } else { ids }
}

/// What version 2 added.
fn component_v2(part: &[u8], context: &Context) -> Option<&'static [u8]> {
    // A longer one may be an id to version 1, which comes first where a file went through both.
    let small = |part: &[u8]| is_number(part) && part.len() <= 10;
    let numbered = |prefix: &[u8]| part.strip_prefix(prefix).is_some_and(small);
    match context.after {
        After::Pts if small(part) => Some(b"<n>"),
        After::Cpus if numbered(b"cpu") => Some(b"cpu<n>"),
        After::Nodes if numbered(b"node") => Some(b"node<n>"),
        After::Descriptors if small(part) => Some(b"<fd>"),
        After::JavaProcesses if small(part) => Some(b"<pid>"),
        _ => None,
    }
}

fn is_number(part: &[u8]) -> bool {
    !part.is_empty() && part.iter().all(u8::is_ascii_digit)
}

/// `..2025_08_11_19_40_54.3618395207`, as k8s.io/kubernetes/pkg/volume/util/atomic_writer.go names its directories.
fn is_atomic_writer(part: &[u8]) -> bool {
    let Some(rest) = part.strip_prefix(b"..") else { return false };
    let Some((date, fraction)) = rest.split_at_checked(19) else { return false };
    let shape = date.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 | 10 | 13 | 16 => *byte == b'_',
        _ => byte.is_ascii_digit(),
    });
    shape && fraction.strip_prefix(b".").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
}

/// Replaces whole ids inside a component: `docker-<64 hex>.scope`, `kubepods-pod<uuid>.slice`.
fn replace_ids(part: &[u8]) -> Cow<'_, [u8]> {
    if part.len() < 32 {
        return Cow::Borrowed(part);
    }
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < part.len() {
        let boundary = at == 0 || !is_hex(part[at - 1]) || part[..at].ends_with(b"pod");
        let found = if boundary { id_at(part, at) } else { None };
        match found {
            Some((len, replacement)) => {
                out.get_or_insert_with(|| part[..at].to_vec()).extend_from_slice(replacement);
                at += len;
            }
            None => {
                if let Some(out) = &mut out {
                    out.push(part[at]);
                }
                at += 1;
            }
        }
    }
    out.map_or(Cow::Borrowed(part), Cow::Owned)
}

fn id_at(part: &[u8], at: usize) -> Option<(usize, &'static [u8])> {
    let rest = &part[at..];
    let run = rest.iter().take_while(|byte| is_hex(**byte)).count();
    if run == 64 {
        return Some((64, b"<id>"));
    }
    if run == 32 && part[..at].ends_with(b"pod") {
        return Some((32, b"<uid>"));
    }
    if run == 8 && is_uuid(rest) && !rest.get(36).copied().is_some_and(is_hex) {
        return Some((36, b"<uid>"));
    }
    None
}

fn is_uuid(rest: &[u8]) -> bool {
    rest.len() >= 36
        && matches!(rest[8], b'-' | b'_')
        && rest[..36].iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == rest[8],
            _ => is_hex(*byte),
        })
}

/// Replaces all of them: where only the first went, a second application of the rules would find the next.
fn replace_qos(part: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let mut part = part;
    for class in [&b"burstable"[..], b"besteffort"] {
        while let Some(at) = part.windows(class.len()).position(|window| window == class) {
            part = Cow::Owned([&part[..at], b"<qos>", &part[at + class.len()..]].concat());
        }
    }
    part
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(path: &str) -> String {
        String::from_utf8(normalise(path.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn vectors() {
        let id = "0123456789abcdef".repeat(4);
        let letters = "abcdefab".repeat(8);
        for (raw, normal) in [
            ("/etc/passwd", "/etc/passwd"),
            ("", ""),
            ("/", "/"),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("/proc/1234/status", "/proc/<pid>/status"),
            ("/proc/1/task/17/comm", "/proc/<pid>/task/<tid>/comm"),
            ("/proc/self/task/17/comm", "/proc/self/task/17/comm"),
            ("/host/proc/77/fd", "/host/proc/<pid>/fd"),
            ("/proc/sys/net/core/somaxconn", "/proc/sys/net/core/somaxconn"),
            ("/srv/task/17/x", "/srv/task/17/x"),
            ("/opt/etc/..2025_08_11_19_40_54.3618395207/redis.conf", "/opt/etc/..<time>/redis.conf"),
            ("/opt/etc/..2025_08_11_19_40_54/redis.conf", "/opt/etc/..2025_08_11_19_40_54/redis.conf"),
            ("/opt/etc/..data/redis.conf", "/opt/etc/..data/redis.conf"),
            ("/var/lib/x/0b7c4cf7-2a6b-4b53-8a8e-9d3cb2d0e011/f", "/var/lib/x/<uid>/f"),
            ("/a/0b7c4cf7-2a6b-4b53-8a8e-9d3cb2d0e0112", "/a/0b7c4cf7-2a6b-4b53-8a8e-9d3cb2d0e0112"),
            (
                "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0b7c4cf7_2a6b_4b53_8a8e_9d3cb2d0e011.slice",
                "/sys/fs/cgroup/kubepods.slice/kubepods-<qos>.slice/kubepods-<qos>-pod<uid>.slice",
            ),
            ("/c/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/x", "/c/kubepods/<qos>/pod<uid>/x"),
            ("/dev/dm-0", "/dev/dm-<n>"),
            ("/sys/block/loop17/size", "/sys/block/loop<n>/size"),
            ("/dev/loop-control", "/dev/loop-control"),
            ("/dev/pts/17", "/dev/pts/<n>"),
            ("/dev/pts/ptmx", "/dev/pts/ptmx"),
            ("/srv/pts/17", "/srv/pts/17"),
            (
                "/sys/devices/system/cpu/cpu11/topology/core_id",
                "/sys/devices/system/cpu/cpu<n>/topology/core_id",
            ),
            ("/sys/devices/system/cpu/online", "/sys/devices/system/cpu/online"),
            ("/sys/devices/system/node/node0/meminfo", "/sys/devices/system/node/node<n>/meminfo"),
            ("/srv/cpu/cpu11", "/srv/cpu/cpu11"),
            ("/proc/7/fd/12", "/proc/<pid>/fd/<fd>"),
            ("/proc/self/fdinfo/3", "/proc/self/fdinfo/<fd>"),
            ("/proc/7/task/9/fd/12", "/proc/<pid>/task/<tid>/fd/<fd>"),
            ("/srv/fd/12", "/srv/fd/12"),
            ("/tmp/hsperfdata_app/1", "/tmp/hsperfdata_app/<pid>"),
            ("/tmp/hsperfdata_app/1.tmp", "/tmp/hsperfdata_app/1.tmp"),
        ] {
            assert_eq!(rules(raw), normal);
        }
        for id in [id, letters] {
            assert_eq!(rules(&format!("/c/docker-{id}.scope/x")), "/c/docker-<id>.scope/x");
            assert_eq!(rules(&format!("/c/{id}")), "/c/<id>");
            assert_eq!(rules(&format!("/c/{id}0")), format!("/c/{id}0"), "65 digits are no id");
        }
    }

    #[test]
    fn earlier_versions_do_less() {
        for (path, first) in [
            ("/dev/pts/17", "/dev/pts/17"),
            ("/proc/7/fd/12", "/proc/<pid>/fd/12"),
            ("/tmp/hsperfdata_app/1", "/tmp/hsperfdata_app/1"),
        ] {
            assert_eq!(normalise_as(1, path.as_bytes()), first.as_bytes());
            assert_ne!(first, rules(path));
        }
        assert!(RULES.iter().all(|rule| (1..=RULES_VERSION).contains(&rule.since)));
        assert!(RULES.is_sorted_by_key(|rule| rule.since));
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        assert_eq!(normalise(b"/proc/12/\xff\n"), &b"/proc/<pid>/\xff\n"[..]);
    }

    fn paths() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("proc".to_owned()),
            Just("task".to_owned()),
            Just("kubepods".to_owned()),
            Just("burstable".to_owned()),
            "dev|pts|system|cpu|node|fd|fdinfo|self|hsperfdata_a",
            "(cpu|node)[0-9]{0,2}",
            "(cpu|node)?[0-9]{64}",
            "[0-9]{1,6}",
            "[a-f0-9]{60,66}",
            "pod[a-f0-9]{30,34}",
            "dm-[0-9]{0,2}",
            "loop[0-9]{0,2}",
            "kubepods-(burstable|besteffort)-pod[0-9a-f]{8}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{4}_[0-9a-f]{12}.slice",
            "\\.\\.[0-9]{4}_[0-9]{2}_[0-9]{2}_[0-9]{2}_[0-9]{2}_[0-9]{2}\\.[0-9]{1,9}",
            "<pid>|<id>|<uid>|<tid>|<n>|<fd>",
            ".{0,8}",
        ];
        proptest::collection::vec(part, 0..8).prop_map(|parts| format!("/{}", parts.join("/")))
    }

    proptest! {
        #[test]
        fn twice_is_once(path in paths(), version in 1..=RULES_VERSION) {
            let once = normalise_as(version, path.as_bytes());
            prop_assert_eq!(normalise_as(version, &once), &*once);
        }

        #[test]
        fn a_later_version_after_an_earlier_one_is_the_later_one(
            path in paths(),
            earlier in 1..=RULES_VERSION,
            later in 1..=RULES_VERSION,
        ) {
            prop_assume!(earlier < later);
            let first = normalise_as(earlier, path.as_bytes());
            prop_assert_eq!(normalise_as(later, &first), normalise_as(later, path.as_bytes()));
        }

        #[test]
        fn components_stay_components(path in paths()) {
            prop_assert_eq!(rules(&path).matches('/').count(), path.matches('/').count());
        }
    }
}
