//! A container that runs under strace from its first instruction on, beside whatever else records it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::podman::{Container, eventually, podman};
use crate::strace::{Truth, parse_within};

/// Such a container, removed with its value.
#[derive(Debug)]
pub struct Traced {
    /// The container.
    pub container: Container,
    log: PathBuf,
    strace: Option<Child>,
}

// As in tests/ground_truth/run.sh.
const CALLS: &str = "trace=open,openat,openat2,creat,open_by_handle_at,chdir,fchdir,chroot,pivot_root,symlink,symlinkat,link,\
    linkat,rename,renameat,renameat2,pwrite64,copy_file_range,sendfile,execve,execveat,clone,clone3,fork,vfork,socket,bind,\
    listen,getsockname,connect,write,writev,sendto,sendmsg,sendmmsg";

impl Traced {
    /// Makes a container that will run a script, with a loopback network of its own. `folder` takes the log.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn create(name: &str, image: &str, script: &Path, settings: &[&str], folder: &Path) -> Self {
        let program = format!("/{}", script.file_name().unwrap_or_default().to_string_lossy());
        let fixed = ["--pull", "never", "--network", "none", "--entrypoint", "[]"];
        let container = Container::create(name, &[&fixed[..], settings, &[image, &program]].concat());
        let _ = podman(&["cp", &script.display().to_string(), &format!("{name}:{program}")]).ok();
        Self { container, log: folder.join(format!("{name}.strace")), strace: None }
    }

    /// Sets the container up, has strace attached, and starts its program.
    ///
    /// # Panics
    ///
    /// Where podman or strace cannot.
    pub fn start(&mut self) {
        self.container.init();
        let pid = podman(&["inspect", "-f", "{{.State.Pid}}", &self.container.name]).ok().trim().to_owned();
        // In an empty network namespace strace finds no addresses, and prints a socket's inode.
        let strace = Command::new("unshare")
            .args([
                "--net",
                "strace",
                "-f",
                "-ttt",
                "-yy",
                "-xx",
                "-s",
                "2048",
                "--decode-pids=pidns",
                "-e",
                CALLS,
            ])
            .arg("-o")
            .arg(&self.log)
            .args(["-p", &pid])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        #[expect(clippy::panic, reason = "a test cannot go on without it")]
        let strace = strace.unwrap_or_else(|error| panic!("strace cannot be started: {error}"));
        self.strace = Some(strace);
        eventually("strace is attached", || all_threads_traced(&pid));
        self.container.start();
    }

    /// Has its program end, by a file `/stop`, and waits until strace has seen that. A call that a signal ends may not tell
    /// what it did.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn end(&mut self) {
        let (empty, stop) = (self.log.with_extension("stop"), format!("{}:/stop", self.container.name));
        // Where it cannot be written, it cannot be copied.
        let _ = std::fs::write(&empty, "");
        let _ = podman(&["cp", &empty.display().to_string(), &stop]).ok();
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(mut strace) = self.strace.take() {
            let _ = strace.wait();
        }
    }

    /// What it did in a span of time (microseconds since the epoch), and everything that it did. [End](Self::end) it before.
    ///
    /// # Panics
    ///
    /// Where there is no log.
    pub fn truth(&self, span: Range<u64>) -> (Truth, Truth) {
        let root = podman(&["mount", &self.container.name]).ok();
        #[expect(clippy::panic, reason = "a test cannot go on without it")]
        let log = std::fs::read(&self.log).unwrap_or_else(|error| panic!("{}: {error}", self.log.display()));
        parse_within(&log, Path::new(root.trim()), span)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = podman(&["kill", &self.container.name]);
        self.wait();
    }
}

fn all_threads_traced(pid: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statuses: Vec<String> =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok()).collect();
    !statuses.is_empty() && statuses.iter().all(|status| !status.contains("TracerPid:\t0\n"))
}
