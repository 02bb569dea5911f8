//! The search for a target through the delegations (5.6.7).

use std::collections::BTreeSet;

use super::client::MAX_ROLES;
use super::error::TrustError;
use super::metadata::{Delegation, FileMeta, Targets, Verified};
use super::role::{Role, RoleName};
use super::target::Target;
use super::time::UnixTime;
use super::trusted_set::{Edge, Need, TrustedSet};

/// A pre-order depth-first search, between two files.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    path: String,
    visited: BTreeSet<RoleName>,
    /// Where to go on; the last is the next. Nothing before the search has looked into targets.
    ways: Option<Vec<Edge>>,
    found: Option<Target>,
}

impl Search {
    pub(crate) fn begin(path: String) -> Self {
        Self { path, visited: BTreeSet::new(), ways: None, found: None }
    }

    pub(crate) fn found(&self) -> Option<&Target> {
        self.found.as_ref()
    }

    /// Goes through what is at hand, to the next role that has to be fetched or to the end.
    pub(crate) fn go_on(
        &mut self,
        set: &TrustedSet,
        now: UnixTime,
    ) -> Result<Option<(Edge, FileMeta)>, TrustError> {
        if self.ways.is_none() {
            self.ways = Some(Vec::new());
            self.look_in(&Role::Targets, set)?;
        }
        while self.found.is_none()
            && let Some(edge) = self.ways.as_mut().and_then(Vec::pop)
        {
            // 5.6.7.1: once, so that a circle ends.
            if self.visited.contains(&edge.to) {
                continue;
            }
            if self.visited.len() == MAX_ROLES {
                let (target, count) = (self.path.clone(), MAX_ROLES);
                return Err(TrustError::EndlessRoles { target, count });
            }
            if let Need::Fetch(meta) = set.need_delegated(&edge, now)? {
                self.ways.get_or_insert_default().push(edge.clone());
                return Ok(Some((edge, meta)));
            }
            self.visited.insert(edge.to.clone());
            self.look_in(&Role::Delegated(edge.to), set)?;
        }
        Ok(None)
    }

    fn look_in(&mut self, role: &Role, set: &TrustedSet) -> Result<(), TrustError> {
        let metadata = set.targets_of(role)?;
        if let Some(target) = metadata.targets.get(&self.path) {
            let layout = set.chain.root().layout();
            let target = Target::new(&self.path, target, layout);
            self.found = Some(target.map_err(|fault| metadata.refuse(fault))?);
            return Ok(());
        }
        let covering = self.covering(metadata);
        let ways = self.ways.get_or_insert_default();
        // 5.6.7.2.1: after a terminating delegation and what is below it, nobody else is asked, on
        // no level above either.
        if covering.last().is_some_and(|role| role.terminating) {
            ways.clear();
        }
        let edge = |delegation: &&Delegation| Edge {
            delegator: role.clone(),
            to: delegation.name.clone(),
        };
        ways.extend(covering.iter().rev().map(edge));
        Ok(())
    }

    /// The delegations that are trusted for the path (4.5, `paths`), the first one most, up to the
    /// first terminating one.
    fn covering<'a>(&self, metadata: &'a Verified<Targets>) -> Vec<&'a Delegation> {
        let mut covering = Vec::new();
        for delegation in metadata.delegations.iter().flat_map(|all| &all.roles) {
            if delegation.covers(&self.path) {
                covering.push(delegation);
                if delegation.terminating {
                    break;
                }
            }
        }
        covering
    }
}
