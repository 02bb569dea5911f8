//! Files that go into images and packages.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use super::key::Key;
use super::{ImageError, io};
use crate::command::run;

/// A file that an image or a package adds.
#[derive(Clone, Debug)]
pub struct File {
    /// Where, without the leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: FileContent,
}

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A copy of this file.
    CopyOf(PathBuf),
    /// A copy of this program, without its debug information.
    Program(PathBuf),
}

impl File {
    /// A file of these bytes that everybody may read.
    pub fn bytes(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, content: FileContent::Bytes(bytes.into()) }
    }

    /// A text file that everybody may read.
    pub fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::bytes(path, text.into())
    }

    /// A script that everybody may run.
    pub fn script(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { mode: 0o755, ..Self::text(path, text) }
    }

    /// A copy of the file `source` that everybody may read.
    pub fn copy(path: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o644, content: FileContent::CopyOf(source.into()) }
    }

    /// A stripped copy of the program `source`.
    pub fn program(path: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o755, content: FileContent::Program(source.into()) }
    }

    /// Writes it where it belongs below `folder`.
    pub fn lay(&self, folder: &Path) -> Result<(), ImageError> {
        let step = "laying out files";
        let path = folder.join(&self.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io(step))?;
        }
        match &self.content {
            FileContent::Bytes(bytes) => {
                fs::write(&path, bytes).map_err(io(step))?;
            }
            FileContent::CopyOf(source) => {
                fs::copy(source, &path).map_err(io(step))?;
            }
            FileContent::Program(source) => {
                run("stripping a program", Command::new("strip").arg("-o").arg(&path).arg(source))?;
            }
        }
        fs::set_permissions(&path, PermissionsExt::from_mode(self.mode)).map_err(io(step))
    }

    pub(super) fn add_to(&self, key: &mut Key) -> Result<(), ImageError> {
        key.add(&self.path).add(self.mode.to_le_bytes());
        match &self.content {
            FileContent::Bytes(bytes) => key.add("bytes").add(bytes),
            FileContent::CopyOf(source) => key.add("copy").add(read(source)?),
            FileContent::Program(source) => key.add("program").add(read(source)?),
        };
        Ok(())
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    fs::read(path).map_err(io("reading a file for the image"))
}
