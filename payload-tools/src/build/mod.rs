//! Building a release folder from a kernel image and a root file system.

mod encode;
mod kernel;
mod measure;
mod warning;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bundle::{FACTS, MANIFEST, full_name, levels_name};
use crate::durable_file::{self, Existing, OutputExists, Readers, folder_of};
use crate::format::{Compatible, Hash, Image, Manifest, ManifestError, ReleaseFacts, Role, Salt};

pub use encode::{EncodeError, Encoding};
pub use kernel::{KernelError, check_kernel, check_kernel_of};
pub use measure::{Measured, measure};
pub use warning::Warning;

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildPlan {
    /// Name, counter and compatible of the release, and what is to be signed
    /// about it; the kernel image has to agree.
    pub facts: ReleaseFacts,
    /// The unified kernel image.
    pub kernel: PathBuf,
    /// The root file system.
    pub root: PathBuf,
    /// How both become payloads.
    pub encoding: Encoding,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The release folder.
    pub folder: PathBuf,
    /// SHA-256 of the manifest, as the metadata will sign it.
    pub manifest_sha256: Hash,
    /// Both images.
    pub images: Vec<BuiltImage>,
    /// What is allowed and probably a mistake.
    pub warnings: Vec<Warning>,
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuiltImage {
    /// The manifest's entry.
    #[serde(flatten)]
    pub image: Image,
    /// Bytes of its full payload.
    pub full_size: u64,
    /// Bytes of its levels.
    pub levels_size: u64,
}

/// A release that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder to write to is there.
    #[error(transparent)]
    Exists(#[from] OutputExists),
    /// The kernel image does not fit the release.
    #[error("kernel image {path} is refused")]
    Kernel {
        /// The kernel image.
        path: PathBuf,
        /// Why.
        source: KernelError,
    },
    /// An image could not be turned into a payload.
    #[error("cannot make the payload of the {role} image {path}")]
    Encode {
        /// Its role.
        role: Role,
        /// The image.
        path: PathBuf,
        /// Why.
        source: EncodeError,
    },
    /// The manifest would be refused.
    #[error("the manifest would be refused")]
    Manifest(#[from] ManifestError),
    /// The system failed.
    #[error("cannot write the release")]
    Io(#[from] io::Error),
    /// The facts cannot be written.
    #[error("cannot write the facts")]
    Facts(#[from] serde_json::Error),
}

/// The salt of a compatible's trees. One for all its releases: equal blocks have
/// equal digests in each, so that releases can be compared by their trees; and
/// nothing random, so that building twice gives the same bytes.
pub fn default_salt(compatible: &Compatible) -> Salt {
    let seed = format!("seesaw tree salt for {compatible}");
    Salt::from(Hash::of(seed.as_bytes()))
}

/// Builds a release into the new folder `out`, which appears complete or not at
/// all, also after a power cut. Tells `progress` of image bytes as they are done.
pub fn build(
    plan: &BuildPlan,
    out: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Built, BuildError> {
    durable_file::refuse_existing(out)?;
    let (osrel, mut warnings) = check_kernel_file(plan)?;
    let root = fs_err::File::open(&plan.root).map_err(|source| BuildError::Encode {
        role: Role::Root,
        path: plan.root.clone(),
        source: source.into(),
    })?;
    warnings.extend(warning::of_root(&root));
    warnings.extend(warning::of_facts(&plan.facts));
    let folder = durable_file::begin_folder(out, Readers::Everyone)?;
    let images = [(Role::Kernel, &plan.kernel), (Role::Root, &plan.root)];
    let images = images.map(|(role, path)| {
        encode_into(folder.path(), plan, role, path, progress)
            .map_err(|source| BuildError::Encode { role, path: path.clone(), source })
    });
    let [kernel, root] = images;
    let images = vec![kernel?, root?];
    let manifest = Manifest {
        compatible: plan.facts.compatible.clone(),
        release: plan.facts.release.clone(),
        counter: plan.facts.counter,
        built: osrel.built,
        images: images.iter().map(|built| built.image.clone()).collect(),
    };
    let manifest = manifest.to_bytes()?;
    let mut facts = serde_json::to_vec_pretty(&plan.facts)?;
    facts.push(b'\n');
    write(&folder.path().join(MANIFEST), &manifest)?;
    write(&folder.path().join(FACTS), &facts)?;
    durable_file::finish_folder(folder, out)?;
    let folder = out.to_owned();
    Ok(Built { folder, manifest_sha256: Hash::of(&manifest), images, warnings })
}

fn check_kernel_file(
    plan: &BuildPlan,
) -> Result<(crate::format::uki::Osrel, Vec<Warning>), BuildError> {
    let file = fs_err::File::open(&plan.kernel)?;
    let size = file.metadata()?.len();
    let path = plan.kernel.clone();
    check_kernel(&file, size, &plan.facts).map_err(|source| BuildError::Kernel { path, source })
}

fn encode_into(
    folder: &Path,
    plan: &BuildPlan,
    role: Role,
    path: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<BuiltImage, EncodeError> {
    let source = fs_err::File::open(path)?;
    let payload = durable_file::begin(folder, Readers::Everyone)?;
    let out = io::BufWriter::new(payload.as_file());
    let (len, encoding) = (source.metadata()?.len(), &plan.encoding);
    let job = encode::Job { source: &source, len, encoding, progress };
    let (tree, size) = job.run(out)?;
    let image = Image { role, size, salt: encoding.salt.clone(), root: tree.root };
    let full = folder.join(full_name(&tree.root));
    durable_file::make_folder(folder_of(&full), Readers::Everyone)?;
    let full_size = payload.as_file().metadata()?.len();
    // Two images of the same content are one file.
    durable_file::finish(payload, &full, Existing::Replace)?;
    write(&folder.join(levels_name(&tree.root)), &tree.levels)?;
    Ok(BuiltImage { image, full_size, levels_size: tree.levels.len() as u64 })
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    durable_file::write(path, content, Readers::Everyone, Existing::Replace)
}

#[cfg(test)]
mod tests;
