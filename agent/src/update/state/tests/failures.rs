//! Releases that fail, what is remembered of them, and who is to blame.

use super::device::*;
use super::*;

#[test]
fn a_sick_release_is_left_remembered_and_not_taken_again() {
    let mut device = Device::new();
    device.healthy = |release| release != 3;
    device.poll(2);
    device.poll(3);
    device.check(2, 2);
    let failed = device.life.memory.failure_of(&named(3).release).unwrap();
    assert_eq!(failed.reason, "demo.service answers 500");
    for _ in 0..3 {
        device.poll(3);
        device.check(2, 2);
    }
    device.poll(4);
    device.check(4, 3);
}

#[test]
fn a_panicking_kernel_uses_up_its_tries_and_is_condemned() {
    let mut device = Device::new();
    device.kernel = |release| if release == 4 { Kernel::Panics } else { Kernel::Runs };
    let boots = device.boots;
    device.poll(4);
    device.check(1, 1);
    assert_eq!(device.boots - boots, 4, "three tries and the fallback");
    assert!(device.life.memory.failure_of(&named(4).release).is_some());
}

#[test]
fn a_refused_kernel_is_not_tried_at_every_boot() {
    let mut device = Device::new();
    device.kernel = |release| if release == 4 { Kernel::Refused } else { Kernel::Runs };
    let boots = device.boots;
    device.poll(4);
    device.check(1, 1);
    assert_eq!(device.boots - boots, 1, "the first fallback is enough");
    assert_eq!(device.attributes[1].state(), SlotState::Failed);
    assert!(device.life.memory.failure_of(&named(4).release).is_some());
}

#[test]
fn a_sick_environment_is_blamed_and_the_release_excused() {
    let mut device = Device::new();
    device.healthy = |_| false;
    device.poll(2);
    device.check(1, 1);
    assert_eq!(device.life.memory.failed, []);
    assert_eq!(device.life.memory.excused[0].trials, 1);
    device.poll(2);
    device.check(1, 1);
    device.healthy = |_| true;
    device.say(Command::Update { retry_failed: false });
    device.check(2, 2);
    assert_eq!(device.life.memory.excused, []);
}

fn marks(effect: &Effect) -> bool {
    matches!(effect, Effect::MarkFailed(_))
}

/// A device that fell back from release 4, whose kernel will not start.
fn fallen_back(adjust: fn(&mut Device)) -> Device {
    let mut device = Device::new();
    device.kernel = |release| if release == 4 { Kernel::Refused } else { Kernel::Runs };
    adjust(&mut device);
    device.poll(4);
    device
}

#[test]
fn a_condemned_release_is_not_booted_because_its_mark_came_late() {
    let killed = fallen_back(|device| device.killed = Some(marks));
    killed.check(1, 1);
    // Not once more into the slot that is condemned.
    assert_eq!(killed.boots, 2);
    assert_eq!(killed.attributes[1].state(), SlotState::Failed);

    let mut refused = fallen_back(|device| device.fails = Some(marks));
    refused.check(1, 1);
    assert_eq!(refused.attributes[1].state(), SlotState::Failed, "the verdict marks it again");

    // As if that had failed too: a restart and a poll find it.
    for event in [Event::Started, Event::PollDue] {
        let boots = refused.boots;
        refused.write(refused.pair().activate().unwrap());
        refused.channel = 1;
        refused.happens(event);
        assert_eq!((refused.attributes[1].state(), refused.boots), (SlotState::Failed, boots));
    }
}

#[test]
fn a_late_mark_is_written_while_the_old_slot_is_looked_at() {
    let fallen = Phase::FallenBack {
        change: change(SlotLetter::B, granted()),
        before: None,
        reason: "it answers 500".to_owned(),
    };
    let mut life = Life::new("boot 2");
    life.phase = fallen.clone();
    let seen = seen(SlotState::Confirmed, SlotState::Trial);
    let (after, effects) = on(life, Event::PollDue, &seen, at(0));
    assert_eq!((after.phase, effects), (fallen, vec![Effect::MarkFailed(SlotLetter::B)]));
}

#[test]
fn a_lying_servers_words_do_not_fill_the_journal() {
    let mut device = Device::new();
    let words = "\u{1}\u{20ac}".repeat(20_000);
    for _ in 0..300 {
        device.channel = 2;
        device.life.phase = Phase::Installing { change: change(SlotLetter::B, granted()) };
        let fault = crate::update::InstallFault::Network(words.clone());
        device.happens(Event::Installed(Err(fault)));
        device.life.memory.condemn(&named(2), &words, at(0));
    }
    let journal = serde_json::to_vec_pretty(&device.life).unwrap();
    assert!(journal.len() < 2 << 20, "{} bytes", journal.len());
}

#[test]
fn only_good_bad_good_condemns() {
    let (good, sick) = (Some(Probe::Good), Some(bad("no network")));
    for (before, after, condemned) in [
        (good.clone(), Probe::Good, true),
        (None, Probe::Good, true),
        (sick.clone(), Probe::Good, false),
        (good, bad("no network"), false),
        (None, bad("no network"), false),
        (sick, bad("no network"), false),
    ] {
        let reason = "it answers 500".to_owned();
        let mut life = Life::new("boot");
        life.phase = Phase::FallenBack { change: change(SlotLetter::B, granted()), before, reason };
        let seen = seen(SlotState::Confirmed, SlotState::Failed);
        let (life, _) = on(life, Event::Probed(Moment::AfterFallback, after), &seen, at(0));
        assert_eq!(life.memory.failure_of(&named(2).release).is_some(), condemned);
        assert_eq!(life.memory.excused.is_empty(), condemned);
    }
}
