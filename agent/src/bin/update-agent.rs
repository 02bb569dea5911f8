//! The daemon `update-agent`.

use std::io::IsTerminal;
use std::process::ExitCode;

use agent::daemon::{self, Args, Ended, Runs};
use clap::{CommandFactory, Parser};
use payload_tools::error_chain::one_line;
use payload_tools::journal;

/// Exit status of a simulated reboot: whoever started the agent on an image
/// file plays the boot selector and starts it again.
const REBOOT: u8 = 10;

fn main() -> ExitCode {
    payload_tools::confined::enter_if_asked();
    let args = Args::parse();
    args.device.check(&mut Args::command()).unwrap_or_else(|error| error.exit());
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if journal::has_stderr() {
        log.without_time().init()
    } else {
        log.init()
    }
    let runs = if args.once { Runs::Once } else { Runs::Forever };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let ended = runtime.block_on(daemon::run(&args.device, runs));
    // A stage that is cut goes on where it was at the next start.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Orderly) => ExitCode::SUCCESS,
        Ok(Ended::SimulatedReboot) => ExitCode::from(REBOOT),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("update-agent: {}", one_line(error));
    ExitCode::FAILURE
}
