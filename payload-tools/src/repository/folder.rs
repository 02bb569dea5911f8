use std::io;
use std::path::{Path, PathBuf};

use super::draft::{Draft, DraftError};
use super::keyring::{Keyring, KeyringError};
use crate::durable_file::{self, Existing, Readers};
use crate::trust::Files;

/// A publisher's folder: `keys/` (private, one file per role) and `metadata/` (every version of
/// every file that was made by `payload init` or taken by a server).
#[derive(Clone, Debug)]
pub struct PublisherFolder {
    path: PathBuf,
}

impl PublisherFolder {
    /// The folder at that path, which need not exist.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where the first root of trust is: images carry it.
    pub fn first_root(&self) -> PathBuf {
        self.metadata().join("1.root.json")
    }

    /// Where the metadata is.
    pub fn metadata(&self) -> PathBuf {
        self.path.join("metadata")
    }

    /// Opens the private keys.
    pub fn keyring(&self) -> Result<Keyring, KeyringError> {
        Keyring::open(&self.path.join("keys"))
    }

    /// Whether `payload init` was here.
    pub fn is_begun(&self) -> bool {
        self.first_root().exists()
    }

    /// The newest metadata.
    pub fn draft(&self) -> Result<Draft, FolderError> {
        Ok(Draft::load(&self.read_metadata()?)?)
    }

    /// Every file of `metadata/`.
    pub fn read_metadata(&self) -> io::Result<Files> {
        let mut files = Files::new();
        let folder = self.metadata();
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

    /// Writes the draft's files into `metadata/`: once a server has taken them, or when they name
    /// no release.
    pub fn store(&self, draft: &Draft) -> io::Result<()> {
        write_files(&self.metadata(), &draft.files())
    }
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
