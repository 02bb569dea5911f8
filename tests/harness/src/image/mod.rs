//! Operating-system images as a team would ship them: a Debian root file system and the unified
//! kernel image that boots it, built from packages and from nothing that this machine happens to
//! be. The same recipe gives the same bits, on this machine and on the next one with the same
//! packages.
//!
//! [`Recipe`] says what an image is; [`ImageStore::build`] makes it or finds it made. Each stage
//! is kept under the SHA-256 of all that goes into it, so a stage runs again when an input
//! changed and at no other time.

mod base;
mod file;
mod key;
mod recipe;
mod root;
mod uki;

use std::path::{Path, PathBuf};

use fs_err as fs;
use thiserror::Error;

pub use self::base::EPOCH;
pub use self::file::{File, FileContent};
pub use self::key::Key;
pub use self::recipe::{Initrd, Recipe};
pub use self::uki::{UkiError, UkiParts, assemble_uki};
use crate::command::CommandError;
use crate::secure_boot::{self, SignError};

/// Why an image could not be built.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file or folder could not be made, read or moved.
    #[error("{step} failed")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said; it names the file.
        source: std::io::Error,
    },
    /// A program was of no use.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Root trees hold files of several owners.
    #[error("building root trees needs root (it makes files of other owners); run it with sudo")]
    NotRoot,
    /// The kernel image could not be put together.
    #[error("putting the unified kernel image together failed")]
    Uki(#[from] UkiError),
    /// The kernel image could not be signed.
    #[error("signing the unified kernel image failed")]
    Sign(#[from] SignError),
}

/// An image: two files, to be written to KERNEL-x and ROOT-x of one slot.
#[derive(Clone, Debug)]
pub struct OsImage {
    /// The unified kernel image, signed for Secure Boot with the test key.
    pub kernel: PathBuf,
    /// The root file system.
    pub root: PathBuf,
}

/// Where images and their stages are kept.
#[derive(Clone, Debug)]
pub struct ImageStore {
    dir: PathBuf,
}

impl ImageStore {
    /// The store in the folder `dir`, made if it is missing.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(io("making the image store"))?;
        Ok(Self { dir })
    }

    /// The tree that all images begin with, a minimal Debian, as a tar file; made or found.
    pub fn base(&self) -> Result<PathBuf, ImageError> {
        Ok(base::obtain(&self.dir)?.tar)
    }

    /// Makes the image that `recipe` describes, or finds it.
    pub fn build(&self, recipe: &Recipe) -> Result<OsImage, ImageError> {
        let base = base::obtain(&self.dir)?;
        let key = recipe.key(&base)?;
        let finished = self.dir.join(format!("image-{key}"));
        if !finished.exists() {
            let work = self.work_dir()?;
            let root = root::build(&base, recipe, work.path())?;
            let kernel = work.path().join("kernel.efi");
            self.build_kernel(recipe, &root, work.path(), &kernel)?;
            keep(work.path(), &[&root.file_system, &kernel], &finished)?;
        }
        Ok(OsImage { kernel: finished.join("kernel.efi"), root: finished.join("root.img") })
    }

    fn build_kernel(
        &self,
        recipe: &Recipe,
        root: &root::Built,
        work: &Path,
        kernel: &Path,
    ) -> Result<(), ImageError> {
        let os_release = work.join("osrel");
        fs::write(&os_release, recipe.os_release()).map_err(io("writing the UKI's .osrel"))?;
        let command_line = work.join("cmdline");
        fs::write(&command_line, &recipe.command_line).map_err(io("writing the .cmdline"))?;
        let unsigned = work.join("unsigned.efi");
        let initrd = match recipe.initrd {
            Initrd::Included => Some(root.initrd.as_path()),
            Initrd::Missing => None,
        };
        let parts = UkiParts {
            stub: &root.stub,
            os_release: &os_release,
            command_line: &command_line,
            linux: &root.linux,
            initrd,
        };
        assemble_uki(&parts, &unsigned)?;
        secure_boot::sign(&unsigned, kernel)?;
        Ok(())
    }

    /// On the store's own file system, so that finished stages are moved by renaming.
    fn work_dir(&self) -> Result<tempfile::TempDir, ImageError> {
        tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&self.dir)
            .map_err(io("making a work folder"))
    }
}

/// Moves `files` of the folder `work` into the new folder `finished`, which appears complete.
fn keep(work: &Path, files: &[&Path], finished: &Path) -> Result<(), ImageError> {
    let step = "keeping a finished stage";
    let complete = work.join("complete");
    fs::create_dir(&complete).map_err(io(step))?;
    for file in files {
        let name = file.file_name().unwrap_or_default();
        fs::rename(file, complete.join(name)).map_err(io(step))?;
    }
    match fs::rename(&complete, finished) {
        // Another process was faster with the same bits.
        Err(_) if finished.exists() => Ok(()),
        renamed => renamed.map_err(io(step)),
    }
}

fn io(step: &'static str) -> impl FnOnce(std::io::Error) -> ImageError {
    move |source| ImageError::Io { step, source }
}
