//! What the verbs that work in a publisher's folder share.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::admin::{AdminClient, AdminError, ServerArgs};
use crate::keyring::{PinSources, Secret, Secrets};
use crate::repository::PublisherFolder;
use crate::trust::{KeyId, PublicKey};

/// The publisher's folder, and what opens its keys.
#[derive(Debug, Args)]
pub(super) struct PublisherArgs {
    /// The publisher's folder, with metadata/, draft/ and keys/.
    #[arg(long, value_name = "DIR", default_value = ".")]
    publisher: PathBuf,
    /// Folder of the private keys, where they are not in keys/ of the publisher's folder.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// File whose first line is the passphrase of encrypted keys. Without it SEESAW_PASSPHRASE has
    /// it, or the terminal asks.
    #[arg(long, value_name = "FILE", env = "SEESAW_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
    /// Module of the token that holds keys, where their URIs name none; p11-kit's by default. The
    /// token's PIN is in SEESAW_PKCS11_PIN, or the terminal asks.
    #[arg(long, value_name = "FILE", env = "SEESAW_PKCS11_MODULE")]
    pkcs11_module: Option<PathBuf>,
}

impl PublisherArgs {
    pub(super) fn folder(&self) -> PublisherFolder {
        let folder = PublisherFolder::at(&self.publisher).with_secrets(self.secrets());
        match &self.keys {
            Some(keys) => folder.with_keys(keys),
            None => folder,
        }
    }

    pub(super) fn secrets(&self) -> Secrets {
        // Never as arguments, which other users of the machine can see.
        let secret = |name| std::env::var(name).ok().map(Secret::from);
        Secrets {
            passphrase_file: self.passphrase_file.clone(),
            passphrase: secret("SEESAW_PASSPHRASE"),
            pin: secret("SEESAW_PKCS11_PIN"),
            pin_sources: match self.keys {
                Some(_) => PinSources::Read,
                None => PinSources::Refused,
            },
            pkcs11_module: self.pkcs11_module.clone(),
        }
    }
}

/// A public key as it stands on the command line, or in the file of that name.
pub(super) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(error) if !Path::new(text).exists() => Err(Failure::usage(error)),
        Err(_) => Ok(fs_err::read_to_string(text)?.parse()?),
    }
}

/// One of the listed keys, by the first digits of its id, or by the key itself.
pub(super) fn listed_key(text: &str, listed: &[KeyId]) -> Result<KeyId, Failure> {
    /// Digits that nobody confuses by chance.
    const DIGITS_MIN: usize = 8;
    let matching = |id: &&KeyId| text.len() >= DIGITS_MIN && id.to_string().starts_with(text);
    let mut matching = listed.iter().filter(matching);
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id.clone()),
        _ => Ok(public_key(text)?.id().clone()),
    }
}

/// The client that the arguments ask for; without a token, or a server's URL, they are wrong.
pub(super) fn connect(server: &ServerArgs) -> Result<AdminClient, Failure> {
    server.connect().map_err(|error| match error {
        AdminError::NoToken | AdminError::Url { .. } => Failure::usage(error),
        other => other.into(),
    })
}

/// Runs the network's part of a verb.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
