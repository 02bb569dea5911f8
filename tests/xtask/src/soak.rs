//! `cargo xtask soak`: what has to hold for ever, for minutes.

use std::error::Error;

use seesaw_e2e::soak::Soak;

/// Have three servers sign on one store while they are killed and stopped, a publisher publishes and a
/// device checks.
///
/// No timestamp may come twice with different contents, name a snapshot that is not there, or expire
/// before the next one comes.
#[derive(Debug, clap::Args)]
pub struct SoakArgs {
    /// How often the timestamp is signed again.
    #[arg(long, default_value_t = 10_000)]
    signs: u64,
    /// Chooses when what is killed or stopped.
    #[arg(long, default_value_t = 20_261_127)]
    seed: u64,
}

/// Runs the subcommand.
pub fn run(args: &SoakArgs) -> Result<(), Box<dyn Error>> {
    let &SoakArgs { signs, seed } = args;
    println!("{}", Soak { signs, seed }.run()?);
    Ok(())
}
