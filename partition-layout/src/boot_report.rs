//! What the boot selector says it did: the bytes of the EFI variable `SeesawBoot`.
//!
//! The drawing is in docs/formats.md. A report is news for people, never evidence.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::{Guid, Nibble, Reason, SlotLetter, SlotState};

const FORMAT_VERSION: u8 = 1;
const HEAD_SIZE: usize = 6;
const REFUSAL_SIZE: usize = 4;
const REFUSALS_MAX: usize = 2;

/// The selector's report of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootReport {
    /// The slot that was started.
    pub started: SlotLetter,
    /// Its state before the decision.
    pub state: SlotState,
    /// Its tries as they stand on the disk now, for a trial after the decrement.
    pub tries: Nibble,
    /// Why this one.
    pub reason: Reason,
    /// What was passed over before it, in that order. Only the first two are encoded.
    pub refused: Vec<Refusal>,
}

/// A slot that the selector did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The slot.
    pub letter: SlotLetter,
    /// Its state before the decision.
    pub state: SlotState,
    /// What kept it from starting.
    pub failure: StartFailure,
    /// Low byte of the EFI status, 0 where there was none.
    pub efi_status: u8,
}

/// What kept a slot from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartFailure {
    /// It has failed before.
    NoTriesLeft,
    /// The partition does not hold a PE file of sound size.
    NoValidImage,
    /// The firmware refused the image; under Secure Boot its signature, among others.
    LoadImage,
    /// The image was started and gave control back.
    Returned,
    /// The decrement could not be written and read back.
    TryNotWritten,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTriesLeft => "no tries left",
            Self::NoValidImage => "no valid image",
            Self::LoadImage => "the firmware refused the image",
            Self::Returned => "the image returned to the selector",
            Self::TryNotWritten => "the try could not be written",
        })
    }
}

/// Bytes that are no boot report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootReportError {
    /// Too short or too long for what it announces.
    #[error("a boot report of {0} bytes is not of a length that its count of refusals allows")]
    Length(usize),
    /// Written by another version of the selector.
    #[error("boot report of format version {0}, expected {FORMAT_VERSION}")]
    Version(u8),
    /// A byte without meaning.
    #[error("byte {at} of the boot report has the unknown value {value:#04x}")]
    Value {
        /// Offset of the byte.
        at: usize,
        /// Its value.
        value: u8,
    },
}

/// A value with a byte of its own in the report.
trait Coded: Copy + 'static {
    const ALL: &'static [Self];
    fn code(self) -> u8;

    /// `at` is the offset of `byte` in the report.
    fn decode(at: usize, byte: u8) -> Result<Self, BootReportError> {
        let known = Self::ALL.iter().copied().find(|value| value.code() == byte);
        known.ok_or(BootReportError::Value { at, value: byte })
    }
}

impl Coded for SlotLetter {
    const ALL: &'static [Self] = &Self::BOTH;

    fn code(self) -> u8 {
        match self {
            Self::A => b'A',
            Self::B => b'B',
        }
    }
}

impl Coded for SlotState {
    const ALL: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Empty => b'e',
            Self::Trial => b't',
            Self::Confirmed => b'c',
            Self::Retired => b'r',
            Self::Failed => b'f',
        }
    }
}

impl Coded for Reason {
    const ALL: &'static [Self] = &[
        Self::HighestPriority,
        Self::OnlyChoice,
        Self::Fallback,
        Self::LastResortRetired,
        Self::LastResortFailed,
    ];

    fn code(self) -> u8 {
        match self {
            Self::HighestPriority => 1,
            Self::OnlyChoice => 2,
            Self::Fallback => 3,
            Self::LastResortRetired => 4,
            Self::LastResortFailed => 5,
        }
    }
}

impl Coded for StartFailure {
    const ALL: &'static [Self] = &[
        Self::NoTriesLeft,
        Self::NoValidImage,
        Self::LoadImage,
        Self::Returned,
        Self::TryNotWritten,
    ];

    fn code(self) -> u8 {
        match self {
            Self::NoTriesLeft => 1,
            Self::NoValidImage => 2,
            Self::LoadImage => 3,
            Self::Returned => 4,
            Self::TryNotWritten => 5,
        }
    }
}

impl BootReport {
    /// Name of the EFI variable.
    pub const VARIABLE: &'static str = "SeesawBoot";
    /// Vendor GUID of the EFI variable.
    pub const VENDOR: Guid = Guid::from_fields(
        0x7D6C_2D0E,
        0x6A4D,
        0x4E0E,
        [0x9D, 0x2B, 0x3A, 0x7C, 0x5F, 0x1B, 0x9A, 0x10],
    );

    /// The variable's content.
    pub fn encode(&self) -> Vec<u8> {
        let refused = &self.refused[..self.refused.len().min(REFUSALS_MAX)];
        let mut bytes = vec![
            FORMAT_VERSION,
            self.started.code(),
            self.state.code(),
            self.tries.get(),
            self.reason.code(),
            refused.len() as u8,
        ];
        for refusal in refused {
            bytes.extend([
                refusal.letter.code(),
                refusal.state.code(),
                refusal.failure.code(),
                refusal.efi_status,
            ]);
        }
        bytes
    }

    /// Reads the variable's content (on Linux: after the four attribute bytes of efivarfs).
    ///
    /// # Errors
    /// When any byte is unknown or the length does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, BootReportError> {
        let [version, head @ ..] = bytes else { return Err(BootReportError::Length(0)) };
        if *version != FORMAT_VERSION {
            return Err(BootReportError::Version(*version));
        }
        let [started, state, tries, reason, count, refused @ ..] = head else {
            return Err(BootReportError::Length(bytes.len()));
        };
        let count = usize::from(*count);
        if count > REFUSALS_MAX || refused.len() != count * REFUSAL_SIZE {
            return Err(BootReportError::Length(bytes.len()));
        }
        let tries = Nibble::try_from(*tries)
            .map_err(|error| BootReportError::Value { at: 3, value: error.0 })?;
        Ok(Self {
            started: SlotLetter::decode(1, *started)?,
            state: SlotState::decode(2, *state)?,
            tries,
            reason: Reason::decode(4, *reason)?,
            refused: (HEAD_SIZE..)
                .step_by(REFUSAL_SIZE)
                .zip(refused.chunks_exact(REFUSAL_SIZE))
                .map(|(at, bytes)| Refusal::decode(at, bytes))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Refusal {
    fn decode(at: usize, bytes: &[u8]) -> Result<Self, BootReportError> {
        Ok(Self {
            letter: SlotLetter::decode(at, bytes[0])?,
            state: SlotState::decode(at + 1, bytes[1])?,
            failure: StartFailure::decode(at + 2, bytes[2])?,
            efi_status: bytes[3],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fallback() -> BootReport {
        BootReport {
            started: SlotLetter::A,
            state: SlotState::Confirmed,
            tries: Nibble::ZERO,
            reason: Reason::Fallback,
            refused: vec![Refusal {
                letter: SlotLetter::B,
                state: SlotState::Trial,
                failure: StartFailure::LoadImage,
                efi_status: 0x1A,
            }],
        }
    }

    #[test]
    fn bytes_are_as_drawn() {
        assert_eq!(fallback().encode(), b"\x01Ac\x00\x03\x01Bt\x03\x1A");
    }

    #[test]
    fn every_value_survives() {
        for &reason in <Reason as Coded>::ALL {
            for (&failure, state) in StartFailure::ALL.iter().zip(SlotState::ALL) {
                let refusal = Refusal { failure, state, ..fallback().refused[0] };
                let refused = vec![refusal; 2];
                let report =
                    BootReport { reason, state, refused, tries: Nibble::MAX, ..fallback() };
                assert_eq!(BootReport::decode(&report.encode()), Ok(report));
            }
        }
    }

    #[test]
    fn strange_bytes_are_refused() {
        let good = fallback().encode();
        let check = |at: usize, value: u8, expected| {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(BootReport::decode(&bytes), Err(expected), "byte {at} = {value}");
        };
        check(0, 2, BootReportError::Version(2));
        for (at, value) in [(1, b'C'), (2, b'x'), (3, 16), (4, 0), (6, b'a'), (7, 0), (8, 6)] {
            check(at, value, BootReportError::Value { at, value });
        }
        for count in [0, 2, 3, 255] {
            check(5, count, BootReportError::Length(10));
        }
        for length in 0..good.len() {
            let refused = BootReport::decode(&good[..length]);
            assert_eq!(refused, Err(BootReportError::Length(length)));
        }
    }
}
