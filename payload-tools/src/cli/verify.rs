use std::fmt;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Failure, Output, refuse_absent, refuse_no_release};
use crate::build::{KernelError, Warning, check_kernel_of};
use crate::bundle::{Bundle, BundleError};
use crate::format::{Compatible, Image, Manifest, Release, Role};
use crate::trust::{Files, Limits, TargetError, TrustError, UnixTime, verify_bundle};
use crate::verify::{Accept, ExpandError, expand};
use crate::workers;

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
    #[error("the payload of the {role} image is refused")]
    Payload { role: Role, source: ExpandError },
    #[error("the kernel image is refused")]
    Kernel(#[source] KernelError),
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
        let mut warnings = Vec::new();
        for image in &manifest.images {
            match image.role {
                Role::Kernel => warnings = check_kernel_payload(&bundle, &manifest, image, &bar)?,
                Role::Root => check_payload(&bundle, image, &|group| {
                    bar.inc(group.bytes().len() as u64);
                    Ok(())
                })?,
            }
        }
        bar.finish_and_clear();
        let delta_heads = check_delta_heads(&bundle, &manifest)?;
        let Manifest { compatible, release, counter, images, .. } = manifest;
        Ok(VerifyReport { release, compatible, counter, images, signed, delta_heads, warnings })
    }
}

/// How many deltas there are, if each has a good head.
fn check_delta_heads(bundle: &Bundle, manifest: &Manifest) -> Result<u64, BundleError> {
    let mut checked = 0;
    for image in &manifest.images {
        for from in bundle.deltas(&image.root)? {
            bundle.delta_head(image, &from)?;
            checked += 1;
        }
    }
    Ok(checked)
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

fn check_payload(bundle: &Bundle, image: &Image, accept: &Accept<'_>) -> Result<(), VerifyError> {
    let full = bundle.image_full(&image.root)?;
    let table = bundle.seek_table(image, &full)?;
    let levels = bundle.levels(image)?;
    expand(&full, &table, &levels, workers::every_core(), accept)
        .map(|_complete| ())
        .map_err(|source| VerifyError::Payload { role: image.role, source })
}

/// The kernel image is also expanded, to look into it: a device could not boot
/// one without a command line, or would not know which release it has.
fn check_kernel_payload(
    bundle: &Bundle,
    manifest: &Manifest,
    image: &Image,
    bar: &ProgressBar,
) -> Result<Vec<Warning>, VerifyError> {
    let file = tempfile::tempfile()?;
    check_payload(bundle, image, &|group| {
        bar.inc(group.bytes().len() as u64);
        file.write_all_at(group.bytes(), group.offset())
    })?;
    let (_, warnings) =
        check_kernel_of(&file, image.size, manifest).map_err(VerifyError::Kernel)?;
    Ok(warnings)
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
