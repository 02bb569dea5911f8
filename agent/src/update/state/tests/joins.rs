//! People who say something while the agent, or another person, is at work.

use super::*;
use crate::update::{Answer, Objection};

fn life(phase: &Phase) -> Life {
    let mut life = Life::new("boot 2");
    life.phase = phase.clone();
    life.memory.held = Some(Held { named: named(2), since: at(0) });
    life
}

fn happens(life: &Life, event: Event) -> (Life, Vec<Effect>) {
    on(life.clone(), event, &seen(SlotState::Confirmed, SlotState::Confirmed), at(1))
}

#[track_caller]
fn check_busy(phase: &Phase, command: Command) {
    let life = life(phase);
    let refusal = Objection::Busy(phase.work());
    let refused = vec![Effect::Answer(Answer::Refused { refusal })];
    assert_eq!(happens(&life, Event::Said(command)), (life, refused));
}

fn granted_change() -> Change {
    change(SlotLetter::B, granted())
}

fn bundle() -> Change {
    change(SlotLetter::B, Motive::Bundle { path: "x".into(), downgrade: false })
}

fn change_back() -> Change {
    change(SlotLetter::B, Motive::Rollback)
}

fn update(retry_failed: bool) -> Command {
    Command::Update { retry_failed }
}

#[test]
fn an_update_begins_a_check_for_less_anew() {
    for (then, retry_failed, wish) in [
        (Then::Update, false, Then::UpdateByPerson),
        (Then::Tell, false, Then::UpdateByPerson),
        (Then::Update, true, Then::Retry),
        (Then::UpdateByPerson, true, Then::Retry),
    ] {
        let (life, effects) =
            happens(&life(&Phase::Checking { then }), Event::Said(update(retry_failed)));
        assert_eq!(effects, [Effect::Answer(Answer::Begun), Effect::Check(wish)]);
        assert_eq!((&life.phase, &life.memory.held), (&Phase::Checking { then: wish }, &None));
        // The answer that came to the first, about a release that was held then.
        let nothing = Checked::Withheld { detail: "2 is held".to_owned() };
        assert_eq!(happens(&life, Event::Checked(then, nothing)), (life.clone(), vec![]));
        let (after, _) = happens(&life, Event::Checked(wish, offer(2)));
        assert!(matches!(after.phase, Phase::Staged { .. }), "{after:?}");
    }
}

#[test]
fn an_update_joins_what_it_would_begin() {
    for phase in [
        Phase::Checking { then: Then::UpdateByPerson },
        Phase::Checking { then: Then::Retry },
        Phase::Installing { change: granted_change() },
        Phase::Staged { change: granted_change() },
    ] {
        let (after, effects) = happens(&life(&phase), Event::Said(update(false)));
        assert_eq!((&after.phase, &after.memory.held), (&phase, &None));
        assert_eq!(effects, [Effect::Answer(Answer::Begun)]);
    }
    for phase in [
        Phase::Opening { then: Then::UpdateByPerson },
        Phase::Installing { change: bundle() },
        Phase::Staged { change: change(SlotLetter::B, Motive::Rollback) },
        Phase::Trial { change: granted_change(), before: None },
    ] {
        check_busy(&phase, update(false));
    }
}

#[test]
fn what_a_person_waits_for_is_told_in_words() {
    let trial = Phase::Trial { change: granted_change(), before: None };
    let busy = Objection::Busy(trial.work()).to_string();
    assert!(busy.starts_with("a trial of release 2 is under way: wait"), "{busy}");
}

#[test]
fn a_check_joins_every_other() {
    for then in [Then::Tell, Then::Update, Then::UpdateByPerson, Then::Retry] {
        let life = life(&Phase::Checking { then });
        let joined = (life.clone(), vec![Effect::Answer(Answer::Begun)]);
        assert_eq!(happens(&life, Event::Said(Command::Check)), joined);
    }
    check_busy(&Phase::Opening { then: Then::UpdateByPerson }, Command::Check);
    check_busy(&Phase::Installing { change: granted_change() }, Command::Check);
}

#[test]
fn a_check_of_what_is_activated_asks_whether_it_still_stands() {
    let seen = seen(SlotState::Confirmed, SlotState::Trial);
    let (change, asked) = (granted_change, Effect::AskAgain(granted_change()));
    let activated = life(&Phase::Activated { change: change() });
    let (asking, effects) = on(activated, Event::Said(Command::Check), &seen, at(1));
    assert_eq!(effects, [Effect::Answer(Answer::Begun), asked]);
    assert!(!Command::Check.is_over(&asking.phase), "the answer is waited for");
    // Neither lost: the reboot that falls due while the answer is on its way, nor a person's word.
    assert_eq!(on(asking.clone(), Event::RebootDue, &seen, at(1)), (asking.clone(), vec![]));
    let (_, effects) = on(asking.clone(), Event::Said(Command::Cancel), &seen, at(1));
    assert_eq!(effects[1..], [Effect::Cancel(change())]);
    let unknown = Verdict::Network { error: "no route".to_owned() };
    for (grant, expected, verdict) in [
        (Grant::Stands, Effect::AwaitReboot, Verdict::RebootPending),
        (Grant::Unknown(unknown.clone()), Effect::AwaitReboot, unknown),
        (
            Grant::Withdrawn("stable is paused".to_owned()),
            Effect::Cancel(change()),
            Verdict::Withdrawn { detail: "stable is paused".to_owned() },
        ),
    ] {
        let granted = Event::Granted(Some(named(2)), grant);
        let (after, effects) = on(asking.clone(), granted, &seen, at(1));
        assert_eq!(effects, [expected]);
        assert_eq!(after.outcome.map(|outcome| outcome.verdict), Some(verdict));
    }

    let rollback = life(&Phase::Activated { change: change_back() });
    let (after, effects) = on(rollback.clone(), Event::Said(Command::Check), &seen, at(1));
    let refusal = Objection::RebootPending;
    assert_eq!((after, effects), (rollback, vec![Effect::Answer(Answer::Refused { refusal })]));
}

#[test]
fn only_a_check_that_installs_nothing_for_a_person_makes_room_for_other_work() {
    let install = || Command::Install { path: "x".into(), retry_failed: false };
    for (command, phase) in [(Command::Rollback, "staged"), (install(), "opening")] {
        for then in [Then::Update, Then::Tell] {
            let checking = life(&Phase::Checking { then });
            let (life, effects) = happens(&checking, Event::Said(command.clone()));
            assert_eq!((life.phase.name(), &effects[0]), (phase, &Effect::Answer(Answer::Begun)));
            assert_eq!(happens(&life, Event::Checked(then, offer(3))), (life, vec![]));
        }
    }
    for then in [Then::UpdateByPerson, Then::Retry] {
        check_busy(&Phase::Checking { then }, Command::Rollback);
        check_busy(&Phase::Checking { then }, install());
    }
}

#[test]
fn a_check_is_over_where_the_agent_installs_what_it_found() {
    let polling = life(&Phase::Checking { then: Then::Update });
    let found = Event::Checked(Then::Update, offer(3));
    let (installing, _) = happens(&polling, found);
    let verdict = installing.outcome.map(|outcome| outcome.verdict);
    assert_eq!(verdict, Some(Verdict::Available { named: named(3), costs: None }));
    for (phase, of_check, of_update) in [
        (polling.phase, false, false),
        (installing.phase, true, false),
        (Phase::Staged { change: granted_change() }, true, false),
        (Phase::Installing { change: bundle() }, true, false),
        (Phase::Opening { then: Then::UpdateByPerson }, true, false),
        (Phase::Idle, true, true),
        (Phase::Activated { change: granted_change() }, true, true),
    ] {
        let over = [Command::Check, update(false)].map(|command| command.is_over(&phase));
        assert_eq!(over, [of_check, of_update], "{phase:?}");
    }
}

#[test]
fn only_other_work_than_what_it_found_overtakes_a_check() {
    for (phase, overtaken) in [
        (Phase::Opening { then: Then::UpdateByPerson }, true),
        (Phase::Installing { change: bundle() }, true),
        (Phase::Staged { change: change_back() }, true),
        (Phase::Installing { change: granted_change() }, false),
        (Phase::Checking { then: Then::Update }, false),
        (Phase::Idle, false),
    ] {
        assert_eq!(Command::Check.is_overtaken(&phase), overtaken, "{phase:?}");
        assert!(!update(false).is_overtaken(&phase), "{phase:?}");
    }
}

/// The commit and what follows are one step: who sees it under way sees that it failed.
#[test]
fn a_confirmation_that_cannot_be_written_is_not_waited_for() {
    let phase = Phase::Confirming { change: granted_change(), before: None };
    assert!(Command::Confirm.is_over(&phase));
    assert!(!update(false).is_over(&phase));
}
