//! A container that was tracked later than it started: lineage is told from the cgroup's creation on, activity only from
//! the tracking on. What was done in between nobody saw, and the snapshot must say so.

use crate::event::{Body, BootTime, Event, Key, LostCause, LostKind, Pid};

/// Watches for the first exec of a new container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Late {
    tracked: BootTime,
    waiting: bool,
    /// What is not told before the tracking.
    kinds: &'static [LostKind],
}

impl Late {
    /// For a container that was met before its first exec; `tracked` is when its activity was told at the latest.
    pub(super) fn from(tracked: BootTime) -> Self {
        let kinds = &[
            LostKind::Open,
            LostKind::Change,
            LostKind::Connect,
            LostKind::Listen,
            LostKind::Accept,
            LostKind::Dns,
            LostKind::Syscall,
            LostKind::Capability,
        ];
        Self { tracked, waiting: true, kinds }
    }

    /// The same for one that the kernel side claimed at its creation: only the programs on its cgroup come later.
    pub(super) fn claimed(tracked: BootTime) -> Self {
        Self { kinds: &[LostKind::Dns], ..Self::from(tracked) }
    }

    /// For a container that ran already.
    pub(super) fn never() -> Self {
        Self { tracked: BootTime(0), waiting: false, kinds: &[] }
    }

    /// The losses that follow from an event.
    pub(super) fn losses(&mut self, event: &Event) -> Vec<Event> {
        if !self.waiting || !matches!(event.body, Body::Exec(_)) {
            return Vec::new();
        }
        self.waiting = false;
        if event.at >= self.tracked {
            return Vec::new();
        }
        let lost = |kind: &LostKind| Event {
            pid: Pid(0),
            key: Key::NONE,
            body: Body::Lost { kind: *kind, cause: LostCause::Late, events: 1 },
            ..event.clone()
        };
        self.kinds.iter().map(lost).collect()
    }
}
