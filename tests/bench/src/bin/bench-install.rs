//! One full install into slot B of a disk, as the agent does it, so that it can
//! be measured in a process of its own.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent::install::{
    Extent, HttpSource, ImageIndex, ImagePlan, Patience, Prepared, Report, StagePlan,
    TargetContent, confined, prepare, stage,
};
use clap::Parser;
use partition_layout::{
    Access, DiskFile, Layout, Nibble, Partition, SlotLetter, SlotTable, commit,
};
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
    let plan = plan(&args, prepare(&manifest.images, &[], &source)?)?;
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

fn plan(args: &Args, release: Prepared) -> Result<StagePlan, Box<dyn Error>> {
    let disk = DiskFile::open(&args.disk, Access::ReadWrite)?;
    let table = SlotTable::read(&disk, &Layout::standard())?;
    let slot = table.slot(SlotLetter::B);
    let nothing = slot.attributes.with_boot(Nibble::ZERO, Nibble::ZERO, false);
    let unbootable = commit(&disk, &[(slot.kernel.number, nothing)])?;
    let image_plan = |index: ImageIndex, partition: &Partition| {
        let (offset, size) = (partition.offset, partition.size);
        let target = Extent { path: args.disk.clone(), offset, size };
        ImagePlan { index, target, booted: None }
    };
    Ok(StagePlan {
        slot: slot.letter,
        kernel: image_plan(release.kernel, &slot.kernel),
        root: image_plan(release.root, &slot.root),
        content: TargetContent::Other,
        unbootable,
        claims: Vec::new(),
    })
}
