use std::io;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::{Bundle, BundleError, FACTS, MANIFEST, METADATA, Part, full_name, levels_name};
use crate::ReadAt as _;
use crate::durable_file::{self, Existing, OutputExists, Readers, folder_of};
use crate::format::Compatible;
use crate::trust::Files;

/// A bundle that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The release cannot be read.
    #[error(transparent)]
    Release(#[from] BundleError),
    /// The published metadata lacks a file that a device asks for.
    #[error("the metadata has no {role}.json with a version: publish the release first")]
    Metadata {
        /// Role of the file.
        role: String,
    },
    /// Something has the bundle's name.
    #[error(transparent)]
    Exists(#[from] OutputExists),
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Io(#[from] io::Error),
}

/// What a bundle takes of published metadata: every root, and the newest targets
/// and role of the compatible under names without a version.
pub fn signed_metadata(published: &Files, compatible: &Compatible) -> Result<Files, PackError> {
    let is_root = |name: &str| versioned(name, "root").is_some();
    let mut files: Files = published
        .iter()
        .filter(|(name, _)| is_root(name))
        .map(|(name, bytes)| (name.clone(), bytes.clone()))
        .collect();
    if files.is_empty() {
        return Err(PackError::Metadata { role: "root".to_owned() });
    }
    for role in ["targets", compatible.as_str()] {
        let newest = published
            .iter()
            .filter_map(|(name, bytes)| Some((versioned(name, role)?, bytes)))
            .max_by_key(|(version, _)| *version);
        let (_, bytes) = newest.ok_or_else(|| PackError::Metadata { role: role.to_owned() })?;
        files.insert(format!("{role}.json"), bytes.clone());
    }
    Ok(files)
}

/// The N of `N.role.json`.
fn versioned(name: &str, role: &str) -> Option<u64> {
    let version = name.strip_suffix(".json")?.strip_suffix(role)?.strip_suffix('.')?;
    version.bytes().all(|byte| byte.is_ascii_digit()).then(|| version.parse().ok())?
}

/// Writes a release and its metadata as one tar file. The same release gives
/// the same bytes: names in a fixed order, no times and owners. The file appears
/// complete or not at all, and replaces none.
///
/// Tells `progress` of bytes as they are written.
pub fn pack(
    release: &Bundle,
    metadata: &Files,
    out: &Path,
    progress: &dyn Fn(u64),
) -> Result<(), PackError> {
    durable_file::refuse_existing(out)?;
    let file = durable_file::begin(folder_of(out), Readers::Everyone)?;
    let mut tar = Builder::new(file.as_file());
    for name in [MANIFEST, FACTS] {
        append_part(&mut tar, &release.part(name)?, progress)?;
    }
    for (name, bytes) in metadata {
        append(&mut tar, &format!("{METADATA}{name}"), bytes.len() as u64, bytes.as_slice())?;
    }
    for image in release.manifest()?.images {
        append_part(&mut tar, &release.part(&levels_name(&image.root))?, progress)?;
        append_part(&mut tar, &release.part(&full_name(&image.root))?, progress)?;
    }
    tar.into_inner()?;
    Ok(durable_file::finish(file, out, Existing::Refuse)?)
}

type Tar<'a> = Builder<&'a std::fs::File>;

fn append_part(tar: &mut Tar<'_>, part: &Part, progress: &dyn Fn(u64)) -> io::Result<()> {
    append(tar, part.name(), part.len(), PartReader { part, offset: 0, progress })
}

fn append(tar: &mut Tar<'_>, name: &str, len: u64, content: impl io::Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(len);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, content.take(len))
}

struct PartReader<'a> {
    part: &'a Part,
    offset: u64,
    progress: &'a dyn Fn(u64),
}

impl io::Read for PartReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.part.len() - self.offset;
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        self.part.fill_at(&mut buf[..len], self.offset)?;
        self.offset += len as u64;
        (self.progress)(len as u64);
        Ok(len)
    }
}
