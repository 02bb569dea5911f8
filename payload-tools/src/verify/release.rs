use std::io;
use std::os::unix::fs::FileExt as _;

use super::{Accept, Decoding, ExpandError, expand};
use crate::build::{KernelError, Warning, check_kernel_of};
use crate::bundle::{Bundle, BundleError, full_name};
use crate::format::{Image, Manifest, Role};
use crate::workers;

/// A release whose payloads hold the images of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Deltas of which the head was checked, and nothing else.
    pub delta_heads: u64,
    /// What is allowed and probably a mistake.
    pub warnings: Vec<Warning>,
}

/// Why devices would not take a release's payloads.
#[derive(Debug, thiserror::Error)]
pub enum DamagedRelease {
    /// One of its files.
    #[error(transparent)]
    Release(#[from] BundleError),
    /// A full payload holds something else than its image.
    #[error("{part}, the full payload of the {role} image, is refused")]
    Payload {
        /// Name of the file in the release.
        part: String,
        /// Whose payload it is.
        role: Role,
        /// Which segment, and why.
        source: ExpandError,
    },
    /// The machine could not look at them.
    #[error("the payloads cannot be checked")]
    NotChecked(#[source] ExpandError),
    /// The kernel image would not boot, or not as this release.
    #[error("the kernel image is refused")]
    Kernel(#[source] KernelError),
    /// The kernel image could not be unpacked.
    #[error("cannot unpack the kernel image")]
    Io(#[from] io::Error),
}

impl DamagedRelease {
    /// The next move, where the error does not say it.
    pub fn next_move(&self) -> Option<&'static str> {
        match self {
            Self::Release(BundleError::Delta { .. }) | Self::NotChecked(_) | Self::Io(_) => None,
            _ => Some("build the release again (`payload build`), or copy its folder again"),
        }
    }
}

/// Checks each byte of each full payload of a release against the trees of its manifest, what a
/// kernel image must say, and the heads of the deltas. Tells `progress` of image bytes as they are
/// done.
pub fn check_release(
    release: &Bundle,
    manifest: &Manifest,
    decoding: Decoding,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Whole, DamagedRelease> {
    let mut warnings = Vec::new();
    for image in &manifest.images {
        match image.role {
            Role::Kernel => {
                warnings = check_kernel_payload(release, manifest, image, decoding, progress)?;
            }
            Role::Root => check_payload(release, image, decoding, &|group| {
                progress(group.bytes().len() as u64);
                Ok(())
            })?,
        }
    }
    Ok(Whole { delta_heads: check_delta_heads(release, manifest)?, warnings })
}

fn check_payload(
    release: &Bundle,
    image: &Image,
    decoding: Decoding,
    accept: &Accept<'_>,
) -> Result<(), DamagedRelease> {
    let full = release.image_full(&image.root)?;
    let table = release.seek_table(image, &full)?;
    let levels = release.levels(image)?;
    let (part, role) = (full_name(&image.root), image.role);
    let with = (decoding, workers::every_core());
    expand(&full, &table, &levels, with, accept).map(|_complete| ()).map_err(|error| match error {
        source if source.is_of_payload() => DamagedRelease::Payload { part, role, source },
        other => DamagedRelease::NotChecked(other),
    })
}

/// The kernel image is also expanded, to look into it: a device could not boot
/// one without a command line, or would not know which release it has.
fn check_kernel_payload(
    release: &Bundle,
    manifest: &Manifest,
    image: &Image,
    decoding: Decoding,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Warning>, DamagedRelease> {
    let file = tempfile::tempfile()?;
    check_payload(release, image, decoding, &|group| {
        progress(group.bytes().len() as u64);
        file.write_all_at(group.bytes(), group.offset())
    })?;
    let (_, warnings) =
        check_kernel_of(&file, image.size, manifest).map_err(DamagedRelease::Kernel)?;
    Ok(warnings)
}

/// How many deltas there are, if each has a good head.
fn check_delta_heads(release: &Bundle, manifest: &Manifest) -> Result<u64, BundleError> {
    let mut checked = 0;
    for image in &manifest.images {
        for from in release.deltas(&image.root)? {
            release.delta_head(image, &from)?;
            checked += 1;
        }
    }
    Ok(checked)
}
