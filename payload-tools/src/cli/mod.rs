//! The `payload` program: one file per verb, and what they share.
//!
//! A verb is a clap `Args` struct with `run(self, &Output) -> Result<(), Failure>`.
//! Standard output is data, standard error is talk.

mod breakdown;
mod build;
mod bundle;
mod consent;
mod delta;
mod disk;
mod draft;
mod expiries;
mod init;
mod inspect;
mod key;
mod keygen;
mod output;
mod publish;
mod publisher;
mod pull;
mod renew;
mod role;
mod sign;
mod simulate;
mod unpacked;
mod verify;
mod withdraw;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::bundle::MANIFEST;
pub use output::{Exit, Failure, Output, Report};

/// The next move after [`OutputExists`](crate::durable_file::OutputExists).
const OUTPUT_EXISTS_HINT: &str = "remove it, or name another with --out";

/// What was named on the command line is not there, or is something else.
#[derive(Debug, thiserror::Error)]
enum Named {
    #[error("there is no {}", .0.display())]
    Nothing(PathBuf),
    #[error("{} has no manifest.json", .0.display())]
    NoRelease(PathBuf),
}

/// Refuses a name that nothing has, before the system says so in words of its own.
fn refuse_absent(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Named::Nothing(path.to_owned()).into())
        }
        _ => Ok(()),
    }
}

/// Refuses what is neither a release folder nor a file that may be a bundle.
fn refuse_no_release(path: &Path) -> Result<(), Failure> {
    refuse_absent(path)?;
    if path.is_dir() && !path.join(MANIFEST).exists() {
        let error = Failure::refused(Named::NoRelease(path.to_owned()));
        return Err(error.hint("give a folder that `payload build` made, or a bundle"));
    }
    Ok(())
}

/// Make, sign, check and publish the payloads of the Seesaw update system.
#[derive(Debug, Parser)]
#[command(name = "payload", version, arg_required_else_help = true, after_help = Exit::table())]
struct Cli {
    /// Print results as one JSON object, and show no progress.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Keygen(keygen::Keygen),
    Init(init::Init),
    Build(Box<build::Build>),
    Delta(delta::Delta),
    Simulate(simulate::Simulate),
    Inspect(Box<inspect::Inspect>),
    Verify(verify::Verify),
    Sign(sign::Sign),
    Publish(publish::Publish),
    Withdraw(withdraw::Withdraw),
    Renew(renew::Renew),
    Key(key::Key),
    Role(role::RoleArgs),
    Draft(draft::DraftArgs),
    Pull(pull::Pull),
    Bundle(bundle::Bundle),
    Disk(disk::Disk),
}

/// The program's command line.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let Cli { json, verb } = Cli::parse();
    let output = if json { Output::Json } else { Output::Words };
    let result = match verb {
        Verb::Keygen(verb) => verb.run(&output),
        Verb::Init(verb) => verb.run(&output),
        Verb::Build(verb) => verb.run(&output),
        Verb::Delta(verb) => verb.run(&output),
        Verb::Simulate(verb) => verb.run(&output),
        Verb::Inspect(verb) => verb.run(&output),
        Verb::Verify(verb) => verb.run(&output),
        Verb::Sign(verb) => verb.run(&output),
        Verb::Publish(verb) => verb.run(&output),
        Verb::Withdraw(verb) => verb.run(&output),
        Verb::Renew(verb) => verb.run(&output),
        Verb::Key(verb) => verb.run(&output),
        Verb::Role(verb) => verb.run(&output),
        Verb::Draft(verb) => verb.run(&output),
        Verb::Pull(verb) => verb.run(&output),
        Verb::Bundle(verb) => verb.run(&output),
        Verb::Disk(verb) => verb.run(&output),
    };
    match result {
        Ok(()) => Exit::Done.into(),
        Err(failure) => output.failure(&failure).into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;

    /// The verbs without verbs of their own, by what is typed.
    fn leaves(command: &Command, typed: &str) -> Vec<(String, String)> {
        let typed = format!("{typed}{} ", command.get_name());
        let mut verbs = command.get_subcommands().peekable();
        if verbs.peek().is_none() {
            let help = command.clone().render_long_help().to_string();
            return vec![(typed, help)];
        }
        verbs.flat_map(|verb| leaves(verb, &typed)).collect()
    }

    #[test]
    fn every_verb_has_help_with_examples() {
        let verbs = leaves(&Cli::command(), "");
        assert!(verbs.iter().any(|(typed, _)| typed == "payload disk create "), "{verbs:?}");
        for (typed, help) in verbs {
            let (_, examples) = help.split_once("Examples:").unwrap_or_else(|| panic!("{typed}"));
            assert!(examples.contains(&typed), "{typed}: {help}");
        }
    }
}
