use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::verify::{VerifyError, check_listed};
use super::{Failure, OUTPUT_EXISTS_HINT, Output, refuse_no_release};
use crate::bundle::{Bundle as Release, PackError, pack, signed_metadata};
use crate::trust::Files;

const EXAMPLES: &str = "\
Examples:
  payload bundle release-2 --out release-2.bundle
  payload bundle release-2 --metadata metadata --out release-2.bundle   (renewed since)
  updatectl install release-2.bundle        (on the device)";

const NOT_LISTED_HINT: &str = "sign the release with `payload sign`, or publish it, and bundle it with \
                               the metadata that this leaves";

/// Make one file of a release, to be carried to a device by hand.
///
/// A device takes it by the metadata in it, without a timestamp: sign or publish
/// the release first. Metadata that does not list the release is refused here too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bundle {
    /// Release folder.
    release: PathBuf,
    /// Folder with published metadata (N.root.json, N.targets.json and
    /// N.COMPATIBLE.json), as metadata/ of a publisher's folder; by default what
    /// `payload sign` or `payload publish` left in the release folder.
    #[arg(long, value_name = "FOLDER")]
    metadata: Option<PathBuf>,
    /// File to make.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Serialize)]
struct BundleReport {
    bundle: PathBuf,
    size: u64,
    metadata: Vec<String>,
}

impl Bundle {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        refuse_no_release(&self.release)?;
        let release = Release::open(&self.release)?;
        let metadata = self.metadata_of(&release)?;
        if !metadata.is_empty() {
            let refused = |error| Failure::refused(error).hint(NOT_LISTED_HINT);
            check_metadata(&release, &metadata).map_err(refused)?;
        }
        let bar = output.bytes_bar("bundling", release.images_len()?);
        pack(&release, &metadata, &self.out, &|bytes| bar.inc(bytes)).map_err(failure)?;
        bar.finish_and_clear();
        let size = fs_err::metadata(&self.out)?.len();
        let metadata: Vec<_> = metadata.into_keys().collect();
        output.report(&BundleReport { bundle: self.out, size, metadata })
    }

    fn metadata_of(&self, release: &Release) -> Result<Files, PackError> {
        let Some(folder) = &self.metadata else { return Ok(release.metadata()?) };
        let compatible = release.manifest()?.compatible;
        let mut files = Files::new();
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && name.ends_with(".json")
            {
                files.insert(name, fs_err::read(entry.path())?);
            }
        }
        signed_metadata(&files, &compatible)
    }
}

/// A device would refuse the bundle only once it was carried there.
fn check_metadata(release: &Release, metadata: &Files) -> Result<(), VerifyError> {
    let roots = metadata.iter().filter_map(|(name, bytes)| {
        Some((name.strip_suffix(".root.json")?.parse::<u64>().ok()?, bytes))
    });
    let oldest = roots.min_by_key(|(version, _)| *version);
    let first_root = oldest.map_or(&[][..], |(_, bytes)| bytes.as_slice());
    let read = |name: &str, _| Ok(metadata.get(name).cloned());
    check_listed(&release.manifest()?, &release.manifest_bytes()?, first_root, read)
}

fn failure(error: PackError) -> Failure {
    match error {
        PackError::Exists(_) => Failure::usage(error).hint(OUTPUT_EXISTS_HINT),
        other => other.into(),
    }
}

impl fmt::Display for BundleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "wrote {}, {} bytes", self.bundle.display(), self.size)?;
        match self.metadata.len() {
            0 => writeln!(f, "  without metadata: no device will take it (see `payload sign`)"),
            _ => writeln!(f, "  metadata: {}", self.metadata.join(" ")),
        }
    }
}
