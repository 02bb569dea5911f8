use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Failure, OUTPUT_EXISTS_HINT, Output};
use crate::bundle::{Bundle as Release, PackError, pack, signed_metadata};
use crate::trust::Files;

const EXAMPLES: &str = "\
Examples:
  payload bundle release-2 --metadata repository/metadata --out release-2.bundle
  updatectl install release-2.bundle        (on the device)";

/// Make one file of a release, to be carried to a device by hand.
///
/// With --metadata it holds the signed metadata that a device asks for: a
/// device takes no other.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bundle {
    /// Release folder.
    release: PathBuf,
    /// Folder with the published metadata (N.root.json, N.targets.json and
    /// N.COMPATIBLE.json); by default what the release folder has in metadata/.
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
        let release = Release::open(&self.release)?;
        let metadata = self.metadata_of(&release)?;
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
            0 => writeln!(f, "  without metadata: no device will take it (see --metadata)"),
            _ => writeln!(f, "  metadata: {}", self.metadata.join(" ")),
        }
    }
}
