//! The client's workflow (chapter 5 of the specification), without I/O: the client says which file
//! it wants and how long it may be; whoever drives it fetches that from wherever and feeds it in.

use super::error::{Misbehaviour, TrustError};
use super::metadata::{FileMeta, Files};
use super::role::{Role, RoleName};
use super::search::Search;
use super::target::Target;
use super::time::UnixTime;
use super::trusted::{Freshness, Trusted};
use super::trusted_set::{Edge, Need, TrustedSet};
use crate::format::Compatible;

/// The most new root versions that one check goes through (5.3.3).
///
/// Off-spec: past it the check fails instead of going on with an old root; the next one goes on.
pub const MAX_ROOTS: u32 = 64;

/// The most delegated roles that the search for one target goes through (5.6.7.1).
pub const MAX_ROLES: usize = 32;

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
    /// `N.<role>.json`, in this project a compatible's.
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
    /// Get this file (in our server below `/v1/metadata/`) and [`Client::feed`] it.
    Fetch {
        /// Its name, one path segment, with what a URL cannot hold written as `%2F`.
        path: String,
        /// The most bytes to read of it; one more shows that it is too large.
        max: u64,
    },
    /// Everything is verified: [`Client::finish`], [`Client::find`] or [`Client::found`].
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
    Delegated(Edge, FileMeta),
    Done,
}

/// What is wanted once the top-level metadata is up to date.
#[derive(Clone, Debug)]
enum Goal {
    /// No more than that.
    TopLevel,
    /// The releases of a compatible.
    Releases(Compatible),
    /// One target, whoever may name it.
    Target(Search),
}

/// One check (5.1: its time is fixed when it begins).
///
/// A reply that is refused leaves the client where it was: the same file may be asked of another
/// server. What was accepted until then is in [`Client::files`] and is worth storing even when
/// the check fails: a device that has seen a newer root or timestamp must not forget it.
#[derive(Clone, Debug)]
pub struct Client {
    set: TrustedSet,
    goal: Goal,
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
        Self::begin(first_root, stored, Goal::Releases(compatible.clone()), now, limits)
    }

    /// Begins a check of the top-level metadata of any repository, after which [`Client::find`]
    /// looks for targets.
    pub fn top_level(
        first_root: &[u8],
        stored: &Files,
        now: UnixTime,
        limits: Limits,
    ) -> Result<(Self, Vec<TrustError>), TrustError> {
        Self::begin(first_root, stored, Goal::TopLevel, now, limits)
    }

    fn begin(
        first_root: &[u8],
        stored: &Files,
        goal: Goal,
        now: UnixTime,
        limits: Limits,
    ) -> Result<(Self, Vec<TrustError>), TrustError> {
        let mut set = TrustedSet::begin(first_root)?;
        let refused = set.load(stored);
        Ok((Self { set, goal, stage: Stage::Root { fetched: 0 }, now, limits }, refused))
    }

    /// What to do next. Asking twice gives the same answer.
    pub fn next(&self) -> Step {
        let layout = self.set.chain.root().layout();
        let named = |role: Role, meta: &FileMeta, limit: u64| Step::Fetch {
            path: role.published_name(layout, meta.version),
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
            Stage::Delegated(edge, meta) => {
                named(Role::Delegated(edge.to.clone()), meta, self.limits.delegated)
            }
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
            // 5.3.3: no next root is the ordinary end of the chain; it must last (5.3.10).
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
        self.take(&bytes)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        match self.stage.clone() {
            Stage::Root { fetched } if fetched < MAX_ROOTS => {
                self.set.take_root(bytes)?;
                self.stage = Stage::Root { fetched: fetched + 1 };
                Ok(())
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
                self.go_on(self.goal.clone())
            }
            Stage::Delegated(edge, _) => self.take_delegated(&edge, bytes),
            Stage::Done => Err(TrustError::OutOfTurn("fed")),
        }
    }

    fn after_timestamp(&mut self) -> Result<(), TrustError> {
        match self.set.need_snapshot(self.now)? {
            Need::Fetch(meta) => self.stage = Stage::Snapshot(meta),
            Need::AtHand => self.after_snapshot()?,
        }
        Ok(())
    }

    fn after_snapshot(&mut self) -> Result<(), TrustError> {
        match self.set.need_targets(self.now)? {
            Need::Fetch(meta) => self.stage = Stage::Targets(meta),
            Need::AtHand => self.go_on(self.goal.clone())?,
        }
        Ok(())
    }

    fn take_delegated(&mut self, edge: &Edge, bytes: &[u8]) -> Result<(), TrustError> {
        let held = self.set.verify_delegated(edge, bytes, self.now)?;
        if let Goal::Releases(compatible) = &self.goal {
            held.metadata.releases(compatible)?;
        }
        self.set.keep_delegated(edge.to.clone(), held);
        self.go_on(self.goal.clone())
    }

    /// Goes on to the next file that the goal needs. Nothing changes if that fails: a search in
    /// which one role is missing must not go on to the roles after it, which are trusted less.
    fn go_on(&mut self, mut goal: Goal) -> Result<(), TrustError> {
        let needed = match &mut goal {
            Goal::TopLevel => None,
            Goal::Releases(compatible) => self.releases_role(compatible)?,
            Goal::Target(search) => search.go_on(&self.set, self.now)?,
        };
        self.stage = needed.map_or(Stage::Done, |(edge, meta)| Stage::Delegated(edge, meta));
        self.goal = goal;
        Ok(())
    }

    fn releases_role(
        &self,
        compatible: &Compatible,
    ) -> Result<Option<(Edge, FileMeta)>, TrustError> {
        self.set.targets_of(&Role::Targets)?.delegated(compatible)?;
        let edge = Edge { delegator: Role::Targets, to: compatible.into() };
        match self.set.need_delegated(&edge, self.now)? {
            Need::Fetch(meta) => Ok(Some((edge, meta))),
            Need::AtHand => Ok(None),
        }
    }

    fn role(&self) -> Role {
        match &self.stage {
            Stage::Root { .. } => Role::Root,
            Stage::Timestamp => Role::Timestamp,
            Stage::Snapshot(_) => Role::Snapshot,
            Stage::Targets(_) | Stage::Done => Role::Targets,
            Stage::Delegated(edge, _) => Role::Delegated(edge.to.clone()),
        }
    }

    /// Everything that is trusted by now, to be stored in place of everything stored before.
    pub fn files(&self) -> Files {
        self.set.files()
    }

    /// Whether a root that was taken in this check gives the timestamp other keys. What the old ones
    /// said of the time was then perhaps a thief's word: the clock's floor falls back to what people
    /// signed, before [`Self::files`] are stored. Of this check the time stays what it was (5.1).
    pub fn timestamp_rotated(&self) -> bool {
        self.set.timestamp_rotated
    }

    /// Begins the search for a target (5.6.7), once the top-level metadata is up to date. A search
    /// before it is given up; what it verified is verified again where the way to it is another.
    pub fn find(&mut self, path: &str) -> Result<(), TrustError> {
        match self.stage {
            Stage::Done | Stage::Delegated(..) => {
                self.go_on(Goal::Target(Search::begin(path.to_owned())))
            }
            _ => Err(TrustError::OutOfTurn("searched")),
        }
    }

    /// What the search that is done has found: nothing if no role that may name it does.
    pub fn found(&self) -> Result<Option<&Target>, TrustError> {
        match (&self.goal, &self.stage) {
            (Goal::Target(search), Stage::Done) => Ok(search.found()),
            _ => Err(TrustError::OutOfTurn("searched")),
        }
    }

    /// The result of a check for a compatible's releases that is done.
    pub fn finish(self) -> Result<Trusted, TrustError> {
        let early = TrustError::OutOfTurn("finished");
        let Self { set, stage: Stage::Done, goal: Goal::Releases(compatible), .. } = self else {
            return Err(early);
        };
        let (files, timestamp_rotated) = (set.files(), set.timestamp_rotated);
        let delegated = set.delegated.get(&RoleName::from(&compatible));
        let (Some(timestamp), Some(snapshot), Some(targets), Some(delegated)) =
            (&set.timestamp, &set.snapshot, &set.targets, delegated)
        else {
            return Err(early);
        };
        let (timestamp, delegated) = (&timestamp.metadata, &delegated.metadata);
        let until =
            [set.chain.root().expires(), snapshot.metadata.expires(), targets.metadata.expires()];
        let expires = until.into_iter().fold(delegated.expires(), UnixTime::min);
        Ok(Trusted {
            releases: delegated.releases(&compatible)?,
            compatible,
            freshness: Some(Freshness {
                timestamp_version: timestamp.version(),
                signed_at: timestamp.signed_at,
                timestamp_expires: timestamp.expires(),
            }),
            expires,
            files,
            timestamp_rotated,
        })
    }
}
