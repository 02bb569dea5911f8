use std::path::PathBuf;

use super::{SecretError, TokenError, TokenUri, TokenUriError};
use crate::trust::{KeyError, KeyId, Role};

/// Why a key cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is none.
    #[error("there is no key of {role} at {}; make it with `payload keygen`, or fetch it", path.display())]
    None {
        /// The role.
        role: Role,
        /// Where it should be.
        path: PathBuf,
    },
    /// None of the keys has that id.
    #[error("key {0:.16} is not at hand; fetch it")]
    NotAtHand(KeyId),
    /// A file in the folder is no key.
    #[error("{} holds no key", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: KeyError,
    },
    /// A file in the folder names no key on a token.
    #[error("{} names no key on a token", path.display())]
    Uri {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: TokenUriError,
    },
    /// It says which file has the PIN, and who says so is not known.
    #[error(
        "{} has a pin-source, which is read only where --keys names the folder; name it if it is yours, or \
         leave pin-source out and set SEESAW_PKCS11_PIN",
        path.display()
    )]
    PinSource {
        /// The file.
        path: PathBuf,
    },
    /// Which key it is, is not known before it is opened.
    #[error(
        "{} has no public half at {}; fetch it, or write it with `openssl pkey -pubout`",
        path.display(),
        beside.display()
    )]
    NoPublic {
        /// The key.
        path: PathBuf,
        /// Where the public half should be.
        beside: PathBuf,
    },
    /// What was opened is not what the public half says.
    #[error("{} and its .pub file are of different keys; fetch the one that belongs to the other", path.display())]
    Another {
        /// The key.
        path: PathBuf,
    },
    /// Which of the two is meant?
    #[error("there are two keys {name} in {}: {name}.pem and {name}.uri; move one away", folder.display())]
    Two {
        /// Their name.
        name: String,
        /// Where they are.
        folder: PathBuf,
    },
    /// Others may read it.
    #[error("{} can be read by others (mode {mode:o}); make a new key, or `chmod 600` it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is encrypted, and there is no passphrase to be had.
    #[error("{} is encrypted", path.display())]
    NoPassphrase {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: SecretError,
    },
    /// It is encrypted with another.
    #[error("the passphrase is not the one of {}; run this again with that one", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// New keys were to be encrypted.
    #[error("no keys were made, for want of a passphrase")]
    NewPassphrase(#[source] SecretError),
    /// The token does not have, make, or use it.
    #[error("the key at {uri} cannot be used")]
    Token {
        /// Which key.
        uri: TokenUri,
        /// The cause.
        source: Box<TokenError>,
    },
    /// The file system refused.
    #[error("the folder of keys cannot be used")]
    Io(#[from] std::io::Error),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes ({0})")]
    Random(getrandom::Error),
}
