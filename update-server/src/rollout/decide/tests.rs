use std::collections::BTreeMap;

use payload_tools::format::{DowngradeRange, ReleaseFacts};
use proptest::prelude::*;

use super::*;
use crate::names::DeviceId;
use crate::rollout::{ChannelPolicy, Fleet, Slot, destination};

const NOW: &str = "2026-11-24T00:00:00Z";

fn release(counter: u64) -> ReleaseFacts {
    ReleaseFacts {
        release: counter.to_string().parse().unwrap(),
        counter,
        compatible: "demo".parse().unwrap(),
        min_from: 0,
        channels: vec!["stable".parse().unwrap()],
        floor: false,
        downgrade_from: None,
    }
}

fn name(counter: u64) -> Release {
    counter.to_string().parse().unwrap()
}

fn channel(counter: u64) -> ChannelPolicy {
    ChannelPolicy { release: name(counter), pin: None, flow: Flow::Open }
}

fn device() -> DeviceId {
    "00112233445566778899aabbccddeeff".parse().unwrap()
}

/// One compatible with releases 1 to 4 and `stable`, the default, at 3.
#[derive(Debug)]
struct World {
    policy: Policy,
    report: DeviceReport,
}

impl World {
    fn at(counter: u64) -> Self {
        let known = CompatiblePolicy {
            default_channel: Some("stable".parse().unwrap()),
            channels: BTreeMap::from([("stable".parse().unwrap(), channel(3))]),
            offers: (1..=4).map(|counter| (name(counter), release(counter))).collect(),
        };
        let report = DeviceReport {
            device: device(),
            compatible: "demo".parse().unwrap(),
            channel: None,
            slot: Slot::A,
            release: Some(name(counter)),
            counter,
            failed: Vec::new(),
            held: Vec::new(),
            staged: None,
            manual: false,
        };
        let compatibles = BTreeMap::from([("demo".parse().unwrap(), known)]);
        Self { policy: Policy { compatibles, ..Policy::default() }, report }
    }

    fn known(&mut self) -> &mut CompatiblePolicy {
        self.policy.compatibles.get_mut(&self.report.compatible).unwrap()
    }

    fn stable(&mut self) -> &mut ChannelPolicy {
        self.known().channels.get_mut(&"stable".parse().unwrap()).unwrap()
    }

    fn offer(&mut self, counter: u64) -> &mut ReleaseFacts {
        self.known().offers.get_mut(&name(counter)).unwrap()
    }

    fn decide(&self) -> (Verdict, Option<String>, String) {
        let decision = decide(&self.policy, &self.report, NOW.parse().unwrap());
        let release = match &decision {
            Decision::Update { release, .. } => Some(release.to_string()),
            Decision::Stay { release, .. } => release.as_ref().map(ToString::to_string),
        };
        (decision.verdict(), release, decision.detail().to_owned())
    }

    /// Where a fleet of such devices goes next.
    fn destination(&self) -> Option<Release> {
        let known = self.policy.compatibles.get(&self.report.compatible);
        let default = known.and_then(|known| known.default_channel.clone());
        let fleet = Fleet {
            compatible: self.report.compatible.clone(),
            channel: self.report.channel.clone().or(default),
            pin: self.policy.pins.get(&self.report.device).cloned(),
            release: self.report.release.clone()?,
            devices: 1,
        };
        destination(&self.policy, &fleet, NOW.parse().unwrap())
    }
}

/// A device at release `from` in a world changed by `change` is told `expected`.
#[track_caller]
fn check(from: u64, change: impl FnOnce(&mut World), verdict: Verdict, release: &str, says: &str) {
    let mut world = World::at(from);
    change(&mut world);
    let (found, about, detail) = world.decide();
    assert_eq!((found, about.as_deref().unwrap_or("-")), (verdict, release), "{detail}");
    assert_eq!(detail, says);
    let goes = world.destination();
    match verdict {
        // A pin names a release that may not be gone back to too.
        Verdict::Update(Reason::DevicePin | Reason::ChannelPin) if goes.is_none() => {
            assert!(about.is_some_and(|about| from > about.parse().unwrap()));
        }
        Verdict::Update(_) => assert_eq!(goes, about.map(|about| about.parse().unwrap())),
        // These are not for ever, or for some devices only.
        Verdict::Stay(Hold::Paused | Hold::Held | Hold::FailedBefore) => {
            assert!(goes.is_some(), "{detail}");
        }
        Verdict::Stay(_) => assert_eq!(goes, None),
    }
}

const CHANNEL: Verdict = Verdict::Update(Reason::Channel);
const CHANNEL_PIN: Verdict = Verdict::Update(Reason::ChannelPin);
const DEVICE_PIN: Verdict = Verdict::Update(Reason::DevicePin);
const UP_TO_DATE: Verdict = Verdict::Stay(Hold::UpToDate);
const UNKNOWN: Verdict = Verdict::Stay(Hold::UnknownRelease);

#[test]
fn a_device_follows_its_channel() {
    check(1, |_| {}, CHANNEL, "3", "stable is at 3");
    check(3, |_| {}, UP_TO_DATE, "3", "stable is at 3");
    check(4, |_| {}, UP_TO_DATE, "3", "stable is at 3; the device runs 4");
}

#[test]
fn a_device_names_its_channel_or_is_in_the_default_one() {
    let no_channel = Verdict::Stay(Hold::NoChannel);
    check(1, |w| w.report.channel = "stable".parse().ok(), CHANNEL, "3", "stable is at 3");
    let named = |w: &mut World| w.report.channel = "beta".parse().ok();
    check(1, named, no_channel, "-", "demo has no channel beta");
    let none = |w: &mut World| w.known().default_channel = None;
    check(1, none, no_channel, "-", "demo has no default channel");
    let other = |w: &mut World| w.report.compatible = "other".parse().unwrap();
    check(1, other, no_channel, "-", "other has no default channel");
}

#[test]
fn a_paused_channel_hands_out_nothing() {
    let paused = Verdict::Stay(Hold::Paused);
    check(1, |w| w.stable().flow = Flow::Paused, paused, "-", "stable is paused by an operator");
    let manual = |w: &mut World| {
        w.stable().flow = Flow::Paused;
        w.report.manual = true;
    };
    check(1, manual, paused, "-", "stable is paused by an operator");
}

#[test]
fn a_pin_names_one_release_whatever_its_age() {
    let channel_at_2 = |w: &mut World| w.stable().pin = Some(name(2));
    check(1, channel_at_2, CHANNEL_PIN, "2", "stable is pinned to 2");
    check(2, channel_at_2, UP_TO_DATE, "2", "stable is pinned to 2");
    check(4, channel_at_2, CHANNEL_PIN, "2", "stable is pinned to 2");
    let device_at_2 = |w: &mut World| drop(w.policy.pins.insert(device(), name(2)));
    check(1, device_at_2, DEVICE_PIN, "2", "this device is pinned to 2");
    check(2, device_at_2, UP_TO_DATE, "2", "this device is pinned to 2");
    check(3, device_at_2, DEVICE_PIN, "2", "this device is pinned to 2");
}

#[test]
fn the_pin_of_a_device_wins_over_its_channel() {
    let both = |w: &mut World| {
        w.stable().pin = Some(name(4));
        w.stable().flow = Flow::Paused;
        w.policy.pins.insert(device(), name(2));
    };
    check(1, both, DEVICE_PIN, "2", "this device is pinned to 2");
    let no_channel = |w: &mut World| {
        w.known().default_channel = None;
        w.policy.pins.insert(device(), name(2));
    };
    check(1, no_channel, DEVICE_PIN, "2", "this device is pinned to 2");
}

#[test]
fn what_failed_here_is_not_offered_again() {
    let failed = Verdict::Stay(Hold::FailedBefore);
    let says = "3 failed its trial on this device";
    check(1, |w| w.report.failed = vec![name(3)], failed, "3", says);
    let manual = |w: &mut World| {
        w.report.failed = vec![name(3)];
        w.report.manual = true;
    };
    check(1, manual, failed, "3", says);
    let pinned = |w: &mut World| {
        w.report.failed = vec![name(3)];
        w.policy.pins.insert(device(), name(3));
    };
    check(1, pinned, failed, "3", says);
    check(1, |w| w.report.failed = vec![name(2)], CHANNEL, "3", "stable is at 3");
}

#[test]
fn what_was_rolled_back_is_held_until_a_person_asks() {
    let held = Verdict::Stay(Hold::Held);
    let says = "3 is held: this device was rolled back from it";
    check(1, |w| w.report.held = vec![name(3)], held, "3", says);
    let manual = |w: &mut World| {
        w.report.held = vec![name(3)];
        w.report.manual = true;
    };
    check(1, manual, CHANNEL, "3", "stable is at 3");
}

#[test]
fn a_withdrawn_release_is_not_offered() {
    let withdrawn = |w: &mut World| drop(w.known().offers.remove(&name(3)));
    check(1, withdrawn, UNKNOWN, "3", "3 is not in the signed list");
    let moved = |w: &mut World| w.offer(3).channels = vec!["beta".parse().unwrap()];
    check(1, moved, UNKNOWN, "3", "3 is not signed for channel stable");
}

#[test]
fn floors_are_not_skipped() {
    let floor = |w: &mut World| w.offer(2).floor = true;
    check(1, floor, CHANNEL, "2", "stable is at 3, and 2 may not be skipped");
    check(2, floor, CHANNEL, "3", "stable is at 3");
    let beyond = |w: &mut World| w.offer(4).floor = true;
    check(1, beyond, CHANNEL, "3", "stable is at 3");
    let failed_floor = |w: &mut World| {
        w.offer(2).floor = true;
        w.report.failed = vec![name(2)];
    };
    let says = "2 failed its trial on this device";
    check(1, failed_floor, Verdict::Stay(Hold::FailedBefore), "2", says);
}

/// A device takes no release that is not signed for its channel.
#[test]
fn a_floor_of_another_channel_is_no_floor() {
    let beta = |w: &mut World| {
        (w.offer(2).floor, w.offer(2).channels) = (true, vec!["beta".parse().unwrap()]);
    };
    check(1, beta, CHANNEL, "3", "stable is at 3");
    let both = |w: &mut World| {
        beta(w);
        w.offer(2).channels.push("stable".parse().unwrap());
    };
    check(1, both, CHANNEL, "2", "stable is at 3, and 2 may not be skipped");
    let in_beta = |w: &mut World| {
        beta(w);
        w.offer(3).channels.push("beta".parse().unwrap());
        w.known().channels.insert("beta".parse().unwrap(), channel(3));
        w.report.channel = "beta".parse().ok();
    };
    check(1, in_beta, CHANNEL, "2", "beta is at 3, and 2 may not be skipped");
    let pinned = |w: &mut World| {
        in_beta(w);
        w.policy.pins.insert(device(), name(3));
    };
    check(1, pinned, DEVICE_PIN, "2", "this device is pinned to 3, and 2 may not be skipped");
    let pinned_in_stable = |w: &mut World| {
        beta(w);
        w.policy.pins.insert(device(), name(3));
    };
    check(1, pinned_in_stable, DEVICE_PIN, "3", "this device is pinned to 3");
}

#[test]
fn a_dead_end_says_so() {
    let no_path = Verdict::Stay(Hold::NoPath);
    check(1, |w| w.offer(3).min_from = 2, no_path, "3", "3 needs counter 2 first");
    check(2, |w| w.offer(3).min_from = 2, CHANNEL, "3", "stable is at 3");
}

#[test]
fn going_back_needs_a_signed_range_that_has_not_expired() {
    let range = |lo, hi, expires: &str| {
        let range = DowngradeRange { lo, hi, expires: expires.parse().unwrap() };
        move |w: &mut World| w.offer(3).downgrade_from = Some(range)
    };
    let stays = "stable is at 3; the device runs 4";
    check(4, range(4, 4, "2026-12-01T00:00:00Z"), CHANNEL, "3", "stable is at 3");
    check(4, range(5, 9, "2026-12-01T00:00:00Z"), UP_TO_DATE, "3", stays);
    check(4, range(4, 4, NOW), UP_TO_DATE, "3", stays);
}

prop_compose! {
    fn worlds()(
        from in 0u64..6, at in 1u64..6, pin in proptest::option::of(1u64..6),
        device_pin in proptest::option::of(1u64..6), flow in prop_oneof![Just(Flow::Open), Just(Flow::Paused)],
        failed in proptest::collection::vec(1u64..6, 0..3), held in proptest::collection::vec(1u64..6, 0..3),
        floor in 1u64..5, floor_of_beta: bool, min_from in 0u64..4, manual: bool,
        withdrawn in proptest::option::of(1u64..5),
    ) -> World {
        let mut world = World::at(from);
        *world.stable() = ChannelPolicy { release: name(at), pin: pin.map(name), flow };
        world.policy.pins.extend(device_pin.map(|pin| (device(), name(pin))));
        world.offer(floor).floor = true;
        if floor_of_beta {
            world.offer(floor).channels = vec!["beta".parse().unwrap()];
        }
        world.offer(3).min_from = min_from;
        if let Some(withdrawn) = withdrawn {
            world.known().offers.remove(&name(withdrawn));
        }
        world.report.failed = failed.into_iter().map(name).collect();
        world.report.held = held.into_iter().map(name).collect();
        world.report.manual = manual;
        world
    }
}

proptest! {
    #[test]
    fn an_update_is_always_one_that_the_device_can_take(world in worlds()) {
        let decision = decide(&world.policy, &world.report, NOW.parse().unwrap());
        let Decision::Update { release, counter, reason, .. } = decision else { return Ok(()) };
        let report = &world.report;
        let offer = &world.policy.compatibles[&report.compatible].offers[&release];
        prop_assert_eq!(offer.counter, counter);
        prop_assert!(Some(&release) != report.release.as_ref());
        prop_assert!(!report.failed.contains(&release));
        prop_assert!(report.manual || !report.held.contains(&release));
        if counter < report.counter {
            prop_assert!(reason != Reason::Channel, "only a pin goes back without a signed range");
        } else {
            prop_assert!(offer.min_from <= report.counter);
            let stable = "stable".parse().unwrap();
            prop_assert!(reason == Reason::DevicePin || offer.channels.contains(&stable));
            let skipped = world.policy.compatibles[&report.compatible].offers.values()
                .filter(|o| o.floor && o.channels.contains(&stable))
                .filter(|o| (report.counter + 1..counter).contains(&o.counter));
            prop_assert_eq!(skipped.count(), 0);
        }
    }

    /// Following the answers ends: a device does not go round in circles.
    #[test]
    fn a_device_that_obeys_comes_to_rest(mut world in worlds()) {
        for _ in 0..5 {
            let decision = decide(&world.policy, &world.report, NOW.parse().unwrap());
            let Decision::Update { release, counter, .. } = decision else { return Ok(()) };
            (world.report.release, world.report.counter) = (Some(release), counter);
        }
        prop_assert!(false, "still moving after five updates");
    }
}
