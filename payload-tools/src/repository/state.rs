//! The newest file of every role.

#[cfg(feature = "authoring")]
mod newest;

use std::collections::BTreeMap;

use super::published::{Published, published_name};
use crate::format::Compatible;
use crate::trust::metadata::{Files, Snapshot, Targets};
use crate::trust::root_chain::RootChain;
use crate::trust::trusted_set::Held;
use crate::trust::{Role, UnixTime};

#[cfg(feature = "authoring")]
pub(super) use newest::{FIRST_ROOT, compatibles_of, newest_file, root_chain, versions};

/// What is published, all of it verified, or what was begun and is to be published as it is: the
/// newest file of every role.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) chain: RootChain,
    pub(super) targets: Held<Targets>,
    pub(super) delegated: BTreeMap<Compatible, Held<Targets>>,
    /// There is none before the first publication.
    pub(super) snapshot: Option<Held<Snapshot>>,
    /// Older versions of targets, as they lay in the folder, which tell whose keys were taken out.
    #[cfg(feature = "authoring")]
    pub(super) past_targets: Files,
}

impl From<&Published> for State {
    fn from(published: &Published) -> Self {
        let Published { chain, snapshot, targets, delegated } = published.clone();
        Self {
            chain,
            targets,
            delegated,
            snapshot: Some(snapshot),
            #[cfg(feature = "authoring")]
            past_targets: Files::new(),
        }
    }
}

impl State {
    /// Every file of this state by its published name.
    pub fn files(&self) -> Files {
        let mut files = self.chain.files().clone();
        let mut keep = |role: Role, version: u64, bytes: &[u8]| {
            files.insert(published_name(&role, version), bytes.to_vec());
        };
        keep(Role::Targets, self.targets.metadata.version(), &self.targets.bytes);
        for (compatible, held) in &self.delegated {
            keep(Role::from(compatible), held.metadata.version(), &held.bytes);
        }
        if let Some(held) = &self.snapshot {
            keep(Role::Snapshot, held.metadata.version(), &held.bytes);
        }
        files
    }

    /// When each role's signature ends: root first, snapshot (if there is one) last.
    pub fn expiries(&self) -> Vec<(Role, UnixTime)> {
        let mut all = vec![
            (Role::Root, self.chain.root().expires()),
            (Role::Targets, self.targets.metadata.expires()),
        ];
        for (compatible, held) in &self.delegated {
            all.push((Role::from(compatible), held.metadata.expires()));
        }
        all.extend(self.snapshot.iter().map(|held| (Role::Snapshot, held.metadata.expires())));
        all
    }
}
