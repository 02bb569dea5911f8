//! A device for whole lives: the machine's effects are performed on a model of
//! the disk, and a reboot is the boot decision.

use std::collections::VecDeque;

use partition_layout::{BootAttributes, Nibble, boot_decision};

use super::*;
use crate::boot_control::testing::Pair;
use crate::update::Outcome;

/// What the kernel of a release does when it is started.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kernel {
    Runs,
    Panics,
    Refused,
}

pub(super) struct Device {
    pub(super) life: Life,
    pub(super) attributes: [BootAttributes; 2],
    pub(super) releases: [Option<u64>; 2],
    pub(super) booted: SlotLetter,
    pub(super) boots: u32,
    /// The channel's release.
    pub(super) channel: u64,
    pub(super) kernel: fn(u64) -> Kernel,
    pub(super) healthy: fn(u64) -> bool,
    pub(super) installs: u32,
    pub(super) sent: Vec<Kind>,
    /// Whether only a person reboots it.
    pub(super) waits: bool,
    /// What keeps its boots from taking a release.
    pub(super) unfit: Option<&'static str>,
    /// What is not written, once.
    pub(super) fails: Option<fn(&Effect) -> bool>,
    /// What the agent is killed before, once.
    pub(super) killed: Option<fn(&Effect) -> bool>,
    /// What the power is cut after, once.
    pub(super) cut: Option<fn(&Effect) -> bool>,
    /// What happens to it at one of its effects.
    pub(super) interruption: Option<Interruption>,
}

#[derive(Clone, Copy)]
pub(super) struct Interruption {
    /// Effects that come before it.
    pub(super) after: u32,
    pub(super) how: How,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum How {
    /// The agent is killed before it performs an effect, and started again.
    Killed,
    /// The power is cut when it has performed it.
    Cut,
}

pub(super) fn index(letter: SlotLetter) -> usize {
    usize::from(letter == SlotLetter::B)
}

impl Device {
    pub(super) fn new() -> Self {
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
            interruption: None,
        };
        device.boot();
        device
    }

    pub(super) fn seen(&self) -> Seen {
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
            over_budget: None,
        }
    }

    pub(super) fn running(&self) -> u64 {
        self.releases[index(self.booted)].unwrap()
    }

    /// The selector and the kernel, until an agent starts.
    pub(super) fn boot(&mut self) {
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
    pub(super) fn select(&mut self) -> Option<SlotLetter> {
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

    pub(super) fn pair(&self) -> Pair {
        let (booted, other) = (index(self.booted), index(self.booted.other()));
        Pair { booted: self.attributes[booted], other: self.attributes[other] }
    }

    pub(super) fn write(&mut self, pair: Pair) {
        self.attributes[index(self.booted)] = pair.booted;
        self.attributes[index(self.booted.other())] = pair.other;
        // Whatever comes next, there is a slot that ran well, or was to be tried before it.
        let order = boot_decision(&self.attributes).attempts;
        let states = order.into_iter().map(|attempt| self.attributes[attempt.index].state());
        let mut states = states.skip_while(|state| *state == SlotState::Trial);
        assert_eq!(states.next(), Some(SlotState::Confirmed), "{:#?}", self.life);
    }

    /// What interrupts this effect, if anything does.
    fn interrupted(&mut self) -> Option<How> {
        let interruption = self.interruption.as_mut()?;
        if interruption.after > 0 {
            interruption.after -= 1;
            return None;
        }
        self.interruption.take().map(|interruption| interruption.how)
    }

    pub(super) fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let seen = self.seen();
            let (life, effects) = on(self.life.clone(), event, &seen, at(self.boots.into()));
            self.life = life;
            for effect in effects {
                let interrupted = self.interrupted();
                if once(&mut self.killed, &effect) || interrupted == Some(How::Killed) {
                    return self.happens(Event::Started);
                }
                if effect == Effect::Reboot {
                    return self.boot();
                }
                let cut = once(&mut self.cut, &effect) || interrupted == Some(How::Cut);
                events.extend(self.perform(effect));
                if cut {
                    return self.boot();
                }
            }
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        let refused = once(&mut self.fails, &effect)
            .then(|| SlotFault::Table("the disk is read only".to_owned()));
        match effect {
            Effect::Confirm(_) if refused.is_some() => {
                refused.map(|why| Event::Confirmed(Err(why)))
            }
            Effect::MarkFailed(_) if refused.is_some() => {
                refused.map(|why| Event::MarkedFailed(Err(why)))
            }
            Effect::Check(then) => Some(Event::Checked(then, offer(self.channel))),
            Effect::Install(change) => {
                assert_ne!(change.slot, self.booted, "the booted slot is written");
                self.write(self.pair().unbootable().unwrap());
                self.releases[index(change.slot)] = change.to.map(|to| to.counter);
                self.installs += 1;
                Some(Event::Installed(Ok(Download::default())))
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
            Effect::StopInstall => Some(Event::Installed(Err(InstallFault::Cancelled))),
            Effect::RunHooks(_) | Effect::Answer(_) | Effect::OpenBundle(_) | Effect::Reboot => {
                None
            }
        }
    }

    pub(super) fn poll(&mut self, channel: u64) {
        self.channel = channel;
        self.happens(Event::PollDue);
    }

    pub(super) fn say(&mut self, command: Command) {
        self.happens(Event::Said(command));
    }

    pub(super) fn wipe_state(&mut self) {
        self.life = Life::new("none");
        self.boot();
    }

    #[track_caller]
    pub(super) fn check(&self, running: u64, installs: u32) {
        assert_eq!((self.running(), self.installs), (running, installs), "{:#?}", self.life);
        assert_eq!(self.life.phase, Phase::Idle);
        assert!(self.attributes[index(self.booted)].successful());
    }

    pub(super) fn verdict(&self) -> &Verdict {
        let Outcome { verdict, .. } = self.life.outcome.as_ref().unwrap();
        verdict
    }
}

pub(super) fn once(what: &mut Option<fn(&Effect) -> bool>, effect: &Effect) -> bool {
    what.take_if(|meant| meant(effect)).is_some()
}
