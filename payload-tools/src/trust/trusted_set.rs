//! The metadata that is trusted at one moment of a check, and the rules by which it is replaced.

use std::collections::BTreeMap;

use super::error::{Misbehaviour, TrustError};
use super::metadata::{
    FileMeta, Files, Metadata, Roles, Rotation, Signers, Snapshot, Targets, Timestamp, Unverified,
    Verified,
};
use super::role::{Role, RoleName, stored_name};
use super::root_chain::RootChain;
use super::time::UnixTime;

/// Verified metadata together with its bytes, which are what is stored and hashed.
#[derive(Clone, Debug)]
pub(crate) struct Held<T> {
    pub metadata: Verified<T>,
    pub bytes: Vec<u8>,
}

impl<T: Metadata> Held<T> {
    pub(crate) fn verify(
        role: &Role,
        bytes: &[u8],
        signers: Signers<'_>,
    ) -> Result<Self, TrustError> {
        let metadata = Unverified::parse(role, bytes)?.verify(signers)?;
        Ok(Self { metadata, bytes: bytes.to_vec() })
    }

    /// Verifies a file against its role's keys and against what the role above says of it.
    pub(crate) fn verify_named(
        role: &Role,
        bytes: &[u8],
        named: &FileMeta,
        signers: Signers<'_>,
    ) -> Result<Self, TrustError> {
        // The hash first (5.5.2, 5.6.2): what nobody signed is not parsed.
        named.check(bytes).map_err(|fault| TrustError::Misbehaved {
            role: role.clone(),
            version: Some(named.version),
            fault,
        })?;
        let unverified = Unverified::parse(role, bytes)?;
        unverified.count(signers)?;
        let metadata = unverified.expect_version(named.version)?.verify(signers)?;
        Ok(Self { metadata, bytes: bytes.to_vec() })
    }

    fn is_named(&self, named: &FileMeta) -> bool {
        self.metadata.version() == named.version && named.check(&self.bytes).is_ok()
    }
}

/// Whether a file has to be fetched, or the one at hand is the one that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Fetch(FileMeta),
    AtHand,
}

/// One step down the delegations: whose word says who may sign the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Targets or a delegated role, at hand.
    pub delegator: Role,
    pub to: RoleName,
}

/// A client's trusted metadata. Every `take_` replaces one file by a newer one, or refuses it
/// and changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct TrustedSet {
    pub chain: RootChain,
    pub timestamp: Option<Held<Timestamp>>,
    pub snapshot: Option<Held<Snapshot>>,
    pub targets: Option<Held<Targets>>,
    /// Each verified through some delegator: whoever reaches one through another asks
    /// [`Self::need_delegated`] again.
    pub delegated: BTreeMap<RoleName, Held<Targets>>,
    /// Whether a root that was taken gives the timestamp other keys.
    pub timestamp_rotated: bool,
}

impl TrustedSet {
    /// Starts from the first root alone (5.2).
    pub(crate) fn begin(first_root: &[u8]) -> Result<Self, TrustError> {
        let chain = RootChain::begin(first_root)?;
        Ok(Self {
            chain,
            timestamp: None,
            snapshot: None,
            targets: None,
            delegated: BTreeMap::new(),
            timestamp_rotated: false,
        })
    }

    /// Takes over what was stored by earlier checks, verified anew. What does not verify is left
    /// out and returned: the storage is no authority, and whoever can write it could as well
    /// have emptied it.
    pub(crate) fn load(&mut self, stored: &Files) -> Vec<TrustError> {
        let mut refused = Vec::new();
        refused.extend(self.chain.follow(stored).err());
        let root = self.chain.root();
        let signers = |role: fn(&Roles) -> &_| root.signers(role);
        self.timestamp =
            load(&Role::Timestamp, stored, signers(|roles| &roles.timestamp), &mut refused);
        self.snapshot =
            load(&Role::Snapshot, stored, signers(|roles| &roles.snapshot), &mut refused);
        self.targets = load(&Role::Targets, stored, signers(|roles| &roles.targets), &mut refused);
        self.load_delegated(stored, &mut refused);
        refused
    }

    /// What is stored of the roles that targets delegates to, and they in turn. Which keys a role
    /// has is the newest delegator's to say, so it is verified once more when it is used.
    fn load_delegated(&mut self, stored: &Files, refused: &mut Vec<TrustError>) {
        let mut delegators: Vec<_> = self.targets.iter().map(|_| Role::Targets).collect();
        // By nobody so far: another delegator may still vouch for it.
        let mut unverified = BTreeMap::new();
        while let Some(delegator) = delegators.pop() {
            for to in self.stored_below(&delegator, stored) {
                let role = Role::Delegated(to.clone());
                let edge = Edge { delegator: delegator.clone(), to };
                let found = self.signers(&edge).and_then(|signers| {
                    let bytes = stored.get(&stored_name(&role)).map_or(&[][..], Vec::as_slice);
                    Held::verify(&role, bytes, signers)
                });
                match found {
                    Ok(held) => {
                        unverified.remove(&edge.to);
                        self.delegated.insert(edge.to, held);
                        delegators.push(role);
                    }
                    Err(error) => _ = unverified.insert(edge.to, error),
                }
            }
        }
        refused.extend(unverified.into_values());
    }

    /// The roles that this one delegates to and that are stored and not loaded yet.
    fn stored_below(&self, delegator: &Role, stored: &Files) -> Vec<RoleName> {
        let Ok(targets) = self.targets_of(delegator) else { return Vec::new() };
        let roles = targets.delegations.iter().flat_map(|all| &all.roles);
        let is_stored =
            |name: &RoleName| stored.contains_key(&stored_name(&Role::Delegated(name.clone())));
        let names = roles.map(|role| &role.name);
        names
            .filter(|name| is_stored(name) && !self.delegated.contains_key(name))
            .cloned()
            .collect()
    }

    /// Takes the next root. Where it rotates the keys of timestamp or snapshot, both go, so that
    /// versions pushed far ahead with a stolen key do not block recovery (5.3.11).
    pub(crate) fn take_root(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        let before = self.chain.root().clone();
        self.chain.advance(bytes)?;
        let after = self.chain.root();
        let timestamp = before.rotates(after, |roles| &roles.timestamp) == Rotation::Rotated;
        self.timestamp_rotated |= timestamp;
        if timestamp || before.rotates(after, |roles| &roles.snapshot) == Rotation::Rotated {
            self.timestamp = None;
            self.snapshot = None;
        }
        // Targets at hand is reused by its hash alone, so its signers must be the newest root's.
        if before.rotates(after, |roles| &roles.targets) == Rotation::Rotated {
            self.targets = None;
            self.delegated.clear();
        }
        Ok(())
    }

    /// 5.4: signed (5.4.2), not older than the trusted one, nor naming an older snapshot (5.4.3),
    /// not expired (5.4.4).
    ///
    /// Off-spec: the same version again leaves the trusted one in place (5.4.3.1), and yet the check
    /// goes on, so that what an earlier one did not get of this very state is fetched now.
    pub(crate) fn take_timestamp(&mut self, bytes: &[u8], now: UnixTime) -> Result<(), TrustError> {
        let signers = self.chain.unexpired(now)?.signers(|roles| &roles.timestamp);
        let offered = Held::<Timestamp>::verify(&Role::Timestamp, bytes, signers)?;
        if let Some(trusted) = &self.timestamp {
            let (old, new) = (&trusted.metadata, &offered.metadata);
            not_older(new, "timestamp", old.version(), new.version())?;
            if new.version() == old.version() {
                return old.unexpired(now);
            }
            let (old, named) = (old.meta.snapshot.version, new.meta.snapshot.version);
            not_older(new, "snapshot", old, named)?;
        }
        offered.metadata.unexpired(now)?;
        self.timestamp = Some(offered);
        Ok(())
    }

    /// Whether the snapshot at hand is the one that the timestamp names.
    pub(crate) fn need_snapshot(&self, now: UnixTime) -> Result<Need, TrustError> {
        let named = &self.timestamp()?.meta.snapshot;
        match self.snapshot.as_ref().filter(|held| held.is_named(named)) {
            // Of a snapshot that was taken in its time, a later word of the server shows the age,
            // also where the device's own clock is behind.
            Some(held) => {
                let now = self.timestamp()?.signed_at.map_or(now, |signed_at| signed_at.max(now));
                held.metadata.unexpired(now).map(|()| Need::AtHand)
            }
            None => Ok(Need::Fetch(named.clone())),
        }
    }

    /// 5.5: as the timestamp names it (5.5.2, 5.5.4), signed (5.5.3), no file in it older than
    /// trusted or gone (5.5.5), not expired (5.5.6).
    pub(crate) fn take_snapshot(&mut self, bytes: &[u8], now: UnixTime) -> Result<(), TrustError> {
        let named = &self.timestamp()?.meta.snapshot;
        let signers = self.chain.root().signers(|roles| &roles.snapshot);
        let offered = Held::<Snapshot>::verify_named(&Role::Snapshot, bytes, named, signers)?;
        if let Some(trusted) = &self.snapshot {
            no_file_went_back(&trusted.metadata, &offered.metadata)?;
        }
        offered.metadata.unexpired(now)?;
        self.check_signed_at(&offered.metadata)?;
        self.snapshot = Some(offered);
        Ok(())
    }

    /// Whether the targets file at hand is the one that the snapshot names.
    pub(crate) fn need_targets(&self, now: UnixTime) -> Result<Need, TrustError> {
        let named = self.named(&Role::Targets)?;
        need(self.targets.as_ref(), named, now)
    }

    /// 5.6: as the snapshot names it (5.6.2, 5.6.4), signed (5.6.3), not expired (5.6.5).
    pub(crate) fn take_targets(&mut self, bytes: &[u8], now: UnixTime) -> Result<(), TrustError> {
        let named = self.named(&Role::Targets)?;
        let signers = self.chain.root().signers(|roles| &roles.targets);
        let offered = Held::<Targets>::verify_named(&Role::Targets, bytes, named, signers)?;
        offered.metadata.unexpired(now)?;
        self.targets = Some(offered);
        Ok(())
    }

    /// Whether the delegated role's file at hand is the one wanted, and signed by the keys that
    /// this delegator names, through whichever other it was verified before.
    pub(crate) fn need_delegated(&self, edge: &Edge, now: UnixTime) -> Result<Need, TrustError> {
        let role = Role::Delegated(edge.to.clone());
        let named = self.named(&role)?;
        let signers = self.signers(edge)?;
        let signed =
            |held: &&Held<Targets>| Held::<Targets>::verify(&role, &held.bytes, signers).is_ok();
        need(self.delegated.get(&edge.to).filter(signed), named, now)
    }

    /// The same as for targets (5.6.2 to 5.6.5) for a delegated role, by the keys that its
    /// delegator names; it is kept by [`Self::keep_delegated`].
    pub(crate) fn verify_delegated(
        &self,
        edge: &Edge,
        bytes: &[u8],
        now: UnixTime,
    ) -> Result<Held<Targets>, TrustError> {
        let role = Role::Delegated(edge.to.clone());
        let named = self.named(&role)?;
        let held = Held::<Targets>::verify_named(&role, bytes, named, self.signers(edge)?)?;
        held.metadata.unexpired(now)?;
        Ok(held)
    }

    /// 5.6.6.
    pub(crate) fn keep_delegated(&mut self, name: RoleName, held: Held<Targets>) {
        self.delegated.insert(name, held);
    }

    /// Everything trusted, to be stored in place of everything stored before.
    pub(crate) fn files(&self) -> Files {
        let mut files = self.chain.files().clone();
        let mut keep = |role: Role, bytes: Option<&Vec<u8>>| {
            if let Some(bytes) = bytes {
                files.insert(stored_name(&role), bytes.clone());
            }
        };
        keep(Role::Timestamp, self.timestamp.as_ref().map(|held| &held.bytes));
        keep(Role::Snapshot, self.snapshot.as_ref().map(|held| &held.bytes));
        keep(Role::Targets, self.targets.as_ref().map(|held| &held.bytes));
        for (name, held) in &self.delegated {
            keep(Role::Delegated(name.clone()), Some(&held.bytes));
        }
        files
    }

    fn timestamp(&self) -> Result<&Verified<Timestamp>, TrustError> {
        held(self.timestamp.as_ref(), "taken before timestamp")
    }

    /// The targets metadata of targets or of a delegated role.
    pub(crate) fn targets_of(&self, role: &Role) -> Result<&Verified<Targets>, TrustError> {
        let at_hand = match role {
            Role::Delegated(name) => self.delegated.get(name),
            _ => self.targets.as_ref(),
        };
        held(at_hand, "taken before targets")
    }

    fn signers(&self, edge: &Edge) -> Result<Signers<'_>, TrustError> {
        let signers = self.targets_of(&edge.delegator)?.signers_of(&edge.to);
        signers.ok_or(TrustError::OutOfTurn("taken without a delegation"))
    }

    fn named(&self, role: &Role) -> Result<&FileMeta, TrustError> {
        let snapshot = held(self.snapshot.as_ref(), "taken before snapshot")?;
        let file = role.meta_path();
        match snapshot.meta.get(&file) {
            Some(named) => Ok(named),
            None => Err(snapshot.refuse(Misbehaviour::NotNamed { file })),
        }
    }

    /// The server's word raises a device's clock floor, so a thief of the server's key could push
    /// it past every date for ever. The publisher's date on the snapshot bounds that.
    fn check_signed_at(&self, snapshot: &Verified<Snapshot>) -> Result<(), TrustError> {
        let timestamp = self.timestamp()?;
        let snapshot_expires = snapshot.expires();
        match timestamp.signed_at {
            Some(signed_at) if signed_at >= snapshot_expires => {
                Err(timestamp.refuse(Misbehaviour::SignedTooLate { signed_at, snapshot_expires }))
            }
            _ => Ok(()),
        }
    }
}

/// 5.5.5: every file that the trusted snapshot names is in the new one, and not older.
pub(crate) fn no_file_went_back(
    trusted: &Verified<Snapshot>,
    offered: &Verified<Snapshot>,
) -> Result<(), TrustError> {
    for (file, old) in &trusted.meta {
        let missing = || offered.refuse(Misbehaviour::NotNamed { file: file.clone() });
        let new = offered.meta.get(file).ok_or_else(missing)?;
        not_older(offered, file, old.version, new.version)?;
    }
    Ok(())
}

fn not_older<T>(by: &Verified<T>, of: &str, trusted: u64, offered: u64) -> Result<(), TrustError> {
    if offered < trusted {
        return Err(by.refuse(Misbehaviour::Rollback { of: of.to_owned(), trusted, offered }));
    }
    Ok(())
}

fn held<'a, T>(
    held: Option<&'a Held<T>>,
    missing: &'static str,
) -> Result<&'a Verified<T>, TrustError> {
    held.map(|held| &held.metadata).ok_or(TrustError::OutOfTurn(missing))
}

fn need(
    at_hand: Option<&Held<Targets>>,
    named: &FileMeta,
    now: UnixTime,
) -> Result<Need, TrustError> {
    match at_hand.filter(|held| held.is_named(named)) {
        Some(held) => held.metadata.unexpired(now).map(|()| Need::AtHand),
        None => Ok(Need::Fetch(named.clone())),
    }
}

fn load<T: Metadata>(
    role: &Role,
    stored: &Files,
    signers: Signers<'_>,
    refused: &mut Vec<TrustError>,
) -> Option<Held<T>> {
    match Held::verify(role, stored.get(&stored_name(role))?, signers) {
        Ok(held) => Some(held),
        Err(error) => {
            refused.push(error);
            None
        }
    }
}
