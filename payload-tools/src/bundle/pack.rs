use std::io::{self, Read as _};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::{Bundle, BundleError, FACTS, MANIFEST, METADATA, Part, full_name, levels_name};

/// A bundle that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The release cannot be read.
    #[error(transparent)]
    Release(#[from] BundleError),
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Io(#[from] io::Error),
}

/// Writes a release, with its metadata if it has any, as one tar file. The same
/// release gives the same bytes: names in a fixed order, no times and owners.
///
/// Tells `progress` of bytes as they are written.
pub fn pack(release: &Bundle, out: &Path, progress: &dyn Fn(u64)) -> Result<(), PackError> {
    let mut parts = vec![release.part(MANIFEST)?, release.part(FACTS)?];
    for (name, _) in release.metadata()? {
        parts.push(release.part(&format!("{METADATA}{name}"))?);
    }
    for image in release.manifest()?.images {
        parts.push(release.part(&levels_name(&image.root))?);
        parts.push(release.part(&full_name(&image.root))?);
    }
    let mut tar = Builder::new(fs_err::File::create(out)?);
    for part in parts {
        append(&mut tar, &part, progress)?;
    }
    tar.into_inner()?.sync_all()?;
    Ok(())
}

fn append(tar: &mut Builder<fs_err::File>, part: &Part, progress: &dyn Fn(u64)) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(part.len());
    header.set_mode(0o644);
    header.set_mtime(0);
    let content = PartReader { part, offset: 0, progress };
    tar.append_data(&mut header, part.name(), content.take(part.len()))
}

struct PartReader<'a> {
    part: &'a Part,
    offset: u64,
    progress: &'a dyn Fn(u64),
}

impl io::Read for PartReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        use crate::ReadAt as _;
        let rest = self.part.len() - self.offset;
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        self.part.fill_at(&mut buf[..len], self.offset)?;
        self.offset += len as u64;
        (self.progress)(len as u64);
        Ok(len)
    }
}
