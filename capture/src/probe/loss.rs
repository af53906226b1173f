//! Counts of what was lost: by the kernel side, which keeps running totals, and in decoding.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapData};

use super::decode::{Undecodable, lost_kind};
use super::{ProbeError, abi, map_error};
use crate::event::{Body, BootTime, CgroupId, Event, Key, LostCause, LostKind, Pid};

type Table = HashMap<MapData, abi::LostKey, u64>;
type LossKey = (CgroupId, LostKind, LostCause);

/// Turns totals into what is new since the last look.
#[derive(Debug, Default)]
pub(super) struct LossReader {
    /// Totals as last seen.
    seen: BTreeMap<(u64, u32, u32), u64>,
    undecodable: BTreeMap<LossKey, u64>,
}

impl LossReader {
    /// Puts in the rows of container 0, which take what finds the table full.
    pub(super) fn new(table: &mut Table) -> Result<Self, ProbeError> {
        for kind in abi::KIND_CREATED..=abi::KIND_CAPABILITY {
            for cause in [
                abi::LOST_RING_FULL,
                abi::LOST_MAP_FULL,
                abi::LOST_SHED,
                abi::LOST_UNREADABLE,
                abi::LOST_BUSY,
            ] {
                table.insert(abi::LostKey { cgroup: 0, kind, cause }, 0, 0).map_err(map_error("lost"))?;
            }
        }
        Ok(Self::default())
    }

    pub(super) fn count_undecodable(&mut self, record: Undecodable) {
        let key = (record.cgroup, lost_kind(record.kind), LostCause::Undecodable);
        *self.undecodable.entry(key).or_default() += 1;
    }

    /// Losses since the last call; those that no container could be found for are container 0's.
    pub(super) fn take(&mut self, table: &Table) -> Result<Vec<Event>, ProbeError> {
        let mut new = std::mem::take(&mut self.undecodable);
        for row in table.iter() {
            let (key, total) = row.map_err(map_error("lost"))?;
            let seen = self.seen.entry((key.cgroup, key.kind, key.cause)).or_default();
            let more = total.saturating_sub(*seen);
            *seen = total;
            if more > 0 {
                let key = (CgroupId(key.cgroup), lost_kind(key.kind), lost_cause(key.cause));
                *new.entry(key).or_default() += more;
            }
        }
        let at = now();
        Ok(new
            .into_iter()
            .map(|((cgroup, kind, cause), events)| Event {
                at,
                cgroup,
                pid: Pid(0),
                key: Key::NONE,
                body: Body::Lost { kind, cause, events },
            })
            .collect())
    }

    pub(super) fn forget(&mut self, table: &mut Table, cgroup: CgroupId) {
        let keys: Vec<_> =
            self.seen.range((cgroup.0, 0, 0)..=(cgroup.0, u32::MAX, u32::MAX)).map(|(key, _)| *key).collect();
        for (cgroup, kind, cause) in keys {
            // Not there is as good.
            let _ = table.remove(&abi::LostKey { cgroup, kind, cause });
            self.seen.remove(&(cgroup, kind, cause));
        }
    }
}

fn lost_cause(cause: u32) -> LostCause {
    match cause {
        abi::LOST_RING_FULL => LostCause::RingFull,
        abi::LOST_MAP_FULL => LostCause::MapFull,
        abi::LOST_SHED => LostCause::Shed,
        abi::LOST_UNREADABLE => LostCause::Unreadable,
        abi::LOST_BUSY => LostCause::Busy,
        _ => LostCause::Undecodable,
    }
}

/// The clock of all events.
pub(super) fn now() -> BootTime {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call. CLOCK_BOOTTIME is there since 2.6.39, so it cannot
    // fail; if it did, the time would stay 0.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    BootTime(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}
