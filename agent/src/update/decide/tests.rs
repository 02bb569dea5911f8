use super::*;
use crate::update::{Booted, Condemned, Excused, Held, SeenSlot};
use partition_layout::{SlotLetter, SlotState};

fn named(counter: u64) -> Named {
    Named { release: counter.to_string().parse().unwrap(), counter }
}

/// Slot A runs release 1; B holds `other`, if anything.
fn device(other: Option<u64>) -> Seen {
    let slot = |letter, state, named: Option<Named>| SeenSlot {
        letter,
        state,
        successful: state == SlotState::Confirmed,
        named,
    };
    let state = if other.is_some() { SlotState::Confirmed } else { SlotState::Empty };
    Seen {
        booted: Booted::Slot(SlotLetter::A),
        boot_id: "boot".to_owned(),
        slots: [
            slot(SlotLetter::A, SlotState::Confirmed, Some(named(1))),
            slot(SlotLetter::B, state, other.map(named)),
        ],
        last_boot: None,
        unfit: None,
        over_budget: None,
    }
}

fn offer(counter: u64) -> Offer {
    let (named, admission) = (named(counter), Ok(Direction::Forward));
    Offer { named, admission, source: Source::Server, costs: None }
}

fn downgrade(counter: u64) -> Refusal {
    Refusal::Downgrade { release: named(counter).release, counter, floor: 9 }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[track_caller]
fn check(offer: &Offer, then: Then, memory: &Memory, seen: &Seen, expected: &str) {
    let decision = match decide(offer, then, memory, seen, at(1000)) {
        Decision::UpToDate => "up to date".to_owned(),
        Decision::Take(change) => format!("{:?} into {}", change.way, change.slot),
        Decision::Leave(reason) => format!("{reason:?}"),
    };
    assert!(decision.starts_with(expected), "{decision}, expected {expected}");
}

#[test]
fn what_would_have_to_be_fetched_waits_for_the_budget() {
    let memory = Memory::default();
    let spent = |other| Seen { over_budget: Some(at(5000)), ..device(other) };
    for then in [Then::Tell, Then::Update, Then::UpdateByPerson, Then::Retry] {
        check(&offer(2), then, &memory, &spent(None), "OverBudget { until: 1970-01-01T01:23:20Z }");
    }
    check(&offer(2), Then::Update, &memory, &spent(Some(2)), "Installed into B");
    check(&offer(1), Then::Update, &memory, &spent(None), "up to date");
    let bundle = Offer { source: Source::Bundle("x".into()), ..offer(2) };
    check(&bundle, Then::UpdateByPerson, &memory, &spent(None), "Install into B");
}

#[test]
fn a_newer_release_is_installed_and_an_installed_one_is_not() {
    let memory = Memory::default();
    check(&offer(2), Then::Update, &memory, &device(None), "Install into B");
    check(&offer(2), Then::Update, &memory, &device(Some(2)), "Installed into B");
    check(&offer(2), Then::Update, &memory, &device(Some(3)), "Install into B");
    check(&offer(1), Then::Update, &memory, &device(Some(2)), "up to date");
}

#[test]
fn only_a_person_goes_back_to_an_installed_slot_and_to_one_for_this_device() {
    let memory = Memory::default();
    let old = Offer { admission: Err(downgrade(2)), ..offer(2) };
    for then in [Then::Tell, Then::Update, Then::UpdateByPerson, Then::Retry] {
        check(&old, then, &memory, &device(Some(2)), "Inadmissible");
    }
    let bundle = |offer: Offer| Offer { source: Source::Bundle("x".into()), ..offer };
    let old = bundle(old);
    check(&old, Then::UpdateByPerson, &memory, &device(Some(2)), "Installed into B");
    check(&old, Then::UpdateByPerson, &memory, &device(None), "Inadmissible");
    let (release, channel) = (named(2).release, "beta".parse().unwrap());
    let refused = Err(Refusal::OtherChannel { release, channel });
    let foreign = bundle(Offer { admission: refused, ..offer(2) });
    check(&foreign, Then::UpdateByPerson, &memory, &device(Some(2)), "Inadmissible");
}

#[test]
fn a_signed_downgrade_is_taken_as_one() {
    let offer = Offer { admission: Ok(Direction::SignedDowngrade), ..offer(2) };
    let Decision::Take(change) =
        decide(&offer, Then::Update, &Memory::default(), &device(None), at(0))
    else {
        panic!("not taken")
    };
    assert!(matches!(change.motive, Motive::Channel { downgrade: true }));
}

#[test]
fn a_failed_release_is_not_taken_whoever_asks_and_a_newer_one_is() {
    let reason = "panic".to_owned();
    let failed = vec![Condemned { named: named(3), reason, at: at(0) }];
    let memory = Memory { failed, ..Memory::default() };
    for then in [Then::Tell, Then::Update, Then::UpdateByPerson] {
        check(&offer(3), then, &memory, &device(None), "FailedBefore");
        check(&offer(4), then, &memory, &device(None), "Install into B");
    }
    let bundle = Offer { source: Source::Bundle("x".into()), ..offer(3) };
    check(&bundle, Then::UpdateByPerson, &memory, &device(None), "FailedBefore");
}

#[test]
fn a_boot_that_would_not_remember_takes_nothing() {
    let detail = || Some("STATE could not be mounted".to_owned());
    let bundle = || Offer { source: Source::Bundle("x".into()), ..offer(2) };
    for other in [None, Some(2)] {
        let seen = Seen { unfit: detail(), ..device(other) };
        for then in [Then::Tell, Then::Update, Then::UpdateByPerson, Then::Retry] {
            check(&offer(2), then, &Memory::default(), &seen, "Unfit");
            check(&bundle(), then, &Memory::default(), &seen, "Unfit");
            check(&offer(1), then, &Memory::default(), &seen, "up to date");
        }
    }
}

#[test]
fn a_held_release_waits_for_a_newer_one() {
    let held = Some(Held { named: named(2), since: at(0) });
    let memory = Memory { held, ..Memory::default() };
    check(&offer(2), Then::Update, &memory, &device(Some(2)), "Held");
    check(&offer(3), Then::Update, &memory, &device(Some(2)), "Install into B");
    let bundle = Offer { source: Source::Bundle("x".into()), ..offer(2) };
    check(&bundle, Then::UpdateByPerson, &memory, &device(Some(2)), "Installed into B");
}

#[test]
fn a_pin_holds_against_the_channel_and_not_against_a_bundle() {
    let memory = Memory { pinned: Some(named(1).release), ..Memory::default() };
    check(&offer(2), Then::UpdateByPerson, &memory, &device(None), "Pinned");
    check(&offer(1), Then::Update, &memory, &device(None), "up to date");
    let bundle = Offer { source: Source::Bundle("x".into()), ..offer(2) };
    check(&bundle, Then::UpdateByPerson, &memory, &device(None), "Install into B");
}

#[test]
fn an_excused_release_is_tried_again_later_or_by_a_person() {
    let excused = |until| {
        let reason = "no network".to_owned();
        let excused = vec![Excused { named: named(2), reason, trials: 1, until: at(until) }];
        Memory { excused, ..Memory::default() }
    };
    check(&offer(2), Then::Update, &excused(1001), &device(None), "Excused");
    check(&offer(2), Then::Update, &excused(1000), &device(None), "Install into B");
    check(&offer(2), Then::UpdateByPerson, &excused(1001), &device(None), "Install into B");
    let day = 24 * 3600;
    check(&offer(2), Then::Update, &excused(1000 + day), &device(None), "Excused");
    // The clock was in another year when it was excused.
    check(&offer(2), Then::Update, &excused(1001 + day), &device(None), "Install into B");
}
