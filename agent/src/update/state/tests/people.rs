//! What people say: rollbacks, holds, pins, cancels, retries.

use super::device::*;
use super::*;

#[test]
fn a_rollback_holds_the_release_and_an_update_takes_it_without_a_download() {
    let mut device = Device::new();
    device.poll(2);
    device.say(Command::Rollback);
    device.check(1, 1);
    assert!(device.sent.contains(&Kind::RolledBack));
    device.poll(2);
    device.check(1, 1);
    assert!(matches!(device.verdict(), Verdict::Refused { .. }));
    device.say(Command::Update { retry_failed: false });
    device.check(2, 1);
    assert_eq!(device.life.memory.held, None);
}

#[test]
fn a_newer_release_ends_a_hold() {
    let mut device = Device::new();
    device.poll(2);
    device.say(Command::Rollback);
    device.poll(3);
    device.check(3, 2);
    assert_eq!(device.life.memory.held, None);
}

#[test]
fn a_pin_holds_and_lets_go() {
    let mut device = Device::new();
    device.say(Command::Pin { release: None });
    device.poll(2);
    device.check(1, 0);
    device.say(Command::Unpin);
    device.poll(2);
    device.check(2, 1);
}

#[test]
fn a_person_may_retry_what_failed() {
    let mut device = Device::new();
    device.healthy = |release| release != 3;
    device.poll(3);
    device.healthy = |_| true;
    device.say(Command::Update { retry_failed: false });
    device.check(1, 1);
    device.say(Command::Update { retry_failed: true });
    device.check(3, 2);
}

#[test]
fn a_rollback_holds_even_when_the_power_is_cut_at_its_commit() {
    let mut device = Device::new();
    device.poll(2);
    device.cut = Some(|effect| matches!(effect, Effect::Activate(_)));
    device.say(Command::Rollback);
    device.check(1, 1);
    device.poll(2);
    device.check(1, 1);
    assert!(device.life.memory.held.is_some());
}

#[test]
fn a_rollback_that_fails_or_is_cancelled_holds_nothing() {
    let mut device = Device::new();
    device.poll(2);
    device.waits = true;
    device.say(Command::Rollback);
    device.say(Command::Cancel);
    device.check(2, 1);
    assert_eq!(device.life.memory.held, None);

    device.waits = false;
    device.healthy = |release| release != 1;
    device.say(Command::Rollback);
    device.check(2, 1);
    assert_eq!(device.life.memory.held, None);
}

#[test]
fn an_install_is_cancelled_and_nothing_is_activated() {
    let mut device = Device::new();
    device.life.phase = Phase::Installing { change: change(SlotLetter::B, granted()) };
    device.say(Command::Cancel);
    device.check(1, 0);
    assert_eq!(*device.verdict(), Verdict::Cancelled);
    assert_eq!(device.sent.last(), Some(&Kind::InstallFailed));
}

#[test]
fn a_pin_undoes_a_pending_activation_at_once() {
    let mut device = Device::new();
    device.waits = true;
    device.poll(2);
    assert!(matches!(device.life.phase, Phase::Activated { .. }));
    device.say(Command::Pin { release: Some(named(2).release) });
    assert!(matches!(device.life.phase, Phase::Activated { .. }), "the pinned one stays");
    device.say(Command::Pin { release: None });
    device.check(1, 1);
    assert_eq!(device.attributes[1].state(), SlotState::Empty);
}

#[test]
fn a_pin_stops_what_is_staged() {
    let mut life = Life::new("boot 2");
    life.phase = Phase::Staged { change: change(SlotLetter::B, granted()) };
    life.memory.pinned = Some(named(1).release);
    let seen = seen(SlotState::Confirmed, SlotState::Empty);
    let (after, effects) = on(life, Event::Granted(Some(named(2)), Grant::Stands), &seen, at(0));
    assert_eq!((after.phase, effects), (Phase::Idle, vec![]));
}

#[test]
fn a_retry_forgives_only_what_is_taken() {
    let mut device = Device::new();
    device.life.memory.condemn(&named(2), "it failed", at(0));
    device.life.memory.condemn(&named(3), "it failed", at(0));
    let forgiven =
        |device: &Device, release| device.life.memory.failure_of(&named(release).release).is_none();
    device.channel = 1;
    device.say(Command::Update { retry_failed: true });
    assert!(!forgiven(&device, 2) && !forgiven(&device, 3), "nothing was offered");
    device.channel = 3;
    device.say(Command::Update { retry_failed: true });
    device.check(3, 1);
    assert!(!forgiven(&device, 2) && forgiven(&device, 3));
}
