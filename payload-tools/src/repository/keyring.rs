use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::durable_file::{self, Existing, Readers};
use crate::trust::{KeyError, KeyId, PublicKey, Role, SigningKey};

/// Keys that sign, wherever they are. Metadata says by their ids which role they sign for.
pub trait Signer {
    /// The public half of every key at hand.
    fn public_keys(&self) -> Vec<PublicKey>;

    /// The signature of one of them over `message`, in hex.
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

/// Private keys in a folder, in files of any name: `payload keygen` calls a role's first key as the
/// role, `root.pem`, `<compatible>.pem`.
#[derive(Debug)]
pub struct Keyring {
    folder: PathBuf,
    keys: BTreeMap<String, SigningKey>,
}

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
    /// Others may read it.
    #[error("{} can be read by others (mode {mode:o}); make a new key, or `chmod 600` it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file system refused.
    #[error("the folder of keys cannot be used")]
    Io(#[from] std::io::Error),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes ({0})")]
    Random(getrandom::Error),
}

/// What [`Keyring::make`] did for a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A new key was written.
    New,
    /// There was one, and it was left alone.
    Kept,
}

impl Keyring {
    /// Reads every `*.pem` of a folder; one that does not exist is empty.
    pub fn open(folder: &Path) -> Result<Self, KeyringError> {
        let mut keys = BTreeMap::new();
        if folder.exists() {
            for entry in fs_err::read_dir(folder)? {
                let path = entry?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                if let Some(role) = name.and_then(|name| name.strip_suffix(".pem")) {
                    keys.insert(role.to_owned(), read(&path)?);
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), keys })
    }

    /// Makes a role's key unless there is one: an Ed25519 key, in a file of mode 0600. A key is
    /// never overwritten: what it signed could not be renewed.
    pub fn make(&mut self, role: &Role) -> Result<Made, KeyringError> {
        if self.keys.contains_key(&role.to_string()) {
            return Ok(Made::Kept);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyringError::Random)?;
        let key = SigningKey::from_seed(&seed);
        let path = self.path(role);
        let pem =
            key.to_pem().map_err(|source| KeyringError::File { path: path.clone(), source })?;
        durable_file::make_folder(&self.folder, Readers::Owner)?;
        fs_err::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o700))?;
        durable_file::write(&path, pem.as_bytes(), Readers::Owner, Existing::Refuse)?;
        self.keys.insert(role.to_string(), key);
        Ok(Made::New)
    }

    /// Where a role's key is.
    pub fn path(&self, role: &Role) -> PathBuf {
        self.folder.join(format!("{role}.pem"))
    }
}

impl Keyring {
    /// The public half of the key that is called as a role.
    pub fn public(&self, role: &Role) -> Result<&PublicKey, KeyringError> {
        let none = || KeyringError::None { role: role.clone(), path: self.path(role) };
        self.keys.get(&role.to_string()).map(SigningKey::public).ok_or_else(none)
    }
}

impl Signer for Keyring {
    fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.values().map(|key| key.public().clone()).collect()
    }

    fn sign(&self, key: &KeyId, message: &[u8]) -> Result<String, KeyringError> {
        let found = self.keys.values().find(|held| held.public().id() == key);
        Ok(found.ok_or_else(|| KeyringError::NotAtHand(key.clone()))?.sign(message))
    }
}

fn read(path: &Path) -> Result<SigningKey, KeyringError> {
    let mode = fs_err::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyringError::Open { path: path.to_owned(), mode });
    }
    let pem = fs_err::read_to_string(path)?;
    SigningKey::from_pem(&pem)
        .map_err(|source| KeyringError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rustix::fs::inotify::ReadFlags;

    use super::*;
    use crate::durable_file::tests::watch;

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let mut keyring = Keyring::open(&keys).unwrap();
        assert!(matches!(keyring.public(&Role::Root), Err(KeyringError::None { .. })));
        assert_eq!(keyring.make(&Role::Root).unwrap(), Made::New);
        assert_eq!((mode(&keys), mode(&keyring.path(&Role::Root))), (0o700, 0o600));
        let made = keyring.public(&Role::Root).unwrap().clone();
        let mut again = Keyring::open(&keys).unwrap();
        assert_eq!(again.make(&Role::Root).unwrap(), Made::Kept);
        assert_eq!(again.public(&Role::Root).unwrap(), &made);
        assert_eq!(again.make(&Role::Targets).unwrap(), Made::New);
        assert_ne!(again.public(&Role::Targets).unwrap(), &made);
    }

    /// A power cut leaves no half of a key, which could neither be used nor made again.
    #[test]
    fn a_key_appears_whole_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::open(folder.path()).unwrap();
        let seen = watch(folder.path(), || {
            keyring.make(&Role::Root).unwrap();
        });
        assert_eq!(seen, [("root.pem".to_owned(), ReadFlags::MOVED_TO)]);
        // Another process made it after this one had looked.
        let path = keyring.path(&Role::Targets);
        fs_err::write(&path, "its key").unwrap();
        let error = keyring.make(&Role::Targets).unwrap_err();
        assert!(matches!(error, KeyringError::Io(_)), "{error:?}");
        assert_eq!(fs_err::read(&path).unwrap(), b"its key");
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::open(folder.path()).unwrap();
        keyring.make(&Role::Root).unwrap();
        let path = keyring.path(&Role::Root);
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keyring::open(folder.path()).unwrap_err();
        assert!(matches!(error, KeyringError::Open { mode: 0o640, .. }), "{error:?}");
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pem");
        fs_err::write(&path, "not a key").unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = Keyring::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("root.pem"), "{error}");
    }
}
