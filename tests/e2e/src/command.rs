//! Programs of the product, run to their end.

use std::io;
use std::process::{Command, Output};

use seesaw_harness::programs::ProgramsError;
use serde_json::Value;
use thiserror::Error;

/// Why a flow stopped.
#[derive(Debug, Error)]
pub enum Failure {
    /// The programs are not built.
    #[error("the programs are not there")]
    Programs(#[from] ProgramsError),
    /// A program did not start.
    #[error("starting `{command}`")]
    Start {
        /// As a shell would take it, about.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// A program ended otherwise than it should.
    #[error("`{command}` ended with {status}:\n{output}")]
    Ended {
        /// As a shell would take it, about.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed.
        output: String,
    },
    /// A program printed something else than JSON.
    #[error("`{command}` did not print JSON but:\n{output}")]
    Json {
        /// As a shell would take it, about.
        command: String,
        /// What it printed.
        output: String,
    },
    /// A file of the flow.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The disk cannot be opened.
    #[error("opening the disk")]
    Open(#[from] partition_layout::OpenError),
    /// The disk has no slots.
    #[error("reading the slots")]
    Slots(#[from] partition_layout::DiscoverError),
    /// The table cannot be written.
    #[error("writing the slot table")]
    Commit(#[from] partition_layout::CommitError),
    /// The device is not in the state that this point of the flow has.
    #[error("{what}: expected {expected}, found {found}")]
    Unexpected {
        /// What was looked at.
        what: &'static str,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// Refuses to go on with anything but what is expected.
pub fn expect<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    found: T,
    expected: T,
) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    let [expected, found] = [expected, found].map(|value| format!("{value:?}"));
    Err(Failure::Unexpected { what, expected, found })
}

/// Runs a program to its end, whatever that is.
pub fn output(command: &mut Command) -> Result<Output, Failure> {
    command.output().map_err(|source| Failure::Start { command: shown(command), source })
}

/// Runs a program that must succeed.
pub fn succeed(command: &mut Command) -> Result<Output, Failure> {
    let output = output(command)?;
    if output.status.success() { Ok(output) } else { Err(ended(command, &output)) }
}

/// Runs a program that must print JSON; its exit status and that.
pub fn json(command: &mut Command) -> Result<(i32, Value), Failure> {
    let output = output(command)?;
    let code = output.status.code().ok_or_else(|| ended(command, &output))?;
    let value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::Json { command: shown(command), output: text(&output) })?;
    Ok((code, value))
}

/// The failure of a program that ended.
pub fn ended(command: &Command, output: &Output) -> Failure {
    Failure::Ended {
        command: shown(command),
        status: output.status.to_string(),
        output: text(output),
    }
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}").trim().to_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
