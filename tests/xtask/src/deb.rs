//! `cargo xtask deb`: the Debian packages.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;
use seesaw_harness::packages;
use seesaw_harness::programs::{checkout, release_programs, target_dir};

/// Make the Debian packages seesaw-agent, seesaw-server and seesaw-tools.
///
/// Everything in them has the time SOURCE_DATE_EPOCH, without it that of the last commit: the same
/// programs give the same packages.
#[derive(Debug, clap::Args)]
pub struct DebArgs {
    /// Folder to write them to [default: target/deb]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(args: &DebArgs) -> Result<(), Box<dyn Error>> {
    packages::ensure(&[packages::DEB], |package| eprintln!("installing {package}"))?;
    let epoch = epoch()?;
    eprintln!("building the programs");
    let programs = release_programs()?;
    let out = args.out.clone().unwrap_or_else(|| target_dir().join("deb"));
    fs::create_dir_all(&out)?;
    for package in seesaw_packaging::all(&programs)? {
        println!("{}", package.build(epoch, &out)?.display());
    }
    Ok(())
}

/// In seconds.
fn epoch() -> Result<u64, Box<dyn Error>> {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok();
    let text = match set {
        Some(text) => text,
        None => last_commit().ok_or("no time for the packages: set SOURCE_DATE_EPOCH")?,
    };
    let number = text.trim().parse();
    number.map_err(|_| format!("SOURCE_DATE_EPOCH is not a number of seconds: {text}").into())
}

fn last_commit() -> Option<String> {
    let mut git = Command::new("git");
    let output = git.args(["log", "-1", "--format=%ct"]).current_dir(checkout()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
