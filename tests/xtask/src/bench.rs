//! `cargo xtask bench`: what an install, the boot selector and deltas cost, beside peers, and what
//! the programs weigh.

use std::error::Error;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use fs_err as fs;
use seesaw_bench::{
    Binaries, Boots, Contest, DeltaPrograms, Figures, Fill, Pair, Part, TestDisk, Throttled,
    measure_deltas, name_machine, prepare, tables, with_figures,
};
use seesaw_harness::cargo::cargo;
use seesaw_harness::programs::{checkout, release_payload, release_programs, target_dir};
use seesaw_harness::{packages, selector};

/// Instructions hardly differ from round to round.
const BOOT_ROUNDS_MAX: usize = 3;
/// A slow disk takes the same time again.
const THROTTLED_ROUNDS_MAX: usize = 3;

/// Measure a full install over loopback HTTP beside `curl | zstd -d | dd`, RAUC and SWUpdate, the programs as they
/// are shipped, and the boot selector beside systemd-boot; if it is asked for, deltas beside zstd's
/// and HDiffPatch's. Needs root.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures to docs/benchmarks.json, beside those of other parts, and the tables into
    /// docs/benchmarks.md.
    #[arg(long)]
    update_docs: bool,
    /// Measure only this part; may be given again. Without it all are measured but `delta`, which
    /// takes hours the first time.
    #[arg(long, value_name = "PART", value_parser = parts())]
    only: Vec<Part>,
    /// Of deltas, measure only this pair; may be given again.
    #[arg(long, value_name = "PAIR", value_parser = pairs(), requires = "only")]
    pair: Vec<Pair>,
    /// Measure nothing: take the figures from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    from: Option<PathBuf>,
    /// How many counted rounds; of boots, which take minutes each round, and of installs from a
    /// delta at most 3.
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

fn pairs() -> impl clap::builder::TypedValueParser<Value = Pair> {
    let names = PossibleValuesParser::new(Pair::ALL.map(Pair::name));
    names.try_map(|name| Pair::named(&name).ok_or("no such pair"))
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
        let (document, kept) = (docs.join("benchmarks.md"), docs.join("benchmarks.json"));
        let figures = Figures::read(&kept)?.renewed_by(&figures)?;
        let text = with_figures(&fs::read_to_string(&document)?, &figures)?;
        figures.write(&kept)?;
        fs::write(document, text)?;
    }
    Ok(())
}

fn measure(args: &BenchArgs) -> Result<Figures, Box<dyn Error>> {
    let is_wanted = |part: &Part| match args.only.is_empty() {
        true => *part != Part::Delta,
        false => args.only.contains(part),
    };
    let mut needed = vec![packages::BENCH, packages::QEMU];
    needed.extend(is_wanted(&Part::Delta).then_some(packages::DELTAS));
    packages::ensure(&needed, |package| eprintln!("installing {package}"))?;
    let mut figures = Figures::default();
    name_machine(&mut figures);
    for part in Part::ALL {
        if is_wanted(&part) {
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
                Part::Delta => measure_delta(args, &mut figures)?,
            }
        }
    }
    Ok(figures)
}

fn measure_install(args: &BenchArgs, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let program = build_release()?;
    let cache = target_dir().join("bench");
    eprintln!("making a release of this machine's files in {}", cache.display());
    let size = u64::from(args.size.get()) << 20;
    let note = |text: &str| eprintln!("{text}");
    let contest = Contest { program: &program, cache: &cache, rounds: args.rounds.get() };
    for fill in [Fill::Dense, Fill::HalfEmpty] {
        let release = prepare(&cache, Path::new("/usr"), size, fill)?;
        let disk = TestDisk::create(&cache, &release.manifest)?;
        contest.run(&release, fill, &disk, &note)?.add_to(figures);
        if fill == Fill::Dense {
            let rounds = args.rounds.get().min(THROTTLED_ROUNDS_MAX);
            Throttled::measure(&program, &release, &disk, rounds, &note)?.add_to(figures);
        }
    }
    Ok(())
}

fn measure_delta(args: &BenchArgs, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let install = build_release()?;
    eprintln!("building payload");
    let programs = DeltaPrograms { payload: &release_payload()?, install: &install };
    let pairs = if args.pair.is_empty() { Pair::ALL.to_vec() } else { args.pair.clone() };
    let note = |text: &str| eprintln!("{text}");
    let cache = target_dir().join("bench");
    Ok(measure_deltas(&cache, programs, &pairs, args.rounds.get(), &note, figures)?)
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
