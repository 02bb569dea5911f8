//! Files that appear or change whole, and that a power cut then does not undo: written under
//! another name beside their own, synced, renamed, and the folder synced.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

/// How names begin of files that are not finished.
const UNFINISHED: &str = ".unfinished-";

/// Who may read a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner: mode 0600, of folders 0700.
    Owner,
    /// Everyone: mode 0644, of folders 0755, or less where the umask says so.
    Everyone,
}

impl Readers {
    fn folder_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Everyone => 0o755,
        }
    }
}

/// What happens to something that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The new file takes its place.
    Replace,
    /// It stays, whatever it is; the error's kind is `AlreadyExists`.
    Refuse,
}

/// Something has the name that an output is to have: a file, a folder, a device.
#[derive(Debug, thiserror::Error)]
#[error("{} is there already", path.display())]
pub struct OutputExists {
    /// The name.
    pub path: PathBuf,
}

/// Asks before the work what [`Existing::Refuse`] settles after it.
pub fn refuse_existing(out: &Path) -> Result<(), OutputExists> {
    match fs_err::symlink_metadata(out) {
        Ok(_) => Err(OutputExists { path: out.to_owned() }),
        // What else may be wrong is found when it is written.
        Err(_) => Ok(()),
    }
}

/// Writes a file of that content. Fails with the old one whole, or with none.
pub fn write(path: &Path, content: &[u8], readers: Readers, existing: Existing) -> io::Result<()> {
    let mut file = begin(folder_of(path), readers)?;
    file.write_all(content)?;
    finish(file, path, existing)
}

/// An empty file in `folder`. Dropped before it is [finished](finish), it is removed;
/// cut by a crash, it stays behind under a name that begins with `.unfinished-`, for [`sweep`].
pub fn begin(folder: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everyone => 0o644,
    };
    tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
}

/// Gives a file that [`begin`] made on the same file system, and that has its content, its name.
pub fn finish(file: NamedTempFile, path: &Path, existing: Existing) -> io::Result<()> {
    let failed = |step, cause: io::Error| {
        io::Error::new(cause.kind(), format!("cannot {step} {}: {cause}", path.display()))
    };
    file.as_file().sync_all().map_err(|cause| failed("sync", cause))?;
    let named = match existing {
        Existing::Replace => file.persist(path),
        Existing::Refuse => file.persist_noclobber(path),
    };
    named.map_err(|refused| failed("name", refused.error))?;
    sync_folder(folder_of(path))
}

/// Gives a file another name in its folder, in the place of what has it.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)?;
    sync_folder(folder_of(to))
}

/// Removes what writes that a crash cut have left in `folder`, in which nobody is writing now.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if is_unfinished(&entry.file_name()) && entry.file_type()?.is_file() {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}

/// Makes a folder and what is missing above it, all of it durable.
pub fn make_folder(path: &Path, readers: Readers) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    make_folder(parent, readers)?;
    match DirBuilder::new().mode(readers.folder_mode()).create(path) {
        // Somebody else did at the same time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => {
            let said = format!("cannot make {}: {error}", path.display());
            return Err(io::Error::new(error.kind(), said));
        }
        Ok(()) => {}
    }
    sync_folder(parent)
}

/// An empty folder beside `path`; makes the folder of `path` where there is none. Dropped before it
/// is [finished](finish_folder), it is removed with what is in it; cut by a crash, it stays.
pub fn begin_folder(path: &Path, readers: Readers) -> io::Result<TempDir> {
    let beside = folder_of(path);
    make_folder(beside, readers)?;
    tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(readers.folder_mode()))
        .tempdir_in(beside)
}

/// Gives a folder that [`begin_folder`] made its name; what is in it must be durable already.
pub fn finish_folder(folder: TempDir, path: &Path) -> io::Result<()> {
    fs_err::rename(folder.path(), path)?;
    // It has another name now: nothing is left to be removed.
    let _gone = folder.keep();
    sync_folder(folder_of(path))
}

/// The folder that a name is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use rustix::fs::inotify;

    use super::*;

    /// What the kernel saw happen to names in a folder: a file that appears whole is only ever
    /// moved to its own.
    pub(crate) fn watch(folder: &Path, work: impl FnOnce()) -> Vec<(String, inotify::ReadFlags)> {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let all = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, folder, all).unwrap();
        work();
        let mut buf = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buf);
        let mut seen = Vec::new();
        while let Ok(event) = events.next() {
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            seen.push((name.unwrap_or_default(), event.events()));
        }
        seen.retain(|(name, _)| !is_unfinished(OsStr::new(name)));
        seen
    }

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_takes_its_name_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for existing in [Existing::Refuse, Existing::Replace] {
            let seen = watch(folder.path(), || {
                write(&path, b"content", Readers::Owner, existing).unwrap();
            });
            assert_eq!(seen, [("file".to_owned(), inotify::ReadFlags::MOVED_TO)]);
        }
        assert_eq!((fs_err::read(&path).unwrap(), mode(&path)), (b"content".to_vec(), 0o600));
        write(&path, b"", Readers::Everyone, Existing::Replace).unwrap();
        assert_eq!(mode(&path) & 0o700, 0o600);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // Not only files: a link is not followed, and a device node would go.
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let error = write(&path, b"new", Readers::Everyone, Existing::Refuse).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs_err::read_link(&path).unwrap(), Path::new("nowhere"));
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // Not dropped, as when the power goes.
        let cut = begin(folder.path(), Readers::Owner).unwrap().into_temp_path().keep().unwrap();
        let name = |name: &str| folder.path().join(name);
        for kept in ["file", "unfinished-business"] {
            fs_err::write(name(kept), "").unwrap();
        }
        fs_err::create_dir(name(".unfinished-folder")).unwrap();
        sweep(folder.path()).unwrap();
        assert!(!cut.exists() && path.exists() && name(".unfinished-folder").exists());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn folders_are_made_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        make_folder(&deep, Readers::Owner).unwrap();
        make_folder(&deep, Readers::Everyone).unwrap();
        assert_eq!((mode(&folder.path().join("a")), mode(&deep)), (0o700, 0o700));
        fs_err::write(deep.join("file"), "").unwrap();
        let error = make_folder(&deep.join("file/c"), Readers::Owner).unwrap_err();
        assert!(error.to_string().contains("a/b/file"), "{error}");
    }
}
