//! The keys that sign timestamps: the server's present one, and the one that is to follow once a root
//! names it.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};
use payload_tools::error_chain::one_line;
use payload_tools::repository::{Published, TimestampKey};
use payload_tools::trust::{PublicKey, SigningKey};

use crate::data_folder::{DataFolder, DataFolderError, random, while_doing, write_secret};
use crate::store::Store as _;
use crate::store::sqlite::SqliteStore;

/// Which of the server's keys signs is for the newest root to say. A key that was made while the
/// server runs is found when a root that names it is published.
pub struct TimestampKeys {
    /// The present one, then the next.
    keys: RwLock<Vec<Arc<SigningKey>>>,
    folder: Option<DataFolder>,
}

impl From<SigningKey> for TimestampKeys {
    /// One that no other follows.
    fn from(key: SigningKey) -> Self {
        Self { keys: RwLock::new(vec![Arc::new(key)]), folder: None }
    }
}

impl TimestampKeys {
    /// The keys of a data folder.
    pub fn of(folder: DataFolder) -> Result<Self, DataFolderError> {
        let keys = RwLock::new(read(&folder)?);
        Ok(Self { keys, folder: Some(folder) })
    }

    /// The public halves, of keys that were made since the start too.
    pub fn publics(&self) -> Result<Vec<PublicKey>, DataFolderError> {
        self.read_again()?;
        Ok(self.all().iter().map(|key| key.public().clone()).collect())
    }

    /// The key that signs the timestamp of a state; nothing if its root names none that is here.
    pub fn named_by(
        &self,
        published: &Published,
    ) -> Result<Option<Arc<SigningKey>>, DataFolderError> {
        let named =
            |key: &Arc<SigningKey>| published.timestamp_key(key.public()) == TimestampKey::Named;
        if let Some(key) = self.all().into_iter().find(named) {
            return Ok(Some(key));
        }
        // Another process of this folder may have gone over to a key that was made meanwhile.
        self.read_again()?;
        Ok(self.all().into_iter().find(named))
    }

    fn all(&self) -> Vec<Arc<SigningKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read_again(&self) -> Result<(), DataFolderError> {
        if let Some(folder) = &self.folder {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = read(folder)?;
        }
        Ok(())
    }
}

fn read(folder: &DataFolder) -> Result<Vec<Arc<SigningKey>>, DataFolderError> {
    // The next key before the present one, whose place it may take meanwhile.
    let next = folder.next_timestamp_key().unwrap_or_else(|error| {
        let error = one_line(&error);
        tracing::warn!(
            error,
            "the next timestamp key is left out: give {} to the user who serves, or remove it and run \
             `update-server timestamp-key` as that user",
            folder.file(DataFolder::NEXT_KEY).display()
        );
        None
    });
    let present = folder.timestamp_key()?;
    let next = next.filter(|next| next.public() != present.public());
    Ok([Some(present), next].into_iter().flatten().map(Arc::new).collect())
}

impl DataFolder {
    /// The file with the key that is to sign timestamps next.
    pub(crate) const NEXT_KEY: &str = "timestamp.next.key";
    /// The file with its public half, for `payload key rotate timestamp`.
    pub(crate) const NEXT_PUBLIC_KEY: &str = "timestamp.next.pub";

    /// The key that is to sign timestamps next, if one was made.
    pub fn next_timestamp_key(&self) -> Result<Option<SigningKey>, DataFolderError> {
        let path = self.file(Self::NEXT_KEY);
        match fs::read_to_string(&path) {
            Ok(pem) => match SigningKey::from_pem(&pem) {
                Ok(key) => Ok(Some(key)),
                Err(source) => Err(DataFolderError::Key { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(while_doing("read the next timestamp key")(error)),
        }
    }

    /// Makes the key that is to sign timestamps next, unless there is one that no root names yet. The
    /// server goes over to it with the first root that names it.
    pub async fn make_next_timestamp_key(&self) -> Result<PublicKey, DataFolderError> {
        self.take_next_key_into_use(&self.open_store()?).await?;
        let key = match self.next_timestamp_key()? {
            Some(key) => key,
            None => self.new_next_timestamp_key()?,
        };
        // Of the key that is there now, also if a run before was cut.
        self.write_public_key(Self::NEXT_PUBLIC_KEY, key.public())?;
        Ok(key.public().clone())
    }

    fn new_next_timestamp_key(&self) -> Result<SigningKey, DataFolderError> {
        let (key, path) = (SigningKey::from_seed(&random()?), self.file(Self::NEXT_KEY));
        let pem =
            key.to_pem().map_err(|source| DataFolderError::Key { path: path.clone(), source })?;
        match write_secret(&path, &pem) {
            Ok(()) => Ok(key),
            // Another run was first.
            Err(DataFolderError::Exists(path)) => {
                self.next_timestamp_key()?.ok_or(DataFolderError::Exists(path))
            }
            Err(error) => Err(error),
        }
    }

    fn write_public_key(&self, name: &str, key: &PublicKey) -> Result<(), DataFolderError> {
        let text = format!("{key}\n");
        durable_file::write(&self.file(name), text.as_bytes(), Readers::Everyone, Existing::Replace)
            .map_err(while_doing("write the public key"))
    }

    /// Puts the next key in the place of the present one, if the newest root names it alone.
    async fn take_next_key_into_use(&self, store: &SqliteStore) -> Result<(), DataFolderError> {
        let (Some(next), Some(stored)) = (self.next_timestamp_key()?, store.repository().await?)
        else {
            return Ok(());
        };
        let files = store.metadata_files().await?;
        let published = Published::load(&files, stored.snapshot_version)?;
        let named = |key: &SigningKey| published.timestamp_key(key.public()) == TimestampKey::Named;
        if named(&next) && !named(&self.timestamp_key()?) {
            // The public half first: a cut leaves the key to be moved, which is done again.
            self.write_public_key(Self::PUBLIC_KEY, next.public())?;
            durable_file::rename(&self.file(Self::NEXT_KEY), &self.file(Self::KEY))
                .map_err(while_doing("take the next timestamp key into use"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::backup::back_up;

    #[tokio::test]
    async fn a_next_key_is_made_once_kept_secret_and_backed_up() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(&root.path().join("data"));
        folder.init(None, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        let keys = TimestampKeys::of(folder.clone()).unwrap();
        assert_eq!(keys.publics().unwrap().len(), 1);
        let next = folder.make_next_timestamp_key().await.unwrap();
        assert_eq!(folder.make_next_timestamp_key().await.unwrap(), next);
        assert_eq!(keys.publics().unwrap()[1], next, "found while the server runs");
        let shown = fs::read_to_string(folder.file(DataFolder::NEXT_PUBLIC_KEY)).unwrap();
        assert_eq!(shown.trim(), next.to_string());
        fs::write(folder.file(DataFolder::NEXT_PUBLIC_KEY), "of a run that was cut").unwrap();
        assert_eq!(folder.make_next_timestamp_key().await.unwrap(), next);
        assert_eq!(fs::read_to_string(folder.file(DataFolder::NEXT_PUBLIC_KEY)).unwrap(), shown);
        let mode = fs::metadata(folder.file(DataFolder::NEXT_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let copy = root.path().join("copy");
        back_up(&folder, &copy).unwrap();
        let copied = DataFolder::at(&copy).next_timestamp_key().unwrap().unwrap();
        assert_eq!(*copied.public(), next);
    }

    #[tokio::test]
    async fn a_next_key_that_cannot_be_used_keeps_nobody_from_the_present_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(&root.path().join("data"));
        folder.init(None, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        let keys = TimestampKeys::of(folder.clone()).unwrap();
        let present = keys.publics().unwrap();
        let path = folder.file(DataFolder::NEXT_KEY);
        fs::write(&path, "no key").unwrap();
        assert_eq!(keys.publics().unwrap(), present, "unparsable");
        TimestampKeys::of(folder.clone()).unwrap();
        // As another user's file is unreadable to all but root, so is this to everybody.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(keys.publics().unwrap(), present, "unreadable");
        TimestampKeys::of(folder.clone()).unwrap();
        assert!(folder.make_next_timestamp_key().await.is_err(), "who makes one is told");
        // Between the look at the next key and that at the present one it may take its place.
        fs::remove_dir(&path).unwrap();
        fs::copy(folder.file(DataFolder::KEY), &path).unwrap();
        assert_eq!(keys.publics().unwrap(), present, "once");
    }
}
