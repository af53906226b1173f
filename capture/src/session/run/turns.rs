//! What [`super::super::slots`] decides, done: windows are opened, turned, and closed.
//!
//! What was told in a window is still on its way when its slot is given back. So a slot is given back first, then everything
//! is taken in that was told until then, and only then the window closes ([`Fleet::settle`]): never within a batch, whose
//! rest would be overtaken.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use tokio::time::Instant;
use wsp_schemas::image::Workload;

use super::super::late::Late;
use super::super::slots::ForStart;
use super::super::{EventSource, runs};
use super::Fleet;
use crate::event::{BootTime, CgroupId, Event, Exec, Key};
use crate::identity::{Identity, container_of, resolve, short_id};
use crate::recorder::Met;

impl<S: EventSource> Fleet<'_, S> {
    /// A container's cgroup was made: it starts soon.
    pub(super) fn created(&mut self, event: &Event, path: &[u8]) {
        let Some((id, top)) = container_of(path) else { return };
        if self.containers.contains_key(&event.cgroup) || self.stopping.is_cancelled() {
            return;
        }
        let path = PathBuf::from(OsStr::from_bytes(top));
        let pending = resolve(self.sources.clone(), id.clone(), path.clone());
        let identity = Identity::unknown(&id);
        self.meet(event.cgroup, path, id, Met::Unstarted, &identity, pending);
        if self.source.holders().contains(&event.cgroup) {
            self.start(event.cgroup, event.at, true);
        } else {
            self.find_start(event.cgroup);
        }
    }

    /// A program runs in a container: the first one is its start.
    pub(super) fn ran(&mut self, event: &Event, exec: &Exec) {
        let cgroup = event.cgroup;
        self.pauses(cgroup, exec);
        if self.stopping.is_cancelled() {
            return;
        }
        if !self.slots.ran(cgroup, Instant::now()) || self.find_start(cgroup) {
            return;
        }
        self.slots.missed();
        self.config.metrics.start_missed();
        let id = self.containers.get(&cgroup).map(|container| short_id(&container.id)).unwrap_or_default();
        tracing::warn!(container = id, "a container started while no slot was free: it waits for its turn");
    }

    /// Notes whether a program is one of those that only hold a pod's namespaces. By its name alone anyone could pass for
    /// one, so that the image has a say too: [`Fleet::leave_pauses`].
    pub(super) fn pauses(&mut self, cgroup: CgroupId, exec: &Exec) {
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        match (container.only_pauses, is_pause(exec)) {
            (None, pause) => container.only_pauses = Some(pause),
            (Some(true), false) => {
                container.only_pauses = Some(false);
                self.slots.wanted(cgroup, Instant::now());
            }
            _ => {}
        }
    }

    /// Opens the window of a container that starts, wherever a slot can be had.
    fn find_start(&mut self, cgroup: CgroupId) -> bool {
        match self.slots.for_start(Instant::now()) {
            ForStart::Free => {}
            ForStart::Instead(other) => {
                self.give_back(other);
                self.slots.ended_for_start();
            }
            ForStart::None => return false,
        }
        let now = self.source.now();
        self.start(cgroup, now, false)
    }

    /// Opens the window of a container that starts. `claimed`: it took its slot when its cgroup was made, `made`.
    fn start(&mut self, cgroup: CgroupId, made: BootTime, claimed: bool) -> bool {
        let Some(container) = self.containers.get_mut(&cgroup) else { return false };
        match self.source.track(cgroup, &container.path) {
            Ok(true) => {}
            // One more took it by itself.
            Ok(false) => return false,
            Err(error) => {
                tracing::debug!(container = short_id(&container.id), %error, "a new container is gone already");
                if !claimed {
                    return false;
                }
            }
        }
        let tracked = self.source.now();
        container.late = if claimed { Late::claimed(tracked) } else { Late::from(tracked) };
        // Not earlier than its slot was free.
        self.open(cgroup, if claimed { made } else { tracked }, true);
        true
    }

    fn open(&mut self, cgroup: CgroupId, opened: BootTime, start: bool) {
        // What was told while no window was open is told again.
        self.add_repeats(cgroup);
        let frame = self.frame(cgroup);
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        tracing::info!(container = short_id(&container.id), start, "recording");
        container.recorder.open(opened);
        container.frame = Some(frame);
        self.slots.opened(cgroup, start, Instant::now());
    }

    /// Gives free slots to those who wait.
    pub(super) fn assign(&mut self) {
        loop {
            self.settle();
            let Some(cgroup) = self.slots.next(Instant::now()) else { return };
            if !self.join(cgroup) {
                return;
            }
        }
    }

    /// Opens the window of a container that runs. False where no slot is free after all.
    fn join(&mut self, cgroup: CgroupId) -> bool {
        // Its lineage first, as it was seen: what /proc shows of it later may be the worse account.
        self.catch_up();
        let Some(path) = self.containers.get(&cgroup).map(|container| container.path.clone()) else {
            return true;
        };
        match self.source.track(cgroup, &path) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a container cannot be recorded");
                self.slots.unwanted(cgroup);
                return true;
            }
        }
        let opened = self.source.now();
        let initial = match self.source.initial_state(cgroup, &path) {
            Ok(initial) if !runs(&initial) && self.is_over(cgroup) => {
                self.await_start(cgroup);
                return true;
            }
            Ok(initial) => initial,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what runs in a container cannot be read");
                Vec::new()
            }
        };
        if let Some(container) = self.containers.get_mut(&cgroup) {
            container.late = Late::never();
        }
        self.open(cgroup, opened, false);
        self.take(&initial);
        true
    }

    /// Gives a slot back; the window closes in [`Fleet::settle`].
    pub(super) fn give_back(&mut self, cgroup: CgroupId) {
        self.add_titles(cgroup);
        let (at, sensors) = (self.source.now(), self.source.sensors(cgroup));
        if let Some(container) = self.containers.get_mut(&cgroup) {
            container.given_back = Some(at);
            if let Some(frame) = &mut container.frame {
                // What was live at its end: a new container's sensors come up in its first window.
                frame.sensors = sensors;
            }
        }
        self.source.untrack(cgroup);
        self.slots.closed(cgroup, true, Instant::now());
        self.ending.push(cgroup);
    }

    /// Takes in what was told until now.
    pub(super) fn catch_up(&mut self) {
        let rest = self.source.drain();
        self.take(&rest);
        // Where it cannot be read it is still to be read later.
        if let Ok(lost) = self.source.take_lost() {
            self.take(&lost);
        }
    }

    /// Closes the windows whose slots were given back.
    pub(super) fn settle(&mut self) {
        while !self.ending.is_empty() {
            let ending = std::mem::take(&mut self.ending);
            self.catch_up();
            for cgroup in ending {
                self.add_repeats(cgroup);
                // One that is gone by now has closed its window itself.
                let Some(container) = self.containers.get_mut(&cgroup) else { continue };
                let Some(at) = container.given_back.take() else { continue };
                let (window, frame) = (container.recorder.close(at), container.frame.take());
                // Where nothing ran there was no workload.
                if let (Some(window), Some(frame), true) = (window, frame, container.recorder.has_started()) {
                    let (id, identity) = (container.id.clone(), container.identity.clone());
                    self.close(id, identity, window, frame);
                }
            }
        }
    }

    /// Closes the windows whose time is over, and opens the next ones: of the same container, or of one that waits.
    pub(super) fn turn_due(&mut self) {
        while let Some((cgroup, gives_way)) = self.slots.ended(Instant::now()) {
            if gives_way {
                self.give_back(cgroup);
                self.assign();
            } else {
                self.go_on(cgroup);
            }
        }
    }

    /// Turns a window whose time is over, unless a start takes its slot meanwhile. What is told while its repeats are read is in the
    /// window that it was done in, and is told again in the next one like all else.
    fn go_on(&mut self, cgroup: CgroupId) {
        self.catch_up();
        self.complete(cgroup);
        let at = self.source.now();
        // In the ring's order: the times of opens are those of ticks.
        let mut over = false;
        let (after, before): (Vec<Event>, Vec<Event>) = self.source.drain().into_iter().partition(|event| {
            over |= event.cgroup == cgroup && event.at >= at;
            over && event.cgroup == cgroup
        });
        self.take(&before);
        if self.slots.holds(cgroup) {
            let told: Vec<Key> =
                before.iter().filter(|event| event.cgroup == cgroup).map(|event| event.key).collect();
            self.add_repeats_of(cgroup, &told);
            self.turn(cgroup, at);
            self.slots.turned(cgroup, Instant::now());
        }
        self.take(&after);
    }

    /// Turns a window that is full before its time.
    pub(super) fn split(&mut self, cgroup: CgroupId, at: BootTime) {
        tracing::info!(cgroup = cgroup.0, "a window is full: the next one follows");
        self.add_repeats(cgroup);
        self.turn(cgroup, at);
        self.slots.split(cgroup);
    }

    fn turn(&mut self, cgroup: CgroupId, at: BootTime) {
        let next = self.frame(cgroup);
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        let sensors = next.sensors.clone();
        let Some(mut frame) = container.frame.replace(next) else { return };
        frame.sensors = sensors;
        let window = container.recorder.turn(at);
        let (id, identity) = (container.id.clone(), container.identity.clone());
        self.close(id, identity, window, frame);
    }

    /// What is to be seen to from time to time.
    pub(super) fn look_after(&mut self) {
        self.catch_up();
        self.learn_names();
        self.judge();
        self.leave_pauses();
        for cgroup in self.slots.idle(Instant::now()) {
            self.leave(cgroup);
        }
        self.meet_strangers();
        self.part_from_vanished();
        self.part_from_over();
    }

    pub(super) fn learn_names(&mut self) {
        let nameless: Vec<CgroupId> = self.slots.nameless().collect();
        for cgroup in nameless {
            self.learn_name(cgroup);
        }
    }

    pub(super) fn learn_name(&mut self, cgroup: CgroupId) {
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        let Some(identity) = container.identity.peek() else { return };
        // What is no reference stays nameless; the snapshot says so.
        if let Some(Ok(workload)) = identity.image.as_deref().map(Workload::parse) {
            container.runs = Some((workload.key(), identity.digest));
            self.slots.named(cgroup, workload);
        }
    }

    /// Compares all whose workload is known with the profiles that are.
    pub(super) fn judge(&mut self) {
        let known: Vec<CgroupId> =
            self.containers.iter().filter(|(_, one)| one.runs.is_some()).map(|(cgroup, _)| *cgroup).collect();
        for cgroup in known {
            self.judge_one(cgroup);
        }
    }

    pub(super) fn judge_one(&mut self, cgroup: CgroupId) {
        let Some(container) = self.containers.get(&cgroup) else { return };
        let Some((workload, digest)) = &container.runs else { return };
        let stable = self.config.profiles.stable().has(*workload, digest.as_deref());
        let starts = self.slots.counts().skipped_starts;
        if self.slots.judged(cgroup, stable) {
            tracing::info!(
                container = short_id(&container.id),
                "its workload is stable: others have the slot"
            );
            self.leave(cgroup);
        }
        if self.slots.counts().skipped_starts > starts {
            self.config.metrics.start_skipped();
        }
    }

    /// Pods' sandboxes and their pause containers are no workloads.
    fn leave_pauses(&mut self) {
        for (cgroup, container) in &mut self.containers {
            if container.identity.is_sandbox() {
                self.slots.unwanted(*cgroup);
            }
            if container.only_pauses != Some(true) {
                continue;
            }
            match container.identity.peek() {
                Some(Identity { image: Some(image), .. }) if !image.contains("pause") => {
                    container.only_pauses = Some(false);
                }
                Some(_) => self.slots.unwanted(*cgroup),
                None => {}
            }
        }
    }

    /// Takes a slot back without a snapshot.
    fn leave(&mut self, cgroup: CgroupId) {
        self.source.untrack(cgroup);
        self.add_repeats(cgroup);
        if let Some(container) = self.containers.get_mut(&cgroup) {
            tracing::debug!(container = short_id(&container.id), "its slot is taken back");
            container.recorder.close(self.source.now());
            container.frame = None;
        }
        self.slots.closed(cgroup, false, Instant::now());
    }

    /// Who holds a slot and was not told of, because that was lost. What was just made is still on its way: so it takes two
    /// looks.
    fn meet_strangers(&mut self) {
        let mut holders = self.source.holders();
        holders.retain(|cgroup| !self.slots.holds(*cgroup));
        let before = std::mem::replace(&mut self.strangers, holders.clone());
        for cgroup in holders.into_iter().filter(|cgroup| before.contains(cgroup)) {
            self.source.untrack(cgroup);
            if self.containers.contains_key(&cgroup) {
                continue;
            }
            let found = self.source.existing().into_iter().find(|(existing, _)| *existing == cgroup);
            let Some((_, path)) = found else { continue };
            let Some((id, _)) = container_of(path.as_os_str().as_bytes()) else { continue };
            let pending = resolve(self.sources.clone(), id.clone(), path.clone());
            let identity = Identity::unknown(&id);
            self.meet_found(cgroup, path, id, &identity, pending);
        }
    }

    /// Who holds a slot and is no more, because its end was lost.
    fn part_from_vanished(&mut self) {
        let vanished: Vec<CgroupId> = self
            .containers
            .iter()
            .filter(|(cgroup, container)| {
                self.slots.holds(**cgroup) && self.source.cgroup_id(&container.path) != Some(**cgroup)
            })
            .map(|(cgroup, _)| *cgroup)
            .collect();
        for cgroup in vanished {
            self.gone(cgroup, self.source.now());
        }
    }

    /// Who ended, and left its cgroup behind: there is nothing to record in it. It takes two looks: ended containers mostly lose
    /// their cgroup at once, and what moves from one cgroup to another may be seen in neither.
    fn part_from_over(&mut self) {
        let runs = |cgroup: &CgroupId| self.slots.runs(*cgroup) && self.is_over(*cgroup);
        let over: Vec<CgroupId> = self.containers.keys().copied().filter(runs).collect();
        let mut again = over.clone();
        let before = std::mem::replace(&mut self.over, over);
        again.retain(|cgroup| before.contains(cgroup));
        if again.is_empty() {
            return;
        }
        // What was told until now is its own.
        self.catch_up();
        for cgroup in again {
            self.await_start(cgroup);
        }
    }

    /// Whether nothing of a container lives, be it in its cgroup or elsewhere.
    fn is_over(&self, cgroup: CgroupId) -> bool {
        let container = self.containers.get(&cgroup);
        container.is_some_and(|container| self.source.is_over(&container.path, &container.recorder.pids()))
    }

    /// Ends a container of which nothing lives, and has it start anew where something ever runs in its cgroup again.
    fn await_start(&mut self, cgroup: CgroupId) {
        let Some(container) = self.containers.get(&cgroup) else { return };
        let (path, id, pending) = (container.path.clone(), container.id.clone(), container.identity.clone());
        tracing::debug!(
            container = short_id(&id),
            "nothing of a container lives, and its cgroup is still there"
        );
        self.gone(cgroup, self.source.now());
        // The cgroup may go, or be made anew, at any moment; then that is told of, or was told of already.
        let is_there = |fleet: &Self| fleet.source.cgroup_id(&path) == Some(cgroup);
        if is_there(self) {
            // As which process it began before says nothing of what starts next.
            let identity = Identity::unknown(&id);
            self.meet_found(cgroup, path.clone(), id, &identity, pending);
            if !is_there(self) {
                self.gone(cgroup, self.source.now());
            }
        }
    }
}

/// Programs that hold a pod's namespaces, and do nothing else.
fn is_pause(exec: &Exec) -> bool {
    match exec.exe.path.as_bytes() {
        b"/pause" | b"/usr/bin/pod" => true,
        b"/catatonit" => exec.argv.get(1).is_some_and(|option| option.as_bytes() == b"-P"),
        _ => false,
    }
}
