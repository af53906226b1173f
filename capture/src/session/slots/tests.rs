use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(100);
const STABLE_EVERY: Duration = Duration::from_secs(1000);

fn options(slots: u32, kept_for_starts: u32) -> SlotOptions {
    SlotOptions {
        slots,
        kept_for_starts,
        interval: INTERVAL,
        recapture_wait: INTERVAL,
        stable_every: Some(STABLE_EVERY),
    }
}

fn workload(image: u8) -> Workload {
    Workload::parse(&format!("image-{image}:1")).unwrap()
}

/// What the session does with slots, without containers.
struct Session {
    slots: Slots,
    now: Instant,
    began: Instant,
    /// When each window was opened and closed, in seconds.
    windows: BTreeMap<CgroupId, Vec<(u64, Option<u64>)>>,
}

impl Session {
    fn new(options: SlotOptions) -> Self {
        let began = Instant::now();
        Self { slots: Slots::new(options, 7), now: began, began, windows: BTreeMap::new() }
    }

    fn seconds(&self) -> u64 {
        (self.now - self.began).as_secs()
    }

    fn open(&mut self, cgroup: CgroupId, start: bool) {
        self.slots.opened(cgroup, start, self.now);
        let seconds = self.seconds();
        self.windows.entry(cgroup).or_default().push((seconds, None));
    }

    fn close(&mut self, cgroup: CgroupId) {
        self.slots.closed(cgroup, true, self.now);
        self.end(cgroup);
    }

    fn end(&mut self, cgroup: CgroupId) {
        let seconds = self.seconds();
        if let Some((_, end @ None)) = self.windows.get_mut(&cgroup).and_then(|windows| windows.last_mut()) {
            *end = Some(seconds);
        }
    }

    /// True where it is recorded from its start on.
    fn start(&mut self, cgroup: CgroupId, image: u8) -> bool {
        self.slots.met(cgroup, false, self.now);
        self.slots.named(cgroup, workload(image));
        let found = match self.slots.for_start(self.now) {
            ForStart::Free => true,
            ForStart::Instead(other) => {
                self.close(other);
                self.slots.ended_for_start();
                true
            }
            ForStart::None => false,
        };
        if found {
            self.open(cgroup, true);
        }
        if self.slots.ran(cgroup, self.now) {
            self.slots.missed();
        }
        found
    }

    /// It is known whether its workload is stable. True where it loses its window for that.
    fn judge(&mut self, cgroup: CgroupId, stable: bool) -> bool {
        let leaves = self.slots.judged(cgroup, stable);
        if leaves {
            self.slots.closed(cgroup, false, self.now);
            self.end(cgroup);
        }
        leaves
    }

    /// One that runs already, of a workload that is stable.
    fn found_stable(&mut self, cgroup: CgroupId, image: u8) {
        self.found(cgroup, image);
        assert!(!self.judge(cgroup, true));
    }

    fn found(&mut self, cgroup: CgroupId, image: u8) {
        self.slots.met(cgroup, true, self.now);
        self.slots.named(cgroup, workload(image));
    }

    fn gone(&mut self, cgroup: CgroupId) {
        self.slots.gone(cgroup);
        self.end(cgroup);
    }

    fn assign(&mut self) {
        while let Some(cgroup) = self.slots.next(self.now) {
            self.open(cgroup, false);
        }
    }

    /// One second goes by.
    fn tick(&mut self) {
        self.now += Duration::from_secs(1);
        while let Some((cgroup, gives_way)) = self.slots.ended(self.now) {
            if gives_way {
                self.close(cgroup);
                self.assign();
            } else {
                self.slots.turned(cgroup, self.now);
            }
        }
        self.assign();
    }

    fn open_windows(&self) -> usize {
        self.windows.values().flatten().filter(|(_, end)| end.is_none()).count()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A container of an image that lives for so many seconds.
    Start(u8, u16),
    Wait(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_u8, 1..900_u16).prop_map(|(image, life)| Step::Start(image, life)),
        (1..120_u8).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slots_are_never_too_many_and_nobody_waits_forever(
        slots in 1..6_u32,
        kept in 0..5_u32,
        running in 0..12_u64,
        // Images below that number are stable.
        stable in 0..4_u8,
        steps in steps(),
    ) {
        let kept = kept.min(slots - 1);
        let mut session = Session::new(options(slots, kept));
        // Those that are there at first never end.
        let mut ends: BTreeMap<CgroupId, Option<Instant>> = BTreeMap::new();
        for id in 0..running {
            let image = u8::try_from(id % 6).unwrap();
            session.found(CgroupId(id), image);
            prop_assert!(!session.judge(CgroupId(id), image < stable));
            ends.insert(CgroupId(id), None);
        }
        session.assign();
        let mut most_alive = ends.len() as u64;
        let (mut starts, mut recorded) = (0, 0);
        // At the end, all who still run get their turn.
        let rest = std::iter::repeat_n(Step::Wait(100), 60);
        for (step, id) in steps.into_iter().chain(rest).zip(1000..) {
            let seconds = match step {
                Step::Start(image, life) => {
                    starts += 1;
                    let found = session.start(CgroupId(id), image);
                    let leaves = session.judge(CgroupId(id), image < stable);
                    prop_assert!(image < stable || !leaves);
                    recorded += u64::from(found && !leaves);
                    ends.insert(CgroupId(id), Some(session.now + Duration::from_secs(life.into())));
                    most_alive = most_alive.max(ends.len() as u64);
                    prop_assert!(session.open_windows() <= slots as usize);
                    0
                }
                Step::Wait(seconds) => seconds,
            };
            for _ in 0..seconds {
                session.tick();
                let gone: Vec<CgroupId> =
                    ends.iter().filter(|(_, end)| end.is_some_and(|end| end <= session.now)).map(|(id, _)| *id).collect();
                for cgroup in gone {
                    ends.remove(&cgroup);
                    session.gone(cgroup);
                }
                session.assign();

                let open = session.open_windows();
                prop_assert_eq!(open, session.slots.used());
                prop_assert!(open <= slots as usize);
                // No slot that may be used is left while somebody waits.
                let counts = session.slots.counts();
                let waiting = counts.waiting + counts.skipped;
                let free = (slots as usize) > open && session.slots.has_room();
                prop_assert!(waiting == 0 || !free, "{} wait, {} of {} are recorded", waiting, open, slots);
                // Every other slot that comes free goes to who has waited longest, and one does so once an interval.
                let patience = INTERVAL * (2 * u32::try_from(most_alive).unwrap() + 3);
                for (cgroup, container) in &session.slots.containers {
                    let patience = if container.is_stable() { STABLE_EVERY + patience } else { patience };
                    prop_assert!(
                        !container.waits() || container.waits_since + patience >= session.now,
                        "{:?} has waited since {:?}", cgroup, container.waits_since - session.began
                    );
                }
            }
        }
        let counts = session.slots.counts();
        let told = counts.starts + counts.missed_starts + counts.skipped_starts;
        prop_assert_eq!((counts.starts, told), (recorded, starts));
        for cgroup in ends.keys() {
            prop_assert!(session.windows.contains_key(cgroup), "{:?} had no turn", cgroup);
        }
    }
}

#[test]
fn one_that_is_alone_is_recorded_without_a_gap() {
    let mut session = Session::new(options(2, 1));
    session.found(CgroupId(1), 1);
    session.assign();
    for _ in 0..1000 {
        session.tick();
    }
    assert_eq!(session.windows[&CgroupId(1)], [(0, None)]);
    // The same for one that was recorded from its start on.
    session.start(CgroupId(2), 1);
    session.gone(CgroupId(1));
    for _ in 0..1000 {
        session.tick();
    }
    assert_eq!(session.windows[&CgroupId(2)], [(1000, None)]);
}

#[test]
fn windows_do_not_end_in_step() {
    let ends = |seed| {
        let mut slots = Slots::new(options(5, 2), seed);
        let now = Instant::now();
        slots.met(CgroupId(1), true, now);
        slots.opened(CgroupId(1), false, now);
        slots.next_end().unwrap() - now
    };
    let lengths: HashSet<Duration> = (0..20).map(ends).collect();
    assert!(
        lengths.len() > 10
            && lengths.iter().all(|length| *length <= INTERVAL && *length >= INTERVAL.mul_f64(0.9))
    );
}

#[test]
fn workloads_with_fewer_snapshots_come_first_every_other_time() {
    let mut session = Session::new(options(1, 0));
    for id in 1..=4 {
        session.found(CgroupId(id), 1);
    }
    session.assign();
    session.now += Duration::from_secs(1);
    // A second image comes later.
    session.found(CgroupId(5), 2);
    let mut order = vec![1];
    for _ in 0..4 {
        session.now += INTERVAL;
        let (cgroup, gives_way) = session.slots.ended(session.now).unwrap();
        assert!(gives_way);
        session.close(cgroup);
        order.push(session.slots.next(session.now).unwrap().0);
        session.assign();
    }
    // The first turn was by snapshots (there were none); then the longest wait, then snapshots, and so on.
    assert_eq!(order, [1, 2, 5, 3, 5]);
}

#[test]
fn a_start_ends_the_oldest_window_that_is_no_start() {
    let mut session = Session::new(options(3, 1));
    session.found(CgroupId(1), 1);
    session.assign();
    session.now += Duration::from_secs(1);
    session.found(CgroupId(2), 1);
    session.assign();
    assert!(session.start(CgroupId(3), 1));
    // Too early: the others have had too little of their windows.
    assert!(!session.start(CgroupId(4), 1));
    session.now += INTERVAL / LEAST_PART;
    assert!(session.start(CgroupId(5), 1));
    assert!(!session.slots.holds(CgroupId(1)) && session.slots.holds(CgroupId(2)));
    assert!(session.start(CgroupId(6), 1));
    assert!(!session.start(CgroupId(7), 1));
    let counts = session.slots.counts();
    assert_eq!((counts.starts, counts.missed_starts, counts.ended_for_starts), (3, 2, 2));
    assert_eq!((counts.recording, counts.waiting), (3, 4));
}

#[test]
fn who_does_not_start_gives_its_slot_back() {
    let mut session = Session::new(options(2, 1));
    let cgroup = CgroupId(1);
    session.slots.met(cgroup, false, session.now);
    session.open(cgroup, true);
    assert!(session.slots.idle(session.now).is_empty());
    session.now += UNSTARTED;
    assert_eq!(session.slots.idle(session.now), [cgroup]);
    session.slots.closed(cgroup, false, session.now);
    // It does not wait either, until something runs in it.
    assert_eq!(session.slots.next(session.now), None);
    assert!(session.slots.ran(cgroup, session.now));
    assert!(!session.slots.ran(cgroup, session.now));
    assert_eq!(session.slots.next(session.now), Some(cgroup));
}

#[test]
fn a_windows_time_counts_from_the_start_of_its_container() {
    let mut slots = Slots::new(SlotOptions { interval: UNSTARTED / 2, ..options(2, 1) }, 1);
    let (cgroup, now) = (CgroupId(1), Instant::now());
    slots.met(cgroup, false, now);
    slots.opened(cgroup, true, now);
    let later = now + UNSTARTED - Duration::from_secs(1);
    assert_eq!((slots.next_end(), slots.ended(later)), (None, None));
    assert!(!slots.ran(cgroup, later));
    assert!(slots.next_end().unwrap() > later && slots.ended(later).is_none());
    assert_eq!(slots.counts().starts, 1);
}

#[test]
fn who_is_unwanted_has_no_slot() {
    let mut session = Session::new(options(2, 1));
    session.found(CgroupId(1), 1);
    session.assign();
    session.slots.unwanted(CgroupId(1));
    assert_eq!(session.slots.idle(session.now), [CgroupId(1)]);
    session.close(CgroupId(1));
    assert_eq!((session.slots.next(session.now), session.slots.counts().waiting), (None, 0));
    session.slots.wanted(CgroupId(1), session.now);
    assert_eq!(session.slots.next(session.now), Some(CgroupId(1)));
}

#[test]
fn counts_of_workloads_are_bounded() {
    let mut slots = Slots::new(options(2, 1), 1);
    let now = Instant::now();
    for id in 0..3 * WORKLOADS_KEPT as u64 {
        let cgroup = CgroupId(id);
        slots.met(cgroup, true, now);
        slots.named(cgroup, Workload::parse(&format!("image:{id}")).unwrap());
        slots.opened(cgroup, false, now);
        slots.closed(cgroup, true, now);
        slots.gone(cgroup);
    }
    assert!(slots.snapshots.len() <= WORKLOADS_KEPT + 1);
}

#[test]
fn who_is_stable_comes_behind_all_who_learn() {
    let mut session = Session::new(options(2, 1));
    session.found_stable(CgroupId(1), 1);
    session.now += Duration::from_secs(1);
    session.found(CgroupId(2), 2);
    session.assign();
    assert!(session.slots.holds(CgroupId(2)));
    assert_eq!((session.slots.counts().waiting, session.slots.counts().skipped), (0, 1));
    // Who learns keeps the slot, however often its window ends, until the other has waited too long: then it has one window.
    while session.seconds() < STABLE_EVERY.as_secs() - 1 {
        assert!(session.slots.holds(CgroupId(2)));
        session.tick();
    }
    (0..2 * INTERVAL.as_secs()).for_each(|_| session.tick());
    assert_eq!(session.windows[&CgroupId(1)].len(), 1);
    assert!(session.slots.holds(CgroupId(2)));
    // Where nobody learns, it has what is there.
    session.gone(CgroupId(2));
    session.assign();
    assert!(session.slots.holds(CgroupId(1)));
}

#[test]
fn who_learns_gets_the_slot_of_a_stable_one_as_soon_as_its_window_ends() {
    let mut session = Session::new(options(1, 0));
    session.found_stable(CgroupId(1), 1);
    session.found_stable(CgroupId(2), 1);
    session.assign();
    // Among themselves they take turns as all do.
    (0..INTERVAL.as_secs()).for_each(|_| session.tick());
    assert!(session.slots.holds(CgroupId(2)));
    session.found(CgroupId(3), 2);
    (0..INTERVAL.as_secs()).for_each(|_| session.tick());
    assert!(session.slots.holds(CgroupId(3)));
}

#[test]
fn a_stable_start_keeps_only_what_others_leave() {
    let mut session = Session::new(options(3, 1));
    // There is room mid-life, and nobody waits: it is one of those from here on, and the place for starts is free.
    assert!(session.start(CgroupId(1), 1));
    assert!(!session.judge(CgroupId(1), true));
    session.found(CgroupId(2), 2);
    session.assign();
    // There is none left.
    assert!(session.start(CgroupId(3), 1));
    assert!(session.judge(CgroupId(3), true));
    let counts = session.slots.counts();
    assert_eq!((counts.starts, counts.skipped_starts, counts.skipped, counts.recording), (1, 1, 1, 2));
    // One that is stable ends first for a start.
    session.now += INTERVAL / LEAST_PART;
    assert!(session.start(CgroupId(4), 3));
    assert!(session.start(CgroupId(5), 3));
    assert!(!session.slots.holds(CgroupId(1)) && session.slots.holds(CgroupId(2)));
}

#[test]
fn who_learns_and_waits_goes_before_a_stable_start() {
    let mut session = Session::new(options(3, 2));
    session.found(CgroupId(1), 1);
    session.found(CgroupId(2), 1);
    session.assign();
    session.slots.met(CgroupId(3), false, session.now);
    session.open(CgroupId(3), true);
    // It is known before anything has run in it; then it has no start to be missed.
    assert!(session.judge(CgroupId(3), true));
    assert!(!session.slots.ran(CgroupId(3), session.now));
    assert_eq!((session.slots.counts().starts, session.slots.counts().skipped_starts), (0, 1));
}

#[test]
fn what_becomes_stable_keeps_its_window_and_what_learns_anew_is_as_before() {
    let mut session = Session::new(options(2, 1));
    assert!(session.start(CgroupId(1), 1));
    assert!(!session.judge(CgroupId(1), false));
    session.found(CgroupId(2), 2);
    session.found(CgroupId(3), 2);
    session.assign();
    assert!(!session.judge(CgroupId(1), true));
    assert!(session.slots.holds(CgroupId(1)));
    (0..INTERVAL.as_secs()).for_each(|_| session.tick());
    assert!(!session.slots.holds(CgroupId(1)));
    assert!(!session.judge(CgroupId(1), false));
    assert_eq!((session.slots.counts().skipped, session.slots.counts().waiting), (0, 2));
}

#[test]
fn who_is_stable_is_never_recorded_where_that_is_wanted() {
    let mut session = Session::new(SlotOptions { stable_every: None, ..options(2, 1) });
    session.found(CgroupId(1), 1);
    session.assign();
    assert!(!session.judge(CgroupId(1), false) && !session.judge(CgroupId(1), true));
    session.found_stable(CgroupId(2), 2);
    (0..2 * STABLE_EVERY.as_secs()).for_each(|_| session.tick());
    // The window that was open when it became stable was its last one.
    assert_eq!(session.windows[&CgroupId(1)].len(), 1);
    assert_eq!((session.open_windows(), session.slots.counts().skipped), (0, 2));
    assert!(session.start(CgroupId(3), 2));
    assert!(session.judge(CgroupId(3), true));
}
