//! Signatures: who may give them, who has, and what comes of it when there are enough.

use std::collections::{BTreeMap, BTreeSet};

use super::standing::Standing;
use super::{Draft, DraftError, fits, lifetime_days};
use crate::keyring::Signer;
use crate::repository::state::State;
use crate::trust::metadata::{
    Copies, FileMeta, Files, Metadata, Signers, Snapshot, Targets, Unverified,
};
use crate::trust::root_chain::RootChain;
use crate::trust::trusted_set::Held;
use crate::trust::{KeyId, Role, UnixTime};

/// Days that people may take to sign a renewed snapshot in several places.
const GATHERING_DAYS: u32 = 7;

/// A file of any role that is being signed.
pub(super) trait Signable {
    fn version(&self) -> u64;
    fn expires(&self) -> UnixTime;
    fn message(&self) -> &[u8];
    fn to_bytes(&self) -> Vec<u8>;
    fn signed_by(&self, signers: Signers<'_>) -> BTreeSet<KeyId>;
    fn misattributed_to(&self, signers: Signers<'_>) -> BTreeSet<KeyId>;
}

impl<T: Metadata> Signable for Unverified<T> {
    fn version(&self) -> u64 {
        Unverified::version(self)
    }

    fn expires(&self) -> UnixTime {
        Unverified::expires(self)
    }

    fn message(&self) -> &[u8] {
        Unverified::message(self)
    }

    fn to_bytes(&self) -> Vec<u8> {
        Unverified::to_bytes(self)
    }

    fn signed_by(&self, signers: Signers<'_>) -> BTreeSet<KeyId> {
        Unverified::signed_by(self, signers)
    }

    fn misattributed_to(&self, signers: Signers<'_>) -> BTreeSet<KeyId> {
        Unverified::misattributed_to(self, signers)
    }
}

/// Who must sign a file, and which file says so.
pub(super) struct Requirement<'a> {
    pub listed_in: String,
    pub signers: Signers<'a>,
}

impl Draft {
    /// The files that change, in the order in which a device reads them.
    pub(super) fn changed(&self) -> Vec<(Role, &dyn Signable)> {
        let mut all: Vec<(Role, &dyn Signable)> = Vec::new();
        all.extend(self.root.as_ref().map(|file| (Role::Root, file as &dyn Signable)));
        all.extend(self.targets.as_ref().map(|file| (Role::Targets, file as &dyn Signable)));
        for (compatible, file) in &self.delegated {
            all.push((compatible.into(), file));
        }
        all.extend(self.snapshot.as_ref().map(|file| (Role::Snapshot, file as &dyn Signable)));
        all
    }

    /// Who must sign a role's next file: of root, the keys before it and its own (6.1).
    pub(super) fn requirements(&self, role: &Role) -> Result<Vec<Requirement<'_>>, DraftError> {
        let mut all = Vec::new();
        if let (Role::Root, Some(state)) = (role, &self.base) {
            let root = state.chain.root();
            let signers = root.signers(|roles| &roles.root);
            all.push(Requirement { listed_in: format!("root {}", root.version()), signers });
        }
        let lister = match role {
            Role::Delegated(_) => Role::Targets,
            _ => Role::Root,
        };
        let version = match (&lister, &self.root, &self.targets) {
            (Role::Root, Some(root), _) => root.version(),
            (Role::Targets, _, Some(targets)) => targets.version(),
            _ => self.next_version(&lister)?.saturating_sub(1),
        };
        let listed_in = format!("{lister} {version}");
        all.push(Requirement { listed_in, signers: self.signers(role)? });
        Ok(all)
    }

    /// How far the signatures of every changed file have come.
    pub fn standings(&self) -> Result<Vec<Standing>, DraftError> {
        let mut standings = Vec::new();
        for (role, file) in self.changed() {
            for Requirement { listed_in, signers } in self.requirements(&role)? {
                let signed = file.signed_by(signers);
                let unsigned = signers.role.keyids.iter().filter(|id| !signed.contains(*id));
                standings.push(Standing {
                    role: role.to_string(),
                    version: file.version(),
                    listed_in,
                    threshold: signers.role.threshold,
                    unsigned: unsigned.cloned().collect(),
                    signed: signed.into_iter().collect(),
                });
            }
        }
        Ok(standings)
    }

    /// Refuses what has too few signatures.
    pub fn complete(&self) -> Result<(), DraftError> {
        let mut standings = self.standings()?;
        standings.retain(|standing| !standing.is_complete());
        if standings.is_empty() { Ok(()) } else { Err(DraftError::Incomplete(standings)) }
    }

    /// The keys at hand that a role's next file needs: no more than it takes, so that nobody is asked
    /// for a passphrase in vain.
    pub(super) fn needed_keys(
        &self,
        role: &Role,
        signed: &dyn Fn(Signers<'_>) -> BTreeSet<KeyId>,
        at_hand: &BTreeSet<KeyId>,
    ) -> Result<BTreeSet<KeyId>, DraftError> {
        let mut needed = BTreeSet::new();
        for Requirement { signers, .. } in self.requirements(role)? {
            let have = signed(signers);
            let counted = |id: &&KeyId| have.contains(*id) || needed.contains(*id);
            let done = signers.role.keyids.iter().filter(counted).count();
            let lacking = usize::try_from(signers.role.threshold).unwrap_or(usize::MAX);
            let lacking = lacking.saturating_sub(done);
            let free =
                |id: &&KeyId| at_hand.contains(*id) && !have.contains(*id) && !needed.contains(*id);
            let keys: Vec<_> = signers.role.keyids.iter().filter(free).take(lacking).collect();
            needed.extend(keys.into_iter().cloned());
        }
        Ok(needed)
    }

    /// Whether nothing will lack once these keys have signed.
    pub(super) fn will_be_complete(&self, at_hand: &BTreeSet<KeyId>) -> Result<bool, DraftError> {
        let can = |standing: Standing| {
            let more = standing.unsigned.iter().filter(|id| at_hand.contains(*id)).count();
            more >= standing.lacking()
        };
        Ok(self.standings()?.into_iter().all(can))
    }

    /// Signs with the keys at hand what needs their signatures.
    pub fn sign(&mut self, signer: &impl Signer) -> Result<(), DraftError> {
        let at_hand = ids_at_hand(signer);
        let mut signatures = Vec::new();
        for (role, file) in self.changed() {
            let keys = self.needed_keys(&role, &|signers| file.signed_by(signers), &at_hand)?;
            for key in keys {
                let signature = signer.sign(&key, file.message())?;
                signatures.push((role.clone(), key, signature));
            }
        }
        for (role, key, signature) in signatures {
            self.add(&role, key, signature);
        }
        Ok(())
    }

    fn add(&mut self, role: &Role, key: KeyId, signature: String) {
        match role {
            Role::Root => {
                self.root.iter_mut().for_each(|file| file.add(key.clone(), signature.clone()))
            }
            Role::Targets => {
                self.targets.iter_mut().for_each(|file| file.add(key.clone(), signature.clone()));
            }
            Role::Snapshot => {
                self.snapshot.iter_mut().for_each(|file| file.add(key.clone(), signature.clone()));
            }
            Role::Timestamp => {}
            Role::Delegated(name) => {
                let mut files = self.delegated.iter_mut();
                if let Some((_, file)) = files.find(|(held, _)| held.as_str() == name.as_str()) {
                    file.add(key, signature);
                }
            }
        }
    }

    /// Whether the keys at hand gave every signature that a role's next file has: then who holds them
    /// may change it, and nobody has to sign again in another place.
    pub fn is_own(&self, signer: &impl Signer, role: &Role) -> Result<bool, DraftError> {
        let at_hand = ids_at_hand(signer);
        let standings = self.standings()?.into_iter();
        let mut signed =
            standings.filter(|of| of.role == role.to_string()).flat_map(|of| of.signed);
        Ok(signed.all(|id| at_hand.contains(&id)))
    }

    /// The keys that may sign something of it, whether they have or not.
    pub fn may_sign(&self) -> Result<BTreeSet<KeyId>, DraftError> {
        let mut listed = BTreeSet::new();
        for (role, _) in self.changed() {
            for Requirement { signers, .. } in self.requirements(&role)? {
                listed.extend(signers.role.keyids.iter().cloned());
            }
        }
        Ok(listed)
    }

    /// Refuses where none of the keys at hand signs for a role, before anything is signed.
    pub fn can_sign(&self, signer: &impl Signer, role: &Role) -> Result<(), DraftError> {
        let (listed, at_hand) = (self.key_ids(role)?, ids_at_hand(signer));
        if listed.iter().any(|id| at_hand.contains(id)) {
            return Ok(());
        }
        Err(DraftError::NoKey { role: role.clone(), listed })
    }

    /// Makes the snapshot of what is changed and complete, unless the one at hand is that.
    pub fn take_snapshot(&mut self, now: UnixTime) -> Result<(), DraftError> {
        let meta = self.next_meta()?;
        self.leave_snapshot_of(Some(&meta), now);
        if self.snapshot.is_none() {
            let expires = now.plus_days(lifetime_days::SNAPSHOT);
            self.snapshot = Some(self.unsigned(&Role::Snapshot, Snapshot { meta }, expires)?);
        }
        Ok(())
    }

    /// Leaves out a snapshot that is not as good as new: one that waited for signatures for longer than
    /// those take to gather would end long before its time.
    pub fn leave_old_snapshot(&mut self, now: UnixTime) {
        let fresh = now.plus_days(lifetime_days::SNAPSHOT - GATHERING_DAYS);
        self.snapshot = self.snapshot.take().filter(|file| file.expires() >= fresh);
    }

    /// Leaves out a snapshot that [`Self::take_snapshot`] would make anew: nobody is to sign it.
    pub fn settle_snapshot(&mut self, now: UnixTime) {
        let meta = self.next_meta().ok();
        self.leave_snapshot_of(meta.as_ref(), now);
    }

    fn leave_snapshot_of(&mut self, meta: Option<&BTreeMap<String, FileMeta>>, now: UnixTime) {
        // A day more, for clocks that differ.
        let latest = now.plus_days(lifetime_days::SNAPSHOT + 1);
        let fits = |file: &Unverified<Snapshot>| {
            meta == Some(&file.claims().meta) && file.expires() > now && file.expires() <= latest
        };
        if !self.snapshot.as_ref().is_some_and(fits) {
            self.snapshot = None;
        }
    }

    fn next_meta(&self) -> Result<BTreeMap<String, FileMeta>, DraftError> {
        let state = self.decided().finish()?;
        let mut meta = state.named_before();
        let mut name = |role: Role, held: &Held<Targets>| {
            meta.insert(role.meta_path(), FileMeta::of(held.metadata.version(), &held.bytes));
        };
        name(Role::Targets, &state.targets);
        for (compatible, held) in &state.delegated {
            name(compatible.into(), held);
        }
        Ok(meta)
    }

    /// The state that follows, if everything is signed: read as a server and a device will.
    pub fn finish(&self) -> Result<State, DraftError> {
        self.complete()?;
        for (role, file) in self.changed() {
            fits(&role, &file.to_bytes())?;
        }
        let chain = self.finished_chain()?;
        let signers = chain.root().signers(|roles| &roles.targets);
        let base = self.base.as_ref();
        let held = base.map(|state| &state.targets);
        let targets = verified(&Role::Targets, self.targets.as_ref(), held, signers)?;
        let mut delegated = BTreeMap::new();
        for compatible in self.compatibles() {
            let (role, signers) =
                (Role::from(&compatible), targets.metadata.delegated(&compatible)?);
            let held = base.and_then(|state| state.delegated.get(&compatible));
            let held = verified(&role, self.delegated.get(&compatible), held, signers)?;
            held.metadata.releases(&compatible)?;
            delegated.insert(compatible, held);
        }
        let signers = chain.root().signers(|roles| &roles.snapshot);
        let snapshot = match &self.snapshot {
            Some(file) => Some(Held::verify(&Role::Snapshot, &file.to_bytes(), signers)?),
            None => base.and_then(|state| state.snapshot.clone()),
        };
        let past_targets = base.map(|state| state.past_targets.clone()).unwrap_or_default();
        Ok(State { chain, targets, delegated, snapshot, past_targets })
    }

    fn finished_chain(&self) -> Result<RootChain, DraftError> {
        let next = self.root.as_ref().map(Unverified::to_bytes);
        match (&self.base, next) {
            (Some(state), Some(next)) => {
                let mut chain = state.chain.clone();
                chain.advance(&next)?;
                Ok(chain)
            }
            (Some(state), None) => Ok(state.chain.clone()),
            (None, Some(first)) => Ok(RootChain::begin(&first)?),
            (None, None) => Err(DraftError::NotBegun { role: Role::Root }),
        }
    }

    /// Adds the signatures of other copies of the same draft; what is not in this one yet, and belongs
    /// on top of the same state, is taken over whole.
    pub fn merge(&mut self, files: &Files) -> Result<(), DraftError> {
        let theirs = Self::read(self.base.clone(), files)?;
        self.refuse_changed(&theirs)?;
        let differ = |role: Role| DraftError::Differ { role };
        unite(&mut self.root, theirs.root).map_err(|Different| differ(Role::Root))?;
        unite(&mut self.targets, theirs.targets).map_err(|Different| differ(Role::Targets))?;
        for (compatible, file) in theirs.delegated {
            let mut own = self.delegated.remove(&compatible);
            let united = unite(&mut own, Some(file));
            self.delegated.extend(own.map(|own| (compatible.clone(), own)));
            united.map_err(|Different| differ(Role::from(&compatible)))?;
        }
        // Made anew where it is another.
        let _ = unite(&mut self.snapshot, theirs.snapshot);
        self.keep_valid_signatures()?;
        self.keep_fitting_snapshot();
        Ok(())
    }
}

fn verified(
    role: &Role,
    changed: Option<&Unverified<Targets>>,
    held: Option<&Held<Targets>>,
    signers: Signers<'_>,
) -> Result<Held<Targets>, DraftError> {
    match (changed, held) {
        (Some(file), _) => Ok(Held::verify(role, &file.to_bytes(), signers)?),
        (None, Some(held)) => Ok(Held::verify(role, &held.bytes, signers)?),
        (None, None) => Err(DraftError::NotBegun { role: role.clone() }),
    }
}

struct Different;

fn unite<T: Metadata>(
    own: &mut Option<Unverified<T>>,
    copy: Option<Unverified<T>>,
) -> Result<(), Different> {
    match (own, copy) {
        (_, None) => Ok(()),
        (own @ None, copy) => {
            *own = copy;
            Ok(())
        }
        (Some(own), Some(copy)) => match own.unite(copy) {
            Copies::United => Ok(()),
            Copies::Differ => Err(Different),
        },
    }
}

/// The keys that can sign here.
pub(in crate::repository) fn ids_at_hand(signer: &impl Signer) -> BTreeSet<KeyId> {
    signer.public_keys().iter().map(|key| key.id().clone()).collect()
}
