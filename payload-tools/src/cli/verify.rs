use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Failure, Output, refuse_absent, refuse_no_release};
use crate::build::Warning;
use crate::bundle::{Bundle, BundleError};
use crate::format::{Compatible, Image, Manifest, Release};
use crate::trust::{Files, Limits, TargetError, TrustError, UnixTime, verify_bundle};
use crate::verify::{DamagedRelease, Decoding, Whole, check_release};

const EXAMPLES: &str = "\
Examples:
  payload verify release-2
  payload verify release-2.bundle --first-root 1.root.json

Exit code 3: something is not what it claims to be.";

/// Check that a release is whole: each byte of each full payload against its tree.
///
/// Of a delta only the head is checked: that it is one from an image to one of
/// these. What it makes, a device checks, and takes the full payload where that fails.
///
/// With --first-root also what a device would believe of a bundle: signatures
/// from that root on, and dates.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// Release folder or bundle.
    path: PathBuf,
    /// First root of trust, to check the signatures of a bundle's metadata.
    #[arg(long, value_name = "1.root.json")]
    first_root: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct VerifyReport {
    release: Release,
    compatible: Compatible,
    counter: u64,
    images: Vec<Image>,
    signed: Signed,
    /// Deltas of which the head was checked, and nothing else.
    delta_heads: u64,
    warnings: Vec<Warning>,
}

/// Whether signatures were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Signed {
    /// They were, and are good.
    Verified,
    /// No first root was given.
    NotChecked,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    #[error(transparent)]
    Release(#[from] BundleError),
    #[error(transparent)]
    Damaged(#[from] DamagedRelease),
    #[error("the metadata is refused")]
    Trust(#[from] TrustError),
    #[error(
        "the metadata does not list release {0}: it is another's, or the release was withdrawn"
    )]
    NotListed(Release),
    #[error(transparent)]
    Manifest(#[from] TargetError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Verify {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        refuse_no_release(&self.path)?;
        if let Some(first_root) = &self.first_root {
            refuse_absent(first_root)?;
        }
        let report = self.check(output).map_err(|error| match error {
            VerifyError::Io(error) => error.into(),
            VerifyError::Damaged(error) => damaged(error),
            other => Failure::refused(other),
        })?;
        for warning in &report.warnings {
            eprintln!("warning: {warning}");
        }
        output.report(&report)
    }

    fn check(&self, output: &Output) -> Result<VerifyReport, VerifyError> {
        let bundle = Bundle::open(&self.path)?;
        let manifest = bundle.manifest()?;
        let signed = match &self.first_root {
            Some(first_root) => {
                check_signatures(&bundle, &manifest, &fs_err::read(first_root)?)?;
                Signed::Verified
            }
            None => Signed::NotChecked,
        };
        let total = manifest.images.iter().map(|image| image.size).sum();
        let bar = output.bytes_bar("checking", total);
        let Whole { delta_heads, warnings } =
            check_release(&bundle, &manifest, Decoding::Confined, &|bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        let Manifest { compatible, release, counter, images, .. } = manifest;
        Ok(VerifyReport { release, compatible, counter, images, signed, delta_heads, warnings })
    }
}

/// What is not what it claims to be, with the next move.
pub(super) fn damaged(error: DamagedRelease) -> Failure {
    let next = error.next_move();
    match (error, next) {
        (DamagedRelease::Io(error), _) => error.into(),
        (error @ DamagedRelease::NotChecked(_), _) => error.into(),
        (error, Some(next)) => Failure::refused(error).hint(next),
        (error, None) => Failure::refused(error),
    }
}

fn check_signatures(
    bundle: &Bundle,
    manifest: &Manifest,
    first_root: &[u8],
) -> Result<(), VerifyError> {
    let read = |name: &str, max| Ok(bundle.metadata_file(name, max)?);
    check_listed(manifest, &bundle.manifest_bytes()?, first_root, read)
}

/// Whether metadata that `read` gives, followed from `first_root` on, lists a manifest. A device asks
/// the same of a bundle.
pub(super) fn check_listed(
    manifest: &Manifest,
    manifest_bytes: &[u8],
    first_root: &[u8],
    read: impl FnMut(&str, u64) -> Result<Option<Vec<u8>>, VerifyError>,
) -> Result<(), VerifyError> {
    let (now, limits) = (UnixTime::of_system_clock(), Limits::default());
    let compatible = &manifest.compatible;
    let trusted = verify_bundle(first_root, &Files::new(), read, compatible, now, limits)?;
    let release = trusted.release(manifest.release.as_str());
    let release = release.ok_or_else(|| VerifyError::NotListed(manifest.release.clone()))?;
    release.open(manifest_bytes)?;
    Ok(())
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, compatible, counter, images, signed, delta_heads, .. } = self;
        writeln!(f, "release {release} for {compatible}, counter {counter}, is whole")?;
        for Image { role, size, root, .. } in images {
            writeln!(f, "  {role:<6} {size:>12} bytes  tree root {root}")?;
        }
        if *delta_heads > 0 {
            writeln!(f, "  deltas: {delta_heads}, of which only the heads were checked")?;
        }
        match signed {
            Signed::Verified => writeln!(f, "  signed by the holders of the first root's keys"),
            Signed::NotChecked => writeln!(f, "  signatures were not checked (see --first-root)"),
        }
    }
}
