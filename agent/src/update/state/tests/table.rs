//! Every phase with every event, on every pair of slot states.

use super::*;
use crate::update::{Answer, ConfirmedBy, InstallFault};

fn phases() -> Vec<Phase> {
    let (here, there) = (change(SlotLetter::A, granted()), change(SlotLetter::B, granted()));
    let back = change(SlotLetter::B, Motive::Rollback);
    let bundle = Motive::Bundle { path: "x".into(), downgrade: false };
    let (before, reason) = (Some(Probe::Good), "it answers 500".to_owned());
    vec![
        Phase::Idle,
        Phase::Checking { then: Then::Tell },
        Phase::Checking { then: Then::Update },
        Phase::Checking { then: Then::UpdateByPerson },
        Phase::Checking { then: Then::Retry },
        Phase::Opening { then: Then::UpdateByPerson },
        Phase::Installing { change: there.clone() },
        Phase::Installing { change: change(SlotLetter::B, bundle) },
        Phase::Staged { change: there.clone() },
        Phase::Staged { change: back.clone() },
        Phase::Activated { change: there.clone() },
        Phase::Activated { change: back.clone() },
        Phase::Asking { change: there.clone() },
        Phase::Leaving { change: there.clone() },
        Phase::Leaving { change: back },
        Phase::Rebooting { change: there.clone(), before: before.clone() },
        Phase::Trial { change: here.clone(), before: before.clone() },
        Phase::Confirming { change: here.clone(), before: before.clone() },
        Phase::Failing { change: here, before: before.clone(), reason: reason.clone() },
        Phase::FallenBack { change: there, before, reason },
        Phase::Blocked { why: "the kernel comes from A, root from B".to_owned() },
    ]
}

fn events() -> Vec<Event> {
    let text = || "text".to_owned();
    let mut events = vec![
        Event::Started,
        Event::PollDue,
        Event::RebootDue,
        Event::Installed(Ok(Download::default())),
        Event::Installed(Err(InstallFault::OverBudget { until: at(0), error: text() })),
        Event::Installed(Err(InstallFault::Network(text()))),
        Event::Installed(Err(InstallFault::Verification(text()))),
        Event::Installed(Err(InstallFault::Device(text()))),
        Event::Installed(Err(InstallFault::Cancelled)),
        Event::Granted(Some(named(2)), Grant::Stands),
        Event::Granted(Some(named(2)), Grant::Withdrawn(text())),
        Event::Granted(Some(named(2)), Grant::Expired { since: at(0), error: text() }),
        Event::Granted(Some(named(2)), Grant::Unknown(Verdict::Network { error: text() })),
        Event::Granted(Some(named(2)), Grant::Unknown(Verdict::Verification { error: text() })),
    ];
    for checked in [
        offer(2),
        offer(1),
        Checked::Nothing { detail: text() },
        Checked::Withheld { detail: text() },
        Checked::Stale { since: at(0), error: text() },
        Checked::Behind { since: at(0), error: text() },
        Checked::Network(text()),
        Checked::Verification(text()),
    ] {
        for then in [Then::Tell, Then::Update, Then::UpdateByPerson, Then::Retry] {
            events.push(Event::Checked(then, checked.clone()));
        }
        events.push(Event::Opened(checked));
    }
    for moment in [Moment::BeforeReboot, Moment::Trial, Moment::AfterFallback] {
        events.push(Event::Probed(moment, Probe::Good));
        events.push(Event::Probed(moment, bad("it answers 500")));
    }
    for result in [Ok(()), Err(SlotFault::Table(text()))] {
        events.push(Event::Activated(result.clone()));
        events.push(Event::Confirmed(result.clone()));
        events.push(Event::MarkedFailed(result.clone()));
        events.push(Event::Cancelled(result));
    }
    events.extend(commands().map(Event::Said));
    events
}

fn commands() -> impl Iterator<Item = Command> {
    [
        Command::Check,
        Command::Update { retry_failed: false },
        Command::Update { retry_failed: true },
        Command::Install { path: "x".into(), retry_failed: false },
        Command::Confirm,
        Command::Cancel,
        Command::Rollback,
        Command::Channel { channel: None },
        Command::Pin { release: None },
        Command::Unpin,
    ]
    .into_iter()
}

fn life(phase: &Phase, boot_id: &str) -> Life {
    let mut life = Life::new(boot_id);
    life.phase = phase.clone();
    life.memory.condemn(&named(9), "it failed before", at(0));
    life.memory.counter_floor = 1;
    life
}

struct Case {
    before: Life,
    event: Event,
    seen: Seen,
    after: Life,
    effects: Vec<Effect>,
}

/// Everything that can happen.
fn everything(mut check: impl FnMut(Case)) {
    for (booted, other) in SlotState::ALL.iter().flat_map(|a| SlotState::ALL.map(|b| (*a, b))) {
        let seen = seen(booted, other);
        for (phase, boot_id) in phases().iter().flat_map(|p| ["boot 1", "boot 2"].map(|b| (p, b))) {
            for event in events() {
                let before = life(phase, boot_id);
                let (after, effects) = on(before.clone(), event.clone(), &seen, at(100));
                check(Case { before, event, seen: seen.clone(), after, effects });
            }
        }
    }
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Send(report) => format!("Send({})", report.kind.as_str()),
        Effect::Install(_) => "Install".to_owned(),
        Effect::AskAgain(_) => "AskAgain".to_owned(),
        Effect::Activate(_) => "Activate".to_owned(),
        Effect::Cancel(_) => "Cancel".to_owned(),
        Effect::Answer(Answer::Refused { refusal }) => {
            let text = format!("{refusal:?}");
            format!("Refuse({})", text.split('(').next().unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

/// The slots as each phase usually finds them.
fn usual(phase: &Phase) -> Seen {
    use SlotState::{Confirmed, Failed, Trial};
    match phase {
        Phase::Trial { .. } | Phase::Confirming { .. } | Phase::Failing { .. } => {
            seen(Trial, Confirmed)
        }
        Phase::Activated { .. }
        | Phase::Asking { .. }
        | Phase::Leaving { .. }
        | Phase::Rebooting { .. } => seen(Confirmed, Trial),
        Phase::FallenBack { .. } => seen(Confirmed, Failed),
        _ => seen(Confirmed, Confirmed),
    }
}

fn title(phase: &Phase) -> String {
    let detail = match (phase, phase.change().map(|change| &change.motive)) {
        (Phase::Checking { then }, _) => format!(" ({then:?})"),
        (_, Some(Motive::Rollback)) => " (rollback)".to_owned(),
        (_, Some(Motive::Bundle { .. })) => " (bundle)".to_owned(),
        _ => String::new(),
    };
    format!("{}{detail}\n", phase.name())
}

fn event_name(event: &Event) -> String {
    match event {
        Event::Checked(then, Checked::Offer(offer)) => {
            format!("Checked({then:?}, Offer {})", offer.named.release)
        }
        Event::Opened(Checked::Offer(offer)) => format!("Opened(Offer {})", offer.named.release),
        Event::Installed(Ok(_)) => "Installed(Ok)".to_owned(),
        Event::Granted(_, grant) => format!("Granted({grant:?})"),
        event => format!("{event:?}"),
    }
}

/// The snapshot is the table that docs/architecture.md sends people to.
#[test]
fn the_whole_table() {
    let mut text = String::new();
    for phase in phases() {
        text += &title(&phase);
        for event in events().into_iter().filter(|event| !matches!(event, Event::Started)) {
            let before = life(&phase, "boot 2");
            let (after, effects) = on(before.clone(), event.clone(), &usual(&phase), at(100));
            if after == before && effects.is_empty() {
                continue;
            }
            let effects: Vec<String> = effects.iter().map(short).collect();
            let (name, to) = (event_name(&event), after.phase.name());
            text += format!("  {name} -> {to} {}", effects.join(" ")).trim_end();
            text += "\n";
        }
    }
    insta::assert_snapshot!(text);
}

/// What a check that tells reads of the slots may take a minute.
#[test]
fn no_command_waits_for_a_check_that_tells() {
    for then in [Then::Tell, Then::Update] {
        let phase = Phase::Checking { then };
        for (command, to) in [
            (Command::Rollback, "staged"),
            (Command::Install { path: "x".into(), retry_failed: false }, "opening"),
            (Command::Confirm, "confirming"),
            (Command::Update { retry_failed: false }, "checking"),
        ] {
            let seen = match command {
                Command::Confirm => seen(SlotState::Trial, SlotState::Confirmed),
                _ => usual(&phase),
            };
            let (after, effects) = on(life(&phase, "boot 2"), Event::Said(command), &seen, at(0));
            assert_eq!(after.phase.name(), to, "{then:?}");
            assert_eq!(effects[0], Effect::Answer(Answer::Begun), "{then:?}");
        }
    }
    let told = life(&Phase::Checking { then: Then::Tell }, "boot 2");
    let (after, _) = on(told, Event::Said(Command::Cancel), &usual(&Phase::Idle), at(0));
    assert_eq!(after.phase, Phase::Idle);
    assert_eq!(after.outcome.map(|outcome| outcome.verdict), Some(Verdict::Cancelled));
}

#[test]
fn a_mixed_device_is_never_written() {
    for phase in phases() {
        for event in events() {
            let mut seen = seen(SlotState::Confirmed, SlotState::Trial);
            seen.booted = Booted::Mixed("mixed".to_owned());
            let (started, _) = on(life(&phase, "boot 1"), Event::Started, &seen, at(0));
            assert!(matches!(started.phase, Phase::Blocked { .. }));
            let (after, effects) = on(started, event, &seen, at(0));
            assert!(matches!(after.phase, Phase::Blocked { .. }));
            let talk = |effect: &Effect| matches!(effect, Effect::Answer(_) | Effect::Send(_));
            assert!(effects.iter().all(talk), "{effects:?}");
        }
    }
}

#[test]
fn a_slot_gives_itself_up_only_with_a_confirmed_one_behind_it() {
    everything(|Case { before, event, seen, effects, .. }| {
        for effect in effects {
            let Effect::MarkFailed(slot) = effect else { continue };
            // Marking again what a start found half marked changes nothing.
            let again = matches!(before.phase, Phase::Failing { .. });
            let behind = seen.slot(slot.other()).successful;
            assert!(behind || again, "{:?} {event:?}", before.phase);
        }
    });
}

#[test]
fn a_retired_slot_that_runs_is_confirmed_by_a_person() {
    let seen = seen(SlotState::Retired, SlotState::Empty);
    let person = Effect::Confirm(ConfirmedBy::Person);
    let (_, effects) =
        on(life(&Phase::Idle, "boot 2"), Event::Said(Command::Confirm), &seen, at(0));
    assert!(effects.contains(&person), "{effects:?}");
}

#[test]
fn only_a_trial_is_confirmed_and_only_good_checks_or_a_person_do_it() {
    everything(|Case { before, event, seen, after, effects }| {
        for effect in &effects {
            let Effect::Confirm(by) = effect else { continue };
            assert!(matches!(after.phase, Phase::Confirming { .. }));
            let allowed = match by {
                ConfirmedBy::Person => {
                    matches!(event, Event::Said(Command::Confirm)) && !seen.slots[0].confirmed()
                }
                ConfirmedBy::Checks => {
                    let tried = matches!(before.phase, Phase::Trial { .. });
                    tried && matches!(event, Event::Probed(Moment::Trial, Probe::Good))
                }
            };
            assert!(allowed, "{:?} {event:?}", before.phase);
        }
    });
}

#[test]
fn a_reboot_is_ordered_only_by_a_finished_leave_or_a_failed_trial() {
    everything(|Case { before, event, effects, .. }| {
        if effects.contains(&Effect::Reboot) {
            let ordered = matches!(
                (&before.phase, &event),
                (Phase::Leaving { .. }, Event::Probed(Moment::BeforeReboot, _))
                    | (Phase::Failing { .. }, Event::MarkedFailed(_))
                    | (Phase::Failing { .. } | Phase::Rebooting { .. }, Event::PollDue)
            );
            assert!(ordered, "{:?} {event:?}", before.phase);
        }
    });
}

#[test]
fn a_channels_release_is_activated_only_when_its_grant_was_asked_again() {
    everything(|Case { before, event, effects, .. }| {
        for effect in &effects {
            let Effect::Activate(change) = effect else { continue };
            let channel = matches!(change.motive, Motive::Channel { .. });
            let stands = matches!(event, Event::Granted(_, Grant::Stands));
            assert!(!channel || stands, "{:?} {event:?}", before.phase);
        }
    });
}

#[test]
fn only_an_offer_that_was_asked_for_is_installed() {
    everything(|Case { before, event, effects, .. }| {
        let installs = effects.iter().any(|effect| matches!(effect, Effect::Install(_)));
        let asked = match (&before.phase, &event) {
            (Phase::Checking { then }, Event::Checked(asked, Checked::Offer(_))) => {
                asked == then && *then != Then::Tell
            }
            (Phase::Opening { .. }, Event::Opened(Checked::Offer(_))) => true,
            _ => false,
        };
        assert!(!installs || asked, "{:?} {event:?}", before.phase);
    });
}

#[test]
fn nothing_forgets_a_failed_release_or_lowers_the_floor() {
    everything(|Case { before, event, after, .. }| {
        assert!(after.memory.failure_of(&named(9).release).is_some(), "{event:?}");
        assert!(after.memory.counter_floor >= before.memory.counter_floor, "{event:?}");
    });
}

#[test]
fn every_command_is_answered_first_and_once() {
    everything(|Case { before, event, effects, .. }| {
        let answers = effects.iter().filter(|effect| matches!(effect, Effect::Answer(_))).count();
        let said = matches!(event, Event::Said(_));
        assert_eq!(answers, usize::from(said), "{:?} {event:?}", before.phase);
        assert!(!said || matches!(effects[0], Effect::Answer(_)));
    });
}

#[test]
fn a_phase_that_does_not_rest_waits_for_something() {
    everything(|Case { before, event, after, effects, .. }| {
        let brings = |effect: &Effect| {
            !matches!(effect, Effect::Send(_) | Effect::Answer(_) | Effect::RunHooks(_))
        };
        let waits = effects.iter().any(brings);
        let stays = after.phase.name() == before.phase.name();
        assert!(stays || after.phase.rests() || waits, "{:?} {event:?}", before.phase);
    });
}
