//! `payload simulate`.

mod load;
mod report;

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Output, refuse_absent};
use crate::ReadAt as _;
use crate::build::Encoding;
use crate::bundle::BundleError;
use crate::delta::{DeltaPlan, LEVEL_DEFAULT, MakeError, UnpackError, make};
use crate::durable_file::{self, Existing, OutputExists, Readers};
use crate::format::delta::{Head, HeadError, head_len};
use crate::format::{Compatible, Role, Salt};
use crate::simulate::{Bits, Offer, SimulateError, WayCosts, block_hashes};
use crate::tree::BuildError;
use crate::workers;

use load::{Loaded, LoadedImage};
use report::{ImageCosts, SimulateReport, Update};

const EXAMPLES: &str = "\
Examples:
  payload simulate release-1 release-2
  payload simulate old.ext4 new.ext4 --devices 1000 --rate 20 --svg costs.svg
  payload simulate release-1 release-2 release-3 --to-last --devices 900,100

Counted are payloads, trees, seek tables and heads of deltas; not manifests and signed
metadata, some kilobytes.";

/// Show what an update costs a fleet: what each way to fetch it takes.
///
/// Of releases in the order in which devices take them, or of single images. The ways are the full
/// payload; what of it the booted slot does not have; the delta; the cheapest of all these, segment by
/// segment, as a device fetches it when nothing of a cut install is there; and, to compare, a scheme
/// without deltas: a list of SHA-256 hashes of blocks of 4 KiB, and the blocks that the old image has
/// nowhere, compressed together, which is better than such schemes do.
///
/// Deltas that a release has are counted as they are, others are made and thrown away: some minutes for
/// a GiB. Releases are unpacked into the folder for temporary files (TMPDIR).
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Simulate {
    /// Release folder, bundle or image that devices have.
    old: PathBuf,
    /// Those that they go to from there, one after another.
    #[arg(required = true)]
    new: Vec<PathBuf>,
    /// From each older one straight to the last, instead of one after another.
    #[arg(long)]
    to_last: bool,
    /// Devices that take each update, or for each update its own number, separated by commas.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    devices: Vec<u64>,
    /// Megabits a second of a device's link: how long it fetches.
    #[arg(long, value_name = "MBIT")]
    rate: Option<Bits>,
    /// Megabits a second of the server's link: how long the whole fleet takes through it.
    #[arg(long, value_name = "MBIT", requires = "devices")]
    uplink: Option<Bits>,
    /// Draws the costs as a bar chart.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// zstd level of deltas, 1 to 22.
    #[arg(long, default_value_t = LEVEL_DEFAULT, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// zstd level of full payloads of single images, and of blocks, 1 to 22.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=22))]
    full_level: i32,
    /// Threads to work with; by default one for each core.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
}

#[derive(Debug, thiserror::Error)]
enum SimulateVerbError {
    #[error(
        "{image} is an image and {release} is a release: name releases only, or images only",
        image = image.display(), release = release.display()
    )]
    Mixed { image: PathBuf, release: PathBuf },
    #[error(
        "{} is for {new_compatible} and {} is for {old_compatible}",
        new.display(), old.display()
    )]
    Compatible {
        old: PathBuf,
        old_compatible: Compatible,
        new: PathBuf,
        new_compatible: Compatible,
    },
    #[error("{} and {} are the same: there is nothing to fetch", old.display(), new.display())]
    Same { old: PathBuf, new: PathBuf },
    #[error("--devices has {given} numbers for {updates} updates")]
    Devices { given: usize, updates: usize },
    #[error(transparent)]
    Release(#[from] BundleError),
    #[error("cannot unpack the payload of the {role} image")]
    Unpack { role: Role, source: UnpackError },
    #[error("cannot make the tree of {}", path.display())]
    Tree { path: PathBuf, source: BuildError },
    #[error("cannot make the delta")]
    Make(#[from] MakeError),
    #[error("cannot read the delta that was made")]
    Head(#[from] HeadError),
    #[error("cannot tell what {} costs", path.display())]
    Simulate { path: PathBuf, source: SimulateError },
    #[error(transparent)]
    Exists(#[from] OutputExists),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Simulate {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        for path in std::iter::once(&self.old).chain(&self.new) {
            refuse_absent(path)?;
        }
        let report = self.simulate(output).map_err(failure)?;
        if let Some(svg) = &self.svg {
            let picture = report.picture();
            durable_file::write(svg, picture.as_bytes(), Readers::Everyone, Existing::Refuse)?;
        }
        output.report(&report)
    }

    fn simulate(&self, output: &Output) -> Result<SimulateReport, SimulateVerbError> {
        if let Some(svg) = &self.svg {
            durable_file::refuse_existing(svg)?;
        }
        let devices = self.devices_of_updates()?;
        let open = |path: &Path| Loaded::open(path, self.threads(), output);
        let mut updates = Vec::new();
        match (self.to_last, self.new.split_last()) {
            (true, Some((last, between))) => {
                let last = open(last)?;
                let olds = std::iter::once(&self.old).chain(between);
                for (old, devices) in olds.zip(devices) {
                    updates.push(self.update(&open(old)?, &last, devices, output)?);
                }
            }
            _ => {
                let mut old = open(&self.old)?;
                for (new, devices) in self.new.iter().zip(devices) {
                    let new = open(new)?;
                    updates.push(self.update(&old, &new, devices, output)?);
                    old = new;
                }
            }
        }
        Ok(SimulateReport::new(updates, self.to_last, self.rate, self.uplink))
    }

    /// How many devices take each update, where that was given.
    fn devices_of_updates(&self) -> Result<Vec<Option<u64>>, SimulateVerbError> {
        let (given, updates) = (self.devices.len(), self.new.len());
        match *self.devices {
            [] => Ok(vec![None; updates]),
            [all] => Ok(vec![Some(all); updates]),
            _ if given == updates => Ok(self.devices.iter().copied().map(Some).collect()),
            _ => Err(SimulateVerbError::Devices { given, updates }),
        }
    }

    fn update(
        &self,
        old: &Loaded,
        new: &Loaded,
        devices: Option<u64>,
        output: &Output,
    ) -> Result<Update, SimulateVerbError> {
        refuse_strangers(old, new)?;
        let mut images = Vec::new();
        for image in &new.images {
            // Of releases both have each role.
            let Some(from) = old.counterpart(image) else { continue };
            let costs = self.image(from, image, new, output)?;
            images.push(ImageCosts { role: image.role, size: image.image.size, costs });
        }
        Ok(Update { from: old.name(), to: new.name(), devices, images })
    }

    fn image(
        &self,
        old: &LoadedImage,
        new: &LoadedImage,
        release: &Loaded,
        output: &Output,
    ) -> Result<WayCosts, SimulateVerbError> {
        let fault = |source| SimulateVerbError::Simulate { path: release.path.clone(), source };
        let (threads, size) = (self.threads(), new.image.size);
        let offer = match &release.release {
            Some((bundle, _)) => Offer::of_release(bundle, &new.image)?,
            None => {
                let salt = Salt::default();
                let encoding = Encoding { level: self.full_level, salt, threads };
                let bar = output.bytes_bar("full", size);
                let offer = Offer::of_image(new.sized(), &encoding, &|bytes| bar.inc(bytes));
                bar.finish_and_clear();
                offer.map_err(fault)?
            }
        };
        let delta = self.delta(old, new, release, output)?;
        let bar = output.bytes_bar("groups", size);
        let costs = offer.costs(old.sized(), delta.as_ref(), threads, &|bytes| bar.inc(bytes));
        bar.finish_and_clear();
        let costs = costs.map_err(fault)?;
        let bar = output.bytes_bar("blocks", old.image.size + 2 * size);
        let advance = |bytes| bar.inc(bytes);
        let hashed = block_hashes(old.sized(), new.sized(), self.full_level, threads, &advance);
        bar.finish_and_clear();
        Ok(WayCosts { costs, block_hashes: hashed.map_err(fault)? })
    }

    /// The head of the delta that devices would be offered, none between equal images.
    fn delta(
        &self,
        old: &LoadedImage,
        new: &LoadedImage,
        release: &Loaded,
        output: &Output,
    ) -> Result<Option<Head>, SimulateVerbError> {
        let (from, to) = (old.of_delta(), new.of_delta());
        if from.root == to.root {
            return Ok(None);
        }
        if let Some((bundle, _)) = &release.release
            && bundle.deltas(&to.root)?.contains(&from.root)
        {
            return Ok(Some(bundle.delta_head(&new.image, &from.root)?));
        }
        let plan = DeltaPlan { old: from, new: to, level: self.level, threads: self.threads() };
        let file = tempfile::tempfile()?;
        let bar = output.bytes_bar("delta", from.size + to.size);
        let images = (old.bytes.as_ref(), new.bytes.as_ref());
        let tally = make(&plan, images, &file, &|bytes| bar.inc(bytes));
        bar.finish_and_clear();
        let mut head = vec![0; head_len(to.size) as usize];
        let size = tally?.size;
        file.fill_at(&mut head, 0)?;
        Ok(Some(Head::parse(&head, size)?))
    }

    fn threads(&self) -> NonZero<usize> {
        self.threads.unwrap_or_else(workers::every_core)
    }
}

/// Refuses what no device goes from and to.
fn refuse_strangers(old: &Loaded, new: &Loaded) -> Result<(), SimulateVerbError> {
    match (&old.release, &new.release) {
        (None, Some(_)) => {
            let (image, release) = (old.path.clone(), new.path.clone());
            return Err(SimulateVerbError::Mixed { image, release });
        }
        (Some(_), None) => {
            let (image, release) = (new.path.clone(), old.path.clone());
            return Err(SimulateVerbError::Mixed { image, release });
        }
        (Some((_, old_compatible)), Some((_, new_compatible)))
            if old_compatible != new_compatible =>
        {
            return Err(SimulateVerbError::Compatible {
                old: old.path.clone(),
                old_compatible: old_compatible.clone(),
                new: new.path.clone(),
                new_compatible: new_compatible.clone(),
            });
        }
        _ => {}
    }
    let is_there = |image: &LoadedImage| {
        old.counterpart(image).is_some_and(|other| other.image.root == image.image.root)
    };
    match new.images.iter().all(is_there) {
        true => Err(SimulateVerbError::Same { old: old.path.clone(), new: new.path.clone() }),
        false => Ok(()),
    }
}

fn failure(error: SimulateVerbError) -> Failure {
    use SimulateVerbError::*;
    match error {
        Exists(_) => Failure::usage(error).hint("remove it, or name another with --svg"),
        Devices { .. } => Failure::usage(error).hint("give one for all, or one for each"),
        Mixed { .. } | Compatible { .. } | Same { .. } => Failure::usage(error),
        Io(error) => error.into(),
        Unpack { ref source, .. } if !source.is_of_release() => error.into(),
        Release(_) | Unpack { .. } | Tree { .. } | Head(_) => Failure::refused(error),
        Make(_) | Simulate { .. } => error.into(),
    }
}
