//! GUIDs in the mixed byte order of GPT and UEFI.

use core::fmt;
use core::str::FromStr;

/// A GUID as it lies on the disk: the first three fields little-endian, the rest in order.
///
/// Text is the usual 8-4-4-4-12 form, written in upper case and read in either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

impl Guid {
    /// All zeroes: the type of an unused entry.
    pub const ZERO: Self = Self([0; 16]);

    /// From the fields in the order of their text form.
    pub const fn from_fields(a: u32, b: u16, c: u16, rest: [u8; 8]) -> Self {
        let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        let r = rest;
        Self([
            a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], r[0], r[1], r[2], r[3], r[4], r[5],
            r[6], r[7],
        ])
    }

    /// From the 16 bytes of a table or a UEFI structure.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new one: version 4, random.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    #[cfg(feature = "std")]
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self::with_version(bytes, 4))
    }

    /// The identity of partition `number` on the disk with this one: version 8, so that one
    /// seed settles a whole table.
    #[cfg(feature = "std")]
    pub(crate) fn derived(self, number: u32) -> Self {
        let words = [0, 8].map(|at| u64::from_le_bytes(core::array::from_fn(|i| self.0[at + i])));
        let low = mix(words[0] ^ mix(words[1].wrapping_add(u64::from(number))));
        let high = mix(words[1] ^ mix(low));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        Self::with_version(bytes, 8)
    }

    /// Sets the bits of RFC 9562: the version, and the variant of all its versions.
    #[cfg(feature = "std")]
    const fn with_version(mut bytes: [u8; 16], version: u8) -> Self {
        bytes[7] = bytes[7] & 0x0F | version << 4;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Self(bytes)
    }

    /// The 16 bytes as they lie on the disk.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// The output function of SplitMix64: every input bit reaches every output bit.
#[cfg(feature = "std")]
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Position in [`Guid`]'s bytes of each byte of the text form.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
/// Offsets of the dashes in the 36 characters of the text form.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, index) in TEXT_ORDER.into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02X}", self.0[index])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID: expected 36 characters, hexadecimal digits grouped 8-4-4-4-12")]
pub struct GuidError;

impl FromStr for Guid {
    type Err = GuidError;

    fn from_str(text: &str) -> Result<Self, GuidError> {
        let text = text.as_bytes();
        if text.len() != 36 || DASHES.iter().any(|&at| text[at] != b'-') {
            return Err(GuidError);
        }
        let digits = text.iter().enumerate().filter(|(at, _)| !DASHES.contains(at));
        let mut bytes = [0; 16];
        for (nibble, (_, digit)) in digits.enumerate() {
            let value = char::from(*digit).to_digit(16).ok_or(GuidError)? as u8;
            let byte = &mut bytes[TEXT_ORDER[nibble / 2]];
            *byte = *byte << 4 | value;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_and_bytes_agree_with_the_specification() {
        let text = "FE3A2A5D-4F32-41A7-B725-ACCC3285A309";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(guid.to_bytes()[..8], [0x5D, 0x2A, 0x3A, 0xFE, 0x32, 0x4F, 0xA7, 0x41]);
        assert_eq!(text.to_lowercase().parse(), Ok(guid));
        let fields = [0xB7, 0x25, 0xAC, 0xCC, 0x32, 0x85, 0xA3, 0x09];
        assert_eq!(Guid::from_fields(0xFE3A_2A5D, 0x4F32, 0x41A7, fields), guid);
    }

    #[test]
    fn refuses_what_is_no_guid() {
        for text in [
            "",
            "FE3A2A5D4F3241A7B725ACCC3285A309",
            "FE3A2A5D-4F32-41A7-B725-ACCC3285A30",
            "FE3A2A5D-4F32-41A7-B725-ACCC3285A30G",
            "FE3A2A5D-4F32-41A7-B725+ACCC3285A309",
            "{E3A2A5D-4F32-41A7-B725-ACCC3285A309",
            "FE3A2A5D-4F32-41A7-B725-ACCC3285Aé0",
        ] {
            assert_eq!(text.parse::<Guid>(), Err(GuidError), "{text}");
        }
    }
}
