//! A device's check of the repository, without I/O: the client says which file it wants and how
//! long it may be; whoever drives it fetches that from wherever and feeds it in.

use super::error::{Misbehaviour, Role, TrustError};
use super::metadata::{FileMeta, Files};
use super::release::SignedRelease;
use super::time::UnixTime;
use super::trusted_set::{Need, TrustedSet};
use crate::format::Compatible;

/// The most new root versions that one check goes through (5.3.3); the next check goes on.
pub const MAX_ROOTS: u32 = 64;

/// The most bytes that a file of each role may have, whatever a peer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `N.root.json`.
    pub root: u64,
    /// `timestamp.json`.
    pub timestamp: u64,
    /// `N.snapshot.json`.
    pub snapshot: u64,
    /// `N.targets.json`.
    pub targets: u64,
    /// `N.<compatible>.json`.
    pub delegated: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let kib = 1024;
        Self {
            root: 64 * kib,
            timestamp: 16 * kib,
            snapshot: 256 * kib,
            targets: 256 * kib,
            delegated: 64 * kib,
        }
    }
}

impl Limits {
    /// The most that a role's file may have.
    pub fn of(&self, role: &Role) -> u64 {
        match role {
            Role::Root => self.root,
            Role::Timestamp => self.timestamp,
            Role::Snapshot => self.snapshot,
            Role::Targets => self.targets,
            Role::Delegated(_) => self.delegated,
        }
    }
}

/// What a check needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Get this file (below `/v1/metadata/`) and [`Client::feed`] it.
    Fetch {
        /// Its name, one path segment.
        path: String,
        /// The most bytes to read of it; one more shows that it is too large.
        max: u64,
    },
    /// Everything is verified: [`Client::finish`].
    Done,
}

/// What the peer answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The file, or its first `max + 1` bytes.
    Bytes(Vec<u8>),
    /// There is no such file. (An error of the connection is no answer: it is not fed.)
    NotFound,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Root { fetched: u32 },
    Timestamp,
    Snapshot(FileMeta),
    Targets(FileMeta),
    Delegated(FileMeta),
    Done,
}

/// One check (5.1: its time is fixed when it begins).
///
/// A reply that is refused leaves the client where it was: the same file may be asked of another
/// server. What was accepted until then is in [`Client::files`] and is worth storing even when
/// the check fails: a device that has seen a newer root or timestamp must not forget it.
#[derive(Clone, Debug)]
pub struct Client {
    set: TrustedSet,
    stage: Stage,
    now: UnixTime,
    limits: Limits,
}

impl Client {
    /// Begins a check for the releases of `compatible` from the first root of trust (the image's
    /// `1.root.json`) and the files that earlier checks stored. Those are verified anew; the ones
    /// that do not verify are left out and returned, for the log.
    pub fn new(
        first_root: &[u8],
        stored: &Files,
        compatible: &Compatible,
        now: UnixTime,
        limits: Limits,
    ) -> Result<(Self, Vec<TrustError>), TrustError> {
        let mut set = TrustedSet::begin(first_root, compatible)?;
        let refused = set.load(stored);
        Ok((Self { set, stage: Stage::Root { fetched: 0 }, now, limits }, refused))
    }

    /// What to do next. Asking twice gives the same answer.
    pub fn next(&self) -> Step {
        let named = |role: Role, meta: &FileMeta, limit: u64| Step::Fetch {
            path: format!("{}.{role}.json", meta.version),
            max: meta.length.map_or(limit, |length| length.min(limit)),
        };
        match &self.stage {
            Stage::Root { .. } => match self.set.chain.next_file() {
                Some(path) => Step::Fetch { path, max: self.limits.root },
                None => Step::Done,
            },
            Stage::Timestamp => {
                Step::Fetch { path: "timestamp.json".to_owned(), max: self.limits.timestamp }
            }
            Stage::Snapshot(meta) => named(Role::Snapshot, meta, self.limits.snapshot),
            Stage::Targets(meta) => named(Role::Targets, meta, self.limits.targets),
            Stage::Delegated(meta) => named(self.set.delegated_role(), meta, self.limits.delegated),
            Stage::Done => Step::Done,
        }
    }

    /// Takes the answer to the last [`Step::Fetch`].
    pub fn feed(&mut self, reply: Reply) -> Result<(), TrustError> {
        let Step::Fetch { path, max } = self.next() else {
            return Err(TrustError::OutOfTurn("fed"));
        };
        let role = self.role();
        let bytes = match (reply, &self.stage) {
            // 5.3.3: no next root is the ordinary end of the chain.
            (Reply::NotFound, Stage::Root { .. }) => {
                self.set.chain.unexpired(self.now)?;
                self.stage = Stage::Timestamp;
                return Ok(());
            }
            (Reply::NotFound, _) => return Err(TrustError::Missing { role, file: path }),
            (Reply::Bytes(bytes), _) => bytes,
        };
        if bytes.len() as u64 > max {
            let fault = Misbehaviour::TooLarge { max };
            return Err(TrustError::Misbehaved { role, version: None, fault });
        }
        self.stage = self.take(&bytes)?;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Stage, TrustError> {
        match self.stage {
            Stage::Root { fetched } if fetched < MAX_ROOTS => {
                self.set.take_root(bytes)?;
                Ok(Stage::Root { fetched: fetched + 1 })
            }
            Stage::Root { fetched } => {
                let version = self.set.chain.root().version();
                Err(TrustError::EndlessRoots { version, count: fetched })
            }
            Stage::Timestamp => {
                self.set.take_timestamp(bytes, self.now)?;
                self.after_timestamp()
            }
            Stage::Snapshot(_) => {
                self.set.take_snapshot(bytes, self.now)?;
                self.after_snapshot()
            }
            Stage::Targets(_) => {
                self.set.take_targets(bytes, self.now)?;
                self.after_targets()
            }
            Stage::Delegated(_) => {
                self.set.take_delegated(bytes, self.now)?;
                Ok(Stage::Done)
            }
            Stage::Done => Err(TrustError::OutOfTurn("fed")),
        }
    }

    fn after_timestamp(&self) -> Result<Stage, TrustError> {
        match self.set.need_snapshot(self.now)? {
            Need::Fetch(meta) => Ok(Stage::Snapshot(meta)),
            Need::AtHand => self.after_snapshot(),
        }
    }

    fn after_snapshot(&self) -> Result<Stage, TrustError> {
        match self.set.need_targets(self.now)? {
            Need::Fetch(meta) => Ok(Stage::Targets(meta)),
            Need::AtHand => self.after_targets(),
        }
    }

    fn after_targets(&self) -> Result<Stage, TrustError> {
        match self.set.need_delegated(self.now)? {
            Need::Fetch(meta) => Ok(Stage::Delegated(meta)),
            Need::AtHand => Ok(Stage::Done),
        }
    }

    fn role(&self) -> Role {
        match self.stage {
            Stage::Root { .. } => Role::Root,
            Stage::Timestamp => Role::Timestamp,
            Stage::Snapshot(_) => Role::Snapshot,
            Stage::Targets(_) => Role::Targets,
            Stage::Delegated(_) | Stage::Done => self.set.delegated_role(),
        }
    }

    /// Everything that is trusted by now, to be stored in place of everything stored before.
    pub fn files(&self) -> Files {
        self.set.files()
    }

    /// The result of a check that is done.
    pub fn finish(self) -> Result<Trusted, TrustError> {
        let Self { set, stage: Stage::Done, .. } = self else {
            return Err(TrustError::OutOfTurn("finished"));
        };
        let files = set.files();
        let early = TrustError::OutOfTurn("finished");
        let (Some(timestamp), Some(snapshot), Some(targets), Some(delegated)) =
            (set.timestamp, set.snapshot, set.targets, set.delegated)
        else {
            return Err(early);
        };
        let (timestamp, delegated) = (timestamp.metadata, delegated.metadata);
        let until =
            [set.chain.root().expires(), snapshot.metadata.expires(), targets.metadata.expires()];
        let expires = until.into_iter().fold(delegated.expires(), UnixTime::min);
        Ok(Trusted {
            releases: delegated.releases(&set.compatible)?,
            compatible: set.compatible,
            freshness: Some(Freshness {
                timestamp_version: timestamp.version(),
                signed_at: timestamp.signed_at,
                timestamp_expires: timestamp.expires(),
            }),
            expires,
            files,
        })
    }
}

/// The server's signed word that this is the newest state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Version of the timestamp metadata.
    pub timestamp_version: u64,
    /// When the server signed it: raises the clock floor. Not every server says it.
    pub signed_at: Option<UnixTime>,
    /// Until when "up to date" may be said of it.
    pub timestamp_expires: UnixTime,
}

/// What a verification found. There is no other way to make one.
#[derive(Clone, Debug)]
pub struct Trusted {
    pub(super) compatible: Compatible,
    pub(super) releases: Vec<SignedRelease>,
    pub(super) freshness: Option<Freshness>,
    pub(super) expires: UnixTime,
    pub(super) files: Files,
}

impl Trusted {
    /// Whose releases these are.
    pub fn compatible(&self) -> &Compatible {
        &self.compatible
    }

    /// The releases on offer and the floors, lowest counter first.
    pub fn releases(&self) -> &[SignedRelease] {
        &self.releases
    }

    /// The release of that name.
    pub fn release(&self, name: &str) -> Option<&SignedRelease> {
        self.releases.iter().find(|release| release.facts().release.as_str() == name)
    }

    /// Proof of freshness: none for an offline bundle.
    pub fn freshness(&self) -> Option<Freshness> {
        self.freshness
    }

    /// When the server signed the timestamp: raises the clock floor.
    pub fn timestamp_signed_at(&self) -> Option<UnixTime> {
        self.freshness.and_then(|fresh| fresh.signed_at)
    }

    /// When the timestamp expires, from which moment on the device is stale.
    pub fn timestamp_expires(&self) -> Option<UnixTime> {
        self.freshness.map(|fresh| fresh.timestamp_expires)
    }

    /// The earliest end of what people signed (root, snapshot, targets, the compatible's role).
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The files to store in place of everything stored before. After a bundle: only roots, to be
    /// stored beside what is there.
    pub fn files_to_store(&self) -> &Files {
        &self.files
    }
}
