use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error_chain::messages;

/// What the program's exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it could not be done: a file, the network, the system.
    Failed,
    /// 2: the command line is wrong (also clap's own code).
    Usage,
    /// 3: something is not what it claims to be: a hash, a signature, a format.
    Refused,
}

/// A verb's result, in words by `Display` and in JSON by `Serialize`.
pub trait Report: Serialize + Display {}

impl<T: Serialize + Display> Report for T {}

/// Where results and progress go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people; progress on a terminal.
    Words,
    /// For programs: one JSON object on standard output, also for an error.
    Json,
}

/// Why a verb failed: an error, what the exit code is to say, and the next move.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    /// Something is not what it claims to be.
    pub fn refused(error: impl Error + Send + Sync + 'static) -> Self {
        Self { exit: Exit::Refused, error: Box::new(error), hint: None }
    }

    /// The command line asks for what cannot be.
    pub fn usage(error: impl Error + Send + Sync + 'static) -> Self {
        Self { exit: Exit::Usage, error: Box::new(error), hint: None }
    }

    /// Adds the next move.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: Box::new(error), hint: None }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
        })
    }
}

impl Output {
    /// Prints a verb's result.
    pub fn report(&self, report: &impl Report) -> Result<(), Failure> {
        let text = match self {
            Output::Words => report.to_string(),
            Output::Json => serde_json::to_string_pretty(report)?,
        };
        match writeln!(io::stdout(), "{}", text.trim_end()) {
            // Nobody reads on: `payload inspect X | head -1` is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// A progress bar over bytes on standard error, drawn on a terminal only.
    pub fn bytes_bar(&self, what: &'static str, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.draw_target());
        let template = "{prefix:>12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.with_prefix(what)
    }

    /// A spinner for work without a measure.
    pub fn spinner(&self, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.draw_target()).with_prefix(what);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} {spinner} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        if *self == Output::Words && io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        }
    }

    /// Prints why a verb failed: the chain of causes, then the hint.
    pub(super) fn failure(&self, failure: &Failure) -> Exit {
        let chain: Vec<_> = messages(failure.error.as_ref()).collect();
        if *self == Output::Json {
            let error = serde_json::json!({ "error": { "messages": chain, "hint": failure.hint } });
            println!("{error}");
        } else {
            eprintln!("payload: {}", chain.join(": "));
            if let Some(hint) = &failure.hint {
                eprintln!("hint: {hint}");
            }
        }
        failure.exit
    }
}
