//! What the disk still says where the journal is lost or came too late.

use super::device::*;
use super::*;
use crate::update::Memory;

#[test]
fn a_wiped_state_still_knows_what_failed() {
    let mut device = Device::new();
    device.healthy = |release| release != 3;
    device.poll(3);
    device.wipe_state();
    device.poll(3);
    device.check(1, 1);
    assert!(matches!(device.verdict(), Verdict::Refused { .. }));
}

#[test]
fn a_wiped_state_during_a_trial_still_confirms() {
    let mut device = Device::new();
    device.releases[1] = Some(2);
    device.write(device.pair().activate().unwrap());
    device.wipe_state();
    device.check(2, 0);
}

#[test]
fn what_was_found_is_never_cancelled_into_a_confirmed_slot() {
    let mut device = Device::new();
    device.waits = true;
    device.poll(2);
    device.life = Life::new("none");
    device.happens(Event::Started);
    assert!(matches!(device.life.phase, Phase::Activated { .. }));
    device.say(Command::Cancel);
    device.check(1, 1);
    assert_eq!(device.attributes[1].state(), SlotState::Empty);
}

#[test]
fn what_was_found_is_asked_again_before_it_is_booted() {
    let seen = seen(SlotState::Confirmed, SlotState::Trial);
    let found = || change(SlotLetter::B, Motive::Found);
    let life = || Life { phase: Phase::Activated { change: found() }, ..Life::new("boot 2") };
    let (leaving, effects) = on(life(), Event::RebootDue, &seen, at(0));
    assert_eq!(effects, [Effect::AskAgain(found())]);
    let halted = Event::Granted(Some(named(2)), Grant::Withdrawn("halted".to_owned()));
    let (_, effects) = on(leaving, halted, &seen, at(0));
    assert_eq!(effects, [Effect::Cancel(found())]);
    let (_, effects) = on(life(), Event::PollDue, &seen, at(0));
    assert!(effects.contains(&Effect::AskAgain(found())));
}

#[test]
fn an_activation_that_is_held_or_pinned_away_is_not_booted_into() {
    let held = |memory: &mut Memory| {
        memory.held = Some(Held { named: named(2), since: at(0) });
    };
    let pinned = |memory: &mut Memory| memory.pinned = Some(named(1).release);
    for remember in [held as fn(&mut Memory), pinned] {
        for event in [Event::Started, Event::PollDue] {
            let mut device = Device::new();
            device.releases[1] = Some(2);
            device.write(device.pair().activate().unwrap());
            remember(&mut device.life.memory);
            device.happens(event);
            device.check(1, 0);
            assert_eq!(device.attributes[1].state(), SlotState::Empty);
        }
    }
}
