use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::token::Local;
use super::{CliError, Output, print_json};
use crate::backup::{BackedUp, back_up};

/// Copies a server, which may run meanwhile, into a new folder that can be served in its place.
///
/// The copy is whole or not there, its store is checked for damage, and it holds the
/// timestamp key: keep it as safely as the server. To restore it, stop the server, put the copy in the
/// place of its folder, and serve that.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// Folder to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    local: Local,
}

impl BackupArguments {
    /// Who reads standard output.
    pub fn output(&self) -> Output {
        self.local.output()
    }
}

#[derive(Serialize)]
struct Made<'a> {
    backup: &'a Path,
    files: u64,
    bytes: u64,
}

pub fn run(arguments: &BackupArguments) -> Result<(), CliError> {
    let BackupArguments { out, local } = arguments;
    let BackedUp { files, bytes } = back_up(&local.folder(), out)?;
    if local.output() == Output::Programs {
        return print_json(&Made { backup: out, files, bytes });
    }
    println!("backup in {}: the store, and {files} uploaded files of {bytes} bytes", out.display());
    Ok(())
}
