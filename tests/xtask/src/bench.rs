//! `cargo xtask bench`: what an install costs, beside a peer, and what the programs weigh.

use std::error::Error;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use seesaw_bench::{Binaries, TestDisk, compare, prepare};
use seesaw_harness::cargo::cargo;
use seesaw_harness::programs::{release_programs, target_dir};

/// Measure a full install over loopback HTTP beside `curl | zstd -d | dd`, and the programs as
/// they are shipped. Needs root.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many counted rounds.
    #[arg(long, default_value = "5")]
    rounds: NonZero<usize>,
    /// Size of the root image in MiB.
    #[arg(long, value_name = "MIB", default_value = "1024")]
    size: NonZero<u32>,
}

/// Runs the subcommand.
pub fn run(args: &BenchArgs) -> Result<(), Box<dyn Error>> {
    let program = build_release()?;
    let cache = target_dir().join("bench");
    eprintln!("making a release of this machine's files in {}", cache.display());
    let release = prepare(&cache, Path::new("/usr"), u64::from(args.size.get()) << 20)?;
    let disk = TestDisk::create(&cache, &release.manifest)?;
    eprintln!("building the programs");
    let binaries = Binaries::measure(&release_programs()?)?;
    let note = |text: &str| eprintln!("{text}");
    let comparison = compare(&program, &release, &disk, args.rounds.get(), &note)?;
    print!("{comparison}\n{binaries}");
    if let Some(path) = &args.json {
        let mut keys = comparison.to_json();
        binaries.add_to(&mut keys);
        fs_err::write(path, format!("{keys:#}\n"))?;
    }
    Ok(())
}

/// Figures are of the build that is shipped.
fn build_release() -> Result<PathBuf, Box<dyn Error>> {
    eprintln!("building bench-install");
    let status = cargo()
        .args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "seesaw-bench",
            "--bin",
            "bench-install",
        ])
        .status()?;
    match status.success() {
        true => Ok(target_dir().join("release/bench-install")),
        false => Err("cargo build of bench-install failed".into()),
    }
}
