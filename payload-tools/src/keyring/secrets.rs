//! Passphrases and PINs: from a file, from the environment, else from the terminal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use pkcs8::der::zeroize::Zeroizing;

/// What opens a key. Wiped from memory when dropped; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Whether the URIs in a folder of keys may name files with PINs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PinSources {
    /// The folder may have been brought by somebody, who would have a file of the reader's sent to a
    /// token, or the wrong PIN so often that the token locks itself.
    #[default]
    Refused,
    /// Who signs has named the folder of his keys.
    Read,
}

/// What opens keys, and where it comes from; the terminal is asked for what is not here.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// File with the passphrase of encrypted keys.
    pub passphrase_file: Option<PathBuf>,
    /// Their passphrase, where no file is named.
    pub passphrase: Option<Secret>,
    /// The PIN of tokens, where the key's URI has no `pin-source`.
    pub pin: Option<Secret>,
    /// Whether a URI may have a `pin-source`.
    pub pin_sources: PinSources,
    /// The PKCS #11 module that knows them; p11-kit's knows all that the system is set up with.
    pub pkcs11_module: Option<PathBuf>,
}

/// Why there is no passphrase or PIN.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file that should have it cannot be read.
    #[error("the passphrase or PIN in {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Nobody is there to be asked.
    #[error("there is no terminal to ask at: {instead}")]
    NoTerminal {
        /// Another way to give it.
        instead: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Nothing was typed.
    #[error("an empty passphrase protects nothing; give another, or leave --encrypt out")]
    Empty,
    /// The second time, something else was typed.
    #[error("the two passphrases differ; run this again")]
    Differ,
}

impl Secrets {
    /// The passphrase that was given beforehand, if one was.
    pub(super) fn given_passphrase(&self) -> Result<Option<Secret>, SecretError> {
        match &self.passphrase_file {
            Some(path) => Ok(Some(read(path)?)),
            None => Ok(self.passphrase.clone()),
        }
    }

    /// A passphrase for new keys.
    pub fn new_passphrase(&self) -> Result<Secret, SecretError> {
        let passphrase = match self.given_passphrase()? {
            Some(given) => given,
            None => {
                let passphrase = ask_passphrase("New passphrase for the keys: ")?;
                let is_empty = passphrase.text().is_empty();
                if !is_empty && ask_passphrase("The same again: ")? != passphrase {
                    return Err(SecretError::Differ);
                }
                passphrase
            }
        };
        if passphrase.text().is_empty() { Err(SecretError::Empty) } else { Ok(passphrase) }
    }

    /// The PIN of a token, from `pin_source` before all else.
    pub(super) fn pin(
        &self,
        token: &str,
        pin_source: Option<&Path>,
    ) -> Result<Secret, SecretError> {
        match (pin_source, &self.pin) {
            (Some(path), _) => read(path),
            (None, Some(pin)) => Ok(pin.clone()),
            (None, None) => ask(
                &format!("PIN of token {token}: "),
                "set SEESAW_PKCS11_PIN, or let the key's URI have a pin-source",
            ),
        }
    }
}

pub(super) fn ask_passphrase(prompt: &str) -> Result<Secret, SecretError> {
    ask(prompt, "name a file with --passphrase-file, or set SEESAW_PASSPHRASE")
}

/// Asks the terminal, which does not show what is typed.
fn ask(prompt: &str, instead: &'static str) -> Result<Secret, SecretError> {
    let no_terminal = |source| SecretError::NoTerminal { instead, source };
    rpassword::prompt_password(prompt).map(Secret::from).map_err(no_terminal)
}

/// The first line of a file.
fn read(path: &Path) -> Result<Secret, SecretError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| SecretError::File { path: path.to_owned(), source })?;
    let text = Zeroizing::new(text);
    Ok(Secret::from(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn a_file_comes_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        fs_err::write(&path, " of the file \r\nsecond line\n").unwrap();
        let mut secrets =
            Secrets { passphrase: Some(secret("of the environment")), ..Secrets::default() };
        assert_eq!(secrets.new_passphrase().unwrap(), secret("of the environment"));
        secrets.passphrase_file = Some(path.clone());
        assert_eq!(secrets.given_passphrase().unwrap(), Some(secret(" of the file ")));
        secrets.pin = Some(secret("of the environment"));
        assert_eq!(secrets.pin("t", None).unwrap(), secret("of the environment"));
        assert_eq!(secrets.pin("t", Some(&path)).unwrap(), secret(" of the file "));
        secrets.passphrase_file = Some(folder.path().join("absent"));
        let error = secrets.given_passphrase().unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn an_empty_passphrase_makes_no_keys() {
        let secrets = Secrets { passphrase: Some(secret("")), ..Secrets::default() };
        assert!(matches!(secrets.new_passphrase(), Err(SecretError::Empty)));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secrets = Secrets { passphrase: Some(secret("hush")), ..Secrets::default() };
        assert!(!format!("{secrets:?}").contains("hush"));
    }
}
