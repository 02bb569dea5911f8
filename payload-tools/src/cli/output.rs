use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error_chain::messages;
use crate::publish::{PublishError, PullError};
use crate::repository::{DraftError, FolderError};
use crate::sign::SignError;

/// What the program's exit code says. The numbers are promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// It could not be done: a file, a key, the network, the system, or somebody said no.
    Failed = 1,
    /// The command line is wrong (also clap's own code).
    Usage = 2,
    /// Something is not what it claims to be: a hash, a signature, a format.
    Refused = 3,
    /// Signatures lack: the draft waits for keys that are elsewhere.
    Unsigned = 4,
}

impl Exit {
    const ALL: [(Exit, &'static str); 5] = [
        (Exit::Done, "done"),
        (
            Exit::Failed,
            "it could not be done: a file, a key, the server, or the answer was not yes",
        ),
        (Exit::Usage, "the command line makes no sense, or asks for what cannot be"),
        (Exit::Refused, "something is not what it claims to be: a hash, a signature, a format"),
        (Exit::Unsigned, "signatures lack: what was asked for waits in draft/ for keys elsewhere"),
    ];

    /// The table at the end of the help.
    pub(super) fn table() -> String {
        let lines = Self::ALL.map(|(exit, meaning)| format!("  {}  {meaning}\n", exit as u8));
        format!("Exit status:\n{}", lines.concat())
    }
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
        Self { exit: exit_of(&error), error: Box::new(error), hint: None }
    }
}

/// What an error of a folder or of a server says: that signatures lack, or that something is not what
/// it claims to be.
fn exit_of(error: &(dyn Error + 'static)) -> Exit {
    let of_draft = |error: &DraftError| match error {
        DraftError::Incomplete(_) => Exit::Unsigned,
        DraftError::Changed { .. } | DraftError::Trust(_) => Exit::Refused,
        _ => Exit::Failed,
    };
    let of_folder = |error: &FolderError| match error {
        FolderError::Draft(error) => of_draft(error),
        FolderError::Metadata { .. }
        | FolderError::FirstRoot { .. }
        | FolderError::InDraft { .. } => Exit::Refused,
        FolderError::Io(_) => Exit::Failed,
    };
    let of_sign = |error: &SignError| match error {
        SignError::Draft(error) => of_draft(error),
        SignError::Folder(error) => of_folder(error),
        _ => Exit::Failed,
    };
    let of_pull = |error: &PullError| match error {
        PullError::Trust(_) | PullError::WentBack { .. } | PullError::OtherRoot { .. } => {
            Exit::Refused
        }
        PullError::Server(_) | PullError::NoFirstRoot => Exit::Failed,
    };
    let of_publish = |error: &PublishError| match error {
        PublishError::Draft(error) => of_draft(error),
        PublishError::Folder(error) => of_folder(error),
        PublishError::Sign(error) => of_sign(error),
        PublishError::Pull(error) => of_pull(error),
        _ => Exit::Failed,
    };
    let found = error.downcast_ref().map(of_publish);
    let found = found.or_else(|| error.downcast_ref().map(of_sign));
    let found = found.or_else(|| error.downcast_ref().map(of_folder));
    found.or_else(|| error.downcast_ref().map(of_draft)).unwrap_or(Exit::Failed)
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
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
