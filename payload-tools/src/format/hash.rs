use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 digest. Written as 64 lower-case hex digits, and read only so:
/// a hash is also a file name, so it has one spelling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// The salt of a tree, 0 to 256 bytes, hashed before every block.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt(Vec<u8>);

/// Text that is not a hash or a salt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Something else than `0-9a-f`, or an odd number of digits.
    #[error("not lower-case hex in pairs of digits")]
    NotHex,
    /// The wrong number of digits.
    #[error("{found} hex digits where {wanted} are wanted")]
    Length {
        /// Digits found.
        found: usize,
        /// What would be right, in words.
        wanted: &'static str,
    },
}

impl Hash {
    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of `data`.
    pub fn of(data: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(data).into())
    }
}

impl Salt {
    /// Most bytes of a salt, dm-verity's limit.
    pub const LEN_MAX: usize = 256;

    /// The salt with these bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, HexError> {
        if bytes.len() > Self::LEN_MAX {
            let found = bytes.len() * 2;
            return Err(HexError::Length { found, wanted: "at most 512" });
        }
        Ok(Self(bytes))
    }

    /// The bytes hashed before every block.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salt({self})")
    }
}

impl FromStr for Hash {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let bytes = decode_lower(text)?;
        let length = HexError::Length { found: text.len(), wanted: "64" };
        Ok(Self(bytes.try_into().map_err(|_| length)?))
    }
}

impl FromStr for Salt {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        Self::new(decode_lower(text)?)
    }
}

impl TryFrom<String> for Hash {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

impl TryFrom<String> for Salt {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

impl From<Hash> for Salt {
    fn from(hash: Hash) -> Self {
        Self(hash.0.to_vec())
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.to_string()
    }
}

fn decode_lower(text: &str) -> Result<Vec<u8>, HexError> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(HexError::NotHex);
    }
    hex::decode(text).map_err(|_| HexError::NotHex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_one_spelling() {
        let text = "ab".repeat(32);
        let hash: Hash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Hash>(), Err(HexError::NotHex));
        assert_eq!("zz".repeat(32).parse::<Hash>(), Err(HexError::NotHex));
        let length = HexError::Length { found: 62, wanted: "64" };
        assert_eq!(text[2..].parse::<Hash>(), Err(length));
        assert_eq!("".parse::<Hash>(), Err(HexError::Length { found: 0, wanted: "64" }));
    }

    #[test]
    fn a_salt_has_at_most_256_bytes() {
        assert_eq!("".parse::<Salt>().unwrap().as_bytes(), b"");
        assert_eq!("00ff".parse::<Salt>().unwrap().as_bytes(), [0, 255]);
        assert!("00".repeat(256).parse::<Salt>().is_ok());
        assert!("00".repeat(257).parse::<Salt>().is_err());
        assert_eq!("0".parse::<Salt>(), Err(HexError::NotHex));
    }
}
