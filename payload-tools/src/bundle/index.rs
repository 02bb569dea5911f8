use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use tar::{Archive, EntryType};

/// Most files of a bundle.
const FILES_MAX: usize = 4096;
/// Longest name: `images/`, a hash, `/levels`, and room for metadata.
const NAME_LEN_MAX: usize = 100;

/// Where the files of a tar archive are.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<String, Range<u64>>);

/// A tar file that is not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not a tar file, or it cannot be read.
    #[error("it cannot be read as a tar file")]
    Tar(#[source] io::Error),
    /// An entry is neither a file nor a folder.
    #[error("entry {name} is neither an ordinary file nor a folder")]
    Kind {
        /// Name of the entry.
        name: String,
    },
    /// A name that no file of a release has.
    #[error("entry {name:?} has a name that no file of a release has")]
    Name {
        /// Name of the entry, cut to 100 characters.
        name: String,
    },
    /// Two entries have one name.
    #[error("file {name} is there twice")]
    Twice {
        /// Name of both.
        name: String,
    },
    /// A file does not end within the archive.
    #[error("file {name} ends after the archive: it was cut off")]
    Cut {
        /// Name of the file.
        name: String,
    },
    /// More files than a release has.
    #[error("more than {FILES_MAX} files")]
    TooMany,
}

impl Index {
    /// Reads the headers of an archive; the content is skipped.
    pub(super) fn read(file: &fs_err::File) -> Result<Self, IndexError> {
        let archive_len = file.metadata().map_err(IndexError::Tar)?.len();
        let mut archive = Archive::new(file);
        let mut index = Self::default();
        // Raw: GNU and PAX extensions, which can rename entries and ask for any amount of memory,
        // are entries of a kind that is refused.
        for entry in archive.entries_with_seek().map_err(IndexError::Tar)?.raw(true) {
            let entry = entry.map_err(IndexError::Tar)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match entry.header().entry_type() {
                EntryType::Directory => continue,
                EntryType::Regular => {}
                _ => return Err(IndexError::Kind { name }),
            }
            let start = entry.raw_file_position();
            let end = start.checked_add(entry.size()).filter(|end| *end <= archive_len);
            match end {
                Some(end) => index.add(name, start..end)?,
                None => return Err(IndexError::Cut { name }),
            }
        }
        Ok(index)
    }

    fn add(&mut self, name: String, range: Range<u64>) -> Result<(), IndexError> {
        if !is_release_file(&name) {
            return Err(IndexError::Name { name: name.chars().take(NAME_LEN_MAX).collect() });
        }
        if self.0.len() == FILES_MAX {
            return Err(IndexError::TooMany);
        }
        match self.0.insert(name.clone(), range) {
            None => Ok(()),
            Some(_) => Err(IndexError::Twice { name }),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Range<u64>> {
        self.0.get(name).cloned()
    }

    #[cfg(feature = "authoring")]
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Plain relative names: two programs that read the archive agree on each file.
fn is_release_file(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-/".contains(&byte);
    name.len() <= NAME_LEN_MAX && name.bytes().all(allowed) && name.split('/').all(plain)
}
