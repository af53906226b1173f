//! What was done to a file, in the words of the column `access`.

/// Words for the flags of an open, by their names; sorted.
pub(super) fn of_flags<'a>(flags: impl Iterator<Item = &'a str>) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = flags
        .flat_map(|flag| -> &[&'static str] {
            match flag {
                "O_RDONLY" => &["read"],
                "O_WRONLY" => &["write"],
                "O_RDWR" => &["read", "write"],
                "O_CREAT" => &["create"],
                "O_TRUNC" => &["truncate"],
                "O_APPEND" => &["append"],
                "O_PATH" => &["lookup"],
                _ => &[],
            }
        })
        .copied()
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The word for what a system call, or a kernel function behind one, does to the file that it is about. Of an open it is not told.
pub(super) fn of_call(function: &str) -> Option<&'static str> {
    const CALLS: [(&str, &str); 17] = [
        ("unlink", "unlink"),
        ("rmdir", "rmdir"),
        ("rename", "rename_from"),
        ("symlink", "symlink"),
        ("readlink", "lookup"),
        ("link", "link_from"),
        ("mkdir", "mkdir"),
        ("mknod", "mknod"),
        ("chmod", "chmod"),
        ("chown", "chown"),
        ("ftruncate", "truncate"),
        ("truncate", "truncate"),
        ("execve", "exec"),
        ("bprm", "exec"),
        ("mmap", "read"),
        ("read", "read"),
        ("write", "write"),
    ];
    CALLS.into_iter().find_map(|(part, word)| function.contains(part).then_some(word))
}

/// A kernel function's name without what the kernel puts around a system call's.
pub(super) fn call_name(function: &str) -> &str {
    ["__x64_sys_", "__arm64_sys_", "__ia32_sys_", "__ia32_compat_sys_", "sys_"]
        .into_iter()
        .find_map(|prefix| function.strip_prefix(prefix))
        .unwrap_or(function)
}
