//! Real containers, under runc.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::{Ended, finish};

/// A container that is removed with its value.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
}

/// Runs podman to its end.
///
/// # Panics
///
/// Where it cannot be started.
pub fn podman(arguments: &[&str]) -> Ended {
    finish(Command::new("podman").args(arguments))
}

const LIMITS: [&str; 6] =
    ["--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

impl Container {
    /// `podman create` with the limits that every machine allows.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn create(name: &str, arguments: &[&str]) -> Self {
        let _ = podman(&["rm", "-f", "-t", "0", name]);
        let _ = podman(&[&["create", "--name", name], &LIMITS[..], arguments].concat()).ok();
        Self { name: name.to_owned() }
    }

    /// `podman init`: everything is set up, and the program waits.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn init(&self) {
        let _ = podman(&["init", &self.name]).ok();
    }

    /// `podman start`.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn start(&self) {
        let _ = podman(&["start", &self.name]).ok();
    }

    /// Runs a command inside, as a health probe or a person would.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn exec(&self, arguments: &[&str]) -> Ended {
        podman(&[&["exec", &self.name], arguments].concat())
    }

    /// `podman wait`: until its program ends.
    ///
    /// # Panics
    ///
    /// Where podman refuses.
    pub fn wait(&self) {
        let _ = podman(&["wait", &self.name]).ok();
    }

    /// Ends and removes it.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = podman(&["rm", "-f", "-t", "0", &self.name]);
    }
}

/// Waits until a condition holds.
///
/// # Panics
///
/// Where it does not within a minute.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
