//! Programs of others, run to their end.

use std::io;
use std::process::{Command, Stdio};

use thiserror::Error;

/// Why a program was of no use.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("`{program}` could not be started: is its Debian package installed?")]
    Start {
        /// The program.
        program: String,
        /// Why it did not start.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("{step} failed, `{program}` said:\n{output}")]
    Failed {
        /// What was being done.
        step: &'static str,
        /// The program.
        program: String,
        /// The end of what it printed.
        output: String,
    },
}

/// Runs `command` without input, in English, and gives what it printed; its last words are kept
/// for the error.
pub fn run(step: &'static str, command: &mut Command) -> Result<String, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output =
        output.map_err(|source| CommandError::Start { program: program.clone(), source })?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let output = lines[lines.len().saturating_sub(30)..].join("\n");
    Err(CommandError::Failed { step, program, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_has_the_last_word() {
        let shell = |script| run("trying", Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo $LC_ALL").unwrap(), "C\n");
        let error = shell("seq 99; echo no >&2; exit 1").unwrap_err().to_string();
        assert!(error.starts_with("trying failed, `sh` said:\n71\n"), "{error}");
        assert!(error.ends_with("\n99\nno"), "{error}");
        let absent = run("trying", &mut Command::new("seesaw-no-such-program")).unwrap_err();
        assert!(matches!(absent, CommandError::Start { .. }), "{absent}");
    }
}
