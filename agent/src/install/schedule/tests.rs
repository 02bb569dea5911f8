use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use payload_tools::fetch_plan::Origin;
use payload_tools::format::delta::{Kind, Part};

fn write(image: usize, segment: u64) -> (usize, Job) {
    (image, Job { segment, origin: Origin::Zeroes })
}

/// Zeroes, frames of up to 5 MiB, and copies, by turns.
fn mixed(segment: u64) -> (usize, Job) {
    let frame = 0..segment * 700_000 % (5 << 20);
    let part = Part { kind: Kind::Copy, body: 0..30, segment: 0..1 };
    let origin = match segment % 3 {
        0 => Origin::Zeroes,
        1 => Origin::Frame(frame),
        _ => Origin::Delta(part, frame),
    };
    (1, Job { segment, origin })
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
        let writes = (0..writes).map(mixed).collect();
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
                    let is_alone = work.cost() == left.under_way;
                    let is_within = is_alone || left.under_way <= SEGMENT as u64;
                    prop_assert!(work.cost() == 0 || is_within, "{left:?}");
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
    let Next::Work(flush @ Work::Flush(_)) = left.next(Duty::ReadBack) else { panic!("{left:?}") };
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

#[test]
fn copies_leave_room_for_the_first_segment() {
    let frame = |bytes| (0, Job { segment: 0, origin: Origin::Frame(0..bytes) });
    for (bytes, is_taken) in [(SEGMENT as u64 - 30, true), (SEGMENT as u64 + 1, false)] {
        let writes = vec![frame(bytes), mixed(2)].into();
        let mut left = Left { writes, ..Left::default() };
        let next = left.next(Duty::Copy);
        assert_eq!(matches!(next, Next::Work(_)), is_taken, "{left:?}");
    }
}

#[test]
fn a_postponed_piece_is_the_next_to_be_written() {
    let schedule = Schedule::new(vec![mixed(2), write(0, 7)], Vec::new());
    let piece = schedule.next(Duty::Copy).unwrap();
    let job = Job { segment: 2, origin: Origin::Frame(0..9) };
    piece.postponed(1, job.clone());
    let again = schedule.next(Duty::Write).unwrap();
    assert_eq!(again.work, Work::Write(1, job));
    assert_eq!(schedule.left().under_way, 9);
    again.finished();
    assert_eq!(schedule.left().under_way, 0);
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
