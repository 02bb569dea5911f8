//! The decision against its specification, for every pair of slots that a disk can hold.

use super::*;
use alloc::vec::Vec;

fn slot(priority: u8, tries: u8, successful: bool) -> BootAttributes {
    let nibble = |value| Nibble::try_from(value).unwrap();
    BootAttributes::default().with_boot(nibble(priority), nibble(tries), successful)
}

/// The order of docs/architecture.md, told of the three numbers and not of states: 0 is tried
/// first, `None` never.
fn class(slot: BootAttributes) -> Option<u8> {
    let (p, t, s) = (slot.priority().get(), slot.tries().get(), slot.successful());
    if p > 0 && (s || t > 0) {
        Some(0)
    } else if s {
        Some(1)
    } else if p > 0 {
        Some(2)
    } else {
        None
    }
}

fn check(slots: &[BootAttributes]) {
    let order = boot_decision(slots);
    let tried: Vec<usize> = order.attempts.iter().map(|attempt| attempt.index).collect();

    // Every slot that is not empty is tried, once.
    for (index, slot) in slots.iter().enumerate() {
        let times = tried.iter().filter(|&&tried| tried == index).count();
        assert_eq!(times, usize::from(class(*slot).is_some()), "{slots:?}");
    }
    // Whatever is tried earlier is of a better class, or of a higher priority, or lies lower.
    for pair in tried.windows(2) {
        let (one, two) = (slots[pair[0]], slots[pair[1]]);
        let (earlier, later) = (class(one), class(two));
        let by_priority = one.priority() > two.priority()
            || one.priority() == two.priority() && pair[0] < pair[1];
        assert!(earlier < later || earlier == later && by_priority, "{slots:?}");
    }
    let choices = slots.iter().filter(|slot| class(**slot) == Some(0)).count();
    for (position, attempt) in order.attempts.iter().enumerate() {
        let slot = slots[attempt.index];
        let on_trial = class(slot) == Some(0) && !slot.successful();
        let tries_after = on_trial.then(|| slot.tries().get() - 1);
        assert_eq!(attempt.tries_after.map(Nibble::get), tries_after, "{slots:?}");
        let reason = match (class(slot), position, choices) {
            (Some(1), ..) => Reason::LastResortRetired,
            (Some(2), ..) => Reason::LastResortFailed,
            (_, 0, 1) => Reason::OnlyChoice,
            (_, 0, _) => Reason::HighestPriority,
            _ => Reason::Fallback,
        };
        assert_eq!(attempt.reason, reason, "{slots:?}");
        assert_eq!(attempt.state, slot.state());
    }
}

#[test]
fn every_pair_of_slots_is_decided_as_specified() {
    let mut all = Vec::new();
    for priority in 0..16 {
        for tries in 0..16 {
            all.extend([false, true].map(|successful| slot(priority, tries, successful)));
        }
    }
    for &a in &all {
        for &b in &all {
            check(&[a, b]);
        }
    }
}

#[test]
fn any_number_of_slots_is_decided_as_specified() {
    check(&[]);
    let few =
        [(0, 0, false), (0, 0, true), (1, 0, false), (1, 1, false), (1, 0, true), (2, 2, true)];
    for a in few {
        for b in few {
            for c in few {
                check(&[a, b, c].map(|(p, t, s)| slot(p, t, s)));
            }
        }
    }
}

#[test]
fn bits_outside_the_boot_attributes_decide_nothing() {
    let outside =
        |slot: BootAttributes| BootAttributes::from_bits(slot.bits() | 0xFE00_FFFF_FFFF_FFFF);
    for (a, b) in [(slot(1, 0, true), slot(2, 3, false)), (slot(0, 15, false), slot(3, 0, false))] {
        assert_eq!(boot_decision(&[outside(a), outside(b)]), boot_decision(&[a, b]));
    }
}

/// What an update looks like to the selector, from its activation on.
#[test]
fn an_update_is_tried_until_its_tries_are_spent() {
    let confirmed = slot(1, 0, true);
    let mut trial = slot(2, 3, false);
    for left in [2, 1, 0] {
        let order = boot_decision(&[confirmed, trial]);
        let first = order.first().unwrap();
        assert_eq!((first.index, first.reason), (1, Reason::HighestPriority));
        assert_eq!(order.attempts[1].index, 0, "the confirmed slot stands behind it");
        trial = trial.with_boot(trial.priority(), first.tries_after.unwrap(), false);
        assert_eq!(trial.tries().get(), left);
    }
    let order = boot_decision(&[confirmed, trial]);
    let tried: Vec<_> = order.attempts.iter().map(|a| (a.index, a.reason)).collect();
    assert_eq!(tried, [(0, Reason::OnlyChoice), (1, Reason::LastResortFailed)]);
}
