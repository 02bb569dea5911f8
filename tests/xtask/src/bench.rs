//! `cargo xtask bench`: what an install and the boot selector cost, beside peers, and what the
//! programs weigh.

use std::error::Error;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use fs_err as fs;
use seesaw_bench::{
    Binaries, Boots, Figures, Part, TestDisk, compare, name_machine, prepare, tables, with_figures,
};
use seesaw_harness::cargo::cargo;
use seesaw_harness::programs::{checkout, release_programs, target_dir};
use seesaw_harness::{packages, selector};

/// Instructions hardly differ from round to round.
const BOOT_ROUNDS_MAX: usize = 3;

/// Measure a full install over loopback HTTP beside `curl | zstd -d | dd`, the programs as they
/// are shipped, and the boot selector beside systemd-boot. Needs root.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures to docs/benchmarks.json and their tables into docs/benchmarks.md.
    #[arg(long, conflicts_with = "only")]
    update_docs: bool,
    /// Measure only this part; may be given again.
    #[arg(long, value_name = "PART", value_parser = parts())]
    only: Vec<Part>,
    /// Measure nothing: take the figures from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    from: Option<PathBuf>,
    /// How many counted rounds; of boots, which take minutes each round, at most 3.
    #[arg(long, default_value = "5")]
    rounds: NonZero<usize>,
    /// Size of the root image in MiB.
    #[arg(long, value_name = "MIB", default_value = "1024")]
    size: NonZero<u32>,
}

fn parts() -> impl clap::builder::TypedValueParser<Value = Part> {
    let names = PossibleValuesParser::new(Part::ALL.map(Part::name));
    names.try_map(|name| Part::named(&name).ok_or("no such part"))
}

/// Runs the subcommand.
pub fn run(args: &BenchArgs) -> Result<(), Box<dyn Error>> {
    let figures = match &args.from {
        Some(file) => Figures::read(file)?,
        None => measure(args)?,
    };
    print!("{}", tables(&figures)?);
    if let Some(file) = &args.json {
        figures.write(file)?;
    }
    if args.update_docs {
        let docs = checkout().join("docs");
        let document = docs.join("benchmarks.md");
        let text = with_figures(&fs::read_to_string(&document)?, &figures)?;
        figures.write(&docs.join("benchmarks.json"))?;
        fs::write(document, text)?;
    }
    Ok(())
}

fn measure(args: &BenchArgs) -> Result<Figures, Box<dyn Error>> {
    let needed = [packages::BENCH, packages::QEMU];
    packages::ensure(&needed, |package| eprintln!("installing {package}"))?;
    let mut figures = Figures::default();
    name_machine(&mut figures);
    for part in Part::ALL {
        if args.only.is_empty() || args.only.contains(&part) {
            match part {
                Part::Install => measure_install(args, &mut figures)?,
                Part::Boot => {
                    selector::prepare(|package| eprintln!("installing {package}"))?;
                    let note = |text: &str| eprintln!("{text}");
                    Boots::measure(args.rounds.get().min(BOOT_ROUNDS_MAX), &note)?
                        .add_to(&mut figures);
                }
                Part::Programs => {
                    eprintln!("building the programs");
                    Binaries::measure(&release_programs()?)?.add_to(&mut figures);
                }
            }
        }
    }
    Ok(figures)
}

fn measure_install(args: &BenchArgs, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let program = build_release()?;
    let cache = target_dir().join("bench");
    eprintln!("making a release of this machine's files in {}", cache.display());
    let release = prepare(&cache, Path::new("/usr"), u64::from(args.size.get()) << 20)?;
    let disk = TestDisk::create(&cache, &release.manifest)?;
    let note = |text: &str| eprintln!("{text}");
    compare(&program, &release, &disk, args.rounds.get(), &note)?.add_to(figures);
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
