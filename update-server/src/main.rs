//! `update-server`: makes, runs and steers an update server.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use update_server::{cli, deltas};

fn main() -> ExitCode {
    deltas::child::enter_if_asked();
    let arguments = cli::Arguments::parse();
    let output = arguments.output();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&error, output);
            ExitCode::FAILURE
        }
    }
}
