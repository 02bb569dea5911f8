//! What outlives a reboot: one JSON file on STATE, replaced atomically, with a
//! generation number that says which of two copies is newer.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::update::Life;

/// The `format` that this version reads and writes.
const FORMAT: u32 = 1;
/// Larger files are not journals, and none is made.
const SIZE_MAX: u64 = 4 << 20;

/// The journal on STATE.
#[derive(Debug)]
pub struct Journal {
    /// `None`: a disk without STATE; what is learned is forgotten.
    path: Option<PathBuf>,
    generation: u64,
    written: Option<Life>,
}

/// A journal that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {step} the journal: check that STATE is mounted, writable and not full")]
    Io {
        /// What was tried.
        step: &'static str,
        /// What was met.
        source: io::Error,
    },
    /// It is not a journal of this version.
    #[error("the journal {path} is not of format {FORMAT}; the agent sets it aside as {path}.bad")]
    Foreign {
        /// Where it is.
        path: String,
        /// What was met.
        source: serde_json::Error,
    },
    /// It would not be read again.
    #[error("the journal would have {size} bytes and may have {SIZE_MAX}; the old one stays")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// The life could not be written as JSON.
    #[error("cannot write the journal's JSON")]
    Encode(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    generation: u64,
    life: Life,
}

impl Journal {
    /// Opens the journal in the folder `state`. `None`: there is none yet.
    ///
    /// # Errors
    /// [`JournalError::Foreign`] once, for a file that cannot be read as a
    /// journal: it is set aside, because a device must go on without its memory.
    pub fn open(state: &Path) -> Result<(Self, Option<Life>), JournalError> {
        let path = state.join("journal.json");
        match read(&path) {
            Ok(record) => {
                let (generation, written) = match record {
                    Some(record) => (record.generation, Some(record.life)),
                    None => (0, None),
                };
                Ok((Self { path: Some(path), generation, written: written.clone() }, written))
            }
            Err(error @ JournalError::Foreign { .. }) => {
                fs::rename(&path, path.with_extension("json.bad"))
                    .map_err(|source| JournalError::Io { step: "set aside", source })?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the journal in the folder `state` and changes nothing.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn peek(state: &Path) -> Result<Option<Life>, JournalError> {
        Ok(read(&state.join("journal.json"))?.map(|record| record.life))
    }

    /// A journal that forgets: of a disk without STATE.
    pub fn forgetful() -> Self {
        Self { path: None, generation: 0, written: None }
    }

    /// Makes `life` durable. Nothing is written when it has not changed.
    ///
    /// # Errors
    /// The old journal is then still whole.
    pub fn write(&mut self, life: &Life) -> Result<(), JournalError> {
        let Some(path) = &self.path else { return Ok(()) };
        if self.written.as_ref() == Some(life) {
            return Ok(());
        }
        let generation = self.generation + 1;
        let record = Record { format: FORMAT, generation, life: life.clone() };
        let text = serde_json::to_vec_pretty(&record).map_err(JournalError::Encode)?;
        let size = text.len() as u64;
        if size > SIZE_MAX {
            return Err(JournalError::TooLarge { size });
        }
        replace(path, &text).map_err(|source| JournalError::Io { step: "write", source })?;
        self.generation = generation;
        self.written = Some(record.life);
        Ok(())
    }

    /// How often the journal was written since it was made.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

fn read(path: &Path) -> Result<Option<Record>, JournalError> {
    let text = match read_bounded(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| JournalError::Io { step: "read", source })?,
    };
    let record = serde_json::from_slice::<Record>(&text).and_then(check_format);
    let foreign = |source| JournalError::Foreign { path: path.display().to_string(), source };
    record.map(Some).map_err(foreign)
}

fn check_format(record: Record) -> Result<Record, serde_json::Error> {
    use serde::de::Error;
    if record.format == FORMAT {
        return Ok(record);
    }
    Err(serde_json::Error::custom(format!("its format is {}", record.format)))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    fs::File::open(path)?.take(SIZE_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Replaces a file of STATE so that a power cut leaves the old or the new one:
/// write beside it, fsync, rename, fsync the folder.
///
/// # Errors
/// The old file is then still whole.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_survives_and_its_generation_counts_writes_only() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, none) = Journal::open(state.path()).unwrap();
        assert!(none.is_none());
        let mut life = Life::new("boot-1");
        journal.write(&life).unwrap();
        journal.write(&life).unwrap();
        assert_eq!(journal.generation(), 1);
        life.memory.counter_floor = 7;
        journal.write(&life).unwrap();

        let (journal, read) = Journal::open(state.path()).unwrap();
        assert_eq!((journal.generation(), read), (2, Some(life)));
    }

    #[test]
    fn a_journal_that_would_not_be_read_again_is_not_written() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(state.path()).unwrap();
        let life = Life::new("boot-1");
        journal.write(&life).unwrap();
        let large = Life::new(&"1".repeat(5 << 20));
        assert!(matches!(journal.write(&large), Err(JournalError::TooLarge { .. })));
        assert_eq!(Journal::open(state.path()).unwrap().1, Some(life));
    }

    #[test]
    fn a_torn_replacement_leaves_the_old_journal() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(state.path()).unwrap();
        let life = Life::new("boot-1");
        journal.write(&life).unwrap();
        std::fs::write(state.path().join("journal.new"), b"{\"format\":1,").unwrap();
        assert_eq!(Journal::open(state.path()).unwrap().1, Some(life));
    }

    #[test]
    fn what_is_no_journal_is_set_aside_once() {
        for text in ["", "{}", r#"{"format":2,"generation":1,"life":{}}"#, "\0\0\0\0"] {
            let state = tempfile::tempdir().unwrap();
            std::fs::write(state.path().join("journal.json"), text).unwrap();
            let error = Journal::open(state.path()).unwrap_err();
            assert!(matches!(error, JournalError::Foreign { .. }), "{text:?}: {error}");
            assert!(state.path().join("journal.json.bad").exists());
            assert!(Journal::open(state.path()).unwrap().1.is_none());
        }
    }
}
