//! Reading a release from a folder or from a bundle, which is one tar file of
//! it (docs/formats.md, A release folder and a bundle).
//!
//! Nothing that comes from here is trusted: a manifest is to be checked against
//! signed metadata, and levels are checked against the manifest.

mod index;
#[cfg(feature = "authoring")]
mod pack;
mod part;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::delta::HeadError;
#[cfg(feature = "authoring")]
use crate::format::delta::{Head, head_len};
use crate::format::seekable::{self, SeekTable, SeekTableError};
use crate::format::{Hash, Image, MANIFEST_SIZE_MAX, Manifest, ManifestError, ReleaseFacts};
use crate::tree::{Levels, Shape, ShapeError, TreeError};
#[cfg(feature = "authoring")]
use crate::trust::Files;

pub use index::IndexError;
#[cfg(feature = "authoring")]
pub use pack::{PackError, pack, signed_metadata};
pub use part::Part;

/// Largest metadata file that is packed, in bytes.
#[cfg(feature = "authoring")]
const METADATA_SIZE_MAX: u64 = 1 << 20;

/// Name of the manifest in a release.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Name of the facts in a release.
pub(crate) const FACTS: &str = "facts.json";
const METADATA: &str = "metadata/";

/// A release folder or bundle.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Folder,
    Tar { file: Arc<fs_err::File>, index: index::Index },
}

/// A release folder or bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The system cannot read it.
    #[error("cannot read the release")]
    Io(#[from] io::Error),
    /// The tar file is not a bundle.
    #[error("{path} is not a bundle")]
    Index {
        /// The file.
        path: PathBuf,
        /// Why.
        source: IndexError,
    },
    /// A file of the release is missing.
    #[error("{path} has no {part}")]
    Missing {
        /// The folder or bundle.
        path: PathBuf,
        /// Name of the file in it.
        part: String,
    },
    /// A file of the release is larger than its kind can be.
    #[error("{part} has {len} bytes, more than the {max} allowed")]
    TooLong {
        /// Name of the file.
        part: String,
        /// Its bytes.
        len: u64,
        /// The most allowed.
        max: u64,
    },
    /// The manifest is refused.
    #[error("the manifest of {path} is refused")]
    Manifest {
        /// The folder or bundle.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// The facts are refused.
    #[error("the facts of {path} are refused")]
    Facts {
        /// The folder or bundle.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The seek table of a full payload is refused.
    #[error("the seek table of {part} is refused")]
    SeekTable {
        /// Name of the payload file.
        part: String,
        /// Why.
        source: SeekTableError,
    },
    /// The head of a delta is refused.
    #[error("the delta {part} is damaged, or another's; remove it and make it again")]
    Delta {
        /// Name of the delta file.
        part: String,
        /// Why.
        source: HeadError,
    },
    /// An image has no tree.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The levels are not those of the image.
    #[error("the tree levels {part} are refused")]
    Levels {
        /// Name of the file with them.
        part: String,
        /// Why.
        source: TreeError,
    },
}

/// Whether a file that begins so is a tar file, as bundles are (POSIX ustar, field magic).
#[cfg(feature = "authoring")]
pub(crate) fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// Name of an image's full payload in a release folder.
pub fn full_name(root: &Hash) -> String {
    format!("images/{root}/full")
}

/// Name of an image's levels in a release folder.
pub fn levels_name(root: &Hash) -> String {
    format!("images/{root}/levels")
}

/// Name of the delta to an image from another one, in a release folder.
pub fn delta_name(to: &Hash, from: &Hash) -> String {
    format!("images/{to}/delta/{from}")
}

impl Bundle {
    /// Opens a release folder, or a bundle, whose table of files is read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, BundleError> {
        let path = path.into();
        if fs_err::metadata(&path)?.is_dir() {
            return Ok(Self { path, parts: Parts::Folder });
        }
        let file = fs_err::File::open(&path)?;
        match index::Index::read(&file) {
            Ok(index) => Ok(Self { path, parts: Parts::Tar { file: Arc::new(file), index } }),
            Err(source) => Err(BundleError::Index { path, source }),
        }
    }

    /// The folder or file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One file of the release, by its name in docs/formats.md.
    pub fn part(&self, name: &str) -> Result<Part, BundleError> {
        let missing = || BundleError::Missing { path: self.path.clone(), part: name.to_owned() };
        match &self.parts {
            Parts::Folder => match fs_err::File::open(self.path.join(name)) {
                Ok(file) => Ok(Part::whole(name, file)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                Err(error) => Err(error.into()),
            },
            Parts::Tar { file, index } => {
                let range = index.get(name).ok_or_else(missing)?;
                Ok(Part::range(name, Arc::clone(file), range))
            }
        }
    }

    /// The manifest's bytes, whose hash the metadata signs.
    pub fn manifest_bytes(&self) -> Result<Vec<u8>, BundleError> {
        self.part(MANIFEST)?.bytes(MANIFEST_SIZE_MAX as u64)
    }

    /// The manifest.
    pub fn manifest(&self) -> Result<Manifest, BundleError> {
        let path = self.path.clone();
        Manifest::parse(&self.manifest_bytes()?)
            .map_err(|source| BundleError::Manifest { path, source })
    }

    /// What the publisher is to sign about the release. Not for a device, which
    /// takes the facts from the metadata.
    pub fn facts(&self) -> Result<ReleaseFacts, BundleError> {
        let bytes = self.part(FACTS)?.bytes(MANIFEST_SIZE_MAX as u64)?;
        let path = self.path.clone();
        serde_json::from_slice(&bytes).map_err(|source| BundleError::Facts { path, source })
    }

    /// The full payload of an image.
    pub fn image_full(&self, root: &Hash) -> Result<Part, BundleError> {
        self.part(&full_name(root))
    }

    /// The images that a release folder has deltas to this one from. A bundle has none.
    #[cfg(feature = "authoring")]
    pub fn deltas(&self, to: &Hash) -> Result<Vec<Hash>, BundleError> {
        let folder = self.path.join(format!("images/{to}/delta"));
        if matches!(self.parts, Parts::Tar { .. }) || !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut roots: Vec<Hash> = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let name = entry?.file_name();
            roots.extend(name.to_str().and_then(|name| name.parse::<Hash>().ok()));
        }
        roots.sort();
        Ok(roots)
    }

    /// The head of a delta to this image. It says of which images the delta is and fills the file;
    /// whether the delta makes the image, only who has the old one can see.
    #[cfg(feature = "authoring")]
    pub fn delta_head(&self, to: &Image, from: &Hash) -> Result<Head, BundleError> {
        let part = self.part(&delta_name(&to.root, from))?;
        let refused = |source| BundleError::Delta { part: part.name().to_owned(), source };
        let bytes = part.slice(0, head_len(to.size).min(part.len()))?;
        let head = Head::parse(&bytes, part.len()).map_err(refused)?;
        head.expect(from, &to.root, to.size).map_err(refused)?;
        Ok(head)
    }

    /// The seek table of an image's full payload, which `full` is.
    pub fn seek_table(&self, image: &Image, full: &Part) -> Result<SeekTable, BundleError> {
        let len = seekable::tail_len(image.size).min(full.len());
        let tail = full.slice(full.len() - len, len)?;
        let part = full.name().to_owned();
        SeekTable::parse(&tail, image.size, full.len())
            .map_err(|source| BundleError::SeekTable { part, source })
    }

    /// The levels of an image, chained to the root that the image states.
    pub fn levels(&self, image: &Image) -> Result<Levels, BundleError> {
        let max = Shape::of(image.size)?.levels_size();
        let part = levels_name(&image.root);
        let bytes = self.part(&part)?.bytes(max)?;
        Levels::verify(image, bytes).map_err(|source| BundleError::Levels { part, source })
    }

    /// A metadata file of at most `max` bytes, by its name; nothing in a release that has none.
    pub fn metadata_file(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, BundleError> {
        match self.part(&format!("{METADATA}{name}")) {
            Err(BundleError::Missing { .. }) => Ok(None),
            part => part?.bytes(max).map(Some),
        }
    }

    /// Every metadata file, by name; none in a release that is not signed. Not for a device, which
    /// asks for what it verifies next.
    #[cfg(feature = "authoring")]
    pub fn metadata(&self) -> Result<Files, BundleError> {
        let part = |name: String| {
            let bytes = self.part(&format!("{METADATA}{name}"))?.bytes(METADATA_SIZE_MAX)?;
            Ok((name, bytes))
        };
        self.metadata_names()?.into_iter().map(part).collect()
    }

    /// Bytes of all payloads and levels.
    pub fn images_len(&self) -> Result<u64, BundleError> {
        let mut len = 0u64;
        for image in self.manifest()?.images {
            for name in [full_name(&image.root), levels_name(&image.root)] {
                len = len.saturating_add(self.part(&name)?.len());
            }
        }
        Ok(len)
    }

    /// The names of the metadata files; none in a release that is not signed.
    #[cfg(feature = "authoring")]
    pub fn metadata_names(&self) -> Result<Vec<String>, BundleError> {
        let mut names = Vec::new();
        match &self.parts {
            Parts::Tar { index, .. } => {
                names.extend(index.names().filter_map(|name| name.strip_prefix(METADATA)));
                return Ok(names.into_iter().map(str::to_owned).collect());
            }
            Parts::Folder if !self.path.join(METADATA).is_dir() => return Ok(Vec::new()),
            Parts::Folder => {}
        }
        let mut names = Vec::new();
        for entry in fs_err::read_dir(self.path.join(METADATA))? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
