//! From the first root of trust, which came with the image, to the newest root (5.3).

use super::error::{Misbehaviour, TrustError};
use super::metadata::{Files, Root, Unverified, Verified};
use super::role::Role;
use super::time::UnixTime;

/// A root and how it came to be trusted: each version signed by the keys of the one before.
#[derive(Clone, Debug)]
pub(crate) struct RootChain {
    root: Verified<Root>,
    files: Files,
}

impl RootChain {
    /// Begins with the root that the caller trusts already (5.2); only its own keys can vouch
    /// for it, which shows that it is whole.
    pub(crate) fn begin(first_root: &[u8]) -> Result<Self, TrustError> {
        let unverified = Unverified::<Root>::parse(&Role::Root, first_root)?;
        let own = unverified.claims().clone();
        let root = unverified.verify(own.signers(|roles| &roles.root))?;
        let mut chain = Self { root, files: Files::new() };
        chain.keep(first_root);
        Ok(chain)
    }

    /// The newest root so far.
    pub(crate) fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The name of the next root's file, if there is one.
    pub(crate) fn next_file(&self) -> Option<String> {
        Some(format!("{}.root.json", self.root.version().checked_add(1)?))
    }

    /// Takes the next root: the present root's keys and its own have signed it (5.3.4), and its
    /// version is the next (5.3.5). Dates are no matter on the way (5.3.7).
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        let unverified = Unverified::<Root>::parse(&Role::Root, bytes)?;
        unverified.count(self.root.signers(|roles| &roles.root))?;
        let own = unverified.claims().clone();
        unverified.count(own.signers(|roles| &roles.root))?;
        let present = self.root.version();
        let next = present.checked_add(1).ok_or_else(|| {
            let (trusted, offered) = (present, unverified.version());
            unverified.refuse(Misbehaviour::Rollback { of: "root".to_owned(), trusted, offered })
        })?;
        self.root = unverified.expect_version(next)?.verify(own.signers(|roles| &roles.root))?;
        self.keep(bytes);
        Ok(())
    }

    /// Goes on through the roots that stand in `files`, to the last one that follows.
    pub(crate) fn follow(&mut self, files: &Files) -> Result<(), TrustError> {
        while let Some(bytes) = self.next_file().and_then(|name| files.get(&name)) {
            self.advance(bytes)?;
        }
        Ok(())
    }

    /// The newest root, if it has not expired (5.3.10).
    pub(crate) fn unexpired(&self, now: UnixTime) -> Result<&Verified<Root>, TrustError> {
        self.root.unexpired(now).map(|()| &self.root)
    }

    /// Every root of the chain, by its file's name.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.files.insert(format!("{}.root.json", self.root.version()), bytes.to_vec());
    }
}
