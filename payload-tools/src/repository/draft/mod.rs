//! What is going to be published: the next version of some roles, and the signatures that they have
//! so far.

mod changed;
mod content;
mod edit;
mod error;
mod gaps;
mod releases;
mod sign;
mod standing;
mod statement;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::published::{Published, published_name};
use super::removals::{Removal, Removals};
use super::state::{State, compatibles_of, newest_file};
use crate::format::{Compatible, Release, ReleaseFacts};
use crate::trust::metadata::{
    Files, Header, Metadata, RoleKeys, Root, Signers, Snapshot, Targets, Unverified, same_content,
};
use crate::trust::{KeyId, Limits, Role, SignedRelease, TrustError, UnixTime};

pub use edit::{Birth, KeyChange, RoleSeed};
pub use error::DraftError;
pub use gaps::Gap;
pub use releases::Signing;
use sign::Signable;
pub(super) use sign::ids_at_hand;
pub use standing::Standing;
pub(super) use statement::in_a_line;
pub use statement::{Paper, Statement};

/// Days that each role's signature is good for.
pub mod lifetime_days {
    /// Root: two years.
    pub const ROOT: u32 = 730;
    /// Targets, and every compatible's role: one year.
    pub const TARGETS: u32 = 365;
    /// Snapshot: the longest that a stolen server can keep news from devices.
    pub const SNAPSHOT: u32 = 90;
}

/// Changes on top of a [`State`]: the next file of every role that changes, with any number of
/// signatures. Only what signing needs is here; where keys come from is a
/// [`Signer`](super::Signer)'s business.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Nothing before a repository is born.
    base: Option<State>,
    root: Option<Unverified<Root>>,
    targets: Option<Unverified<Targets>>,
    delegated: BTreeMap<Compatible, Unverified<Targets>>,
    snapshot: Option<Unverified<Snapshot>>,
}

impl Draft {
    /// No change yet of what `state` is.
    pub fn on(state: Option<State>) -> Self {
        let delegated = BTreeMap::new();
        Self { base: state, root: None, targets: None, delegated, snapshot: None }
    }

    /// Reads changes of `state` from files by their published names. What was published meanwhile,
    /// just so, is no change any more; what was overtaken by something else is refused, and so is what
    /// was changed after somebody had signed it.
    pub fn load(state: Option<State>, files: &Files) -> Result<Self, DraftError> {
        let mut draft = Self::read(state, files)?;
        draft.refuse_misattributed()?;
        draft.keep_valid_signatures()?;
        Ok(draft)
    }

    /// The same with the signatures as they are there.
    fn read(state: Option<State>, files: &Files) -> Result<Self, DraftError> {
        let mut draft = Self::on(state);
        draft.root = draft.next_file(files, &Role::Root)?;
        draft.targets = draft.next_file(files, &Role::Targets)?;
        for compatible in draft.compatibles() {
            if let Some(file) = draft.next_file(files, &Role::from(&compatible))? {
                draft.delegated.insert(compatible, file);
            }
        }
        // A snapshot is made anew whenever it does not fit: nobody decided anything in it.
        draft.snapshot = draft.next_file(files, &Role::Snapshot).unwrap_or_default();
        draft.check_content()?;
        draft.keep_fitting_snapshot();
        Ok(draft)
    }

    fn next_file<T: Metadata>(
        &self,
        files: &Files,
        role: &Role,
    ) -> Result<Option<Unverified<T>>, DraftError> {
        let Some((named, bytes)) = newest_file(files, role) else { return Ok(None) };
        let damaged = |error| DraftError::damaged(published_name(role, named), error);
        let file = Unverified::parse(role, bytes).map_err(damaged)?;
        let (version, next) = (file.version(), self.next_version(role)?);
        if self.is_published(role, version, bytes) {
            return Ok(None);
        }
        match version.cmp(&next) {
            Ordering::Less => Err(DraftError::Overtaken { role: role.clone(), version }),
            Ordering::Equal => Ok(Some(file)),
            Ordering::Greater => Err(DraftError::Ahead { role: role.clone(), version }),
        }
    }

    fn is_published(&self, role: &Role, version: u64, bytes: &[u8]) -> bool {
        let files = self.base.as_ref().map(State::files).unwrap_or_default();
        let published = files.get(&published_name(role, version));
        published.is_some_and(|published| same_content(published, bytes))
    }

    /// Goes on from what a server has published.
    pub fn adopt(self, published: &Published) -> Result<Self, DraftError> {
        Self::load(Some(published.into()), &self.files())
    }

    /// When a key was taken out of a role, `of` before others, by the metadata that is at hand.
    pub fn removal(&self, key: &KeyId, of: Option<&Role>) -> Option<Removal> {
        let removals = Removals::of(self.base.as_ref()?);
        removals.find(key, of.map(Role::to_string).as_deref()).cloned()
    }

    /// What it changes.
    pub fn state(&self) -> Option<&State> {
        self.base.as_ref()
    }

    /// The changed files by their published names, with the signatures that there are.
    pub fn files(&self) -> Files {
        let named = |(role, file): (Role, &dyn Signable)| {
            (published_name(&role, file.version()), file.to_bytes())
        };
        self.changed().into_iter().map(named).collect()
    }

    /// Whether nothing is changed; a snapshot of what is published changes nothing.
    pub fn changes_nothing(&self) -> bool {
        self.root.is_none() && self.targets.is_none() && self.delegated.is_empty()
    }

    /// Refuses to change a role that another change waits for.
    pub fn free(&self, role: &Role) -> Result<(), DraftError> {
        let taken = match role {
            Role::Root => self.root.is_some(),
            Role::Targets => self.targets.is_some(),
            Role::Delegated(_) => self.delegated.keys().any(|name| Role::from(name) == *role),
            Role::Snapshot | Role::Timestamp => false,
        };
        if taken { Err(DraftError::InTheWay { role: role.clone() }) } else { Ok(()) }
    }

    /// Where a release is to be listed: on the published state, or, where this very change of the
    /// compatible's role waits for signatures, on that; other changes are left out.
    pub fn for_release(&self, facts: &ReleaseFacts) -> Result<Self, DraftError> {
        let compatible = &facts.compatible;
        let mut draft = Self::on(self.base.clone());
        let Some(file) = self.delegated.get(compatible) else { return Ok(draft) };
        let before = draft.releases(compatible).unwrap_or_default();
        let is_this = |release: &SignedRelease| {
            release.facts().release == facts.release && !before.contains(release)
        };
        if !self.releases(compatible)?.iter().any(is_this) {
            return Err(DraftError::InTheWay { role: compatible.into() });
        }
        draft.delegated.insert(compatible.clone(), file.clone());
        Ok(draft)
    }

    /// The same without the snapshot, in which nobody decides anything.
    pub fn decided(&self) -> Self {
        Self { snapshot: None, ..self.clone() }
    }

    /// Takes over the snapshot that another draft has, for as long as it fits.
    pub fn with_snapshot_of(self, other: &Self) -> Self {
        let mut draft = Self { snapshot: other.snapshot.clone(), ..self };
        draft.keep_fitting_snapshot();
        draft
    }

    /// Adds what another draft of the same state changes.
    pub fn absorb(&mut self, other: Self) {
        self.root = other.root.or(self.root.take());
        self.targets = other.targets.or(self.targets.take());
        self.delegated.extend(other.delegated);
        self.snapshot = other.snapshot;
    }

    /// Root as it will be; nothing before a repository is born.
    pub(super) fn root(&self) -> Option<&Root> {
        let base = self.base.as_ref().map(|state| &**state.chain.root());
        self.root.as_ref().map(Unverified::claims).or(base)
    }

    /// Targets as it will be.
    pub(super) fn targets(&self) -> Option<&Targets> {
        let base = self.base.as_ref().map(|state| &*state.targets.metadata);
        self.targets.as_ref().map(Unverified::claims).or(base)
    }

    /// A compatible's role as it will be.
    pub(super) fn delegated(&self, compatible: &Compatible) -> Result<&Targets, DraftError> {
        if let Some(file) = self.delegated.get(compatible) {
            return Ok(file.claims());
        }
        let no_role = || DraftError::NoRole { compatible: compatible.clone() };
        let state = self.base.as_ref().ok_or_else(no_role)?;
        Ok(&state.role(compatible)?.metadata)
    }

    fn required_root(&self) -> Result<&Root, DraftError> {
        self.root().ok_or(DraftError::NotBegun { role: Role::Root })
    }

    fn required_targets(&self) -> Result<&Targets, DraftError> {
        self.targets().ok_or(DraftError::NotBegun { role: Role::Targets })
    }

    /// The compatibles that will have a role.
    pub fn compatibles(&self) -> Vec<Compatible> {
        self.targets().map(compatibles_of).unwrap_or_default()
    }

    /// The releases that will be on offer to a compatible, lowest counter first.
    pub fn releases(&self, compatible: &Compatible) -> Result<Vec<SignedRelease>, DraftError> {
        let listed = self.delegated(compatible)?.releases(compatible);
        let role = Role::from(compatible);
        Ok(listed.map_err(|fault| TrustError::Misbehaved { role, version: None, fault })?)
    }

    /// The releases that will be listed and are not now.
    pub(crate) fn newly_listed(&self) -> Result<Vec<(Compatible, Release)>, DraftError> {
        let mut new = Vec::new();
        for compatible in self.delegated.keys() {
            let before = match self.base.as_ref().map(|state| state.releases(compatible)) {
                None | Some(Err(DraftError::NoRole { .. })) => Vec::new(),
                Some(listed) => listed?,
            };
            let names = |listed: Vec<SignedRelease>| -> Vec<Release> {
                listed.iter().map(|listed| listed.facts().release.clone()).collect()
            };
            let (before, after) = (names(before), names(self.releases(compatible)?));
            let is_new = |release: &Release| !before.contains(release);
            new.extend(after.into_iter().filter(is_new).map(|new| (compatible.clone(), new)));
        }
        Ok(new)
    }

    /// Who will have to sign for a role.
    pub(super) fn signers(&self, role: &Role) -> Result<Signers<'_>, DraftError> {
        let root = self.required_root()?;
        Ok(match role {
            Role::Root => root.signers(|roles| &roles.root),
            Role::Targets => root.signers(|roles| &roles.targets),
            Role::Snapshot => root.signers(|roles| &roles.snapshot),
            Role::Timestamp => root.signers(|roles| &roles.timestamp),
            Role::Delegated(name) => {
                let no_role = || match name.as_str().parse() {
                    Ok(compatible) => DraftError::NoRole { compatible },
                    Err(_) => DraftError::NotBegun { role: role.clone() },
                };
                self.required_targets()?.signers_of(name).ok_or_else(no_role)?
            }
        })
    }

    /// The keys of a role as they will be.
    pub(super) fn keys(&self, role: &Role) -> Result<&RoleKeys, DraftError> {
        Ok(self.signers(role)?.role)
    }

    /// The ids of the keys that will sign for a role.
    pub fn key_ids(&self, role: &Role) -> Result<Vec<KeyId>, DraftError> {
        Ok(self.keys(role)?.keyids.clone())
    }

    /// How many of them must.
    pub fn threshold(&self, role: &Role) -> Result<u32, DraftError> {
        Ok(self.keys(role)?.threshold)
    }

    /// The version that a role's next file has: of a role that was revoked, and of the snapshot, too,
    /// one that no device has seen.
    pub fn next_version(&self, role: &Role) -> Result<u64, DraftError> {
        let last = self.base.as_ref().map_or(0, |state| match role {
            Role::Root => state.chain.root().version(),
            Role::Targets => state.targets.metadata.version(),
            Role::Snapshot => state.snapshot_version().unwrap_or(0),
            Role::Timestamp => 0,
            Role::Delegated(name) => {
                let held = state.delegated.iter().find(|(held, _)| held.as_str() == name.as_str());
                let named =
                    state.named_before().get(&role.meta_path()).map_or(0, |meta| meta.version);
                held.map_or(named, |(_, held)| held.metadata.version())
            }
        });
        last.checked_add(1).ok_or(DraftError::Exhausted { role: role.clone() })
    }

    /// The next file of a role with that content, and no signature.
    fn unsigned<T: Metadata>(
        &self,
        role: &Role,
        body: T,
        expires: UnixTime,
    ) -> Result<Unverified<T>, DraftError> {
        let header = Header::new::<T>(self.next_version(role)?, expires);
        let json = |source| DraftError::Json { role: role.clone(), source };
        Unverified::draft(role, header, body).map_err(json)
    }
}

/// Refuses a file that devices would not read.
fn fits(role: &Role, bytes: &[u8]) -> Result<(), DraftError> {
    let (length, max) = (bytes.len() as u64, Limits::default().of(role));
    if length > max {
        return Err(DraftError::TooLarge { role: role.clone(), length, max });
    }
    Ok(())
}
