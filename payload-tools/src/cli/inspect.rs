use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Failure, Output};
use crate::format::{Compatible, Image, Manifest, Release};

/// Show what a manifest says.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A manifest.
    path: PathBuf,
}

#[derive(Debug, Serialize)]
struct ManifestReport {
    compatible: Compatible,
    release: Release,
    counter: u64,
    built: jiff::Timestamp,
    images: Vec<Image>,
}

impl Inspect {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        let bytes = fs_err::read(&self.path)?;
        let manifest = Manifest::parse(&bytes).map_err(Failure::refused)?;
        let Manifest { compatible, release, counter, built, images } = manifest;
        output.report(&ManifestReport { compatible, release, counter, built, images })
    }
}

impl fmt::Display for ManifestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compatible, release, counter, built, images } = self;
        writeln!(f, "release {release} for {compatible}, counter {counter}, built {built}")?;
        for Image { role, size, root, .. } in images {
            writeln!(f, "  {role:<6} {size:>12} bytes  root {root}")?;
        }
        Ok(())
    }
}
