use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::publisher::{PublisherArgs, short_ids};
use super::{Failure, Output, refuse_absent};
use crate::repository::{Draft, DraftError, PublisherFolder, Standing, Statement};
use crate::trust::{Files, KeyId};

/// Show, merge or discard what is changed and not published.
///
/// draft/ in the publisher's folder holds the next file of every role that changes, with the signatures
/// that it has. To have it signed elsewhere, carry a folder with draft/ and metadata/ there: `payload sign
/// --publisher FOLDER --keys KEYS` adds signatures to it.
#[derive(Debug, Args)]
pub(super) struct DraftArgs {
    #[command(subcommand)]
    verb: DraftVerb,
}

#[derive(Debug, Subcommand)]
enum DraftVerb {
    /// Show what is changed, who has signed and who must.
    #[command(
        after_help = "Examples:\n  payload draft show\n  payload draft show --publisher /media/stick --json"
    )]
    Show {
        #[command(flatten)]
        publisher: PublisherArgs,
    },
    /// Add the signatures that are in other copies of the draft.
    ///
    /// A change that is not here yet is taken over, to be shown and signed here.
    #[command(after_help = "Examples:\n  payload draft merge /media/stick-ann /media/stick-bob")]
    Merge {
        /// A folder that has draft/ in it.
        #[arg(required = true, value_name = "FOLDER")]
        from: Vec<PathBuf>,
        #[command(flatten)]
        publisher: PublisherArgs,
    },
    /// Remove it, with all signatures. What is published stays.
    #[command(after_help = "Examples:\n  payload draft discard --publisher /srv/publisher")]
    Discard {
        #[command(flatten)]
        publisher: PublisherArgs,
    },
}

/// A draft, and how far its signatures have come.
#[derive(Debug, Serialize)]
struct DraftReport {
    #[serde(flatten)]
    statement: Statement,
    signatures: Vec<Standing>,
    complete: bool,
}

#[derive(Debug, Serialize)]
struct DiscardReport {
    discarded: Vec<String>,
}

impl DraftArgs {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        match self.verb {
            DraftVerb::Show { publisher } => {
                let folder = publisher.repository()?;
                let draft = folder.draft()?;
                if draft.files().is_empty() {
                    return Err(DraftError::NoDraft.into());
                }
                output.report(&report(&folder, &draft)?)
            }
            DraftVerb::Merge { from, publisher } => {
                let folder = publisher.folder();
                let mut draft = folder.draft()?;
                for other in from {
                    refuse_absent(&other)?;
                    draft.merge(&carried(&other, &draft)?)?;
                }
                report_draft(&folder, &draft, output)
            }
            DraftVerb::Discard { publisher } => {
                let folder = publisher.repository()?;
                let discarded = folder.read_draft()?.into_keys().collect();
                folder.leave_out(|_, _| true)?;
                output.report(&DiscardReport { discarded })
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{} has no draft in it: name the folder in which draft/ is, as it was carried to who signs",
    .0.display()
)]
struct NoDraftThere(PathBuf);

/// The draft in a folder that was carried here.
fn carried(path: &Path, draft: &Draft) -> Result<Files, Failure> {
    let folder = PublisherFolder::at(path);
    let files = folder.read_draft()?;
    if !files.is_empty() {
        return Ok(files);
    }
    // A repository that begins is a draft no more where its last signature was given.
    match draft.state() {
        None if folder.is_begun() => Ok(folder.read_metadata()?),
        _ => Err(NoDraftThere(path.to_owned()).into()),
    }
}

/// Keeps a draft and says what it is.
pub(super) fn report_draft(
    folder: &PublisherFolder,
    draft: &Draft,
    output: &Output,
) -> Result<(), Failure> {
    folder.keep(draft)?;
    output.report(&report(folder, draft)?)
}

/// The same of a draft that a verb has changed; says whose signatures that has cost.
pub(super) fn report_changed(
    folder: &PublisherFolder,
    before: &Draft,
    draft: &Draft,
    output: &Output,
) -> Result<(), Failure> {
    let after = draft.statement(&folder.keyring()?)?.papers;
    for paper in before.statement(&folder.keyring()?)?.papers {
        let now = after.iter().find(|now| now.role == paper.role);
        let stays = |id: &&KeyId| now.is_some_and(|now| now.signed.contains(id));
        let lost: Vec<_> = paper.signed.iter().filter(|id| !stays(id)).collect();
        if !lost.is_empty() {
            let (role, version, lost) = (&paper.role, paper.version, short_ids(lost));
            eprintln!("warning: {role} version {version} is not signed any more by {lost}");
        }
    }
    report_draft(folder, draft, output)
}

fn report(folder: &PublisherFolder, draft: &Draft) -> Result<DraftReport, Failure> {
    Ok(DraftReport {
        statement: draft.statement(&folder.keyring()?)?,
        signatures: draft.standings()?,
        complete: draft.complete().is_ok(),
    })
}

impl fmt::Display for DraftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for paper in &self.statement.papers {
            let (role, version, expires) = (&paper.role, paper.version, paper.expires);
            writeln!(f, "{role} version {version}, good until {expires}:")?;
            paper.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        self.signatures.iter().try_for_each(|standing| writeln!(f, "{standing}"))?;
        match self.complete {
            true => writeln!(f, "next: payload publish"),
            false => {
                writeln!(f, "next: payload sign, here or where the keys are; then payload publish")
            }
        }
    }
}

impl fmt::Display for DiscardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.discarded.as_slice() {
            [] => writeln!(f, "there was no draft"),
            names => writeln!(f, "discarded {}", names.join(", ")),
        }
    }
}
