//! Whole lives: the machine's effects are performed on a model of the disk, and
//! a reboot is the boot decision.

use std::collections::VecDeque;

use partition_layout::{BootAttributes, Nibble, boot_decision};

use super::*;
use crate::boot_control::testing::Pair;
use crate::update::{Memory, Outcome};

/// What the kernel of a release does when it is started.
#[derive(Clone, Copy, PartialEq)]
enum Kernel {
    Runs,
    Panics,
    Refused,
}

struct Device {
    life: Life,
    attributes: [BootAttributes; 2],
    releases: [Option<u64>; 2],
    booted: SlotLetter,
    boots: u32,
    /// The channel's release.
    channel: u64,
    kernel: fn(u64) -> Kernel,
    healthy: fn(u64) -> bool,
    installs: u32,
    sent: Vec<Kind>,
    /// Whether only a person reboots it.
    waits: bool,
    /// What keeps its boots from taking a release.
    unfit: Option<&'static str>,
    /// What is not written, once.
    fails: Option<fn(&Effect) -> bool>,
    /// What the agent is killed before, once.
    killed: Option<fn(&Effect) -> bool>,
    /// What the power is cut after, once.
    cut: Option<fn(&Effect) -> bool>,
}

fn index(letter: SlotLetter) -> usize {
    usize::from(letter == SlotLetter::B)
}

impl Device {
    fn new() -> Self {
        let one = Nibble::try_from(1).unwrap();
        let confirmed = BootAttributes::default().with_boot(one, Nibble::ZERO, true);
        let mut device = Self {
            life: Life::new("none"),
            attributes: [confirmed, BootAttributes::default()],
            releases: [Some(1), None],
            booted: SlotLetter::A,
            boots: 0,
            channel: 1,
            kernel: |_| Kernel::Runs,
            healthy: |_| true,
            installs: 0,
            sent: Vec::new(),
            waits: false,
            unfit: None,
            fails: None,
            killed: None,
            cut: None,
        };
        device.boot();
        device
    }

    fn seen(&self) -> Seen {
        let slot = |letter: SlotLetter| SeenSlot {
            letter,
            state: self.attributes[index(letter)].state(),
            successful: self.attributes[index(letter)].successful(),
            named: self.releases[index(letter)].map(named),
        };
        Seen {
            booted: Booted::Slot(self.booted),
            boot_id: format!("boot {}", self.boots),
            slots: [slot(SlotLetter::A), slot(SlotLetter::B)],
            last_boot: None,
            unfit: self.unfit.map(str::to_owned),
        }
    }

    fn running(&self) -> u64 {
        self.releases[index(self.booted)].unwrap()
    }

    /// The selector and the kernel, until an agent starts.
    fn boot(&mut self) {
        loop {
            self.boots += 1;
            assert!(self.boots < 50, "the device boots for ever");
            if let Some(booted) = self.select() {
                self.booted = booted;
                return self.happens(Event::Started);
            }
        }
    }

    /// The slot whose kernel runs; none when it panicked.
    fn select(&mut self) -> Option<SlotLetter> {
        for attempt in boot_decision(&self.attributes).attempts {
            let slot = &mut self.attributes[attempt.index];
            if let Some(tries) = attempt.tries_after {
                *slot = slot.with_boot(slot.priority(), tries, slot.successful());
            }
            match self.releases[attempt.index].map_or(Kernel::Refused, self.kernel) {
                Kernel::Refused => {}
                Kernel::Panics => return None,
                Kernel::Runs => return Some(SlotLetter::BOTH[attempt.index]),
            }
        }
        None
    }

    fn pair(&self) -> Pair {
        let (booted, other) = (index(self.booted), index(self.booted.other()));
        Pair { booted: self.attributes[booted], other: self.attributes[other] }
    }

    fn write(&mut self, pair: Pair) {
        self.attributes[index(self.booted)] = pair.booted;
        self.attributes[index(self.booted.other())] = pair.other;
    }

    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let seen = self.seen();
            let (life, effects) = on(self.life.clone(), event, &seen, at(self.boots.into()));
            self.life = life;
            for effect in effects {
                if effect == Effect::Reboot {
                    return self.boot();
                }
                if once(&mut self.killed, &effect) {
                    return self.happens(Event::Started);
                }
                let cut = once(&mut self.cut, &effect);
                events.extend(self.perform(effect));
                if cut {
                    return self.boot();
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        let refused = once(&mut self.fails, &effect).then(|| "the disk is read only".to_owned());
        match effect {
            Effect::Confirm(_) if refused.is_some() => {
                refused.map(|why| Event::Confirmed(Err(why)))
            }
            Effect::MarkFailed(_) if refused.is_some() => {
                refused.map(|why| Event::MarkedFailed(Err(why)))
            }
            Effect::Check(_) => Some(Event::Checked(offer(self.channel))),
            Effect::Install(change) => {
                self.write(self.pair().unbootable().unwrap());
                self.releases[index(change.slot)] = change.to.map(|to| to.counter);
                self.installs += 1;
                Some(Event::Installed(Ok(())))
            }
            Effect::AskAgain(change) => Some(Event::Granted(change.to, Grant::Stands)),
            Effect::Activate(_) => {
                self.write(self.pair().activate().unwrap());
                Some(Event::Activated(Ok(())))
            }
            Effect::Cancel(change) => {
                self.write(match change.way {
                    Way::Install => self.pair().cancel_to_unbootable().unwrap(),
                    Way::Installed => self.pair().cancel_to_confirmed().unwrap(),
                });
                Some(Event::Cancelled(Ok(())))
            }
            Effect::AwaitReboot => (!self.waits).then_some(Event::RebootDue),
            Effect::Probe(moment) => {
                let healthy = (self.healthy)(self.running());
                let sick = || bad("demo.service answers 500");
                Some(Event::Probed(moment, if healthy { Probe::Good } else { sick() }))
            }
            Effect::Confirm(_) => {
                self.write(self.pair().confirm());
                Some(Event::Confirmed(Ok(())))
            }
            Effect::MarkFailed(slot) => {
                self.write(match slot == self.booted {
                    true => self.pair().fail_booted(),
                    false => self.pair().fail_other().unwrap(),
                });
                Some(Event::MarkedFailed(Ok(())))
            }
            Effect::Send(report) => {
                self.sent.push(report.kind);
                None
            }
            Effect::RunHooks(_) | Effect::Answer(_) | Effect::OpenBundle(_) | Effect::Reboot => {
                None
            }
        }
    }

    fn poll(&mut self, channel: u64) {
        self.channel = channel;
        self.happens(Event::PollDue);
    }

    fn say(&mut self, command: Command) {
        self.happens(Event::Said(command));
    }

    fn wipe_state(&mut self) {
        self.life = Life::new("none");
        self.boot();
    }

    #[track_caller]
    fn check(&self, running: u64, installs: u32) {
        assert_eq!((self.running(), self.installs), (running, installs), "{:#?}", self.life);
        assert_eq!(self.life.phase, Phase::Idle);
        assert!(self.attributes[index(self.booted)].successful());
    }

    fn verdict(&self) -> &Verdict {
        let Outcome { verdict, .. } = self.life.outcome.as_ref().unwrap();
        verdict
    }
}

fn once(what: &mut Option<fn(&Effect) -> bool>, effect: &Effect) -> bool {
    what.take_if(|meant| meant(effect)).is_some()
}

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
fn priorities_are_renumbered_for_ever() {
    let mut device = Device::new();
    for release in 2..40 {
        device.boots = 0;
        device.poll(release);
        device.check(release, u32::try_from(release - 1).unwrap());
    }
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
fn an_answer_about_another_release_is_dropped_and_a_withdrawal_heeded() {
    let seen = seen(SlotState::Confirmed, SlotState::Trial);
    let change = || change(SlotLetter::B, granted());
    let withdrawn = || Grant::Withdrawn("halted".to_owned());
    for phase in [
        Phase::Staged { change: change() },
        Phase::Activated { change: change() },
        Phase::Leaving { change: change() },
    ] {
        let mut life = Life::new("boot 2");
        life.phase = phase.clone();
        for grant in [Grant::Stands, withdrawn(), Grant::Unknown("no route".to_owned())] {
            let (after, effects) =
                on(life.clone(), Event::Granted(Some(named(3)), grant), &seen, at(0));
            assert_eq!((after, effects), (life.clone(), vec![]));
        }
        let (after, effects) = on(life, Event::Granted(Some(named(2)), withdrawn()), &seen, at(0));
        let cancels = effects == [Effect::Cancel(change())];
        assert!(cancels || after.phase == Phase::Idle, "{phase:?}");
    }
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
