use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::publisher::PublisherArgs;
use super::{Failure, Output};
use crate::format::Compatible;
use crate::keyring::{Keeping, KeyringError, Made, TokenUri, TokenUriError};
use crate::trust::KeyId;

const EXAMPLES: &str = "\
Examples:
  payload keygen --compatible demo-x86_64
  payload keygen --encrypt --compatible demo-x86_64 --compatible demo-aarch64
  payload keygen --encrypt --name root-2          (one more key, to be added to a role)
  payload keygen --pkcs11 pkcs11:token=release --compatible demo-x86_64
  payload keygen --use root-2=pkcs11:object=seesaw-root";

/// Make the publisher's keys: root, targets, snapshot, and one per compatible.
///
/// Keys that are there are kept. NAME.pem is a PKCS #8 file; with --encrypt a passphrase opens it, and
/// with --pkcs11 the key never leaves a token and NAME.uri says where it is. NAME.pub is the public
/// half, for others. Move root and targets off this machine when `payload init` is done, and bring
/// them back for changes to compatibles.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keygen {
    #[command(flatten)]
    publisher: PublisherArgs,
    /// A compatible to make a key for; may be given again.
    #[arg(long, value_name = "NAME")]
    compatible: Vec<Compatible>,
    /// Make a key of this name alone, and not root's and the others'; may be given again.
    #[arg(long, value_name = "NAME", value_parser = key_name)]
    name: Vec<String>,
    /// Encrypt the new keys with a passphrase, which is asked for if it is not given.
    #[arg(long)]
    encrypt: bool,
    /// Make the new keys on this token, where they get their names.
    #[arg(long, value_name = "URI", conflicts_with = "encrypt", value_parser = token)]
    pkcs11: Option<TokenUri>,
    /// Use a key that is on a token already, under this name, alone as with --name; may be given
    /// again.
    #[arg(long = "use", value_name = "NAME=URI", value_parser = name_and_key)]
    existing: Vec<(String, TokenUri)>,
}

/// A word of the command line is wrong.
#[derive(Debug, thiserror::Error)]
enum WordError {
    #[error(transparent)]
    Uri(#[from] TokenUriError),
    #[error("name the token alone, as in pkcs11:token=release; keys get names of their own")]
    NamesAKey,
    #[error("name a key on the token, as in root=pkcs11:token=release;object=root")]
    NamesNoKey,
    #[error("give a name and a key, as in root=pkcs11:token=release;object=root")]
    NoName,
    #[error("a key's name is 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or digit")]
    KeyName,
}

fn token(text: &str) -> Result<TokenUri, WordError> {
    let uri: TokenUri = text.parse()?;
    if uri.names_a_key() { Err(WordError::NamesAKey) } else { Ok(uri) }
}

fn name_and_key(text: &str) -> Result<(String, TokenUri), WordError> {
    let (name, uri) = text.split_once('=').ok_or(WordError::NoName)?;
    let name = key_name(name).map_err(|_| WordError::NoName)?;
    let uri: TokenUri = uri.parse()?;
    if uri.names_a_key() { Ok((name, uri)) } else { Err(WordError::NamesNoKey) }
}

/// The names of keys are names of files: as compatibles are spelled, and roles.
fn key_name(text: &str) -> Result<String, WordError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let short = text.len() <= 64;
    if begins && short && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(WordError::KeyName)
    }
}

#[derive(Debug, Serialize)]
struct KeysReport {
    keys: Vec<KeyReport>,
}

#[derive(Debug, Serialize)]
struct KeyReport {
    name: String,
    id: KeyId,
    public: String,
    path: PathBuf,
    new: bool,
}

impl Keygen {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let mut keyring = self.publisher.folder().keyring()?;
        let names = self.names();
        let lacking = |(name, keeping): &(String, Option<Keeping>)| {
            keeping.is_none() && keyring.named(name).is_none()
        };
        let new_keys = if names.iter().any(lacking) { Some(self.keeping()?) } else { None };
        let mut keys = Vec::new();
        for (name, keeping) in names {
            let keeping = keeping.or_else(|| new_keys.clone()).unwrap_or(Keeping::Plain);
            let new = keyring.make(&name, &keeping)? == Made::New;
            if let Some((public, path)) = keyring.named(&name) {
                let (id, public, path) = (public.id().clone(), public.to_string(), path.to_owned());
                if !new && (self.encrypt || self.pkcs11.is_some()) {
                    eprintln!(
                        "warning: {name} has a key already, which stays as it is kept; take {} away first \
                         to have one made as asked",
                        path.display()
                    );
                }
                keys.push(KeyReport { name, id, public, path, new });
            }
        }
        output.report(&KeysReport { keys })
    }

    /// How new keys are kept.
    fn keeping(&self) -> Result<Keeping, KeyringError> {
        match &self.pkcs11 {
            Some(token) => Ok(Keeping::OnToken(token.clone())),
            None if self.encrypt => {
                let passphrase = self.publisher.secrets().new_passphrase();
                passphrase.map(Keeping::Encrypted).map_err(KeyringError::NewPassphrase)
            }
            None => Ok(Keeping::Plain),
        }
    }

    /// The keys' names, each once, and where those are that were made elsewhere.
    fn names(&self) -> Vec<(String, Option<Keeping>)> {
        let existing =
            |(name, uri): &(String, TokenUri)| (name.clone(), Some(Keeping::Existing(uri.clone())));
        let mut names: Vec<_> = self.existing.iter().map(existing).collect();
        let alone = !(self.name.is_empty() && self.existing.is_empty());
        let roles: &[&str] = if alone { &[] } else { &["root", "targets", "snapshot"] };
        let roles = roles.iter().map(|name| (*name).to_owned());
        let others = self.name.iter().cloned();
        let compatibles = self.compatible.iter().map(ToString::to_string);
        for name in roles.chain(others).chain(compatibles) {
            if names.iter().all(|(known, _)| *known != name) {
                names.push((name, None));
            }
        }
        names
    }
}

impl fmt::Display for KeysReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for KeyReport { name, id, path, new, .. } in &self.keys {
            let made = if *new { "new " } else { "kept" };
            writeln!(f, "{made} key {:.16} of {name}: {}", id.to_string(), path.display())?;
        }
        Ok(())
    }
}
