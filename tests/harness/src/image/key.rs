//! Names for stages, and for whatever else is kept: the SHA-256 of everything that goes into one.

use sha2::{Digest, Sha256};

/// Collects inputs; two lists of inputs give one key only when they are equal.
#[derive(Debug, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds one input.
    pub fn add(&mut self, input: impl AsRef<[u8]>) -> &mut Self {
        let input = input.as_ref();
        // The length first, or ("ab", "c") and ("a", "bc") would be the same stage.
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// 16 hex digits: enough to tell a few dozen stages apart.
    pub fn finish(&self) -> String {
        hex::encode(&self.0.clone().finalize()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_input_ends_matters() {
        let first = Key::default().add("ab").add("c").finish();
        let second = Key::default().add("a").add("bc").finish();
        assert_ne!(first, second);
        assert_eq!(first, Key::default().add("ab").add("c").finish());
    }
}
