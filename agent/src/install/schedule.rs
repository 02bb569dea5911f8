//! Which piece of a stage comes next, for threads that each take one, do it and
//! take another: while one segment is on its way from the network, another is
//! written and a third read back.
//!
//! A segment is read back only after a flush that began when its write had
//! ended: before that the medium may answer from its cache.

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use payload_tools::fetch_plan::Job;
use payload_tools::format::SEGMENT;

use super::crew::Duty;

/// A segment of one of the images of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Which of the stage's images.
    pub image: usize,
    /// Which of its segments.
    pub segment: u64,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Bring a segment to the target.
    Write(usize, Job),
    /// Flush the target: these segments are in it.
    Flush(Vec<Segment>),
    /// Read a segment back.
    ReadBack(Segment),
}

impl Work {
    /// Bytes to fetch.
    fn cost(&self) -> u64 {
        match self {
            Work::Write(_, job) => job.origin.cost(),
            Work::Flush(_) | Work::ReadBack(_) => 0,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Work(Work),
    /// Others are at work whose end makes more.
    Wait,
    Nothing,
}

/// What is left, and what is being done.
#[derive(Debug, Default)]
struct Left {
    writes: VecDeque<(usize, Job)>,
    writing: usize,
    /// Bytes to fetch of what is being written.
    under_way: u64,
    /// Threads that wait to fetch more than their piece was taken for.
    in_need: usize,
    /// Written since the last flush began.
    written: Vec<Segment>,
    flushing: bool,
    /// Flushed, not read yet.
    flushed: VecDeque<Segment>,
    given_up: bool,
}

impl Left {
    /// While there is something to write, who writes leaves reading to the others.
    fn next(&mut self, duty: Duty) -> Next {
        if self.given_up {
            return Next::Nothing;
        }
        if let Some(at) = self.first_for(duty)
            && self.may_begin(at)
            && let Some((image, job)) = self.writes.remove(at)
        {
            self.writing += 1;
            self.under_way += job.origin.cost();
            return Next::Work(Work::Write(image, job));
        }
        if let Some(segment) = self.flushed.pop_front() {
            return Next::Work(Work::ReadBack(segment));
        }
        let all_written = self.writes.is_empty() && self.writing == 0;
        // One flush follows another: a power cut takes what was written since the last began.
        if !self.flushing && !self.written.is_empty() {
            self.flushing = true;
            return Next::Work(Work::Flush(mem::take(&mut self.written)));
        }
        match !all_written || self.flushing {
            true => Next::Wait,
            false => Next::Nothing,
        }
    }

    /// Where the first segment is that a thread is there to write.
    fn first_for(&self, duty: Duty) -> Option<usize> {
        match duty {
            Duty::Write => (!self.writes.is_empty()).then_some(0),
            Duty::Copy => self.writes.iter().position(|(_, job)| !job.origin.is_decoded()),
            Duty::ReadBack => None,
        }
    }

    /// Who is in need comes first: small pieces would leave it no room for as long as there are any.
    fn may_begin(&self, at: usize) -> bool {
        let next = self.writes.get(at).map_or(0, |(_, job)| job.origin.cost());
        self.in_need == 0 && self.has_room(next)
    }

    /// What is fetched and not written is lost with the program: no more than a segment.
    fn has_room(&self, bytes: u64) -> bool {
        self.under_way == 0 || self.under_way + bytes <= SEGMENT as u64
    }

    /// `charge` is what was to be fetched for it.
    fn finished(&mut self, work: &Work, charge: u64) {
        self.under_way -= charge;
        match work {
            Work::Write(image, Job { segment, .. }) => {
                self.writing -= 1;
                self.written.push(Segment { image: *image, segment: *segment });
            }
            Work::Flush(segments) => {
                self.flushing = false;
                self.flushed.extend(segments);
            }
            Work::ReadBack(_) => {}
        }
    }
}

/// The work of a stage, shared by its threads.
pub(super) struct Schedule {
    left: Mutex<Left>,
    changed: Condvar,
}

impl Schedule {
    /// `writes` in their order; `there` is in the target already, and is only read back.
    pub fn new(writes: Vec<(usize, Job)>, there: Vec<Segment>) -> Self {
        let left = Left { writes: writes.into(), written: there, ..Left::default() };
        Schedule { left: Mutex::new(left), changed: Condvar::new() }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        // A thread that panicked has given up its piece, which is in `left`.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece for a thread, waited for while others may make one. `None`: all is done, or a
    /// thread has dropped its piece unfinished.
    pub fn next(&self, duty: Duty) -> Option<Piece<'_>> {
        let mut left = self.left();
        loop {
            match left.next(duty) {
                Next::Work(work) => {
                    let charge = Charge { schedule: self, bytes: work.cost() };
                    return Some(Piece { charge, work, finished: false });
                }
                Next::Nothing => return None,
                Next::Wait => {
                    left = self.changed.wait(left).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// A piece of work that a thread has taken. Dropped unfinished, by an error or a panic, it ends
/// the stage for all threads.
pub(super) struct Piece<'s> {
    /// What is to be done.
    pub work: Work,
    /// What is fetched for it.
    pub charge: Charge<'s>,
    finished: bool,
}

/// Bytes that a piece fetches, which leave the others less room.
pub(super) struct Charge<'s> {
    schedule: &'s Schedule,
    bytes: u64,
}

impl Charge<'_> {
    /// So many bytes are fetched, in the place of others that were no good: waits until there is
    /// room for them. `Break`: another thread has given the stage up.
    pub fn change_to(&mut self, bytes: u64) -> ControlFlow<()> {
        let mut left = self.schedule.left();
        left.under_way -= mem::take(&mut self.bytes);
        left.in_need += 1;
        self.schedule.changed.notify_all();
        while !left.given_up && !left.has_room(bytes) {
            left = self.schedule.changed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        left.in_need -= 1;
        self.schedule.changed.notify_all();
        if left.given_up {
            return ControlFlow::Break(());
        }
        left.under_way += bytes;
        self.bytes = bytes;
        ControlFlow::Continue(())
    }
}

impl Piece<'_> {
    /// It is done.
    pub fn finished(mut self) {
        self.finished = true;
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        let Charge { schedule, bytes } = self.charge;
        let mut left = schedule.left();
        match self.finished {
            true => left.finished(&self.work, bytes),
            false => left.given_up = true,
        }
        schedule.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use payload_tools::fetch_plan::Origin;

    fn write(image: usize, segment: u64) -> (usize, Job) {
        (image, Job { segment, origin: Origin::Zeroes })
    }

    fn segments(image: usize, count: u64) -> Vec<Segment> {
        (0..count).map(|segment| Segment { image, segment }).collect()
    }

    /// What has happened to the medium.
    #[derive(Default)]
    struct Medium {
        written: HashSet<(usize, u64)>,
        durable: HashSet<(usize, u64)>,
        read: HashSet<(usize, u64)>,
    }

    impl Medium {
        fn begins(&self, work: &Work) {
            let key = |of: &Segment| (of.image, of.segment);
            match work {
                Work::Write(..) => {}
                Work::Flush(of) => assert!(of.iter().all(|of| self.written.contains(&key(of)))),
                Work::ReadBack(of) => assert!(self.durable.contains(&key(of)), "{of:?}"),
            }
        }

        fn ends(&mut self, work: &Work) {
            match work {
                Work::Write(image, job) => assert!(self.written.insert((*image, job.segment))),
                Work::Flush(of) => self.durable.extend(of.iter().map(|of| (of.image, of.segment))),
                Work::ReadBack(of) => assert!(self.read.insert((of.image, of.segment)), "twice"),
            }
        }
    }

    proptest! {
        /// Threads take pieces, and finish them in any order.
        #[test]
        fn each_segment_is_written_then_flushed_then_read_back(
            (writes, there, threads) in (0..70_u64, 0..40_u64, 1..6_usize),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 16),
        ) {
            let there = segments(0, there);
            let written = there.iter().map(|of| (of.image, of.segment)).collect();
            let mut medium = Medium { written, ..Medium::default() };
            let all = writes as usize + there.len();
            let writes = (0..writes).map(|segment| write(1, segment)).collect();
            let mut left = Left { writes, written: there, ..Left::default() };

            let mut taken: Vec<Work> = Vec::new();
            let mut picks = picks.iter().cycle();
            loop {
                // One that only reads may wait for one that writes, which asks again.
                let duties = [Duty::Write, Duty::Copy, Duty::ReadBack];
                let asks = picks.next().map_or(Duty::Write, |pick| duties[pick.index(3)]);
                let duty = if taken.is_empty() { Duty::Write } else { asks };
                let next = if taken.len() < threads { left.next(duty) } else { Next::Wait };
                match next {
                    Next::Work(work) => {
                        medium.begins(&work);
                        taken.push(work);
                    }
                    Next::Nothing if taken.is_empty() => break,
                    Next::Nothing | Next::Wait => {
                        prop_assert!(!taken.is_empty(), "all wait for nobody: {left:?}");
                        let pick = picks.next().map_or(0, |pick| pick.index(taken.len()));
                        let work = taken.swap_remove(pick);
                        medium.ends(&work);
                        left.finished(&work, work.cost());
                    }
                }
            }
            prop_assert_eq!(medium.read.len(), all);
        }
    }

    /// A crash costs what is fetched and not written.
    #[test]
    fn no_more_than_a_segments_bytes_are_under_way() {
        const MIB: u64 = 1 << 20;
        let job = |segment, bytes| (0, Job { segment, origin: Origin::Frame(0..bytes) });
        let writes = vec![job(0, 5 * MIB), job(1, MIB), job(2, 3 * MIB), job(3, 1)].into();
        let mut left = Left { writes, ..Left::default() };
        let mut taken = Vec::new();
        for expected in [1, 2, 1] {
            while let Next::Work(work) = left.next(Duty::Write) {
                taken.push(work);
            }
            let writing = taken.iter().filter(|work| matches!(work, Work::Write(..))).count();
            assert_eq!(writing, expected, "{left:?}");
            taken.drain(..).for_each(|work| left.finished(&work, work.cost()));
        }
    }

    #[test]
    fn who_writes_reads_back_when_nothing_is_left_to_write() {
        let writes = vec![write(1, 0)].into();
        let mut left = Left { writes, written: segments(0, 20), ..Left::default() };
        let Next::Work(flush @ Work::Flush(_)) = left.next(Duty::ReadBack) else {
            panic!("{left:?}")
        };
        left.finished(&flush, 0);
        assert!(matches!(left.next(Duty::ReadBack), Next::Work(Work::ReadBack(_))), "{left:?}");
        assert!(matches!(left.next(Duty::Write), Next::Work(Work::Write(..))), "{left:?}");
        assert!(matches!(left.next(Duty::Write), Next::Work(Work::ReadBack(_))), "{left:?}");
    }

    #[test]
    fn who_copies_leaves_what_is_decoded_to_the_others() {
        let frame = (0, Job { segment: 0, origin: Origin::Frame(0..10) });
        let mut left = Left { writes: vec![frame, write(0, 1)].into(), ..Left::default() };
        let Next::Work(Work::Write(0, Job { segment: 1, .. })) = left.next(Duty::Copy) else {
            panic!("{left:?}")
        };
        assert_eq!(left.next(Duty::Copy), Next::Wait);
        let next = left.next(Duty::Write);
        assert!(matches!(next, Next::Work(Work::Write(0, Job { segment: 0, .. }))), "{left:?}");
    }

    /// As when a delta is no good, and its segment comes from the full payload.
    #[test]
    fn a_piece_that_fetches_more_waits_for_room_and_goes_before_new_ones() {
        let job = |segment, bytes| (0, Job { segment, origin: Origin::Frame(0..bytes) });
        let schedule = Schedule::new(vec![job(0, 10), job(1, 10), job(2, 10)], Vec::new());
        let mut piece = schedule.next(Duty::Write).unwrap();
        let other = schedule.next(Duty::Write).unwrap();
        std::thread::scope(|scope| {
            let more = scope.spawn(move || {
                assert!(piece.charge.change_to(SEGMENT as u64).is_continue());
                let under_way = schedule_of(&piece).left().under_way;
                piece.finished();
                under_way
            });
            while schedule.left().in_need == 0 && !more.is_finished() {
                std::thread::yield_now();
            }
            assert_eq!(schedule.left().next(Duty::Write), Next::Wait);
            other.finished();
            assert_eq!(more.join().unwrap(), SEGMENT as u64);
        });
        assert_eq!(schedule.left().under_way, 0);
        assert!(schedule.next(Duty::Write).is_some());
    }

    fn schedule_of<'s>(piece: &Piece<'s>) -> &'s Schedule {
        piece.charge.schedule
    }

    #[test]
    fn who_waits_for_room_hears_that_the_stage_is_given_up() {
        let job = |segment| (0, Job { segment, origin: Origin::Frame(0..10) });
        let schedule = Schedule::new(vec![job(0), job(1)], Vec::new());
        let mut piece = schedule.next(Duty::Write).unwrap();
        let other = schedule.next(Duty::Write).unwrap();
        std::thread::scope(|scope| {
            let more = scope.spawn(move || piece.charge.change_to(SEGMENT as u64).is_break());
            drop(other);
            assert!(more.join().unwrap());
        });
    }

    #[test]
    fn a_dropped_piece_ends_the_wait_of_the_others() {
        let schedule = Schedule::new(vec![write(0, 0)], Vec::new());
        std::thread::scope(|scope| {
            let piece = schedule.next(Duty::Write).unwrap();
            let other = scope.spawn(|| schedule.next(Duty::ReadBack).is_none());
            drop(piece);
            assert!(other.join().unwrap());
        });
    }
}
