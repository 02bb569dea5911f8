//! The folder that holds everything: `init` makes it, `serve` opens it.

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};
use payload_tools::trust::SigningKey;

use crate::api::admin::AdminToken;
use crate::names::TokenName;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError, TokenAdded};

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
    /// Its store was used and its key is gone.
    #[error("{} holds a store with publications but not their key; restore timestamp.key from a backup, or give another folder", .0.display())]
    KeyLost(PathBuf),
    /// A secret would be written over a file.
    #[error("{} exists and was not overwritten; move it away, or give another file", .0.display())]
    Exists(PathBuf),
    /// A token has this name.
    #[error("there is a token {0} already; revoke it first, or give another name")]
    TokenNameTaken(TokenName),
    /// Others on this machine could read what the server keeps.
    #[error("{} is open to other users (mode {mode:o}); run `chmod 700` on it, or give a folder that does not exist yet", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It was never initialised.
    #[error("{} holds no complete server; run `update-server init` with that folder first", .0.display())]
    Empty(PathBuf),
    /// Whether it was cannot be told.
    #[error("cannot look into {}; run this as the user who owns it", path.display())]
    Look {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
    /// The metadata in the store does not verify.
    #[error("the stored metadata does not verify; restore the data folder from a backup")]
    Stored(#[from] payload_tools::trust::TrustError),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers; nothing was kept")]
    Random(#[source] getrandom::Error),
    /// The database could not be made or opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) fn while_doing(step: &'static str) -> impl Fn(std::io::Error) -> DataFolderError {
    move |source| DataFolderError::Io { step, source }
}

impl DataFolder {
    /// The file with the key that signs timestamps.
    pub(crate) const KEY: &str = "timestamp.key";
    /// The file with its public half.
    pub(crate) const PUBLIC_KEY: &str = "timestamp.pub";

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

    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn key(&self) -> PathBuf {
        self.file(Self::KEY)
    }

    /// Makes store, payload folder, timestamp key and a first token. The key comes last: a folder
    /// that has it is refused, and one that an init left behind when it was cut is completed.
    pub async fn init(
        &self,
        token_file: Option<&Path>,
        now: jiff::Timestamp,
    ) -> Result<Initialised, DataFolderError> {
        if self.has(&self.key())? {
            return Err(DataFolderError::Occupied(self.root.clone()));
        }
        // Found after the store was made, this would leave half a server.
        if let Some(path) = token_file
            && path.symlink_metadata().is_ok()
        {
            return Err(DataFolderError::Exists(path.to_owned()));
        }
        // What devices reported is nobody else's business on this machine.
        self.refuse_if_open()?;
        durable_file::make_folder(&self.payloads(), Readers::Owner)
            .map_err(while_doing("make the data folder"))?;
        let store = SqliteStore::create(&self.store())?;
        if store.repository().await?.is_some() {
            return Err(DataFolderError::KeyLost(self.root.clone()));
        }
        let key = SigningKey::from_seed(&random()?);
        let timestamp_key = key.public().to_string();
        let token = AdminToken::from_random(&random()?);
        if let Some(path) = token_file {
            write_secret(path, &format!("{}\n", token.as_str()))?;
        }
        store.set_first_token(token.hash(), now).await?;
        let (path, text) = (self.file(Self::PUBLIC_KEY), format!("{timestamp_key}\n"));
        durable_file::write(&path, text.as_bytes(), Readers::Everyone, Existing::Replace)
            .map_err(while_doing("write the public key"))?;
        let pem =
            key.to_pem().map_err(|source| DataFolderError::Key { path: self.key(), source })?;
        write_secret(&self.key(), &pem)?;
        Ok(Initialised { timestamp_key, token: token.as_str().to_owned() })
    }

    /// Whether a file is there. Not to be allowed to look says nothing of that.
    fn has(&self, file: &Path) -> Result<bool, DataFolderError> {
        file.try_exists()
            .map_err(|source| DataFolderError::Look { path: self.root.clone(), source })
    }

    pub(crate) fn refuse_if_empty(&self) -> Result<(), DataFolderError> {
        if self.has(&self.key())? && self.has(&self.store())? {
            return Ok(());
        }
        Err(DataFolderError::Empty(self.root.clone()))
    }

    /// A folder that others made may be theirs to read; those made here are not.
    fn refuse_if_open(&self) -> Result<(), DataFolderError> {
        let mode = match fs::metadata(&self.root) {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(while_doing("look at the data folder")(error)),
        };
        if mode & 0o077 == 0 {
            return Ok(());
        }
        Err(DataFolderError::Open { path: self.root.clone(), mode })
    }

    /// Allows one more token, which may be written to a new file; returns it.
    pub async fn add_token(
        &self,
        name: &TokenName,
        token_file: Option<&Path>,
        now: jiff::Timestamp,
    ) -> Result<String, DataFolderError> {
        let store = self.open_store()?;
        let token = AdminToken::from_random(&random()?);
        match store.add_token(name.clone(), token.hash(), now).await? {
            TokenAdded::NameTaken => return Err(DataFolderError::TokenNameTaken(name.clone())),
            TokenAdded::Done => {}
        }
        if let Some(path) = token_file
            && let Err(error) = write_secret(path, &format!("{}\n", token.as_str()))
        {
            // Nobody will ever know it.
            store.revoke_token(name.clone()).await?;
            return Err(error);
        }
        Ok(token.as_str().to_owned())
    }

    /// Opens the store, also beside the process that serves it.
    pub fn open_store(&self) -> Result<SqliteStore, DataFolderError> {
        self.refuse_if_empty()?;
        Ok(SqliteStore::open(&self.store())?)
    }

    /// Takes the folder for this process, until the returned file is dropped.
    pub fn lock(&self) -> Result<std::fs::File, DataFolderError> {
        self.refuse_if_empty()?;
        if let Err(error) = self.refuse_if_open() {
            tracing::warn!(%error, "others may read what devices reported");
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

pub(crate) fn random() -> Result<[u8; 32], DataFolderError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(DataFolderError::Random)?;
    Ok(bytes)
}

/// Writes a new file that only its owner reads; refuses to replace one.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), DataFolderError> {
    durable_file::write(path, text.as_bytes(), Readers::Owner, Existing::Refuse).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AlreadyExists => DataFolderError::Exists(path.to_owned()),
            _ => while_doing("write a secret file")(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Settings;
    use crate::serve;
    use crate::store::{Publication, Repository};

    fn private_folder() -> tempfile::TempDir {
        let owner = std::fs::Permissions::from_mode(0o700);
        tempfile::Builder::new().permissions(owner).tempdir().unwrap()
    }

    async fn init(folder: &DataFolder) -> Result<Initialised, DataFolderError> {
        folder.init(None, jiff::Timestamp::UNIX_EPOCH).await
    }

    /// What an init makes before the key, in its order; a cut leaves the first of them.
    async fn leave(folder: &DataFolder, steps: usize) {
        fs::create_dir_all(&folder.root).unwrap();
        if steps > 0 {
            fs::create_dir(folder.payloads()).unwrap();
        }
        if steps > 1 {
            let store = SqliteStore::create(&folder.store()).unwrap();
            store.set_first_token([7; 32], jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        }
        if steps > 2 {
            fs::write(folder.root.join("timestamp.pub"), "of a key that was not kept").unwrap();
        }
    }

    #[tokio::test]
    async fn a_cut_init_is_completed_by_the_next() {
        for steps in 0..=3 {
            let root = private_folder();
            let folder = DataFolder::at(root.path());
            leave(&folder, steps).await;
            let made = init(&folder).await.unwrap_or_else(|error| panic!("{steps}: {error}"));
            let _served = folder.lock().unwrap();
            let shown = fs::read_to_string(root.path().join("timestamp.pub")).unwrap();
            assert_eq!(shown.trim(), made.timestamp_key);
            assert_eq!(folder.timestamp_key().unwrap().public().to_string(), made.timestamp_key);
            let app = serve::open(&folder, Settings::default()).await.unwrap();
            let tokens = app.store.admin_tokens().await.unwrap();
            assert!(tokens.len() == 1 && tokens[0].1 != [7; 32], "{steps}: {tokens:?}");
            assert!(matches!(init(&folder).await, Err(DataFolderError::Occupied(_))));
        }
    }

    #[tokio::test]
    async fn a_folder_that_others_may_read_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for (mode, refused) in [(0o755, true), (0o710, true), (0o701, true), (0o700, false)] {
            let folder = DataFolder::at(root.path());
            fs::set_permissions(root.path(), PermissionsExt::from_mode(mode)).unwrap();
            match init(&folder).await {
                Err(DataFolderError::Open { mode: found, .. }) => assert_eq!(found, mode),
                other => assert!(other.is_ok() && !refused, "{mode:o}"),
            }
            assert_eq!(fs::read_dir(root.path()).unwrap().count() == 0, refused, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_written_is_found_before_anything_is_made() {
        let root = private_folder();
        let token = root.path().join("token");
        fs::write(&token, "another server's").unwrap();
        let folder = DataFolder::at(&root.path().join("data"));
        let refused = folder.init(Some(&token), jiff::Timestamp::UNIX_EPOCH).await.err();
        assert!(matches!(refused, Some(DataFolderError::Exists(_))), "{refused:?}");
        assert!(!folder.root.exists());
        assert_eq!(fs::read_to_string(&token).unwrap(), "another server's");
    }

    /// A folder that only another user may enter has the same answer, which tests as root never get.
    #[tokio::test]
    async fn a_folder_that_cannot_be_looked_into_is_not_called_empty() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let folder = DataFolder::at(&path);
        let errors = [folder.open_store().err(), folder.lock().err(), init(&folder).await.err()];
        for error in errors {
            assert!(matches!(error, Some(DataFolderError::Look { .. })), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_lost_its_key_gets_no_other() {
        let root = private_folder();
        let folder = DataFolder::at(root.path());
        init(&folder).await.unwrap();
        let at = jiff::Timestamp::UNIX_EPOCH;
        let becomes = Repository {
            snapshot_version: 1,
            timestamp_version: 1,
            timestamp_expires: at,
            timestamp: Vec::new(),
        };
        let publication =
            Publication { replaces: None, becomes, files: Vec::new(), releases: None, at };
        SqliteStore::open(&folder.store()).unwrap().publish(publication).await.unwrap();
        fs::remove_file(folder.key()).unwrap();
        assert!(matches!(init(&folder).await, Err(DataFolderError::KeyLost(_))));
        assert!(!folder.key().exists());
    }

    #[test]
    fn a_secret_is_never_written_over_a_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("token");
        write_secret(&path, "one").unwrap();
        assert!(matches!(write_secret(&path, "two"), Err(DataFolderError::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
