//! The device's name towards its server: 128 random bits, made once on STATE.

use std::io::{self, ErrorKind};
use std::path::Path;

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};

/// 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceId(String);

/// A device id that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system refused.
    #[error("cannot read or make the device id: check that STATE is mounted and writable")]
    Io(#[source] io::Error),
    /// The kernel has no randomness.
    #[error("cannot make a device id: the kernel gives no random bytes")]
    Random(getrandom::Error),
    /// The file holds something else.
    #[error("{path} is not 32 hex digits: restore it, or remove it to become a new device")]
    Foreign {
        /// The file.
        path: String,
    },
}

impl DeviceId {
    /// Reads the id in the folder `state`, or makes one.
    ///
    /// # Errors
    /// There is none and none can be made; what is there is never replaced.
    pub fn of(state: &Path) -> Result<Self, IdentityError> {
        let path = state.join("device-id");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let foreign = || IdentityError::Foreign { path: path.display().to_string() };
                parse(text.trim()).ok_or_else(foreign)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut bits = [0; 16];
                getrandom::fill(&mut bits).map_err(IdentityError::Random)?;
                let id = hex::encode(bits);
                let line = format!("{id}\n");
                durable_file::write(&path, line.as_bytes(), Readers::Everyone, Existing::Refuse)
                    .map_err(IdentityError::Io)?;
                Ok(Self(id))
            }
            Err(error) => Err(IdentityError::Io(error)),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parse(text: &str) -> Option<DeviceId> {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 32 && text.bytes().all(hex)).then(|| DeviceId(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_never_replaced() {
        let state = tempfile::tempdir().unwrap();
        let made = DeviceId::of(state.path()).unwrap();
        assert_eq!(DeviceId::of(state.path()).unwrap(), made);
        assert_ne!(DeviceId::of(tempfile::tempdir().unwrap().path()).unwrap(), made);

        std::fs::write(state.path().join("device-id"), "short").unwrap();
        assert!(matches!(DeviceId::of(state.path()), Err(IdentityError::Foreign { .. })));
    }
}
