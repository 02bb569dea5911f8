//! Signing a release: what exactly is signed, in words, before it is.

use std::fmt;
use std::path::PathBuf;

use crate::bundle::{Bundle, BundleError};
use crate::format::{Channel, Manifest, ManifestError, ReleaseFacts};
use crate::repository::{Draft, DraftError, PublisherFolder, Signer, Signing, write_files};
use crate::trust::{PublicKey, Role, SignedRelease, UnixTime};

/// A release as it is put before the holder of its compatible's key.
#[derive(Debug)]
pub struct Submission {
    /// What will be signed about it.
    pub facts: ReleaseFacts,
    /// The manifest, whose hash will be signed.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
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

impl Submission {
    /// Reads a release as `payload build` left it. `channels` are added to the ones in its facts.
    pub fn read(release: &Bundle, channels: &[Channel]) -> Result<Self, SubmissionError> {
        let mut facts = release.facts()?;
        for channel in channels {
            if !facts.channels.contains(channel) {
                facts.channels.push(channel.clone());
            }
        }
        let manifest_bytes = release.manifest_bytes()?;
        let manifest = Manifest::parse(&manifest_bytes)?;
        Ok(Self { facts, manifest, manifest_bytes })
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

    /// The words to be read before signing: by which key, until when, what it lets devices do.
    pub fn statement<'a>(&'a self, key: &'a PublicKey, now: UnixTime) -> Statement<'a> {
        let expires = now.plus_days(crate::repository::lifetime_days::TARGETS);
        Statement { submission: self, key, expires }
    }

    /// Adds the release to the draft.
    pub fn sign(
        &self,
        draft: &mut Draft,
        signer: &impl Signer,
        now: UnixTime,
    ) -> Result<Signing, DraftError> {
        draft.sign_release(signer, &self.facts, &self.manifest_bytes, &self.manifest, now)
    }

    /// The role that signs it.
    pub fn role(&self) -> Role {
        Role::from(&self.facts.compatible)
    }
}

/// What a signature is about to say.
#[derive(Debug)]
pub struct Statement<'a> {
    submission: &'a Submission,
    key: &'a PublicKey,
    expires: UnixTime,
}

impl fmt::Display for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Submission { facts, manifest, .. } = self.submission;
        let channels: Vec<_> = facts.channels.iter().map(Channel::as_str).collect();
        writeln!(
            f,
            "Signing as {}, key {:.16}, until {}:",
            facts.compatible,
            self.key.id().to_string(),
            self.expires
        )?;
        writeln!(f, "  release    {} (counter {})", facts.release, facts.counter)?;
        writeln!(f, "  channels   {}", channels.join(", "))?;
        match facts.min_from {
            0 => writeln!(f, "  from       any older release")?,
            counter => writeln!(f, "  from       counter {counter} on")?,
        }
        if facts.floor {
            writeln!(f, "  floor      devices on the way up may not skip it")?;
        }
        if let Some(range) = &facts.downgrade_from {
            let (lo, hi) = (range.lo, range.hi);
            writeln!(f, "  downgrade  from counters {lo} to {hi}, until {}", range.expires)?;
        }
        for image in &manifest.images {
            writeln!(f, "  {:<10} {} bytes, tree {}", image.role, image.size, image.root)?;
        }
        Ok(())
    }
}

/// Leaves in a release folder what its offline bundle needs, and returns where.
pub fn leave_metadata(
    release: &Bundle,
    draft: &Draft,
    submission: &Submission,
) -> Result<PathBuf, SignError> {
    let folder = release.path().join("metadata");
    write_files(&folder, &draft.bundle_files(&submission.facts.compatible)?)?;
    Ok(folder)
}

/// Signs a release on the publisher's newest state and leaves the metadata in the release folder
/// for `payload bundle`. The publisher's own stays as it is: what no server has is no state to go on
/// from. `show` gets the statement before anything is signed.
pub fn sign_release(
    publisher: &PublisherFolder,
    release: &Bundle,
    channels: &[Channel],
    now: UnixTime,
    show: impl FnOnce(&Statement<'_>),
) -> Result<(Submission, Signing), SignError> {
    let mut draft = publisher.draft()?;
    let keyring = publisher.keyring().map_err(DraftError::from)?;
    let submission = Submission::read(release, channels)?.with_signed_channels(&draft)?;
    let key = draft.key(&keyring, &submission.role())?;
    show(&submission.statement(key.public(), now));
    let signing = submission.sign(&mut draft, &keyring, now)?;
    leave_metadata(release, &draft, &submission)?;
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
    /// The file system refused.
    #[error("the signed metadata could not be written")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
