use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::draft::{Draft, DraftError, Standing, ids_at_hand, in_a_line};
use super::state::State;
use crate::format::{Hash, ReleaseFacts};
use crate::keyring::Signer;
use crate::trust::metadata::{Metadata, Root, Signers, Snapshot, Targets, Timestamp, Unverified};
use crate::trust::{KeyId, Role, UnixTime};

/// A repository: who may sign what, who did, and until when that is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositoryReport {
    /// Root first, then what it and targets list.
    pub roles: Vec<RoleReport>,
    /// How far the signatures of what is not published have come.
    pub draft: Vec<Standing>,
}

/// One role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleReport {
    /// Its name.
    pub role: String,
    /// Its newest version; nothing where that is the server's to make, or not made yet.
    pub version: Option<u64>,
    /// From then on devices refuse it.
    pub expires: Option<UnixTime>,
    /// Whether that is over.
    pub expired: bool,
    /// So many of its keys must sign.
    pub threshold: u32,
    /// The keys that may.
    pub keys: Vec<KeyReport>,
    /// Of a compatible: what it lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<Vec<ReleaseReport>>,
}

/// A release that is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReleaseReport {
    /// What is signed of it.
    #[serde(flatten)]
    pub facts: ReleaseFacts,
    /// SHA-256 of its manifest.
    pub manifest_sha256: Hash,
}

/// A key of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// Its id.
    pub id: KeyId,
    /// Whether it has signed the newest version.
    pub signed: bool,
    /// Whether it can sign here.
    pub at_hand: bool,
}

impl RepositoryReport {
    /// What a publisher's folder says.
    pub fn of(draft: &Draft, signer: &impl Signer, now: UnixTime) -> Result<Self, DraftError> {
        let roles = match draft.state() {
            Some(state) => Looker { state, at_hand: ids_at_hand(signer), now }.roles()?,
            None => Vec::new(),
        };
        Ok(Self { roles, draft: draft.standings()? })
    }
}

struct Looker<'a> {
    state: &'a State,
    at_hand: BTreeSet<KeyId>,
    now: UnixTime,
}

impl Looker<'_> {
    fn roles(&self) -> Result<Vec<RoleReport>, DraftError> {
        let State { chain, targets, delegated, snapshot, .. } = self.state;
        let root = chain.root();
        let file = chain.files().get(&format!("{}.root.json", root.version()));
        let mut roles = Vec::new();
        let signers = root.signers(|roles| &roles.root);
        roles.push(self.role::<Root>(&Role::Root, file.map(Vec::as_slice), signers)?);
        let signers = root.signers(|roles| &roles.targets);
        roles.push(self.role::<Targets>(&Role::Targets, Some(&targets.bytes), signers)?);
        for (compatible, held) in delegated {
            let role = Role::from(compatible);
            let signers = targets.metadata.delegated(compatible)?;
            let mut report = self.role::<Targets>(&role, Some(&held.bytes), signers)?;
            let releases = self.state.releases(compatible)?.into_iter();
            let listed = releases.map(|release| ReleaseReport {
                facts: release.facts().clone(),
                manifest_sha256: release.sha256(),
            });
            report.releases = Some(listed.collect());
            roles.push(report);
        }
        let signers = root.signers(|roles| &roles.snapshot);
        let bytes = snapshot.as_ref().map(|held| held.bytes.as_slice());
        roles.push(self.role::<Snapshot>(&Role::Snapshot, bytes, signers)?);
        let signers = root.signers(|roles| &roles.timestamp);
        roles.push(self.role::<Timestamp>(&Role::Timestamp, None, signers)?);
        Ok(roles)
    }

    fn role<T: Metadata>(
        &self,
        role: &Role,
        bytes: Option<&[u8]>,
        signers: Signers<'_>,
    ) -> Result<RoleReport, DraftError> {
        let file = bytes.map(|bytes| Unverified::<T>::parse(role, bytes)).transpose()?;
        let signed = file.as_ref().map(|file| file.signed_by(signers)).unwrap_or_default();
        let key = |id: &KeyId| KeyReport {
            id: id.clone(),
            signed: signed.contains(id),
            at_hand: self.at_hand.contains(id),
        };
        let expires = file.as_ref().map(Unverified::expires);
        Ok(RoleReport {
            role: role.to_string(),
            version: file.as_ref().map(Unverified::version),
            expires,
            expired: expires.is_some_and(|at| at <= self.now),
            threshold: signers.role.threshold,
            keys: signers.role.keyids.iter().map(key).collect(),
            releases: None,
        })
    }
}

impl fmt::Display for RepositoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.roles.iter().try_for_each(|role| role.fmt(f))?;
        for standing in &self.draft {
            writeln!(f, "draft: {standing}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RoleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, version, expires, expired, threshold, keys, releases } = self;
        write!(f, "{role}: {threshold} of {} must sign", keys.len())?;
        match (version, expires) {
            (Some(version), Some(at)) if *expired => {
                writeln!(f, "; version {version} expired at {at}")?
            }
            (Some(version), Some(at)) => writeln!(f, "; version {version} is good until {at}")?,
            _ if role == "timestamp" => writeln!(f, "; the server does, hourly")?,
            _ => writeln!(f, "; not published yet")?,
        }
        for KeyReport { id, signed, at_hand } in keys {
            let signed = if *signed { "has signed" } else { "" };
            let at_hand = if *at_hand { "at hand" } else { "" };
            writeln!(f, "{}", format!("  key {id:.16}  {signed:<10}  {at_hand}").trim_end())?;
        }
        match releases.as_deref() {
            None => Ok(()),
            Some([]) => writeln!(f, "  releases: none"),
            Some(releases) => releases.iter().try_for_each(|release| {
                writeln!(f, "  release {}", in_a_line(&release.facts, &release.manifest_sha256))
            }),
        }
    }
}
