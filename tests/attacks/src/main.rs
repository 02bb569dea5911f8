//! Brings the tables of docs/threat-model.md up to date: `cargo run -p seesaw-attacks`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match seesaw_attacks::table::regenerate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threat-model: {}", payload_tools::error_chain::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
