//! `cargo xtask image`: an OS image of the demo, to try the programs with.

use std::error::Error;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use fs_err as fs;
use seesaw_e2e::demo::{self, DemoRelease};

/// Build a release of the demo's operating system: kernel.efi and root.img. Needs root.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// Which: 1, 2 (a security update of it), 3 (its service is sick), 4 (its kernel panics).
    #[arg(value_parser = PossibleValuesParser::new(["1", "2", "3", "4"]).map(release))]
    release: DemoRelease,
    /// The first root of trust that it carries: 1.root.json, as `payload init` makes it.
    #[arg(long, value_name = "FILE")]
    first_root: PathBuf,
    /// Folder for the two files; made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn release(number: String) -> DemoRelease {
    match number.as_str() {
        "2" => DemoRelease::Two,
        "3" => DemoRelease::BrokenService,
        "4" => DemoRelease::Panics,
        _ => DemoRelease::One,
    }
}

/// Runs the subcommand.
pub fn run(args: &ImageArgs) -> Result<(), Box<dyn Error>> {
    let image = demo::image(args.release, &args.first_root, |what| eprintln!("{what}"))?;
    fs::create_dir_all(&args.out)?;
    for file in [&image.kernel, &image.root] {
        let to = args.out.join(file.file_name().unwrap_or_default());
        fs::copy(file, &to)?;
        println!("{}", to.display());
    }
    Ok(())
}
