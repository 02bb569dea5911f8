//! The folder that holds everything: `init` makes it, `serve` opens it.

use std::fs::TryLockError;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use payload_tools::trust::SigningKey;

use crate::api::admin::AdminToken;
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;

/// Paths inside the data folder.
#[derive(Debug, Clone)]
pub struct DataFolder {
    root: PathBuf,
}

/// What `init` made, to be shown to the operator.
pub struct Initialised {
    /// The timestamp key's public half, for `payload init --timestamp-key`.
    pub timestamp_key: String,
    /// The first token; only its hash is kept.
    pub token: String,
}

/// Why a data folder cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// It was initialised before.
    #[error("{} already holds a server; nothing was changed (serve it, or give another folder)", .0.display())]
    Occupied(PathBuf),
    /// It was never initialised.
    #[error("{} holds no complete server; run `update-server init` with that folder first", .0.display())]
    Empty(PathBuf),
    /// Another process serves it.
    #[error("{} is served by another process; stop that first", .0.display())]
    Locked(PathBuf),
    /// A file could not be read or written; the error names it.
    #[error("cannot {step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key file holds no key.
    #[error("{} holds no usable key; restore it from a backup", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: payload_tools::trust::KeyError,
    },
    /// The system gave no random numbers.
    #[error("the system gave no random numbers; nothing was kept")]
    Random(#[source] getrandom::Error),
    /// The database could not be made or opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn while_doing(step: &'static str) -> impl Fn(std::io::Error) -> DataFolderError {
    move |source| DataFolderError::Io { step, source }
}

impl DataFolder {
    /// The folder at `root`; nothing is touched yet.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The database.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.sqlite")
    }

    /// Uploaded files.
    pub fn payloads(&self) -> PathBuf {
        self.root.join("payloads")
    }

    fn key(&self) -> PathBuf {
        self.root.join("timestamp.key")
    }

    /// Makes store, payload folder, timestamp key and a first token. Refuses a
    /// folder that holds any of them already.
    pub async fn init(
        &self,
        token_file: Option<&Path>,
        now: jiff::Timestamp,
    ) -> Result<Initialised, DataFolderError> {
        if self.store().exists() || self.key().exists() {
            return Err(DataFolderError::Occupied(self.root.clone()));
        }
        // What devices reported is nobody else's business on this machine.
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(self.payloads()).map_err(while_doing("make the data folder"))?;
        let key = SigningKey::from_seed(&random()?);
        let timestamp_key = key.public().to_string();
        let token = AdminToken::from_random(&random()?);
        if let Some(path) = token_file {
            write_secret(path, &format!("{}\n", token.as_str()))?;
        }
        let store = SqliteStore::open(&self.store())?;
        store.add_admin_token(token.hash(), now).await?;
        fs::write(self.root.join("timestamp.pub"), format!("{timestamp_key}\n"))
            .map_err(while_doing("write the public key"))?;
        let pem =
            key.to_pem().map_err(|source| DataFolderError::Key { path: self.key(), source })?;
        // Last: a folder with a key is a complete one.
        write_secret(&self.key(), &pem)?;
        Ok(Initialised { timestamp_key, token: token.as_str().to_owned() })
    }

    /// Takes the folder for this process, until the returned file is dropped.
    pub fn lock(&self) -> Result<std::fs::File, DataFolderError> {
        if !self.key().exists() || !self.store().exists() {
            return Err(DataFolderError::Empty(self.root.clone()));
        }
        let file = fs::File::create(self.root.join("lock"))
            .map_err(while_doing("open the lock file"))?
            .into_parts()
            .0;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(DataFolderError::Locked(self.root.clone())),
            Err(TryLockError::Error(error)) => Err(while_doing("lock the data folder")(error)),
        }
    }

    /// The key that signs timestamps.
    pub fn timestamp_key(&self) -> Result<SigningKey, DataFolderError> {
        let path = self.key();
        let pem = fs::read_to_string(&path).map_err(while_doing("read the timestamp key"))?;
        SigningKey::from_pem(&pem).map_err(|source| DataFolderError::Key { path, source })
    }
}

fn random() -> Result<[u8; 32], DataFolderError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(DataFolderError::Random)?;
    Ok(bytes)
}

/// Writes a new file that only its owner reads; refuses to replace one.
fn write_secret(path: &Path, text: &str) -> Result<(), DataFolderError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(while_doing("make a secret file"))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(while_doing("write a secret file"))
}
