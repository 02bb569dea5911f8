//! Whole lives: the machine's effects are performed on a model of the disk, and
//! a reboot is the boot decision.

use std::collections::VecDeque;

use partition_layout::{BootAttributes, Nibble, boot_decision};

use super::*;
use crate::boot_control::testing::Pair;
use crate::update::Outcome;

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
            Effect::AskAgain(_) => Some(Event::Granted(Grant::Stands)),
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
            Effect::Probe(_) => Some(Event::Probed(match (self.healthy)(self.running()) {
                true => Probe::Good,
                false => bad("demo.service answers 500"),
            })),
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
    device.poll(4);
    device.check(1, 1);
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
