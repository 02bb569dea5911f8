//! What the verbs that work in a publisher's folder share.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, refuse_absent};
use crate::admin::{AdminClient, AdminError, ServerArgs};
use crate::keyring::{PinSources, Secret, Secrets};
use crate::repository::PublisherFolder;
use crate::trust::{KeyError, KeyId, PublicKey};

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

    /// The same, where a repository must have been begun there, or carried there as a draft.
    pub(super) fn repository(&self) -> Result<PublisherFolder, Failure> {
        let folder = self.folder();
        if folder.is_begun() || folder.draft_folder().exists() {
            return Ok(folder);
        }
        refuse_absent(&self.publisher)?;
        let error = Failure::from(NoRepository(self.publisher.clone()));
        Err(error.hint(
            "name the publisher's folder with --publisher, begin one with `payload init`, or copy \
             1.root.json to metadata/ there and run `payload pull`",
        ))
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

#[derive(Debug, thiserror::Error)]
#[error("{} is no publisher's folder: it has no metadata/1.root.json", .0.display())]
struct NoRepository(PathBuf);

/// Why an argument names no public key.
#[derive(Debug, thiserror::Error)]
enum KeyArgument {
    #[error("{0} is no public key, and there is no file of that name")]
    Nothing(String),
    #[error("{path} holds no public key")]
    File { path: String, source: KeyError },
}

/// A public key as it stands on the command line, or in the file of that name.
pub(super) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    if !Path::new(text).exists() {
        return Err(Failure::usage(KeyArgument::Nothing(text.to_owned())));
    }
    let of_file = |source| KeyArgument::File { path: text.to_owned(), source };
    Ok(fs_err::read_to_string(text)?.parse().map_err(of_file)?)
}

/// Key ids as people compare them.
pub(super) fn short_ids<'a>(ids: impl IntoIterator<Item = &'a KeyId>) -> String {
    ids.into_iter().map(|id| format!("{id:.16}")).collect::<Vec<_>>().join(", ")
}

/// Digits of a key's id that nobody confuses by chance.
const DIGITS_MIN: usize = 8;

/// Why digits name none of a role's keys.
#[derive(Debug, thiserror::Error)]
enum DigitsError {
    #[error("{0} is too short for a key's id; give its first {DIGITS_MIN} digits, or more")]
    Short(String),
    #[error("no key of the role has an id that begins with {digits}; they are {}", join(listed))]
    None { digits: String, listed: Vec<KeyId> },
    #[error("{digits} begins the ids of {} keys of the role, {}; give more digits", ids.len(), join(ids))]
    Several { digits: String, ids: Vec<KeyId> },
}

fn join(ids: &[KeyId]) -> String {
    ids.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ")
}

/// One of the listed keys, by the first digits of its id, or by the key itself.
pub(super) fn listed_key(text: &str, listed: &[KeyId]) -> Result<KeyId, Failure> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    // What has as many digits as an id may also be an Ed25519 key.
    let may_be_a_key = text.len() >= 64 || !text.bytes().all(is_digit) || Path::new(text).exists();
    let begins = |id: &&KeyId| text.len() >= DIGITS_MIN && id.to_string().starts_with(text);
    let matching: Vec<_> = listed.iter().filter(begins).cloned().collect();
    match matching.as_slice() {
        [id] => return Ok(id.clone()),
        [] if may_be_a_key => return Ok(public_key(text)?.id().clone()),
        _ => {}
    }
    let digits = text.to_owned();
    Err(Failure::usage(match matching {
        ids if !ids.is_empty() => DigitsError::Several { digits, ids },
        _ if text.len() < DIGITS_MIN => DigitsError::Short(digits),
        _ => DigitsError::None { digits, listed: listed.to_vec() },
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digits: &str) -> KeyId {
        KeyId::try_from(format!("{digits:0<64}")).unwrap()
    }

    #[test]
    fn a_key_is_named_by_the_digits_that_only_its_id_begins_with() {
        let listed = ["aabbccdd00", "aabbccdd11", "aabbccee"].map(id);
        for (digits, key) in [("aabbccdd0", 0), ("aabbccdd1", 1), ("aabbccee", 2)] {
            assert_eq!(listed_key(digits, &listed).unwrap(), listed[key]);
        }
        assert_eq!(listed_key(&listed[1].to_string(), &listed).unwrap(), listed[1]);
        let said = |digits: &str| format!("{:?}", listed_key(digits, &listed).unwrap_err());
        for (digits, wanted) in
            [("aabbccdd", "Several"), ("aabbcce", "Short"), ("", "Short"), ("aabbccff", "None")]
        {
            assert!(said(digits).contains(wanted), "{digits:?}: {}", said(digits));
        }
        let several = DigitsError::Several { digits: "aabbccdd".into(), ids: listed[..2].to_vec() };
        let several = several.to_string();
        assert!(listed[..2].iter().all(|id| several.contains(&id.to_string())), "{several}");
    }

    #[test]
    fn a_key_is_named_by_its_public_half_too() {
        let folder = tempfile::tempdir().unwrap();
        // A name that could be digits of an id.
        let path = folder.path().join("abba");
        let public = crate::trust::SigningKey::from_seed(&[3; 32]).public().clone();
        fs_err::write(&path, public.to_string()).unwrap();
        for text in [public.to_string(), path.to_str().unwrap().to_owned()] {
            assert_eq!(&listed_key(&text, &[]).unwrap(), public.id());
        }
        assert!(listed_key("no-such-file", &[]).is_err());
    }
}
