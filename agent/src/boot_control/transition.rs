//! The arithmetic of boot attributes: what each step makes of both slots.

use partition_layout::{BootAttributes, Nibble, SlotState};

/// Tries of an activated slot. They are spent only by crashes: health checks
/// end a trial themselves.
pub const TRIES: Nibble = nibble(3);

const ONE: Nibble = nibble(1);
const TWO: Nibble = nibble(2);

const fn nibble(value: u8) -> Nibble {
    let mut nibble = Nibble::ZERO;
    let mut count = 0;
    while count < value {
        nibble = match nibble.checked_increment() {
            Some(next) => next,
            None => nibble,
        };
        count += 1;
    }
    nibble
}

/// The attributes of the booted slot and of the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Of the slot that runs.
    pub booted: BootAttributes,
    /// Of the other one.
    pub other: BootAttributes,
}

/// A step that would leave no confirmed slot to fall back to, or that meets
/// another state than it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The booted slot is on trial.
    #[error(
        "the booted slot is {0}, not confirmed: nothing would be left to fall back to; confirm or leave it first"
    )]
    BootedNotConfirmed(SlotState),
    /// A cancel meets a slot that is not on trial.
    #[error("the target is {0}, not activated: there is nothing to cancel")]
    NotActivated(SlotState),
    /// The other slot is marked failed from a slot that is not confirmed itself.
    #[error("only a confirmed slot marks the other one failed; the booted one is {0}")]
    NotOursToJudge(SlotState),
}

impl Pair {
    /// The target becomes unbootable. Only a confirmed slot may do that to the other.
    pub fn unbootable(self) -> Result<Self, TransitionError> {
        self.booted_confirmed()?;
        Ok(Self { other: self.other.with_boot(Nibble::ZERO, Nibble::ZERO, false), ..self })
    }

    /// The target becomes next, as a trial.
    pub fn activate(self) -> Result<Self, TransitionError> {
        self.booted_confirmed()?;
        let (booted, above) = match self.booted.priority().checked_increment() {
            Some(above) => (self.booted, above),
            None => (self.booted.with_boot(ONE, self.booted.tries(), true), TWO),
        };
        Ok(Self { booted, other: self.other.with_boot(above, TRIES, false) })
    }

    /// The activated target goes behind the booted slot, confirmed as it was before.
    pub fn cancel_to_confirmed(self) -> Result<Self, TransitionError> {
        self.booted_confirmed()?;
        self.other_activated()?;
        let (booted, below) = match self.booted.priority().checked_decrement() {
            Some(below) if below > Nibble::ZERO => (self.booted, below),
            _ => (self.booted.with_boot(TWO, self.booted.tries(), true), ONE),
        };
        Ok(Self { booted, other: self.other.with_boot(below, Nibble::ZERO, true) })
    }

    /// The activated target becomes unbootable.
    pub fn cancel_to_unbootable(self) -> Result<Self, TransitionError> {
        self.other_activated()?;
        self.unbootable()
    }

    /// The booted slot gets the highest priority, for good.
    pub fn confirm(self) -> Self {
        let (mine, theirs) = (self.booted.priority(), self.other.priority());
        let (highest, other) = if mine > theirs {
            (mine, self.other)
        } else if let Some(above) = theirs.checked_increment() {
            (above, self.other)
        } else {
            let other = self.other.with_boot(ONE, self.other.tries(), self.other.successful());
            (TWO, other)
        };
        Self { booted: self.booted.with_boot(highest, Nibble::ZERO, true), other }
    }

    /// The booted slot gives itself up.
    pub fn fail_booted(self) -> Self {
        Self { booted: failed(self.booted), ..self }
    }

    /// The booted slot marks the other one failed, after a fallback.
    pub fn fail_other(self) -> Result<Self, TransitionError> {
        if !self.booted.successful() {
            return Err(TransitionError::NotOursToJudge(self.booted.state()));
        }
        Ok(Self { other: failed(self.other), ..self })
    }

    fn booted_confirmed(self) -> Result<(), TransitionError> {
        match self.booted.state() {
            SlotState::Confirmed => Ok(()),
            state => Err(TransitionError::BootedNotConfirmed(state)),
        }
    }

    fn other_activated(self) -> Result<(), TransitionError> {
        match self.other.state() {
            SlotState::Trial => Ok(()),
            state => Err(TransitionError::NotActivated(state)),
        }
    }
}

/// Keeps a priority, without which the state would be empty and its memory lost.
fn failed(slot: BootAttributes) -> BootAttributes {
    slot.with_boot(slot.priority().max(ONE), Nibble::ZERO, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use partition_layout::boot_decision;

    fn every_slot() -> impl Iterator<Item = BootAttributes> + Clone {
        (0..512u64).map(|bits| BootAttributes::from_bits(bits << 48 | 0x8000_0000_0000_0001))
    }

    fn every_pair() -> impl Iterator<Item = Pair> {
        every_slot().flat_map(|booted| every_slot().map(move |other| Pair { booted, other }))
    }

    fn first(pair: Pair) -> Option<usize> {
        boot_decision(&[pair.booted, pair.other]).first().map(|attempt| attempt.index)
    }

    #[test]
    fn activation_makes_the_target_next_with_a_confirmed_slot_behind_it() {
        for pair in every_pair() {
            let Ok(after) = pair.activate() else {
                assert_ne!(pair.booted.state(), SlotState::Confirmed);
                continue;
            };
            assert_eq!(first(after), Some(1), "{pair:?}");
            assert_eq!(after.other.state(), SlotState::Trial);
            assert_eq!(after.other.tries(), TRIES);
            assert_eq!(after.booted.state(), SlotState::Confirmed);
        }
    }

    #[test]
    fn activation_renumbers_only_at_fifteen() {
        let bits = |p: u8, t: u8, s| BootAttributes::default().with_boot(nibble(p), nibble(t), s);
        for (booted, expected) in [(1, (1, 2)), (14, (14, 15)), (15, (1, 2))] {
            let pair = Pair { booted: bits(booted, 0, true), other: bits(3, 0, false) };
            let after = pair.activate().unwrap();
            let priorities = (after.booted.priority().get(), after.other.priority().get());
            assert_eq!(priorities, expected);
        }
    }

    #[test]
    fn confirm_makes_the_booted_slot_next_for_good() {
        for pair in every_pair() {
            let after = pair.confirm();
            assert_eq!(after.booted.state(), SlotState::Confirmed);
            assert_eq!(after.booted.tries(), Nibble::ZERO);
            assert_eq!(first(after), Some(0), "{pair:?}");
            assert_eq!(after.other.state(), pair.other.state(), "{pair:?}");
        }
    }

    #[test]
    fn cancel_makes_the_booted_slot_next_again() {
        for pair in every_pair() {
            for (after, state) in [
                (pair.cancel_to_confirmed(), SlotState::Confirmed),
                (pair.cancel_to_unbootable(), SlotState::Empty),
            ] {
                let Ok(after) = after else { continue };
                assert_eq!(first(after), Some(0), "{pair:?}");
                assert_eq!(after.other.state(), state);
                assert_eq!(after.booted.state(), SlotState::Confirmed);
            }
        }
    }

    #[test]
    fn a_failed_slot_is_left_for_a_confirmed_one_and_remembered() {
        for pair in every_pair() {
            let after = pair.fail_booted();
            assert_eq!(after.booted.state(), SlotState::Failed);
            if pair.other.state() == SlotState::Confirmed {
                assert_eq!(first(after), Some(1), "{pair:?}");
            }
        }
    }

    #[test]
    fn no_step_leaves_a_disk_without_a_confirmed_slot() {
        for pair in every_pair().filter(|pair| pair.booted.state() == SlotState::Confirmed) {
            let steps = [
                pair.unbootable(),
                pair.activate(),
                pair.cancel_to_confirmed(),
                pair.cancel_to_unbootable(),
                Ok(pair.confirm()),
                pair.fail_other(),
            ];
            for after in steps.into_iter().flatten() {
                assert_eq!(after.booted.state(), SlotState::Confirmed, "{pair:?}");
            }
        }
    }

    #[test]
    fn only_the_boot_bits_change() {
        let mask = !(0x1ff << 48);
        for pair in every_pair() {
            for after in [pair.activate().ok(), Some(pair.confirm()), pair.unbootable().ok()] {
                let Some(after) = after else { continue };
                assert_eq!(after.booted.bits() & mask, pair.booted.bits() & mask);
                assert_eq!(after.other.bits() & mask, pair.other.bits() & mask);
            }
        }
    }
}
