//! The folder where trees, images and what others made of them are kept.

use std::fmt;
use std::path::PathBuf;

use crate::{BenchError, at};

/// Files by names that say what they were made of, so that one that is there is right.
pub(super) struct Store<'a> {
    folder: PathBuf,
    note: &'a dyn Fn(&str),
}

impl<'a> Store<'a> {
    /// The folder, made if it is missing. `note` is told of what takes time.
    pub fn open(folder: PathBuf, note: &'a dyn Fn(&str)) -> Result<Self, BenchError> {
        fs_err::create_dir_all(&folder).map_err(at("make a folder for images"))?;
        Ok(Self { folder, note })
    }

    /// The file called `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A folder for what is not finished, from where it is moved by renaming.
    pub fn work(&self) -> Result<tempfile::TempDir, BenchError> {
        let folder = tempfile::Builder::new().prefix("work-").tempdir_in(&self.folder);
        folder.map_err(at("make a work folder"))
    }

    pub fn note(&self, text: &str) {
        (self.note)(text);
    }
}

impl fmt::Debug for Store<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).finish_non_exhaustive()
    }
}
