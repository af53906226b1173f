//! What a daemon needs beside the kernel: a clock, a spool, a store.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use chrono::{DateTime, Datelike as _, Utc};
use wsp_schemas::store::{Access, Missing, advice};

use super::{Check, Status, with_causes};
use crate::sink::{Sink, SinkError};

/// Below this, an outage of the store soon loses snapshots.
const ROOM: u64 = 1 << 30;
/// What merges take for impossible is before 2020; this program is younger.
const YEARS: std::ops::Range<i32> = 2025..2100;

/// Whether the time can be true.
pub fn clock() -> Check {
    clock_at(Utc::now(), is_synchronised())
}

fn clock_at(now: DateTime<Utc>, synchronised: bool) -> Check {
    let fix = "set the clock: merges keep snapshots of impossible times out of profiles".to_owned();
    let status = if YEARS.contains(&now.year()) { Status::Ok } else { Status::Failed { fix } };
    let note = if synchronised { "" } else { ", not synchronised (NTP); up to a day off is tolerated" };
    Check { name: "clock", found: format!("{}{note}", now.format("%Y-%m-%d %H:%M UTC")), status }
}

fn is_synchronised() -> bool {
    // SAFETY: all zero is a valid timex that asks for nothing to be changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex that lives through the call.
    unsafe { libc::adjtimex(&raw mut state) };
    state.status & libc::STA_UNSYNC == 0
}

/// Whether the folder of the spool can be written, and has room. Leaves nothing behind.
pub fn spool(folder: &Path) -> Check {
    let name = "spool";
    // The nearest folder that is there: the rest is made at the start.
    let there = folder.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
    let trial = there.join(format!(".wsp-doctor-{}", std::process::id()));
    let written = fs::write(&trial, [0; 4096]).and(fs::remove_file(&trial));
    if let Err(error) = written {
        let fix = "give a folder that this user can write with --spool".to_owned();
        let found = format!("{} cannot be written ({error})", folder.display());
        return Check { name, found, status: Status::Failed { fix } };
    }
    match free_bytes(there) {
        Ok(free) => {
            let fix = "give it room for an outage of the store (1 GiB by default), or lower --spool-limit";
            let status = if free < ROOM { Status::Degraded { fix: fix.to_owned() } } else { Status::Ok };
            Check { name, found: format!("{}, {} MiB are free", folder.display(), free >> 20), status }
        }
        Err(error) => {
            let found = format!("{}, free room unknown ({error})", folder.display());
            Check { name, found, status: Status::Ok }
        }
    }
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: every bit pattern is a valid statvfs.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-ended, and the buffer of the size that statvfs fills.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the store answers.
pub async fn store(url: &str, access: &Access) -> Check {
    let name = "store";
    let fix = |error: &SinkError| {
        let usual = || "check the URL, the network, and the provider's environment variables".to_owned();
        advice(error).unwrap_or_else(usual)
    };
    let sink = match access.open(url, Missing::Create) {
        Ok(store) => Sink::from(store),
        Err(error) => {
            let error = error.into();
            return Check { name, found: with_causes(&error), status: Status::Failed { fix: fix(&error) } };
        }
    };
    match sink.check().await {
        Ok(()) => Check { name, found: format!("{url} answers"), status: Status::Ok },
        // A daemon starts all the same, and keeps snapshots in the spool.
        Err(error) => {
            Check { name, found: with_causes(&error), status: Status::Degraded { fix: fix(&error) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_times_are_told() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(clock_at(at("2026-01-02T03:04:05Z"), true).found, "2026-01-02 03:04 UTC");
        assert!(clock_at(at("2026-01-02T03:04:05Z"), false).found.contains("NTP"));
        assert!(matches!(clock_at(at("1970-01-01T00:10:00Z"), true).status, Status::Failed { .. }));
    }

    #[test]
    fn a_spool_is_tried_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let check = spool(&folder.path().join("a/b"));
        assert!(check.found.contains("are free") && check.found.contains("a/b"), "{check:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(free_bytes(folder.path()).unwrap() > 0);
        // Nobody can write there, not even root.
        let check = spool(Path::new("/proc/1"));
        assert!(matches!(check.status, Status::Failed { .. }), "{check:?}");
    }

    #[tokio::test]
    async fn a_store_answers_or_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(store(folder.path().to_str().unwrap(), &Access::default()).await.status, Status::Ok);
        let check = store("ftp://x/y", &Access::default()).await;
        assert!(matches!(check.status, Status::Failed { .. }) && check.found.contains("ftp"), "{check:?}");
    }
}
