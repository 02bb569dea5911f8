//! Which slot is started, and which ones after it should it refuse: one pure function, used by
//! the boot selector, the agent's predictions and the tests.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use crate::{BootAttributes, Nibble, SlotState};

/// Why a slot stands where it stands in the [`BootOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The first choice among several trial or confirmed slots.
    HighestPriority,
    /// The only trial or confirmed slot.
    OnlyChoice,
    /// Reached only because an earlier choice would not start.
    Fallback,
    /// No trial or confirmed slot starts: a retired one, loudly.
    LastResortRetired,
    /// Nothing else is left: a slot that has failed, loudly.
    LastResortFailed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HighestPriority => "highest priority",
            Self::OnlyChoice => "only choice",
            Self::Fallback => "fallback: an earlier choice would not start",
            Self::LastResortRetired => "last resort: retired",
            Self::LastResortFailed => "last resort: failed",
        })
    }
}

/// One slot to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Position in the slice given to [`boot_decision`].
    pub index: usize,
    /// The slot's state before it is started.
    pub state: SlotState,
    /// Why it stands here.
    pub reason: Reason,
    /// For a trial: the tries to write before it starts. A try that cannot be written is not
    /// used. `None`: nothing is written.
    pub tries_after: Option<Nibble>,
}

/// The slots to start, first choice first. Empty slots are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOrder {
    /// In the order in which they are tried; none when every slot is empty.
    pub attempts: Vec<Attempt>,
}

impl BootOrder {
    /// The slot that is started first.
    pub fn first(&self) -> Option<&Attempt> {
        self.attempts.first()
    }
}

/// Lower is tried earlier.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Ordinary,
    Retired,
    Failed,
}

/// Decides the boot order of `slots`, given in the order of their partition entries.
///
/// Trial and confirmed slots come first, then retired, then failed ones; each by falling
/// priority, ties to the lower entry. A trial loses one try before it starts. An image that
/// will not start is given up for this boot and the next attempt follows at once.
pub fn boot_decision(slots: &[BootAttributes]) -> BootOrder {
    let mut ranked: Vec<_> = slots
        .iter()
        .enumerate()
        .filter_map(|(index, slot)| Some((rank(slot.state())?, Reverse(slot.priority()), index)))
        .collect();
    ranked.sort_unstable();

    let ordinary = ranked.iter().filter(|(rank, ..)| *rank == Rank::Ordinary).count();
    let attempt = |(position, (rank, _, index)): (usize, (Rank, _, usize))| {
        let slot = slots[index];
        let reason = match (rank, position, ordinary) {
            (Rank::Retired, ..) => Reason::LastResortRetired,
            (Rank::Failed, ..) => Reason::LastResortFailed,
            (Rank::Ordinary, 0, 1) => Reason::OnlyChoice,
            (Rank::Ordinary, 0, _) => Reason::HighestPriority,
            (Rank::Ordinary, ..) => Reason::Fallback,
        };
        let tries_after = match slot.state() {
            SlotState::Trial => slot.tries().checked_decrement(),
            _ => None,
        };
        Attempt { index, state: slot.state(), reason, tries_after }
    };
    BootOrder { attempts: ranked.into_iter().enumerate().map(attempt).collect() }
}

fn rank(state: SlotState) -> Option<Rank> {
    match state {
        SlotState::Trial | SlotState::Confirmed => Some(Rank::Ordinary),
        SlotState::Retired => Some(Rank::Retired),
        SlotState::Failed => Some(Rank::Failed),
        SlotState::Empty => None,
    }
}

#[cfg(test)]
mod tests;
