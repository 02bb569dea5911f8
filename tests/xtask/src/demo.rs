//! `cargo xtask demo`: the main job, from keys to fallback.

use std::error::Error;

use seesaw_e2e::{demo, quick};

/// Show the main job on real OS images in QEMU, Secure Boot on.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Only the chain, on small image files, in seconds, without root and QEMU; it proves nothing
    /// about booting.
    #[arg(long)]
    quick: bool,
}

/// Runs the subcommand.
pub fn run(args: &DemoArgs) -> Result<(), Box<dyn Error>> {
    if args.quick {
        quick::run()?;
    } else {
        demo::run()?;
    }
    Ok(())
}
