use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, OUTPUT_EXISTS_HINT, Output, refuse_absent};
use crate::build::{
    BuildError, BuildPlan, Built, BuiltImage, Encoding, KernelError, build, default_salt,
};
use crate::format::{Channel, Compatible, DowngradeRange, Image, Release, ReleaseFacts, Salt};
use crate::workers;

const EXAMPLES: &str = "\
Examples:
  payload build --compatible demo-x86_64 --release 2 --counter 2 \\
      --kernel os.efi --root root.ext4 --out release-2
  payload build --compatible demo-x86_64 --release 2 --counter 2 \\
      --kernel os.efi --root root.ext4 --out release-2 --channel beta --channel stable --floor

The same images and options give the same bytes.";

/// Build a release folder from a kernel image and a root file system.
///
/// The kernel image (UKI) must have a .cmdline section, without which it would
/// boot with anyone's command line, and an .osrel section with IMAGE_VERSION,
/// SEESAW_COMPATIBLE and SEESAW_COUNTER as given here, and SEESAW_BUILT.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Build {
    /// Board and architecture that the release is for.
    #[arg(long)]
    compatible: Compatible,
    /// Name of the release.
    #[arg(long)]
    release: Release,
    /// Number of the release: higher is newer, and nothing else is.
    #[arg(long)]
    counter: u64,
    /// Unified kernel image.
    #[arg(long, value_name = "UKI")]
    kernel: PathBuf,
    /// Root file system image.
    #[arg(long, value_name = "IMAGE")]
    root: PathBuf,
    /// Folder to make.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Channel that may offer the release; can be given several times.
    #[arg(long = "channel", value_name = "CHANNEL", default_value = "stable")]
    channels: Vec<Channel>,
    /// Lowest counter from which a device may go to the release directly.
    #[arg(long, value_name = "COUNTER", default_value_t = 0)]
    min_from: u64,
    /// A device on its way up may not skip the release, if it follows one of the release's channels.
    #[arg(long)]
    floor: bool,
    /// Lowest and highest counter that may go back to the release.
    #[arg(long, num_args = 2, value_names = ["LO", "HI"], requires = "downgrade_expires")]
    downgrade_from: Option<Vec<u64>>,
    /// End of that permission, as in 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", requires = "downgrade_from", value_parser = parse_time)]
    downgrade_expires: Option<Timestamp>,
    /// zstd level, 1 to 22: 19 takes some 20 times as long as 9 for a tenth less.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Salt of the trees in hex; by default derived from the compatible.
    #[arg(long)]
    salt: Option<Salt>,
    /// Threads to compress with; by default one for each core.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
}

#[derive(Debug, Serialize)]
struct BuildReport(Built);

impl Build {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        refuse_absent(&self.kernel)?;
        refuse_absent(&self.root)?;
        let sizes = [&self.kernel, &self.root].map(|path| fs_err::metadata(path).map(|m| m.len()));
        let [kernel, root] = sizes;
        let bar = output.bytes_bar("building", kernel?.saturating_add(root?));
        let out = self.out.clone();
        let built = build(&self.plan(), &out, &|bytes| bar.inc(bytes)).map_err(failure)?;
        bar.finish_and_clear();
        for warning in &built.warnings {
            eprintln!("warning: {warning}");
        }
        output.report(&BuildReport(built))
    }

    fn plan(self) -> BuildPlan {
        let downgrade = self.downgrade_from.zip(self.downgrade_expires);
        let downgrade_from = downgrade.and_then(|(range, expires)| match range[..] {
            [lo, hi] => Some(DowngradeRange { lo, hi, expires }),
            _ => None,
        });
        let encoding = Encoding {
            level: self.level,
            salt: self.salt.unwrap_or_else(|| default_salt(&self.compatible)),
            threads: self.threads.unwrap_or_else(workers::every_core),
        };
        BuildPlan {
            facts: ReleaseFacts {
                release: self.release,
                counter: self.counter,
                compatible: self.compatible,
                min_from: self.min_from,
                channels: self.channels,
                floor: self.floor,
                downgrade_from,
            },
            kernel: self.kernel,
            root: self.root,
            encoding,
        }
    }
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "give a time as in 2027-01-01T00:00:00Z".to_owned())
}

fn failure(error: BuildError) -> Failure {
    let hint = match &error {
        BuildError::Kernel { source: KernelError::Differs { .. }, .. } => {
            "build the kernel image for this release, or name the release that it has"
        }
        BuildError::Kernel {
            source: KernelError::Cmdline(_) | KernelError::CmdlineEmpty, ..
        } => "add a .cmdline section to the kernel image (objcopy, ukify)",
        BuildError::Kernel { .. } => {
            "its .osrel needs IMAGE_VERSION, SEESAW_COMPATIBLE, SEESAW_COUNTER and SEESAW_BUILT"
        }
        BuildError::Exists(_) => OUTPUT_EXISTS_HINT,
        _ => return error.into(),
    };
    let usage = matches!(error, BuildError::Exists(_));
    let failure = if usage { Failure::usage(error) } else { Failure::refused(error) };
    failure.hint(hint)
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Built { folder, manifest_sha256, images, .. } = &self.0;
        writeln!(f, "built {}", folder.display())?;
        for BuiltImage { image: Image { role, size, root, .. }, full_size, .. } in images {
            let percent = *full_size as f64 * 100.0 / *size as f64;
            writeln!(f, "  {role:<6} {size:>12} bytes, payload {full_size} ({percent:.1} %)")?;
            writeln!(f, "         tree root {root}")?;
        }
        writeln!(f, "  manifest sha256 {manifest_sha256}")
    }
}
