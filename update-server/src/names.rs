//! Names that come from devices, operators and URLs, parsed once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use payload_tools::format::{Channel, Compatible, Hash, Release};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
    given: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(&text) {
                    return Ok(Self(text));
                }
                let given = text.chars().take(80).collect();
                Err(NameError { what: $what, rule: $rule, given })
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A device: 128 random bits that it made once, as 32 lower-case hex digits.
    DeviceId, "device id", "32 lower-case hex digits", is_128_bits
);
name!(
    /// One event, named by the device that reports it, so that a repeat is recognised.
    EventId, "event id", "32 lower-case hex digits", is_128_bits
);
name!(
    /// What happened, in a device's own word: a device may be newer than the server.
    EventWord, "event kind", "1 to 32 of a-z and _", is_event_word
);
fn is_event_word(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_'))
}

name!(
    /// What an admin token is called.
    TokenName, "token name", "1 to 64 of a-z 0-9 . _ -", is_token_name
);
impl TokenName {
    /// The token that `init` makes.
    pub fn first() -> Self {
        Self("first".to_owned())
    }
}

fn is_token_name(text: &str) -> bool {
    let allowed = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_128_bits(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_are_32_lower_case_hex_digits() {
        for (text, accepted) in [
            ("00112233445566778899aabbccddeeff", true),
            ("00112233445566778899AABBCCDDEEFF", false),
            ("00112233445566778899aabbccddeef", false),
            ("../../../../../../../../etc/pass", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<DeviceId>().is_ok(), accepted, "{text}");
        }
    }
}
