//! `cargo xtask man`: man pages and shell completions.

use std::error::Error;
use std::path::PathBuf;

use seesaw_packaging::{man, program_commands};

/// Write man pages and shell completions of the four programs.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder to write to, laid out like /usr/share.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the subcommand.
pub fn run(args: &ManArgs) -> Result<(), Box<dyn Error>> {
    for command in program_commands() {
        man::write(command, &args.out)?;
    }
    println!("{}", args.out.display());
    Ok(())
}
