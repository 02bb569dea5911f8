use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::tokio as fs;
use payload_tools::format::{Compatible, Hash, Release};
use tempfile::TempPath;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FileFacts;

/// A file that devices may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredFile {
    /// The full payload of the image with this root.
    Full(Hash),
    /// The levels of the image with this root.
    Levels(Hash),
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

fn failed(step: &'static str) -> impl Fn(io::Error) -> UploadError {
    move |source| UploadError { step, source }
}

impl PayloadFolder {
    /// The folder at `root`, which must exist.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, file: &StoredFile) -> PathBuf {
        match file {
            StoredFile::Full(root) => self.root.join(format!("images/{root}/full")),
            StoredFile::Levels(root) => self.root.join(format!("images/{root}/levels")),
            StoredFile::Manifest { compatible, sha256, release } => {
                self.root.join(format!("targets/{compatible}/{sha256}.{release}.json"))
            }
        }
    }

    /// Opens a file; `None`: it was never uploaded.
    pub async fn open(&self, file: &StoredFile) -> io::Result<Option<Stored>> {
        let file = match fs::File::open(self.path(file)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata().await?;
        // A file is only ever replaced by another inode, so these name its content.
        let etag = format!(
            "\"{:x}-{:x}-{:x}.{:x}\"",
            metadata.len(),
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        Ok(Some(Stored { file, facts: FileFacts { size: metadata.len(), etag } }))
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
        let (file, path) =
            tempfile::NamedTempFile::new_in(&folder).map_err(failed("begin"))?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(1 << 20);
        Ok(Incoming { file, path })
    }

    /// Removes what uploads cut by a crash left behind. Call before serving.
    pub async fn sweep(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join("incoming")).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes a received file durable under its name, replacing an older one.
    pub async fn keep(&self, mut incoming: Incoming, file: &StoredFile) -> Result<(), UploadError> {
        incoming.file.flush().await.map_err(failed("write"))?;
        incoming.file.sync_all().await.map_err(failed("sync"))?;
        let target = self.path(file);
        let folder = target.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&folder).await.map_err(failed("make a folder for"))?;
        incoming.path.persist(&target).map_err(|error| failed("name")(error.error))?;
        self.sync_folders(&folder).await.map_err(failed("sync the folder of"))
    }

    /// The new name is durable once every folder above it is.
    async fn sync_folders(&self, folder: &Path) -> io::Result<()> {
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            fs::File::open(folder).await?.sync_all().await?;
        }
        Ok(())
    }
}

/// An upload under way. Dropped before it is kept, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    file: tokio::fs::File,
    path: TempPath,
}

impl Incoming {
    /// Adds the next bytes.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), UploadError> {
        self.file.write_all(chunk).await.map_err(failed("write"))
    }
}
