//! `cargo xtask`: everything about this repository that cargo does not do by itself.
#![forbid(unsafe_code)]

mod bench;
pub mod command_lines;
mod deb;
mod demo;
mod fuzz;
mod image;
mod man;
mod selector;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use payload_tools::error_chain::lines;
pub use seesaw_packaging::program_commands;

/// Runs the demo, the tests and the benchmarks, and makes packages.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Bench(bench::BenchArgs),
    Deb(deb::DebArgs),
    Demo(demo::DemoArgs),
    Fuzz(fuzz::FuzzArgs),
    Image(image::ImageArgs),
    Man(man::ManArgs),
    Selector(selector::SelectorArgs),
    Soak(soak::SoakArgs),
    Test(test::TestArgs),
}

/// The command line of `cargo xtask`.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the process's command line.
pub fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::Deb(args) => deb::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Man(args) => man::run(&args),
        Task::Selector(args) => selector::run(&args),
        Task::Soak(args) => soak::run(&args),
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
