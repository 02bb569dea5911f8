use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};
use payload_tools::trust::{ClockFloor, Files, UnixTime};
use serde::{Deserialize, Serialize};

/// Larger files are no metadata.
const FILE_MAX: u64 = 1 << 20;
const FRESHNESS: &str = "freshness.json";

/// Trusted metadata on STATE. It is verified anew whenever it is used, so a
/// file that is lost or damaged costs a download and nothing else.
#[derive(Debug, Clone)]
pub struct MetadataStore {
    folder: PathBuf,
    image_built: UnixTime,
}

/// Metadata that cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} metadata on STATE: check that it is mounted, writable and not full")]
pub struct StoreError {
    step: &'static str,
    source: io::Error,
}

/// What signed facts say about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Freshness {
    floor: ClockFloor,
    fresh_until: Option<UnixTime>,
}

impl MetadataStore {
    /// The store in `folder` of a device whose image was built at `image_built`.
    pub fn new(folder: PathBuf, image_built: UnixTime) -> Self {
        Self { folder, image_built }
    }

    /// Everything that is stored. A file that goes while this reads is not: the
    /// daemon replaces and removes some while `updatectl list` looks.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn load(&self) -> Result<Files, StoreError> {
        let failed = |source| StoreError { step: "read", source };
        let mut files = Files::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_metadata(&name)
                && let Some(bytes) = read_bounded(&entry.path()).map_err(failed)?
            {
                files.insert(name, bytes);
            }
        }
        Ok(files)
    }

    /// Stores `files` in place of everything stored before. Before a new root everything goes that is
    /// not as it was: a root may take back the trust in it, and whoever finds both after a power cut
    /// could not tell.
    ///
    /// # Errors
    /// Some of them may then be stored.
    pub fn save(&self, files: &Files) -> Result<(), StoreError> {
        let stored = self.load()?;
        let is_root = |name: &str| name.ends_with(".root.json");
        let has_new_root = files.keys().any(|name| is_root(name) && !stored.contains_key(name));
        let goes = |name: &str, bytes: &Vec<u8>| match files.get(name) {
            None => true,
            Some(new) => has_new_root && !is_root(name) && new != bytes,
        };
        for (name, _) in stored.iter().filter(|(name, bytes)| goes(name, bytes)) {
            fs::remove_file(self.folder.join(name))
                .map_err(|source| StoreError { step: "remove old", source })?;
        }
        let failed = |source| StoreError { step: "write", source };
        durable_file::make_folder(&self.folder, Readers::Everyone).map_err(failed)?;
        for (name, bytes) in files.iter().filter(|(name, bytes)| stored.get(*name) != Some(*bytes))
        {
            self.replace(name, bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// Raises the clock floor by the server's signed word, and notes until when it is fresh.
    ///
    /// # Errors
    /// Neither is then noted.
    pub fn note_freshness(
        &self,
        signed_at: Option<UnixTime>,
        until: UnixTime,
    ) -> Result<(), StoreError> {
        let noted = self.freshness();
        let floor = self.floor_of(noted);
        let floor = signed_at.map_or(floor, |signed_at| floor.raised_to(signed_at));
        self.note(noted, Freshness { floor, fresh_until: Some(until) })
    }

    /// Forgets what the server's old key said of the time, once a root gives the timestamp another:
    /// the floor is the image's own again.
    ///
    /// # Errors
    /// The old word then stands.
    pub fn forget_freshness(&self) -> Result<(), StoreError> {
        let floor = self.image_built();
        self.note(self.freshness(), Freshness { floor, fresh_until: None })
    }

    fn note(&self, noted: Option<Freshness>, known: Freshness) -> Result<(), StoreError> {
        if noted == Some(known) {
            return Ok(());
        }
        let failed = |source| StoreError { step: "write", source };
        let text = serde_json::to_vec(&known).map_err(|error| failed(error.into()))?;
        durable_file::make_folder(&self.folder, Readers::Everyone).map_err(failed)?;
        self.replace(FRESHNESS, &text).map_err(failed)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        durable_file::write(&path, bytes, Readers::Everyone, Existing::Replace)
    }

    /// What the floor is without any server's word.
    pub fn image_built(&self) -> ClockFloor {
        ClockFloor::image_built(self.image_built)
    }

    /// The earliest moment it can be.
    pub fn floor(&self) -> ClockFloor {
        self.floor_of(self.freshness())
    }

    fn floor_of(&self, noted: Option<Freshness>) -> ClockFloor {
        let image = self.image_built();
        noted.map_or(image, |noted| image.max(noted.floor))
    }

    /// Until when the newest metadata seen was fresh; `None`: none was ever seen.
    pub fn fresh_until(&self) -> Option<UnixTime> {
        self.freshness().and_then(|known| known.fresh_until)
    }

    /// Damage is told and not fatal: the image's own time is a floor still, and
    /// the next refresh writes the file anew.
    fn freshness(&self) -> Option<Freshness> {
        self.read_freshness().unwrap_or_else(|error| {
            tracing::warn!("the clock's floor is lost: {}", crate::chain(&error));
            None
        })
    }

    fn read_freshness(&self) -> Result<Option<Freshness>, StoreError> {
        let failed = |source| StoreError { step: "read", source };
        match fs::read(self.folder.join(FRESHNESS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.into()))
            }
        }
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// `None`: it is gone, or too large to be metadata.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= FILE_MAX))
}

fn is_metadata(name: &str) -> bool {
    name.ends_with(".json") && name != FRESHNESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_metadata_or_goes_meanwhile_is_not_read() {
        let state = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(state.path().join(name), bytes);
        write("timestamp.json", b"{}").unwrap();
        write(".unfinished-1", b"{").unwrap();
        write("large.json", &vec![b' '; FILE_MAX as usize + 1]).unwrap();
        // As a file that was there a moment ago.
        for gone in ["demo.json", ".unfinished-2"] {
            std::os::unix::fs::symlink("nowhere", state.path().join(gone)).unwrap();
        }
        let store = MetadataStore::new(state.path().to_owned(), UnixTime::from_secs(0));
        let names: Vec<String> = store.load().unwrap().into_keys().collect();
        assert_eq!(names, ["timestamp.json"]);
    }

    #[test]
    fn what_is_noted_already_is_not_written_again() {
        use std::os::unix::fs::MetadataExt;
        let state = tempfile::tempdir().unwrap();
        let at = UnixTime::from_secs;
        let store = MetadataStore::new(state.path().to_owned(), at(1000));
        // A replaced file is another one.
        let note = |signed_at, until| {
            store.note_freshness(signed_at, until).unwrap();
            std::fs::File::open(state.path().join(FRESHNESS)).unwrap()
        };
        let inode = |file: &std::fs::File| file.metadata().unwrap().ino();
        let first = note(Some(at(5000)), at(9000));
        let again = note(Some(at(5000)), at(9000));
        assert_eq!(inode(&again), inode(&first));
        let newer = note(Some(at(6000)), at(9000));
        assert_ne!(inode(&newer), inode(&first));
    }

    #[test]
    fn a_lost_clock_floor_is_told_from_one_that_never_was() {
        let state = tempfile::tempdir().unwrap();
        let at = UnixTime::from_secs;
        let store = MetadataStore::new(state.path().to_owned(), at(1000));
        assert!(store.read_freshness().unwrap().is_none());
        store.note_freshness(Some(at(5000)), at(9000)).unwrap();
        assert!(store.read_freshness().unwrap().is_some());
        std::fs::write(state.path().join(FRESHNESS), "{").unwrap();
        assert!(store.read_freshness().is_err());
        assert_eq!(store.floor().time(at(0)), at(1000));
    }
}
