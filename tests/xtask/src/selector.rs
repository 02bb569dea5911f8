//! `cargo xtask selector`: builds the boot selector.

use std::error::Error;
use std::path::PathBuf;

use fs_err as fs;
use seesaw_harness::secure_boot;
use seesaw_harness::selector::{self, build_selector};

/// Build the boot selector and print where it is.
#[derive(Debug, clap::Args)]
pub struct SelectorArgs {
    /// Copy it to this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign it with the test key of Debian's ovmf package, which everyone has: never for a
    /// machine whose firmware should mean anything by it.
    #[arg(long, requires = "output")]
    sign_for_tests: bool,
}

/// Runs the subcommand.
pub fn run(args: &SelectorArgs) -> Result<(), Box<dyn Error>> {
    selector::prepare(|package| eprintln!("installing {package}"))?;
    let built = build_selector()?;
    let Some(output) = &args.output else {
        println!("{}", built.display());
        return Ok(());
    };
    if args.sign_for_tests {
        secure_boot::sign(&built, output)?;
    } else {
        fs::copy(&built, output)?;
    }
    println!("{}", output.display());
    Ok(())
}
