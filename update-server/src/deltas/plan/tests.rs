use payload_tools::format::Hash;

use super::Standing::{Failed, Made, NotWorth, Unkept, Unknown};
use super::*;

const MIB: u64 = 1 << 20;
const NOW: i64 = 1_800_000_000;

/// The delta of that name. Names sort as their hashes' first bytes do.
fn pair(name: u8) -> Pair {
    Pair { to: Hash::from_bytes([name; 32]), from: Hash::from_bytes([0; 32]) }
}

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).unwrap()
}

/// (name, devices, MiB of the image, standing).
type Row = (u8, u64, u64, Standing);

/// What is planned with room for 100 MiB: what goes, what is made, in how many seconds one is tried.
fn planned(rows: &[Row]) -> (Vec<u8>, Option<u8>, Option<i64>) {
    let candidate = |&(name, devices, image, standing): &Row| Candidate {
        pair: pair(name),
        devices,
        image_bytes: image * MIB,
        standing,
    };
    let candidates: Vec<_> = rows.iter().map(candidate).collect();
    let plan = plan(&candidates, 100 * MIB, at(0));
    let mut backwards = candidates.clone();
    backwards.reverse();
    assert_eq!(super::plan(&backwards, 100 * MIB, at(0)), plan, "the order of candidates counts");
    let name = |pair: &Pair| pair.to.as_bytes()[0];
    let wait = plan.retry_at.map(|at| at.as_second() - NOW);
    (plan.remove.iter().map(name).collect(), plan.next.as_ref().map(name), wait)
}

/// What is expected of [`planned`].
type Expected = (&'static [u8], Option<u8>, Option<i64>);

fn check(what: &str, rows: &[Row], (remove, next, wait): Expected) {
    assert_eq!(planned(rows), (remove.to_vec(), next, wait), "{what}");
}

#[test]
fn the_most_wanted_is_made_first() {
    check("nothing is wanted", &[], (&[], None, None));
    check(
        "the most wanted first",
        &[(1, 3, 10, Unknown), (2, 9, 10, Unknown), (3, 4, 10, Unknown)],
        (&[], Some(2), None),
    );
    check(
        "wanted alike: the larger image first",
        &[(1, 3, 10, Unknown), (2, 3, 900, Unknown)],
        (&[], Some(2), None),
    );
    check(
        "wanted by none: not made",
        &[(1, 0, 10, Unknown), (2, 0, 10, Unkept(1))],
        (&[], None, None),
    );
    check(
        "what is there is not made again",
        &[(1, 9, 10, Made(MIB)), (2, 1, 10, Unknown)],
        (&[], Some(2), None),
    );
    check(
        "wanted by none any more: kept while there is room",
        &[(1, 0, 10, Made(60 * MIB)), (2, 5, 10, Made(40 * MIB))],
        (&[], None, None),
    );
}

#[test]
fn the_room_is_for_the_most_wanted() {
    check(
        "and the first to go",
        &[(1, 0, 10, Made(60 * MIB)), (2, 5, 10, Made(41 * MIB))],
        (&[1], None, None),
    );
    check(
        "one that is wanted more and is known to fit is made while the least wanted is in use",
        &[(1, 2, 10, Made(50 * MIB)), (2, 3, 10, Made(40 * MIB)), (3, 9, 10, Unkept(30 * MIB))],
        (&[], Some(3), None),
    );
    check(
        "which stays while the other cannot be made",
        &[(1, 2, 10, Made(100 * MIB)), (2, 9, 10, Failed(3, at(1)))],
        (&[], None, Some(15)),
    );
    check(
        "and goes once it was",
        &[(1, 2, 10, Made(50 * MIB)), (2, 3, 10, Made(40 * MIB)), (3, 9, 10, Made(30 * MIB))],
        (&[1], None, None),
    );
    check(
        "one that had no room is not made again for less wanted room",
        &[(1, 9, 10, Made(80 * MIB)), (2, 3, 10, Unkept(30 * MIB))],
        (&[], None, None),
    );
    check(
        "what is too large for any room leaves it to others",
        &[(1, 9, 10, Unkept(101 * MIB)), (2, 3, 10, Unknown)],
        (&[], Some(2), None),
    );
    check(
        "an unknown size is tried while there is room at all",
        &[(1, 9, 10, Made(100 * MIB - 1)), (2, 3, 10, Unknown)],
        (&[], Some(2), None),
    );
    check(
        "and not when there is none",
        &[(1, 9, 10, Made(100 * MIB)), (2, 3, 10, Unknown), (3, 2, 10, Failed(1, at(9)))],
        (&[], None, None),
    );
}

#[test]
fn what_failed_is_tried_again_later_and_later() {
    check(
        "no smaller than the full payload: never again",
        &[(1, 9, 10, NotWorth)],
        (&[], None, None),
    );
    check(
        "killed: begun anew after a second",
        &[(1, 9, 10, Failed(1, at(1)))],
        (&[], Some(1), None),
    );
    check("not before", &[(1, 9, 10, Failed(1, at(0)))], (&[], None, Some(1)));
    check(
        "each failure makes it four times as long",
        &[(1, 9, 10, Failed(4, at(60))), (2, 9, 10, Failed(5, at(60)))],
        (&[], None, Some(4)),
    );
    check(
        "up to a day",
        &[(1, 9, 10, Failed(99, at(3600))), (2, 9, 10, Failed(u32::MAX, at(0)))],
        (&[], None, Some(23 * 3600)),
    );
    check(
        "what waits holds nothing up",
        &[(1, 9, 10, Failed(3, at(1))), (2, 3, 10, Unknown)],
        (&[], Some(2), None),
    );
    check(
        "a clock that was set back makes nobody wait longer than for ever",
        &[(1, 9, 10, Failed(1, at(-500)))],
        (&[], None, Some(501)),
    );
}

/// Whatever there is: what stays fits, and what goes makes no other go.
#[test]
fn what_is_kept_fits_and_a_plan_carried_out_removes_nothing_more() {
    let mut state = 7u64;
    let mut random = |past: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % past
    };
    for _ in 0..2_000 {
        let standing = |n: u64, bytes| match n {
            0 => Unknown,
            1 => Unkept(bytes),
            2 => NotWorth,
            _ => Made(bytes),
        };
        let mut candidates: Vec<Candidate> = (0..random(12) as u8)
            .map(|name| Candidate {
                pair: pair(name),
                devices: random(4),
                image_bytes: random(3),
                standing: standing(random(6), random(40)),
            })
            .collect();
        let first = plan(&candidates, 100, at(0));
        candidates.retain(|candidate| !first.remove.contains(&candidate.pair));
        let kept = candidates.iter().map(|candidate| match candidate.standing {
            Made(bytes) => bytes,
            _ => 0,
        });
        assert!(kept.sum::<u64>() <= 100, "{candidates:?}");
        let second = plan(&candidates, 100, at(0));
        assert_eq!((second.remove, second.next), (Vec::new(), first.next), "{candidates:?}");
    }
}
