//! What an image is.

use std::path::PathBuf;

use super::base::Base;
use super::file::{File, read};
use super::key::Key;
use super::{ImageError, root};

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
    /// Files of packages to install.
    pub packages: Vec<PathBuf>,
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
        for package in &self.packages {
            key.add("package").add(read(package)?);
        }
        for file in self.files.iter().chain(&root::common_files()) {
            file.add_to(&mut key)?;
        }
        key.add(root::ASSEMBLE);
        Ok(key.finish())
    }
}
