//! One full install into slot B of a disk, as the agent does it, so that it can
//! be measured in a process of its own.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent::install::{
    DeltaOffer, Extent, HttpSource, ImageIndex, ImagePlan, Patience, Prepared, Report, StagePlan,
    TargetContent, prepare, stage,
};
use clap::Parser;
use partition_layout::{
    Access, DiskFile, Layout, Nibble, Partition, SlotLetter, SlotTable, commit,
};
use payload_tools::confined;
use payload_tools::format::Manifest;

/// Installs a release into slot B.
#[derive(Parser)]
struct Args {
    /// Where `/v1/images` is.
    #[arg(long)]
    url: reqwest::Url,
    /// The manifest file.
    #[arg(long)]
    manifest: PathBuf,
    /// A disk in the standard layout.
    #[arg(long)]
    disk: PathBuf,
    /// The manifest file of what slot A holds, to make use of that and of deltas from it.
    #[arg(long)]
    booted: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    confined::enter_if_asked();
    let args = Args::parse();
    let manifest = Manifest::parse(&fs_err::read(&args.manifest)?)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another TLS provider is installed")?;
    let source =
        HttpSource::new(args.url.clone(), reqwest::Client::builder(), Patience::default())?;
    let deltas = deltas(&args, &manifest)?;
    let plan = plan(&args, prepare(&manifest.images, &deltas, &source)?)?;
    let ends = Mutex::new([Duration::ZERO; 3]);
    let watch = |report: &Report| {
        let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends[report.phase as usize] = report.elapsed;
        ControlFlow::Continue(())
    };
    let staged = stage(&plan, &source, &watch)?;
    let [_, writing, reading_back] = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (writing, reading_back) = (writing.as_secs_f64(), reading_back.as_secs_f64());
    let fetched = staged.download().fetched;
    println!("fetched {fetched} bytes; writing {writing:.2} s, reading back {reading_back:.2} s");
    Ok(())
}

/// From each image of slot A to the one that is to come.
fn deltas(args: &Args, to: &Manifest) -> Result<Vec<DeltaOffer>, Box<dyn Error>> {
    let Some(booted) = &args.booted else { return Ok(Vec::new()) };
    let booted = Manifest::parse(&fs_err::read(booted)?)?;
    let offers = booted.images.iter().filter_map(|old| {
        let new = to.image(old.role)?;
        Some(DeltaOffer { from: old.root, from_size: old.size, to: new.root })
    });
    Ok(offers.collect())
}

fn plan(args: &Args, release: Prepared) -> Result<StagePlan, Box<dyn Error>> {
    let disk = DiskFile::open(&args.disk, Access::ReadWrite)?;
    let table = SlotTable::read(&disk, &Layout::standard())?;
    let (booted, slot) = (table.slot(SlotLetter::A), table.slot(SlotLetter::B));
    let nothing = slot.attributes.with_boot(Nibble::ZERO, Nibble::ZERO, false);
    let unbootable = commit(&disk, &[(slot.kernel.number, nothing)])?;
    let extent = |partition: &Partition| Extent {
        path: args.disk.clone(),
        offset: partition.offset,
        size: partition.size,
    };
    let image_plan = |index: ImageIndex, target: &Partition, booted: &Partition| ImagePlan {
        index,
        target: extent(target),
        booted: args.booted.is_some().then(|| extent(booted)),
    };
    Ok(StagePlan {
        slot: slot.letter,
        kernel: image_plan(release.kernel, &slot.kernel, &booted.kernel),
        root: image_plan(release.root, &slot.root, &booted.root),
        content: TargetContent::Other,
        unbootable,
        claims: Vec::new(),
    })
}
