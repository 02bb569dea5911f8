//! What is installed where: the product's three Debian packages, and the parts of them that images
//! are built from.
#![forbid(unsafe_code)]

mod contents;
mod deb;
mod licences;
pub mod man;

use clap::CommandFactory as _;

pub use contents::{agent, all, initramfs_files};
pub use deb::{DebPackage, PackagingError};

/// The command lines of the product's programs, each the one that the program itself parses.
pub fn program_commands() -> [clap::Command; 4] {
    [
        payload_tools::cli::command(),
        update_server::cli::Arguments::command(),
        agent::daemon::Args::command(),
        agent::updatectl::Args::command(),
    ]
}
