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

    /// Who is in need comes first: small pieces would leave it no room for as long as there are any. So
    /// does the first segment, which another thread waits for room to write.
    fn may_begin(&self, at: usize) -> bool {
        let cost = |at: usize| self.writes.get(at).map_or(0, |(_, job)| job.origin.cost());
        let leaves_room = at == 0 || self.under_way + cost(at) + cost(0) <= SEGMENT as u64;
        self.in_need == 0 && leaves_room && self.has_room(cost(at))
    }

    /// What is fetched and not written is lost with the program: no more than a segment.
    fn has_room(&self, bytes: u64) -> bool {
        self.under_way == 0 || self.under_way + bytes <= SEGMENT as u64
    }

    /// `charge` is what was to be fetched for it.
    fn postponed(&mut self, write: (usize, Job), charge: u64) {
        self.under_way -= charge;
        self.writing -= 1;
        self.writes.push_front(write);
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
                    return Some(Piece { charge, work, end: End::Unfinished });
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
    end: End,
}

/// What became of a piece.
enum End {
    Unfinished,
    Finished,
    Postponed(usize, Job),
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
        self.end = End::Finished;
    }

    /// It is to be brought in another way, by a thread that may do so.
    pub fn postponed(mut self, image: usize, job: Job) {
        self.end = End::Postponed(image, job);
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        let Charge { schedule, bytes } = self.charge;
        let mut left = schedule.left();
        match mem::replace(&mut self.end, End::Unfinished) {
            End::Finished => left.finished(&self.work, bytes),
            End::Postponed(image, job) => left.postponed((image, job), bytes),
            End::Unfinished => left.given_up = true,
        }
        schedule.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
