//! Where a publisher's private keys are: in files, which a passphrase may open, and on tokens.

mod encrypted;
mod error;
mod secrets;
mod token;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use self::encrypted::{Nonces, NotOpened, decrypt, encrypt, is_encrypted};
use self::token::{TokenKey, Tokens};
use crate::durable_file::{self, Existing, Readers};
use crate::trust::{KeyId, PublicKey, Role, SigningKey};

pub use error::KeyringError;
pub use secrets::{PinSources, Secret, SecretError, Secrets};
pub use token::{TokenError, TokenUri, TokenUriError};

/// How often a person may type the passphrase of one key.
const TRIES: u32 = 3;

/// Who signs: everything is signed through this, by the ids of keys.
pub trait Signer {
    /// The public half of every key at hand. Nobody is asked for a passphrase or a PIN.
    fn public_keys(&self) -> Vec<PublicKey>;

    /// The signature (hex, as metadata has it) over `message` by the key of that id. The first time,
    /// its passphrase or PIN may be asked for.
    fn sign(&self, key: &KeyId, message: &[u8]) -> Result<String, KeyringError>;
}

impl Signer for Vec<SigningKey> {
    fn public_keys(&self) -> Vec<PublicKey> {
        self.iter().map(|key| key.public().clone()).collect()
    }

    fn sign(&self, key: &KeyId, message: &[u8]) -> Result<String, KeyringError> {
        let found = self.iter().find(|held| held.public().id() == key);
        Ok(found.ok_or_else(|| KeyringError::NotAtHand(key.clone()))?.sign(message))
    }
}

/// Private keys by a folder: `NAME.pem` holds one, or `NAME.uri` says on which token it is, and
/// `NAME.pub` is its public half. What has to be opened is opened when it first signs.
#[derive(Debug)]
pub struct Keyring {
    folder: PathBuf,
    /// By the names of the files.
    keys: BTreeMap<String, Key>,
    secrets: Secrets,
    /// What was typed so far: one passphrase for all keys is typed once.
    typed: RefCell<Vec<Secret>>,
    tokens: Tokens,
}

#[derive(Debug)]
struct Key {
    path: PathBuf,
    public: PublicKey,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Plain(SigningKey),
    Encrypted { pem: String, opened: OnceCell<SigningKey> },
    OnToken { uri: TokenUri, found: OnceCell<TokenKey> },
}

/// How a new key is to be kept.
#[derive(Clone, Debug)]
pub enum Keeping {
    /// In a file, as it is.
    Plain,
    /// In a file that a passphrase opens.
    Encrypted(Secret),
    /// Made on the token that the URI names, where it gets the key's name.
    OnToken(TokenUri),
    /// There already: the URI names a key on a token.
    Existing(TokenUri),
}

/// What [`Keyring::make`] did for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A new key was made, or one on a token taken into use.
    New,
    /// There was one, and it was left alone.
    Kept,
}

impl Keyring {
    /// Looks at every `*.pem` and `*.uri` of a folder; one that does not exist is empty.
    pub fn open(folder: &Path, secrets: Secrets) -> Result<Self, KeyringError> {
        let mut keys = BTreeMap::new();
        if folder.exists() {
            for entry in fs_err::read_dir(folder)? {
                let path = entry?.path();
                let Some((name, key)) = read(&path)? else { continue };
                if keys.insert(name.clone(), key).is_some() {
                    return Err(KeyringError::Two { name, folder: folder.to_owned() });
                }
            }
        }
        let tokens = Tokens::new(secrets.pkcs11_module.clone());
        Ok(Self { folder: folder.to_owned(), keys, secrets, typed: RefCell::default(), tokens })
    }

    /// Makes a key of that name unless there is one. A key is never overwritten: what it signed
    /// could not be renewed.
    pub fn make(&mut self, name: &str, keeping: &Keeping) -> Result<Made, KeyringError> {
        if self.keys.contains_key(name) {
            return Ok(Made::Kept);
        }
        let path = self.folder.join(match keeping {
            Keeping::Plain | Keeping::Encrypted(_) => format!("{name}.pem"),
            Keeping::OnToken(_) | Keeping::Existing(_) => format!("{name}.uri"),
        });
        let (public, kept) = match keeping {
            Keeping::Plain => {
                let key = new_key()?;
                (key.public().clone(), Kept::Plain(key))
            }
            Keeping::Encrypted(passphrase) => {
                let (key, nonces) = (new_key()?, nonces()?);
                let pem = key.to_pem().and_then(|pem| encrypt(&pem, passphrase.text(), &nonces));
                let pem =
                    pem.map_err(|source| KeyringError::File { path: path.clone(), source })?;
                (key.public().clone(), Kept::Encrypted { pem, opened: OnceCell::from(key) })
            }
            Keeping::OnToken(token) => {
                let uri = token.with_object(name);
                let key = self.tokens.make(&uri, &self.secrets).map_err(on_token(&uri))?;
                (key.public().clone(), Kept::OnToken { uri, found: OnceCell::from(key) })
            }
            Keeping::Existing(uri) => {
                let key = self.tokens.find(uri, &self.secrets).map_err(on_token(uri))?;
                let uri = uri.clone();
                (key.public().clone(), Kept::OnToken { uri, found: OnceCell::from(key) })
            }
        };
        self.keep(name, Key { path, public, kept })?;
        Ok(Made::New)
    }

    /// Writes a key's files. Only the owner can read them.
    fn keep(&mut self, name: &str, key: Key) -> Result<(), KeyringError> {
        let text = match &key.kept {
            Kept::Plain(plain) => plain
                .to_pem()
                .map_err(|source| KeyringError::File { path: key.path.clone(), source })?,
            Kept::Encrypted { pem, .. } => pem.clone(),
            Kept::OnToken { uri, .. } => format!("{uri}\n"),
        };
        durable_file::make_folder(&self.folder, Readers::Owner)?;
        fs_err::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o700))?;
        let public = format!("{}\n", key.public.to_string().trim_end());
        // First, so that a cut leaves no key without it, which would be of no use.
        let beside = key.path.with_extension("pub");
        durable_file::write(&beside, public.as_bytes(), Readers::Owner, Existing::Replace)?;
        durable_file::write(&key.path, text.as_bytes(), Readers::Owner, Existing::Refuse)?;
        self.keys.insert(name.to_owned(), key);
        Ok(())
    }

    /// The public half of the key that is called as a role.
    pub fn public(&self, role: &Role) -> Result<&PublicKey, KeyringError> {
        let name = role.to_string();
        let none = || KeyringError::None {
            role: role.clone(),
            path: self.folder.join(format!("{name}.pem")),
        };
        self.keys.get(&name).map(|key| &key.public).ok_or_else(none)
    }

    /// The public half and the file of the key of that name.
    pub fn named(&self, name: &str) -> Option<(&PublicKey, &Path)> {
        self.keys.get(name).map(|key| (&key.public, key.path.as_path()))
    }

    fn unlock(&self, path: &Path, pem: &str) -> Result<SigningKey, KeyringError> {
        let path = || path.to_owned();
        let no_passphrase = |source| KeyringError::NoPassphrase { path: path(), source };
        let open = |passphrase: &Secret| match decrypt(pem, passphrase.text()) {
            Ok(key) => Ok(Some(key)),
            Err(NotOpened::Passphrase) => Ok(None),
            Err(NotOpened::NoKey(source)) => Err(KeyringError::File { path: path(), source }),
        };
        let wrong = || KeyringError::WrongPassphrase { path: path() };
        if let Some(given) = self.secrets.given_passphrase().map_err(no_passphrase)? {
            return open(&given)?.ok_or_else(wrong);
        }
        for passphrase in self.typed.borrow().iter() {
            if let Some(key) = open(passphrase)? {
                return Ok(key);
            }
        }
        for _ in 0..TRIES {
            let prompt = format!("Passphrase of {}: ", path().display());
            let typed = secrets::ask_passphrase(&prompt).map_err(no_passphrase)?;
            if let Some(key) = open(&typed)? {
                self.typed.borrow_mut().push(typed);
                return Ok(key);
            }
        }
        Err(wrong())
    }
}

impl Signer for Keyring {
    fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.values().map(|key| key.public.clone()).collect()
    }

    fn sign(&self, key: &KeyId, message: &[u8]) -> Result<String, KeyringError> {
        let found = self.keys.values().find(|held| held.public.id() == key);
        let not_at_hand = || KeyringError::NotAtHand(key.clone());
        let Key { path, public, kept } = found.ok_or_else(not_at_hand)?;
        let same = |opened: &PublicKey| {
            let another = || KeyringError::Another { path: path.clone() };
            if opened == public { Ok(()) } else { Err(another()) }
        };
        match kept {
            Kept::Plain(key) => Ok(key.sign(message)),
            Kept::Encrypted { pem, opened } => {
                let key = get_or_try_init(opened, || self.unlock(path, pem))?;
                same(key.public())?;
                Ok(key.sign(message))
            }
            Kept::OnToken { uri, found } => {
                let find = || {
                    if uri.pin_source().is_some() && self.secrets.pin_sources == PinSources::Refused
                    {
                        return Err(KeyringError::PinSource { path: path.clone() });
                    }
                    self.tokens.find(uri, &self.secrets).map_err(on_token(uri))
                };
                let key = get_or_try_init(found, find)?;
                same(key.public())?;
                key.sign(message).map_err(on_token(uri))
            }
        }
    }
}

fn get_or_try_init<T, E>(cell: &OnceCell<T>, init: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = init()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

fn on_token(uri: &TokenUri) -> impl Fn(TokenError) -> KeyringError {
    |source| KeyringError::Token { uri: uri.clone(), source: Box::new(source) }
}

/// A new Ed25519 key.
fn new_key() -> Result<SigningKey, KeyringError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyringError::Random)?;
    Ok(SigningKey::from_seed(&seed))
}

fn nonces() -> Result<Nonces, KeyringError> {
    let mut nonces = Nonces::default();
    getrandom::fill(&mut nonces.salt).map_err(KeyringError::Random)?;
    getrandom::fill(&mut nonces.iv).map_err(KeyringError::Random)?;
    Ok(nonces)
}

/// The name of a file's key, and the key; nothing for a file of another kind.
fn read(path: &Path) -> Result<Option<(String, Key)>, KeyringError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((name, ending @ ("pem" | "uri"))) = name.rsplit_once('.') else { return Ok(None) };
    let mode = fs_err::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyringError::Open { path: path.to_owned(), mode });
    }
    let text = fs_err::read_to_string(path)?;
    let (public, kept) = if ending == "uri" {
        let refused = |source| KeyringError::Uri { path: path.to_owned(), source };
        let uri = text.parse().map_err(refused)?;
        (read_public(path)?, Kept::OnToken { uri, found: OnceCell::new() })
    } else if is_encrypted(&text) {
        (read_public(path)?, Kept::Encrypted { pem: text, opened: OnceCell::new() })
    } else {
        let refused = |source| KeyringError::File { path: path.to_owned(), source };
        let key = SigningKey::from_pem(&text).map_err(refused)?;
        (key.public().clone(), Kept::Plain(key))
    };
    Ok(Some((name.to_owned(), Key { path: path.to_owned(), public, kept })))
}

/// The public half beside a key that is not open.
fn read_public(path: &Path) -> Result<PublicKey, KeyringError> {
    let beside = path.with_extension("pub");
    if !beside.exists() {
        return Err(KeyringError::NoPublic { path: path.to_owned(), beside });
    }
    let text = fs_err::read_to_string(&beside)?;
    text.parse().map_err(|source| KeyringError::File { path: beside, source })
}

#[cfg(test)]
mod tests;
