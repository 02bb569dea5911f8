//! What an image is.

use std::path::PathBuf;

use fs_err as fs;

use super::base::Base;
use super::key::Key;
use super::{ImageError, io, root};

/// What goes into an image beside Debian's packages. Equal recipes give equal bits.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The kind of device, as in the manifest.
    pub compatible: String,
    /// The release, IMAGE_VERSION in os-release.
    pub release: String,
    /// The release's place in the order.
    pub counter: u64,
    /// When it was built, RFC 3339; it names the release's age and stamps nothing else.
    pub built: String,
    /// The kernel's command line.
    pub command_line: String,
    /// Whether the kernel gets an initrd.
    pub initrd: Initrd,
    /// Files over the packages' own.
    pub files: Vec<File>,
    /// Units to enable.
    pub enabled_units: Vec<String>,
    /// Files of the packages that a security update would have replaced; each gets a few other
    /// bytes at the same length of code.
    pub rebuilt_programs: Vec<String>,
}

/// Whether the kernel image has an initrd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initrd {
    /// It has one.
    Included,
    /// It has none: the kernel finds no root and panics.
    Missing,
}

/// A file that an image adds.
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
    /// A text file that everybody may read.
    pub fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o644, content: FileContent::Bytes(text.into().into()) }
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

    fn add_to(&self, key: &mut Key) -> Result<(), ImageError> {
        key.add(&self.path).add(self.mode.to_le_bytes());
        match &self.content {
            FileContent::Bytes(bytes) => key.add("bytes").add(bytes),
            FileContent::CopyOf(source) => key.add("copy").add(read(source)?),
            FileContent::Program(source) => key.add("program").add(read(source)?),
        };
        Ok(())
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, ImageError> {
    fs::read(path).map_err(io("reading a file for the image"))
}

impl Recipe {
    /// The text of os-release, in the root and in the kernel image alike.
    pub(super) fn os_release(&self) -> String {
        let Self { compatible, release, counter, built, .. } = self;
        format!(
            "PRETTY_NAME=\"Seesaw demo {release} (Debian GNU/Linux 12)\"\n\
             ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n\
             IMAGE_ID={compatible}\nIMAGE_VERSION={release}\n\
             SEESAW_COMPATIBLE={compatible}\nSEESAW_COUNTER={counter}\nSEESAW_BUILT={built}\n"
        )
    }

    pub(super) fn key(&self, base: &Base) -> Result<String, ImageError> {
        let mut key = Key::default();
        key.add(&base.key).add(self.os_release()).add(&self.command_line);
        key.add(match self.initrd {
            Initrd::Included => "initrd",
            Initrd::Missing => "no initrd",
        });
        for (kind, list) in [("unit", &self.enabled_units), ("rebuilt", &self.rebuilt_programs)] {
            for entry in list {
                key.add(kind).add(entry);
            }
        }
        for file in self.files.iter().chain(&root::common_files()) {
            file.add_to(&mut key)?;
        }
        key.add(root::ASSEMBLE);
        Ok(key.finish())
    }
}
