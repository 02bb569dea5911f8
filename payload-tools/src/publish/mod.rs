//! Publishing: the server's state is taken over, the release signed on top of it, and everything
//! uploaded, the metadata last and in one request. Run again after any failure, it goes on, and
//! repairs what the server has damaged.

mod pull;
mod requests;

use crate::admin::{AdminClient, AdminError};
use crate::bundle::{Bundle, delta_name, full_name, levels_name};
use crate::format::{Channel, Compatible, Hash, Manifest, Release, ReleaseFacts};
use crate::repository::{
    Draft, DraftError, FolderError, Keyring, Published, PublisherFolder, Signing,
};
use crate::sign::{SignError, Statement, Submission, SubmissionError, leave_metadata};
use crate::trust::{Files, PublicKey, Role, SigningKey, UnixTime};

pub use pull::PullError;
use requests::ChannelAt;
pub use requests::Transfer;

/// What publishing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Version of the snapshot that the server now has.
    pub snapshot_version: u64,
    /// Whether anything new was signed.
    pub signing: Signing,
}

/// What withdrawing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Version of the snapshot that the server now has.
    pub snapshot_version: u64,
    /// Releases that are still listed.
    pub left: usize,
    /// Channels that offer one of the releases, by their pin where they have one: their devices
    /// get nothing.
    pub stranded: Vec<Channel>,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else was faster, or nobody: the snapshot is not the next one any more.
    #[error("someone published in between; run this again, it goes on from there")]
    Conflict,
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] AdminError),
    /// What the server has published does not verify.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The release folder.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// The publisher's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The signatures.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The versions.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The file system refused.
    #[error("the signed metadata could not be written")]
    Io(#[from] std::io::Error),
}

/// A publisher at a server.
pub struct Publisher<'a> {
    folder: &'a PublisherFolder,
    server: &'a AdminClient,
    keyring: Keyring,
    draft: Draft,
    published: Option<Published>,
    channels: Vec<ChannelAt>,
}

impl<'a> Publisher<'a> {
    /// Opens the folder and takes over what the server has published.
    pub async fn begin(
        folder: &'a PublisherFolder,
        server: &'a AdminClient,
    ) -> Result<Self, PublishError> {
        let mut draft = folder.draft()?;
        let keyring = folder.keyring().map_err(DraftError::from)?;
        // Also the first request that needs the token: nothing is signed or sent with a wrong one.
        let channels = requests::channels(server).await?;
        let published = pull::pull(server, &folder.read_metadata()?).await?;
        pull::not_gone_back(published.as_ref(), &draft)?;
        if let Some(published) = &published {
            draft.adopt(published);
        }
        Ok(Self { folder, server, keyring, draft, published, channels })
    }

    /// Publishes a release to the channels that may offer it, and promotes it in `channels`.
    pub async fn release(
        mut self,
        release: &Bundle,
        channels: &[Channel],
        now: UnixTime,
        show: impl FnOnce(&Statement<'_>),
        transfer: &dyn Transfer,
    ) -> Result<Publication, PublishError> {
        let submission = Submission::read(release, channels)?.with_signed_channels(&self.draft)?;
        let key = self.key(&submission.role())?;
        show(&submission.statement(key.public(), now));
        let signing = submission.sign(&mut self.draft, &self.keyring, now)?;
        self.upload(release, &submission, transfer).await?;
        let snapshot_version = self.publish_draft(now).await?;
        leave_metadata(release, &self.draft, &submission)?;
        for channel in channels {
            requests::promote(self.server, &submission.facts, channel).await?;
        }
        Ok(Publication { snapshot_version, signing })
    }

    /// Takes releases off a compatible's list and publishes that. `show` hears first which they are.
    pub async fn withdraw(
        mut self,
        compatible: &Compatible,
        releases: &[Release],
        now: UnixTime,
        show: impl FnOnce(&PublicKey, &[ReleaseFacts]),
    ) -> Result<Withdrawal, PublishError> {
        let key = self.key(&Role::from(compatible))?.public().clone();
        let before = self.draft.releases(compatible)?;
        self.draft.withdraw(&self.keyring, compatible, releases, now)?;
        let facts = before.iter().map(|release| release.facts().clone());
        let withdrawn: Vec<_> = facts.filter(|facts| releases.contains(&facts.release)).collect();
        show(&key, &withdrawn);
        let is_stranded = |at: &&ChannelAt| {
            let offers = at.pin.as_ref().unwrap_or(&at.release);
            at.compatible == *compatible && releases.contains(offers)
        };
        let stranded = self.channels.iter().filter(is_stranded);
        let stranded = stranded.map(|at| at.channel.clone()).collect();
        let snapshot_version = self.send(now).await?;
        Ok(Withdrawal { snapshot_version, left: before.len() - withdrawn.len(), stranded })
    }

    /// Signs the snapshot again, and more.
    pub async fn renew(mut self, more: &[Renewal], now: UnixTime) -> Result<Draft, PublishError> {
        self.draft.key(&self.keyring, &Role::Snapshot)?;
        for renewal in more {
            match renewal {
                Renewal::Root => self.draft.renew_root(&self.keyring, now)?,
                Renewal::Roles => self.draft.renew_roles(&self.keyring, now)?,
            }
        }
        self.send(now).await?;
        Ok(self.draft)
    }

    /// The key of a role, if it is the right one and the one that signs the snapshot after it is too.
    fn key(&self, role: &Role) -> Result<&SigningKey, DraftError> {
        self.draft.key(&self.keyring, &Role::Snapshot)?;
        self.draft.key(&self.keyring, role)
    }

    async fn upload(
        &self,
        release: &Bundle,
        submission: &Submission,
        transfer: &dyn Transfer,
    ) -> Result<(), PublishError> {
        for image in &submission.manifest.images {
            let deltas = release.deltas(&image.root).map_err(SubmissionError::from)?;
            let deltas = deltas.iter().map(|from| delta_name(&image.root, from));
            for name in [full_name(&image.root), levels_name(&image.root)].into_iter().chain(deltas)
            {
                let part = release.part(&name).map_err(SubmissionError::from)?;
                requests::upload(self.server, &name, part, transfer).await?;
            }
        }
        let Manifest { compatible, release, .. } = &submission.manifest;
        let sha256 = Hash::of(&submission.manifest_bytes);
        let name = format!("targets/{compatible}/{sha256}.{release}.json");
        let bytes = submission.manifest_bytes.clone();
        Ok(requests::upload_bytes(self.server, &name, bytes).await?)
    }

    /// Sends the draft, unless the server has all of it.
    async fn publish_draft(&mut self, now: UnixTime) -> Result<u64, PublishError> {
        let new = self.new_files();
        match &self.published {
            Some(published) if new.is_empty() => {
                self.folder.store(&self.draft)?;
                Ok(published.snapshot_version())
            }
            _ => self.send(now).await,
        }
    }

    async fn send(&mut self, now: UnixTime) -> Result<u64, PublishError> {
        let last = self.published.as_ref().map_or(0, Published::snapshot_version);
        let version = self.draft.sign_snapshot(&self.keyring, last, now)?;
        match requests::publish(self.server, &self.new_files()).await {
            Err(error) if error.is_conflict() => return Err(PublishError::Conflict),
            other => other?,
        }
        // Only what a server took is the publisher's: what it refused would be sent again for ever.
        self.folder.store(&self.draft)?;
        Ok(version)
    }

    fn new_files(&self) -> Files {
        let before = self.published.as_ref().map(Published::files).unwrap_or_default();
        let mut files = self.draft.files();
        files.retain(|name, _| !before.contains_key(name));
        files
    }
}

/// What `renew` signs again besides the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Root, with the same keys.
    Root,
    /// Targets and every compatible's role.
    Roles,
}
