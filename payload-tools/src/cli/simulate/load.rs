//! The releases and images that a simulation is about.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::{Output, SimulateVerbError};
use crate::ReadAt;
use crate::bundle::Bundle;
use crate::cli::unpacked::{is_release, unpacked};
use crate::delta::{DeltaImage, Padded};
use crate::format::{Compatible, Image, Role, Salt};
use crate::tree::TreeBuilder;

/// A release, or an image that was named alone.
pub(super) struct Loaded {
    pub path: PathBuf,
    pub release: Option<(Bundle, Compatible)>,
    pub images: Vec<LoadedImage>,
}

/// An image and its bytes.
pub(super) struct LoadedImage {
    /// `None`: it was named alone.
    pub role: Option<Role>,
    /// As the manifest has it, or as one would.
    pub image: Image,
    pub bytes: Box<dyn ReadAt>,
}

impl Loaded {
    /// Reads a release, unpacked into files that are gone with this process, or an image.
    pub fn open(
        path: &Path,
        threads: NonZero<usize>,
        output: &Output,
    ) -> Result<Self, SimulateVerbError> {
        let path = path.to_owned();
        if !is_release(&path)? {
            let image = Padded::new(fs_err::File::open(&path)?)?;
            let image = of_file(&path, image, threads, output)?;
            return Ok(Self { path, release: None, images: vec![image] });
        }
        let bundle = Bundle::open(&path)?;
        let manifest = bundle.manifest()?;
        let mut images = Vec::new();
        for image in manifest.images {
            let file = unpacked(&bundle, &image, &std::env::temp_dir(), threads, output);
            let role = image.role;
            let bytes = file.map_err(|source| SimulateVerbError::Unpack { role, source })?;
            images.push(LoadedImage { role: Some(role), image, bytes: Box::new(bytes) });
        }
        Ok(Self { path, release: Some((bundle, manifest.compatible)), images })
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The image that a device has where `image` goes.
    pub fn counterpart(&self, image: &LoadedImage) -> Option<&LoadedImage> {
        self.images.iter().find(|other| other.role == image.role)
    }
}

impl LoadedImage {
    pub fn sized(&self) -> (&dyn ReadAt, u64) {
        (self.bytes.as_ref(), self.image.size)
    }

    pub fn of_delta(&self) -> DeltaImage {
        DeltaImage::from(&self.image)
    }
}

fn of_file(
    path: &Path,
    bytes: Padded,
    threads: NonZero<usize>,
    output: &Output,
) -> Result<LoadedImage, SimulateVerbError> {
    // What the tree is salted with changes no size.
    let builder = TreeBuilder::new(Salt::default()).threads(threads);
    let bar = output.bytes_bar("hashing", bytes.size());
    let tree = builder.build(&bytes, bytes.size(), &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let tree = tree.map_err(|source| SimulateVerbError::Tree { path: path.to_owned(), source })?;
    let image = builder.image(Role::Root, bytes.size(), &tree);
    Ok(LoadedImage { role: None, image, bytes: Box::new(bytes) })
}
