//! Updates that go well, and answers that come late.

use super::device::*;
use super::*;

#[test]
fn an_update_is_installed_tried_and_confirmed() {
    let mut device = Device::new();
    device.poll(2);
    device.check(2, 1);
    assert_eq!(device.life.memory.counter_floor, 2);
    assert!(device.sent.ends_with(&[Kind::Activated, Kind::TrialStarted, Kind::Confirmed]));
    device.poll(2);
    device.check(2, 1);
}

#[test]
fn an_unfit_boot_takes_nothing_and_can_still_be_rolled_back() {
    let mut device = Device::new();
    device.poll(2);
    device.unfit = Some("STATE could not be mounted");
    device.poll(3);
    device.check(2, 1);
    assert!(!device.sent.ends_with(&[Kind::InstallFailed]), "a poll is no report");
    device.say(Command::Rollback);
    device.check(1, 1);
}

#[test]
fn priorities_are_renumbered_for_ever() {
    let mut device = Device::new();
    for release in 2..40 {
        device.boots = 0;
        device.poll(release);
        device.check(release, u32::try_from(release - 1).unwrap());
    }
}

#[test]
fn a_confirmation_that_was_not_written_is_earned_again() {
    let mut device = Device::new();
    device.fails = Some(|effect| matches!(effect, Effect::Confirm(_)));
    device.poll(2);
    assert!(matches!(device.life.phase, Phase::Confirming { .. }));
    device.healthy = |release| release != 2;
    device.poll(2);
    device.check(1, 1);
    device.poll(3);
    device.check(3, 2);

    device.fails = Some(|effect| matches!(effect, Effect::Confirm(_)));
    device.poll(4);
    device.poll(4);
    device.check(4, 3);
}

#[test]
fn an_answer_about_another_release_is_dropped_and_a_withdrawal_heeded() {
    let seen = seen(SlotState::Confirmed, SlotState::Trial);
    let change = || change(SlotLetter::B, granted());
    let withdrawn = || Grant::Withdrawn("halted".to_owned());
    for phase in [
        Phase::Staged { change: change() },
        Phase::Activated { change: change() },
        Phase::Asking { change: change() },
        Phase::Leaving { change: change() },
    ] {
        let mut life = Life::new("boot 2");
        life.phase = phase.clone();
        let unknown = Verdict::Network { error: "no route".to_owned() };
        for grant in [Grant::Stands, withdrawn(), Grant::Unknown(unknown)] {
            let (after, effects) =
                on(life.clone(), Event::Granted(Some(named(3)), grant), &seen, at(0));
            assert_eq!((after, effects), (life.clone(), vec![]));
        }
        let (after, effects) = on(life, Event::Granted(Some(named(2)), withdrawn()), &seen, at(0));
        let cancels = effects == [Effect::Cancel(change())];
        assert!(cancels || after.phase == Phase::Idle, "{phase:?}");
    }
}

/// A crash boots what is activated, however long a server keeps silent or lies.
#[test]
fn what_nobody_vouches_for_any_more_is_undone_and_says_why() {
    let seen = seen(SlotState::Confirmed, SlotState::Trial);
    let change = || change(SlotLetter::B, granted());
    let error = || "text".to_owned();
    let stale = || Verdict::Stale { since: at(7), error: error() };
    let forged = || Verdict::Verification { error: error() };
    let network = || Verdict::Network { error: error() };
    let expired = || Grant::Expired { since: at(7), error: error() };
    let verdict = |life: &Life| life.outcome.clone().map(|outcome| outcome.verdict);
    for phase in [Phase::Activated { change: change() }, Phase::Leaving { change: change() }] {
        let life = Life { phase, ..Life::new("boot 2") };
        let answered =
            |grant| on(life.clone(), Event::Granted(Some(named(2)), grant), &seen, at(0));
        let (after, effects) = answered(expired());
        assert_eq!(effects, [Effect::Cancel(change())]);
        let (after, _) = on(after, Event::Cancelled(Ok(())), &seen, at(0));
        assert_eq!((&after.phase, verdict(&after)), (&Phase::Idle, Some(stale())));
        for unknown in [stale(), forged(), network()] {
            let (after, effects) = answered(Grant::Unknown(unknown.clone()));
            assert_eq!((&after.phase, effects), (&Phase::Activated { change: change() }, vec![]));
            assert_eq!(verdict(&after), Some(unknown));
        }
    }
    for (grant, expected) in [
        (expired(), stale()),
        (Grant::Unknown(forged()), forged()),
        (Grant::Unknown(network()), network()),
    ] {
        let life = Life { phase: Phase::Staged { change: change() }, ..Life::new("boot 2") };
        let (after, effects) = on(life, Event::Granted(Some(named(2)), grant), &seen, at(0));
        assert_eq!((after.phase.clone(), effects), (Phase::Idle, vec![]));
        assert_eq!(verdict(&after), Some(expected));
    }
}

/// A trial that a person confirmed, and whose checks ended later.
#[test]
fn checks_of_another_moment_say_nothing() {
    let moments = [Moment::BeforeReboot, Moment::Trial, Moment::AfterFallback];
    let change = || change(SlotLetter::A, granted());
    let (before, reason) = (None, "it answers 500".to_owned());
    for (phase, meant) in [
        (Phase::Idle, None),
        (Phase::Activated { change: change() }, None),
        (Phase::Leaving { change: change() }, Some(Moment::BeforeReboot)),
        (Phase::Trial { change: change(), before: before.clone() }, Some(Moment::Trial)),
        (Phase::FallenBack { change: change(), before, reason }, Some(Moment::AfterFallback)),
    ] {
        for moment in moments.into_iter().filter(|moment| Some(*moment) != meant) {
            let life = Life { phase: phase.clone(), ..Life::new("boot 2") };
            let seen = seen(SlotState::Trial, SlotState::Confirmed);
            for probe in [Probe::Good, bad("it answers 500")] {
                let event = Event::Probed(moment, probe);
                assert_eq!(on(life.clone(), event, &seen, at(0)), (life.clone(), vec![]));
            }
        }
    }
}
