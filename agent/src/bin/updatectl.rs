//! The program `updatectl`.

use std::io::IsTerminal;
use std::process::ExitCode;

use agent::updatectl::{Args, run};
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    payload_tools::confined::enter_if_asked();
    let args = Args::parse();
    args.device.check(&mut Args::command()).unwrap_or_else(|error| error.exit());
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    run(&args).into()
}
