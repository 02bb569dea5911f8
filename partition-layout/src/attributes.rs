//! The boot attributes of a slot: bits 48-56 of its kernel partition's GPT entry.

use core::fmt;

const PRIORITY_SHIFT: u32 = 48;
const TRIES_SHIFT: u32 = PRIORITY_SHIFT + 4;
const SUCCESSFUL: u64 = 1 << (TRIES_SHIFT + 4);
const NIBBLE_MASK: u64 = 0xF;
const BOOT_MASK: u64 = NIBBLE_MASK << PRIORITY_SHIFT | NIBBLE_MASK << TRIES_SHIFT | SUCCESSFUL;

/// A number from 0 to 15, as wide as the priority and the tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Nibble(u8);

impl Nibble {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 15.
    pub const MAX: Self = Self(15);

    /// 0 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// One less, or nothing below zero.
    pub const fn checked_decrement(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// One more, or nothing above 15.
    pub const fn checked_increment(self) -> Option<Self> {
        match self.0 {
            0..15 => Some(Self(self.0 + 1)),
            _ => None,
        }
    }

    const fn at(bits: u64, shift: u32) -> Self {
        Self((bits >> shift & NIBBLE_MASK) as u8)
    }
}

/// A number above 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not fit into four bits: use 0 to 15")]
pub struct NibbleOutOfRange(pub u8);

impl TryFrom<u8> for Nibble {
    type Error = NibbleOutOfRange;

    fn try_from(value: u8) -> Result<Self, NibbleOutOfRange> {
        if value > Self::MAX.0 { Err(NibbleOutOfRange(value)) } else { Ok(Self(value)) }
    }
}

impl From<Nibble> for u8 {
    fn from(nibble: Nibble) -> Self {
        nibble.0
    }
}

impl fmt::Display for Nibble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What the boot attributes say about a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Priority 0, not successful: never started.
    Empty,
    /// Has a priority and tries left, and has yet to prove itself.
    Trial,
    /// Has a priority and has proved itself: started without counting.
    Confirmed,
    /// Successful with priority 0. Seesaw reads this state and never produces it.
    Retired,
    /// Has a priority, no tries left, never confirmed. Kept until the next stage.
    Failed,
}

impl SlotState {
    /// All states, in the order in which docs/formats.md names them.
    pub const ALL: [Self; 5] =
        [Self::Empty, Self::Trial, Self::Confirmed, Self::Retired, Self::Failed];

    /// The lower-case word used in text, JSON and documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Retired => "retired",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The attribute field of a kernel entry. Bits other than 48-56 are carried along unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BootAttributes(u64);

impl BootAttributes {
    /// From the whole 64-bit field.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The whole 64-bit field.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Bits 48-51: the higher is started first, 0 is not started.
    pub const fn priority(self) -> Nibble {
        Nibble::at(self.0, PRIORITY_SHIFT)
    }

    /// Bits 52-55: how often a slot that is not successful may still be started.
    pub const fn tries(self) -> Nibble {
        Nibble::at(self.0, TRIES_SHIFT)
    }

    /// Bit 56: the slot has passed its health checks.
    pub const fn successful(self) -> bool {
        self.0 & SUCCESSFUL != 0
    }

    /// With these boot attributes, all other bits kept.
    #[must_use]
    pub const fn with_boot(self, priority: Nibble, tries: Nibble, successful: bool) -> Self {
        let successful = if successful { SUCCESSFUL } else { 0 };
        let boot = (priority.0 as u64) << PRIORITY_SHIFT | (tries.0 as u64) << TRIES_SHIFT;
        Self(self.0 & !BOOT_MASK | boot | successful)
    }

    /// The bits of `self` with bits 48-56 of `boot`: all that a commit may change.
    #[must_use]
    pub(crate) const fn with_boot_of(self, boot: Self) -> Self {
        Self(self.0 & !BOOT_MASK | boot.0 & BOOT_MASK)
    }

    /// The state that priority, tries and successful amount to.
    pub const fn state(self) -> SlotState {
        match (self.priority().0, self.tries().0, self.successful()) {
            (0, _, false) => SlotState::Empty,
            (0, _, true) => SlotState::Retired,
            (_, _, true) => SlotState::Confirmed,
            (_, 0, false) => SlotState::Failed,
            (_, _, false) => SlotState::Trial,
        }
    }
}

impl fmt::Debug for BootAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (priority, tries, successful) = (self.priority(), self.tries(), self.successful());
        write!(f, "{:#018x} (P={priority} T={tries} S={})", self.0, u8::from(successful))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bits_48_to_56_change() {
        for outside in [0, 1, 1 << 47, 1 << 57, 1 << 63, !BOOT_MASK, u64::MAX] {
            for (p, t, s) in [(0, 0, false), (15, 15, true), (1, 2, false), (8, 0, true)] {
                let boot = BootAttributes::from_bits(outside).with_boot(Nibble(p), Nibble(t), s);
                let read = (boot.priority().get(), boot.tries().get(), boot.successful());
                assert_eq!(read, (p, t, s));
                assert_eq!(boot.bits() & !BOOT_MASK, outside & !BOOT_MASK);
            }
        }
        assert_eq!(BOOT_MASK, 0x01FF_0000_0000_0000);
    }

    #[test]
    fn sixteen_does_not_fit() {
        assert_eq!(Nibble::try_from(15), Ok(Nibble::MAX));
        assert_eq!(Nibble::try_from(16), Err(NibbleOutOfRange(16)));
        assert_eq!(Nibble::MAX.checked_increment(), None);
        assert_eq!(Nibble::ZERO.checked_decrement(), None);
    }
}
