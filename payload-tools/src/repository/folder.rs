use std::io;
use std::path::{Path, PathBuf};

use super::draft::{Draft, DraftError};
use super::state::{State, newest_file};
use crate::durable_file::{self, Existing, Readers};
use crate::keyring::{Keyring, KeyringError, Secrets};
use crate::trust::{Files, Role};

/// A publisher's folder: `metadata/` (every version of every file that was made by `payload init` or
/// taken by a server), `draft/` (changes that are not published yet, and their signatures so far) and,
/// unless they are elsewhere, `keys/` (private).
#[derive(Clone, Debug)]
pub struct PublisherFolder {
    path: PathBuf,
    keys: PathBuf,
    secrets: Secrets,
}

impl PublisherFolder {
    /// The folder at that path, which need not exist.
    pub fn at(path: &Path) -> Self {
        let (path, keys) = (path.to_owned(), path.join("keys"));
        Self { path, keys, secrets: Secrets::default() }
    }

    /// The same with its keys in another folder.
    pub fn with_keys(self, keys: &Path) -> Self {
        Self { keys: keys.to_owned(), ..self }
    }

    /// The same with what opens its keys, where no terminal is to be asked.
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Where the first root of trust is: images carry it.
    pub fn first_root(&self) -> PathBuf {
        self.metadata().join("1.root.json")
    }

    /// Where the metadata is.
    pub fn metadata(&self) -> PathBuf {
        self.path.join("metadata")
    }

    /// Where changes are that are not published.
    pub fn draft_folder(&self) -> PathBuf {
        self.path.join("draft")
    }

    /// Looks at the private keys.
    pub fn keyring(&self) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.keys, self.secrets.clone())
    }

    /// Whether `payload init` was here, or something was published from here.
    pub fn is_begun(&self) -> bool {
        self.first_root().exists()
    }

    /// The newest state that is known here; nothing before the repository is born.
    pub fn state(&self) -> Result<Option<State>, FolderError> {
        Ok(State::load(&self.read_metadata()?)?)
    }

    /// What is changed and not published.
    pub fn draft(&self) -> Result<Draft, FolderError> {
        Ok(Draft::load(self.state()?, &self.read_draft()?)?)
    }

    /// Version of the newest snapshot that was published from here.
    pub fn snapshot_version(&self) -> io::Result<Option<u64>> {
        Ok(newest_file(&self.read_metadata()?, &Role::Snapshot).map(|(version, _)| version))
    }

    /// Every file of `metadata/`.
    pub fn read_metadata(&self) -> io::Result<Files> {
        read_files(&self.metadata())
    }

    /// Every file of `draft/`.
    pub fn read_draft(&self) -> io::Result<Files> {
        read_files(&self.draft_folder())
    }

    /// Writes a state's files into `metadata/`: once a server has taken them, or when they name no
    /// release. What was a draft until then is none any more.
    pub fn store(&self, state: &State) -> io::Result<()> {
        let files = state.files();
        write_files(&self.metadata(), &files)?;
        self.leave_out(|name| files.contains_key(name))
    }

    /// Writes a draft into `draft/`, in place of the one that is there.
    pub fn store_draft(&self, draft: &Draft) -> io::Result<()> {
        let files = draft.files();
        if !files.is_empty() {
            write_files(&self.draft_folder(), &files)?;
        }
        self.leave_out(|name| !files.contains_key(name))
    }

    /// Keeps a draft: in `draft/`, or, once a repository that begins is signed as a whole, as the
    /// state to go on from.
    pub fn keep(&self, draft: &Draft) -> Result<(), FolderError> {
        if draft.state().is_none() && draft.complete().is_ok() {
            return Ok(self.store(&draft.finish()?)?);
        }
        Ok(self.store_draft(draft)?)
    }

    /// Removes files of the draft; the folder too if it is empty then.
    pub fn leave_out(&self, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let files = self.read_draft()?;
        let (gone, left): (Vec<_>, Vec<_>) = files.keys().partition(|name| unwanted(name));
        for name in gone {
            fs_err::remove_file(self.draft_folder().join(name))?;
        }
        if left.is_empty() && self.draft_folder().exists() {
            // Something else may be in it, which is not ours to remove.
            let _kept = fs_err::remove_dir(self.draft_folder());
        }
        Ok(())
    }
}

/// Every JSON file of a folder; none of one that does not exist.
fn read_files(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    if folder.exists() {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|name| name.ends_with(".json")) {
                files.insert(name.to_owned(), fs_err::read(&path)?);
            }
        }
    }
    Ok(files)
}

/// Why a publisher's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("the publisher's folder cannot be used")]
    Io(#[from] io::Error),
    /// Its metadata is incomplete or does not verify.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// Writes files, each whole, which everyone may read.
pub(crate) fn write_files(folder: &Path, files: &Files) -> io::Result<()> {
    durable_file::make_folder(folder, Readers::Everyone)?;
    for (name, bytes) in files {
        let path = folder.join(name);
        durable_file::write(&path, bytes, Readers::Everyone, Existing::Replace)?;
    }
    Ok(())
}
