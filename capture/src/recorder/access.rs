//! What was done to a file, in the words of the column `access`.

use crate::event::Change;

/// Words of the column `access`, sorted. `flags` are those of x86-64; the status flags that matter here are the same on
/// arm64.
pub(super) fn words(flags: u32) -> Vec<&'static str> {
    const O_ACCMODE: u32 = 0o3;
    const O_CREAT: u32 = 0o100;
    const O_TRUNC: u32 = 0o1000;
    const O_APPEND: u32 = 0o2000;
    const O_PATH: u32 = 0o10_000_000;
    if flags & O_PATH != 0 {
        return vec!["lookup"];
    }
    let mut words = Vec::new();
    if flags & O_APPEND != 0 {
        words.push("append");
    }
    if flags & O_CREAT != 0 {
        words.push("create");
    }
    match flags & O_ACCMODE {
        0 => words.push("read"),
        1 => {}
        2 => words.push("read"),
        // Access mode 3 checks both permissions and allows neither: a descriptor for ioctl alone.
        _ => words.push("lookup"),
    }
    if flags & O_TRUNC != 0 {
        words.push("truncate");
    }
    if writes(flags) {
        words.push("write");
    }
    words.sort_unstable();
    words
}

/// What a change does to its file, or to the old name of two.
pub(super) fn of_change(change: Change, flags: u32) -> Vec<&'static str> {
    match change {
        Change::Open => words(flags),
        Change::Unlink => vec!["unlink"],
        Change::Rmdir => vec!["rmdir"],
        Change::Rename => vec!["rename_from"],
        Change::Link => vec!["link_from"],
        Change::Symlink => vec!["symlink"],
        Change::Mkdir => vec!["mkdir"],
        Change::Mknod => vec!["mknod"],
        Change::Chmod => vec!["chmod"],
        Change::Chown => vec!["chown"],
        Change::Truncate => vec!["truncate"],
        Change::Exec => vec!["exec"],
    }
}

/// What a change with two names does to the new one.
pub(super) fn of_new_name(change: Change) -> Vec<&'static str> {
    match change {
        Change::Link => vec!["link_to"],
        _ => vec!["rename_to"],
    }
}

/// True where the open allows writing.
pub(super) fn writes(flags: u32) -> bool {
    matches!(flags & 0o3, 1 | 2) && flags & 0o10_000_000 == 0
}

/// Adds words to sorted ones.
pub(super) fn unite(words: &mut Vec<&'static str>, more: &[&'static str]) {
    for word in more {
        if let Err(at) = words.binary_search(word) {
            words.insert(at, word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_words() {
        assert_eq!(words(0), ["read"]);
        assert_eq!(words(0o1101), ["create", "truncate", "write"]);
        assert_eq!(words(0o2102), ["append", "create", "read", "write"]);
        assert_eq!(words(0o10_000_002), ["lookup"]);
        let mut union = words(0);
        unite(&mut union, &words(0o1));
        unite(&mut union, &words(0));
        assert_eq!(union, ["read", "write"]);
    }
}
