//! Signing a release: what exactly is signed is shown in words before it is.

mod taken_back;

use std::path::PathBuf;

use crate::bundle::{Bundle, BundleError};
use crate::format::{Channel, Manifest, ManifestError, Release, ReleaseFacts};
use crate::repository::{
    Draft, DraftError, Gap, PublisherFolder, Signing, State, Statement, write_files,
};
use crate::trust::{Role, SignedRelease, UnixTime};

pub use taken_back::{NotAskedFor, Permits, TakenBack};

/// A release as it is put before the holder of its compatible's key.
#[derive(Debug)]
pub struct Submission {
    /// What will be signed about it.
    pub facts: ReleaseFacts,
    /// The manifest, whose hash will be signed.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
    /// Floors that devices of some of its channels may skip.
    pub past_floors: Vec<Release>,
}

/// What is wanted of a release besides what its folder says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a> {
    /// Channels that may offer it, besides those in its facts and those it is signed for already.
    pub channels: &'a [Channel],
    /// Floors that are not signed for a channel of it, and may be skipped there.
    pub past_floors: &'a [Release],
    /// What it may take back.
    pub permits: Permits,
}

/// Why a release folder cannot be submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// The folder is incomplete.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its manifest is none.
    #[error("the manifest is refused; build the release again")]
    Manifest(#[from] ManifestError),
}

/// Why nothing is signed after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It was to be shown only.
    #[error("it was shown, and nothing was signed")]
    Shown,
    /// Whoever was asked said no.
    #[error("nothing was signed: the answer was not yes")]
    Declined,
}

/// Shows what is going to be signed, and says whether it is.
pub type Ask<'a> = &'a dyn Fn(&Statement) -> Result<(), Stop>;

impl Submission {
    /// Reads a release as `payload build` left it.
    pub fn read(
        release: &Bundle,
        Wishes { channels, past_floors, .. }: Wishes<'_>,
    ) -> Result<Self, SubmissionError> {
        let mut facts = release.facts()?;
        for channel in channels {
            if !facts.channels.contains(channel) {
                facts.channels.push(channel.clone());
            }
        }
        let manifest_bytes = release.manifest_bytes()?;
        let manifest = Manifest::parse(&manifest_bytes)?;
        Ok(Self { facts, manifest, manifest_bytes, past_floors: past_floors.to_vec() })
    }

    /// Keeps the channels that the release is signed for already: naming another one adds it, and
    /// devices of those before are not to lose the release by that.
    pub fn with_signed_channels(mut self, draft: &Draft) -> Result<Self, DraftError> {
        let listed = draft.releases(&self.facts.compatible)?;
        let same = |other: &&SignedRelease| other.facts().release == self.facts.release;
        if let Some(signed) = listed.iter().find(same) {
            let mut channels = signed.facts().channels.clone();
            self.facts.channels.retain(|channel| !channels.contains(channel));
            channels.append(&mut self.facts.channels);
            self.facts.channels = channels;
        }
        Ok(self)
    }

    /// Adds the release to the draft, if no floor is skipped by that but the wanted ones.
    pub fn list(&self, draft: &mut Draft, now: UnixTime) -> Result<Signing, DraftError> {
        let ReleaseFacts { compatible, release, .. } = &self.facts;
        let signing = draft.list_release(&self.facts, &self.manifest_bytes, &self.manifest, now)?;
        if signing == Signing::AlreadySigned {
            return Ok(signing);
        }
        let is_of_it = |gap: &Gap| gap.release == *release || gap.floor == *release;
        let unwanted = |gap: &Gap| is_of_it(gap) && !self.past_floors.contains(&gap.floor);
        match draft.new_gaps(compatible)?.into_iter().find(unwanted) {
            Some(gap) => Err(DraftError::Gap(gap)),
            None => Ok(signing),
        }
    }

    /// Says what is in the images, where the release itself is at hand.
    pub fn describe(&self, statement: &mut Statement) {
        let role = self.role().to_string();
        for paper in statement.papers.iter_mut().filter(|paper| paper.role == role) {
            let images = self.manifest.images.iter();
            paper.lines.extend(images.map(|image| {
                format!("{:<10} {} bytes, tree {}", image.role, image.size, image.root)
            }));
        }
    }

    /// The role that signs it.
    pub fn role(&self) -> Role {
        Role::from(&self.facts.compatible)
    }
}

/// Leaves in a release folder what its offline bundle needs, and returns where.
pub fn leave_metadata(
    release: &Bundle,
    state: &State,
    submission: &Submission,
) -> Result<PathBuf, SignError> {
    let folder = release.path().join("metadata");
    write_files(&folder, &state.bundle_files(&submission.facts.compatible)?)?;
    Ok(folder)
}

/// Signs a release on the publisher's newest state and leaves the metadata in the release folder
/// for `payload bundle`. The publisher's own stays as it is: what no server has is no state to go on
/// from. Where others must sign too, it becomes a draft for them.
pub fn sign_release(
    publisher: &PublisherFolder,
    release: &Bundle,
    wishes: Wishes<'_>,
    now: UnixTime,
    ask: Ask<'_>,
) -> Result<(Submission, Signing), SignError> {
    let mut whole = publisher.draft()?;
    let keyring = publisher.keyring().map_err(DraftError::from)?;
    let submission = Submission::read(release, wishes)?;
    let mut draft = whole.for_release(&submission.facts)?;
    let submission = submission.with_signed_channels(&draft)?;
    let signing = submission.list(&mut draft, now)?;
    if draft.complete().is_err() {
        draft.can_sign(&keyring, &submission.role())?;
    }
    let mut statement = draft.statement(&keyring)?;
    submission.describe(&mut statement);
    let relisted = publisher.relisted(&draft, &|_, _| None)?;
    let back = TakenBack { relisted, moves: Vec::new() };
    back.describe(&mut statement, wishes.permits);
    ask(&statement)?;
    back.refuse_unasked(wishes.permits)?;
    draft.sign(&keyring)?;
    let state = match draft.finish() {
        Err(error @ DraftError::Incomplete(_)) => {
            whole.absorb(draft);
            publisher.store_draft(&whole)?;
            return Err(error.into());
        }
        finished => finished?,
    };
    leave_metadata(release, &state, &submission)?;
    Ok((submission, signing))
}

/// Why a release was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The release folder.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// The publisher's folder.
    #[error(transparent)]
    Folder(#[from] crate::repository::FolderError),
    /// The signature.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It was not wanted.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// It takes something back.
    #[error(transparent)]
    NotAskedFor(#[from] NotAskedFor),
    /// The file system refused.
    #[error("the signed metadata could not be written")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
