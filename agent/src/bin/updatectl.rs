//! The program `updatectl`.

use std::process::ExitCode;

use agent::updatectl::{Args, run};
use clap::Parser;

fn main() -> ExitCode {
    agent::install::confined::enter_if_asked();
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    run(&args).into()
}
