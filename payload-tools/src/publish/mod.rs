//! Publishing: the server's state is taken over, the release signed on top of it, and everything
//! uploaded, the metadata last and in one request. Run again after any failure, it goes on, and
//! repairs what the server has damaged.

mod error;
mod payloads;
mod pull;
mod requests;
mod taken_back;

use crate::admin::AdminClient;
use crate::bundle::Bundle;
use crate::format::{Channel, Compatible, Release, ReleaseFacts};
use crate::repository::{
    Draft, DraftError, Keyring, Published, PublisherFolder, Signing, State, Statement,
};
use crate::sign::{Ask, Permits, Submission, TakenBack, Wishes, leave_metadata};
use crate::trust::metadata::same_content;
use crate::trust::{Files, Role, UnixTime};
use crate::verify::Decoding;

pub use error::PublishError;
pub use payloads::{Delivered, PayloadFile};
pub use pull::PullError;
pub use requests::Transfer;
use requests::{ChannelAt, ReleaseAt};

/// What publishing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Version of the snapshot that the server now has.
    pub snapshot_version: u64,
    /// Whether anything new was signed.
    pub signing: Signing,
    /// What became of the release's files.
    pub delivered: Delivered,
    /// Of the channels that it is promoted in, those that offer another release, and which.
    pub pinned: Vec<(Channel, Release)>,
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

/// Brings a publisher's folder up to date with what the server has published.
pub async fn pull_into(
    folder: &PublisherFolder,
    server: &AdminClient,
) -> Result<State, PublishError> {
    let published = pull::pull(server, folder.root_chain()?).await?;
    let published = published.map(|pulled| pulled.published);
    pull::not_gone_back(published.as_ref(), folder.snapshot_version()?)?;
    let published = published.ok_or(PublishError::NothingPublished)?;
    let state = State::from(&published);
    folder.store(&state)?;
    Ok(state)
}

/// A publisher at a server.
pub struct Publisher<'a> {
    folder: &'a PublisherFolder,
    server: &'a AdminClient,
    keyring: Keyring,
    /// What is not published yet, on top of what the server has.
    draft: Draft,
    published: Option<Published>,
    /// The files that the server has of it.
    served: Files,
    channels: Vec<ChannelAt>,
    /// Every release that it ever had.
    releases: Vec<ReleaseAt>,
    decoding: Decoding,
}

impl<'a> Publisher<'a> {
    /// Opens the folder and takes over what the server has published.
    pub async fn begin(
        folder: &'a PublisherFolder,
        server: &'a AdminClient,
    ) -> Result<Self, PublishError> {
        let keyring = folder.keyring().map_err(DraftError::from)?;
        if !folder.is_begun() {
            let birth = folder.draft()?;
            birth.complete()?;
            return Err(DraftError::NotBegun { role: Role::Root }.into());
        }
        // Also the first request that needs the token: nothing is signed or sent with a wrong one.
        let channels = requests::channels(server).await?;
        let releases = requests::releases(server).await?;
        let pulled = pull::pull(server, folder.root_chain()?).await?;
        let (published, served) = pulled.map(|pulled| (pulled.published, pulled.served)).unzip();
        pull::not_gone_back(published.as_ref(), folder.snapshot_version()?)?;
        let state = match &published {
            Some(published) => Some(published.into()),
            None => folder.state()?,
        };
        let draft = folder.draft_on(state)?;
        Ok(Self {
            folder,
            server,
            keyring,
            draft,
            published,
            served: served.unwrap_or_default(),
            channels,
            releases,
            decoding: Decoding::Confined,
        })
    }

    /// The same with payloads decoded elsewhere than confined, where the keys are nobody's.
    pub fn decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }

    /// Publishes a release to the channels that may offer it, and promotes it in those that are wished
    /// for. A draft that is complete goes with it; one that is not stays.
    pub async fn release(
        mut self,
        release: &Bundle,
        wishes: Wishes<'_>,
        now: UnixTime,
        ask: Ask<'_>,
        transfer: &dyn Transfer,
    ) -> Result<Publication, PublishError> {
        let submission = Submission::read(release, wishes)?;
        let mut draft = match self.complete_draft() {
            Some(draft) => draft,
            None => self.draft.for_release(&submission.facts)?.with_snapshot_of(&self.draft),
        };
        let submission = submission.with_signed_channels(&draft)?;
        let signing = submission.list(&mut draft, now)?;
        let news = !draft.changes_nothing() || self.published.is_none();
        if news {
            self.can_sign(&draft, &submission.role())?;
        }
        payloads::check(release, &submission.manifest, self.decoding, transfer)?;
        let (facts, permits) = (&submission.facts, wishes.permits);
        let moves = self.moves_back(facts, wishes.channels);
        let back = TakenBack { moves, ..self.relists(&draft)? };
        let mut statement = Statement::default();
        if news {
            draft.settle_snapshot(now);
            statement = draft.statement_to_publish(&self.keyring, now)?;
            submission.describe(&mut statement);
        }
        back.describe(&mut statement, permits);
        ask(&statement)?;
        back.refuse_unasked(permits)?;
        if news {
            draft.sign(&self.keyring)?;
        }
        let delivered = payloads::upload(self.server, release, &submission, transfer).await?;
        let state = if news { self.send(draft, now).await? } else { self.keep_published()? };
        leave_metadata(release, &state, &submission)?;
        // Somebody was asked and files went up since: the channels may have moved.
        self.channels = requests::channels(self.server).await?;
        self.releases = requests::releases(self.server).await?;
        let moves = self.moves_back(facts, wishes.channels);
        TakenBack { moves, ..TakenBack::default() }.refuse_unasked(permits)?;
        for channel in wishes.channels {
            requests::promote(self.server, &submission.facts, channel).await?;
        }
        let snapshot_version = state.snapshot_version().unwrap_or_default();
        let pinned = self.pinned(&submission.facts, wishes.channels);
        Ok(Publication { snapshot_version, signing, delivered, pinned })
    }

    /// The pins that keep a release from the devices of these channels.
    fn pinned(&self, facts: &ReleaseFacts, channels: &[Channel]) -> Vec<(Channel, Release)> {
        let pin = |at: &ChannelAt| {
            let held = at.compatible == facts.compatible && channels.contains(&at.channel);
            let other = at.pin.clone().filter(|pin| held && *pin != facts.release)?;
            Some((at.channel.clone(), other))
        };
        self.channels.iter().filter_map(pin).collect()
    }

    /// Publishes the draft.
    pub async fn draft(
        mut self,
        permits: Permits,
        now: UnixTime,
        ask: Ask<'_>,
    ) -> Result<State, PublishError> {
        let mut draft = self.draft.clone();
        if draft.files().is_empty() && self.published.is_some() {
            return Err(DraftError::NoDraft.into());
        }
        draft.settle_snapshot(now);
        let back = self.relists(&draft)?;
        let mut statement = draft.statement_to_publish(&self.keyring, now)?;
        back.describe(&mut statement, permits);
        ask(&statement)?;
        back.refuse_unasked(permits)?;
        draft.sign(&self.keyring)?;
        self.send(draft, now).await
    }

    /// Takes releases off a compatible's list and publishes that, with a change of the role's keys if
    /// the draft has one: the new keys do not sign first what is to go.
    pub async fn withdraw(
        mut self,
        compatible: &Compatible,
        releases: &[Release],
        now: UnixTime,
        ask: Ask<'_>,
    ) -> Result<Withdrawal, PublishError> {
        let role = Role::from(compatible);
        let mut draft = self.draft_to_withdraw(&role)?;
        draft.withdraw(compatible, releases, now)?;
        self.can_sign(&draft, &role)?;
        self.relists(&draft)?.refuse_in_draft()?;
        draft.settle_snapshot(now);
        ask(&draft.statement_to_publish(&self.keyring, now)?)?;
        draft.sign(&self.keyring)?;
        let is_stranded = |at: &&ChannelAt| {
            let offers = at.pin.as_ref().unwrap_or(&at.release);
            at.compatible == *compatible && releases.contains(offers)
        };
        let stranded = self.channels.iter().filter(is_stranded);
        let stranded = stranded.map(|at| at.channel.clone()).collect();
        let state = self.send(draft, now).await?;
        let snapshot_version = state.snapshot_version().unwrap_or_default();
        Ok(Withdrawal { snapshot_version, left: state.releases(compatible)?.len(), stranded })
    }

    /// Signs the snapshot again, and more.
    pub async fn renew(
        mut self,
        more: &[Renewal],
        now: UnixTime,
        ask: Ask<'_>,
    ) -> Result<State, PublishError> {
        let compatibles = self.draft.compatibles();
        let roles = more.iter().flat_map(|renewal| renewal.roles(&compatibles));
        let mut draft = self.draft_for(&roles.collect::<Vec<_>>())?;
        for renewal in more {
            match renewal {
                Renewal::Root => draft.renew_root(now)?,
                Renewal::Roles => draft.renew_roles(now)?,
            }
        }
        self.relists(&draft)?.refuse_in_draft()?;
        draft.leave_old_snapshot(now);
        draft.settle_snapshot(now);
        ask(&draft.statement_to_publish(&self.keyring, now)?)?;
        draft.sign(&self.keyring)?;
        self.send(draft, now).await
    }

    /// The draft, if everything in it is signed.
    fn complete_draft(&self) -> Option<Draft> {
        self.draft.decided().complete().is_ok().then(|| self.draft.clone())
    }

    /// What a change of these roles is made on: the draft if it is complete, else what is published.
    fn draft_for(&self, roles: &[Role]) -> Result<Draft, DraftError> {
        if let Some(draft) = self.complete_draft() {
            return Ok(draft);
        }
        roles.iter().try_for_each(|role| self.draft.free(role))?;
        Ok(Draft::on(self.draft.state().cloned()).with_snapshot_of(&self.draft))
    }

    /// What releases are withdrawn on: where the draft changes that role and nobody elsewhere has signed
    /// that yet, the draft.
    fn draft_to_withdraw(&self, role: &Role) -> Result<Draft, DraftError> {
        if self.draft.free(role).is_err() && self.draft.is_own(&self.keyring, role)? {
            return Ok(self.draft.clone());
        }
        self.draft_for(std::slice::from_ref(role))
    }

    /// Refuses where nobody here could sign for a role, before anything is signed.
    fn can_sign(&self, draft: &Draft, role: &Role) -> Result<(), DraftError> {
        if draft.complete().is_ok() { Ok(()) } else { draft.can_sign(&self.keyring, role) }
    }

    /// Keeps what the server has, which is all there is.
    fn keep_published(&self) -> Result<State, PublishError> {
        let state = self.draft.state().ok_or(DraftError::NotBegun { role: Role::Root })?;
        self.folder.store(state)?;
        Ok(state.clone())
    }

    /// Signs the snapshot and sends everything. Where signatures lack, the draft is kept for those
    /// who can give them.
    async fn send(&mut self, mut draft: Draft, now: UnixTime) -> Result<State, PublishError> {
        let state = match self.finish(&mut draft, now) {
            Err(error @ DraftError::Incomplete(_)) => {
                self.draft.absorb(draft);
                self.folder.store_draft(&self.draft)?;
                return Err(error.into());
            }
            finished => finished?,
        };
        match requests::publish(self.server, &self.new_files(&state)).await {
            Err(error) if error.is_conflict() => return Err(PublishError::Conflict),
            other => other?,
        }
        // Only what a server took is the publisher's: what it refused would be sent again for ever.
        self.folder.store(&state)?;
        self.leave_out_made_over(&draft)?;
        Ok(state)
    }

    /// Leaves out of draft/ what was not published as it stood there, but with a release more or less.
    fn leave_out_made_over(&self, sent: &Draft) -> Result<(), PublishError> {
        let (before, sent) = (self.draft.files(), sent.files());
        let is_made_over = |name: &str, bytes: &[u8]| {
            // Another change may have come there meanwhile.
            let as_before = before.get(name).is_some_and(|before| same_content(before, bytes));
            sent.contains_key(name) && as_before
        };
        Ok(self.folder.leave_out(is_made_over)?)
    }

    fn finish(&self, draft: &mut Draft, now: UnixTime) -> Result<State, DraftError> {
        draft.take_snapshot(now)?;
        draft.sign(&self.keyring)?;
        draft.finish()
    }

    fn new_files(&self, state: &State) -> Files {
        let mut files = state.files();
        files.retain(|name, _| !self.served.contains_key(name));
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

impl Renewal {
    fn roles(self, compatibles: &[Compatible]) -> Vec<Role> {
        match self {
            Self::Root => vec![Role::Root],
            Self::Roles => {
                let below = compatibles.iter().map(Role::from);
                std::iter::once(Role::Targets).chain(below).collect()
            }
        }
    }
}
