use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::tokio as fs;
use payload_tools::bundle::{delta_name, full_name, levels_name};
use payload_tools::durable_file::{self, Existing, Readers};
use payload_tools::format::{Compatible, Hash, Release};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir, TempPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FileFacts;

/// How the name of a voucher ends, which says what a file was when it was uploaded.
const VOUCHER: &[u8] = b".sha256";

/// A file that devices may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredFile {
    /// The full payload of the image with this root.
    Full(Hash),
    /// The levels of the image with this root.
    Levels(Hash),
    /// A delta that makes one image of another one.
    Delta {
        /// Root of the image that it makes.
        to: Hash,
        /// Root of the image that it is made of.
        from: Hash,
    },
    /// A manifest, named by its hash.
    Manifest {
        /// What the release is for.
        compatible: Compatible,
        /// SHA-256 of the manifest.
        sha256: Hash,
        /// The release.
        release: Release,
    },
}

impl StoredFile {
    /// Its path below `/v1/`, and in the folder: an image's files are called as in a release.
    pub fn path(&self) -> String {
        match self {
            StoredFile::Full(root) => full_name(root),
            StoredFile::Levels(root) => levels_name(root),
            StoredFile::Delta { to, from } => delta_name(to, from),
            StoredFile::Manifest { compatible, sha256, release } => {
                format!("targets/{compatible}/{sha256}.{release}.json")
            }
        }
    }
}

/// Where uploaded files are. A file appears whole or not at all.
#[derive(Debug, Clone)]
pub struct PayloadFolder {
    root: PathBuf,
}

/// A file that is there, opened.
#[derive(Debug)]
pub struct Stored {
    /// Its content.
    pub file: fs::File,
    /// What is known of it.
    pub facts: FileFacts,
}

/// An upload that was not kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} the upload")]
pub struct UploadError {
    step: &'static str,
    source: io::Error,
}

impl UploadError {
    /// Whether less, or more room, would have been kept.
    pub fn is_no_room(&self) -> bool {
        let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        kinds.contains(&self.source.kind())
    }
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> UploadError {
    move |source| UploadError { step, source }
}

impl PayloadFolder {
    /// The folder at `root`, which must exist.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes on its disk that may be written, and bytes that the disk has.
    pub fn room(&self) -> io::Result<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.root)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok((bytes(disk.f_bavail), bytes(disk.f_blocks)))
    }

    fn path(&self, file: &StoredFile) -> PathBuf {
        self.root.join(file.path())
    }

    /// Where the hash of a file is kept whose name is not made of it.
    fn voucher(&self, file: &StoredFile) -> PathBuf {
        let mut path = self.path(file).into_os_string();
        path.push(OsStr::from_bytes(VOUCHER));
        path.into()
    }

    /// Opens a file; `None`: it was never uploaded.
    pub async fn open(&self, file: &StoredFile) -> io::Result<Option<Stored>> {
        let opened = match fs::File::open(self.path(file)).await {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = opened.metadata().await?;
        let tag = match file {
            StoredFile::Manifest { sha256, .. } => sha256.to_string(),
            StoredFile::Full(_) | StoredFile::Levels(_) | StoredFile::Delta { .. } => {
                self.tag(file, &metadata).await?
            }
        };
        let facts = FileFacts { size: metadata.len(), etag: format!("\"{tag}\"") };
        Ok(Some(Stored { file: opened, facts }))
    }

    /// The SHA-256 of an image's file as it was uploaded, if it is still that file.
    async fn tag(&self, file: &StoredFile, metadata: &Metadata) -> io::Result<String> {
        let identity = identity(metadata);
        let voucher = match fs::read_to_string(self.voucher(file)).await {
            Ok(voucher) => voucher,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        match voucher.trim_end().split_once(' ') {
            Some((sha256, of)) if of == identity => Ok(sha256.to_owned()),
            _ => Ok(identity),
        }
    }

    /// No longer says that a file is what was uploaded.
    pub(super) async fn doubt(&self, file: &StoredFile) -> io::Result<()> {
        match fs::remove_file(self.voucher(file)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a file; one that is not there is gone too.
    pub async fn remove(&self, file: &StoredFile) -> io::Result<()> {
        self.doubt(file).await?;
        match fs::remove_file(self.path(file)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads a small file whole; `None`: it was never uploaded.
    pub async fn read(&self, file: &StoredFile) -> io::Result<Option<Vec<u8>>> {
        let Some(Stored { mut file, facts }) = self.open(file).await? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(facts.size.min(1 << 20) as usize);
        file.read_to_end(&mut bytes).await?;
        Ok(Some(bytes))
    }

    /// Begins an upload.
    pub async fn receive(&self) -> Result<Incoming, UploadError> {
        let folder = self.root.join("incoming");
        fs::create_dir_all(&folder).await.map_err(failed("make a folder for"))?;
        let begun = durable_file::begin(&folder, Readers::Owner);
        let (file, path) = begun.map_err(failed("begin"))?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(1 << 20);
        Ok(Incoming { file, path })
    }

    /// A folder for what takes room for a while, beside the uploads under way: what a crash leaves of
    /// it is swept with them. Dropped, it is gone.
    pub fn scratch(&self) -> Result<TempDir, UploadError> {
        tempfile::tempdir_in(self.root.join("incoming")).map_err(failed("make a folder beside"))
    }

    /// Every uploaded file, by its path in the folder.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::from("images"), PathBuf::from("targets")];
        while let Some(folder) = folders.pop() {
            for entry in entries(&self.root.join(&folder))? {
                let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if !name.as_encoded_bytes().ends_with(VOUCHER) {
                    files.push(path);
                }
            }
        }
        Ok(files)
    }

    /// Removes what uploads cut by a crash left behind. Call before serving.
    pub async fn sweep(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join("incoming")).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes a received file durable under its name, replacing an older one. `sha256` is what its
    /// content hashes to. Once begun it is done, also for a caller that hangs up.
    pub async fn keep(
        &self,
        incoming: Incoming,
        sha256: Hash,
        file: &StoredFile,
    ) -> Result<(), UploadError> {
        let Incoming { file: mut content, path } = incoming;
        content.flush().await.map_err(failed("write"))?;
        let content = NamedTempFile::from_parts(content.into_std().await, path);
        let target = self.path(file);
        let voucher = match file {
            StoredFile::Manifest { .. } => None,
            StoredFile::Full(_) | StoredFile::Levels(_) | StoredFile::Delta { .. } => {
                Some((self.voucher(file), sha256))
            }
        };
        let kept = tokio::task::spawn_blocking(move || keep_file(content, &target, voucher)).await;
        kept.unwrap_or_else(|panicked| Err(failed("keep")(io::Error::other(panicked))))
    }
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> io::Result<Vec<fs_err::DirEntry>> {
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Names a file durably, and then says in the voucher, if it has one, what it is.
fn keep_file(
    content: NamedTempFile,
    target: &Path,
    voucher: Option<(PathBuf, Hash)>,
) -> Result<(), UploadError> {
    let folder = durable_file::folder_of(target);
    durable_file::make_folder(folder, Readers::Owner).map_err(failed("make a folder for"))?;
    let metadata = content.as_file().metadata().map_err(failed("look at"))?;
    // Beside the content, where leftovers are swept.
    let beside = durable_file::folder_of(content.path()).to_owned();
    durable_file::finish(content, target, Existing::Replace).map_err(failed("name"))?;
    // Cut before this, the file is merely not vouched for.
    let Some((path, sha256)) = voucher else { return Ok(()) };
    let vouch = || {
        let mut file = durable_file::begin(&beside, Readers::Owner)?;
        writeln!(file, "{sha256} {}", identity(&metadata))?;
        durable_file::finish(file, &path, Existing::Replace)
    };
    vouch().map_err(failed("vouch for"))
}

/// Names a file's content as long as nobody writes into it: it is only ever replaced by another
/// inode.
fn identity(metadata: &Metadata) -> String {
    let (size, inode) = (metadata.len(), metadata.ino());
    format!("{size:x}-{inode:x}-{:x}.{:x}", metadata.mtime(), metadata.mtime_nsec())
}

/// An upload under way. Dropped before it is kept, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    file: tokio::fs::File,
    path: TempPath,
}

impl Incoming {
    /// At most `len` bytes of its beginning, and how many there are.
    pub(super) async fn start(&mut self, len: u64) -> io::Result<(Vec<u8>, u64)> {
        self.file.flush().await?;
        let received = fs::File::open(&self.path).await?;
        let total = received.metadata().await?.len();
        let mut bytes = Vec::new();
        received.take(len).read_to_end(&mut bytes).await?;
        Ok((bytes, total))
    }

    /// Where it is, for another process to write it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes and their SHA-256.
    pub async fn measure(&mut self) -> io::Result<(u64, Hash)> {
        self.file.flush().await?;
        let path = self.path.to_owned();
        let measure = move || {
            let (mut file, mut hasher) = (fs_err::File::open(path)?, Sha256::new());
            let bytes = io::copy(&mut file, &mut hasher)?;
            Ok((bytes, Hash::from_bytes(hasher.finalize().into())))
        };
        tokio::task::spawn_blocking(measure).await.map_err(io::Error::other)?
    }

    /// Adds the next bytes.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), UploadError> {
        self.file.write_all(chunk).await.map_err(failed("write"))
    }
}
