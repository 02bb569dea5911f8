//! `cargo xtask`: everything about this repository that cargo does not do by itself.

mod bench;
mod demo;
mod selector;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use payload_tools::error_chain::lines;

/// Runs the demo, the tests and the benchmarks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Bench(bench::BenchArgs),
    Demo(demo::DemoArgs),
    Selector(selector::SelectorArgs),
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Selector(args) => selector::run(&args),
        Task::Test(args) => return test::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", lines(&*error));
            ExitCode::FAILURE
        }
    }
}
