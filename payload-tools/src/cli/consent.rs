//! What is going to be signed is shown first, and asked for where somebody can answer.

use std::cell::RefCell;
use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;

use super::{Failure, Output};
use crate::repository::Statement;
use crate::sign::Stop;

/// How much is asked before anything is signed.
#[derive(Debug, Args)]
pub(super) struct ConsentArgs {
    /// Show what would be signed, and stop there.
    #[arg(long)]
    dry_run: bool,
    /// Sign what is shown without asking; where standard input is no terminal nothing is asked
    /// anyway.
    #[arg(long, short = 'y', conflicts_with = "dry_run")]
    yes: bool,
    #[arg(skip)]
    shown: RefCell<Option<Statement>>,
}

impl ConsentArgs {
    /// Shows it, and says whether it is to be signed.
    pub(super) fn ask(&self, statement: &Statement) -> Result<(), Stop> {
        if self.dry_run {
            self.shown.replace(Some(statement.clone()));
            return Err(Stop::Shown);
        }
        if !statement.papers.is_empty() || !statement.notes.is_empty() {
            eprint!("{statement}");
        }
        let signs = statement.papers.iter().any(|paper| !paper.keys.is_empty());
        // Nobody is asked for what is refused then.
        let signs = signs && statement.needs.is_empty();
        if self.yes || !signs || !io::stdin().is_terminal() {
            return Ok(());
        }
        eprint!("Sign this? [y/N] ");
        let mut answer = String::new();
        // No answer is none.
        let _read = io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Stop::Declined),
        }
    }

    /// The result, unless it was to be shown only: then that is printed.
    pub(super) fn unless_shown<T, E: Into<Failure>>(
        &self,
        result: Result<T, E>,
        output: &Output,
    ) -> Result<Option<T>, Failure> {
        match (self.shown.take(), result) {
            (Some(statement), _) => output.report(&statement).map(|()| None),
            (None, result) => result.map(Some).map_err(Into::into),
        }
    }
}
