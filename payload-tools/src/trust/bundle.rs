//! A release that came by hand, verified without a server.

use super::client::Limits;
use super::error::{Misbehaviour, TrustError};
use super::metadata::{Files, Signers, Targets, Unverified, Verified};
use super::role::{Role, stored_name};
use super::root_chain::RootChain;
use super::time::UnixTime;
use super::trusted::Trusted;
use crate::format::Compatible;

/// Verifies the metadata of a bundle (`N.root.json`, `targets.json`, `<compatible>.json`):
/// from the first root through the stored roots and the bundle's to targets and the compatible's
/// role. No timestamp is asked for, so nothing says that it is the newest; the dates that people
/// signed bound its use, and the device's counter floor what it may install.
///
/// `read` gets one of these files of the bundle, of at most so many bytes or one more. Whoever made
/// the bundle is not trusted yet, so it is asked only for what is verified next: each root once the
/// one before it was.
pub fn verify_bundle<E: From<TrustError>>(
    first_root: &[u8],
    stored: &Files,
    mut read: impl FnMut(&str, u64) -> Result<Option<Vec<u8>>, E>,
    compatible: &Compatible,
    now: UnixTime,
    limits: Limits,
) -> Result<Trusted, E> {
    let mut chain = RootChain::begin(first_root)?;
    // A stored root that does not verify ends the stored part; the bundle may go on from there.
    let _refused = chain.follow(stored).err();
    while let Some(name) = chain.next_file() {
        let Some(bytes) = read(&name, limits.root)? else { break };
        chain.advance(bounded(&Role::Root, &bytes, limits.root)?)?;
    }
    let root = chain.unexpired(now)?;
    let signers = root.signers(|roles| &roles.targets);
    let targets = verify(Role::Targets, &mut read, limits.targets, signers)?;
    targets.unexpired(now)?;
    let signers = targets.delegated(compatible)?;
    let role = Role::from(compatible);
    let delegated = verify(role, &mut read, limits.delegated, signers)?;
    delegated.unexpired(now)?;
    Ok(Trusted {
        compatible: compatible.clone(),
        releases: delegated.releases(compatible)?,
        freshness: None,
        expires: root.expires().min(targets.expires()).min(delegated.expires()),
        files: chain.files().clone(),
    })
}

fn verify<E: From<TrustError>>(
    role: Role,
    read: &mut impl FnMut(&str, u64) -> Result<Option<Vec<u8>>, E>,
    max: u64,
    signers: Signers<'_>,
) -> Result<Verified<Targets>, E> {
    let file = stored_name(&role);
    let Some(bytes) = read(&file, max)? else {
        return Err(TrustError::Missing { role, file }.into());
    };
    Ok(Unverified::parse(&role, bounded(&role, &bytes, max)?)?.verify(signers)?)
}

fn bounded<'a>(role: &Role, bytes: &'a [u8], max: u64) -> Result<&'a [u8], TrustError> {
    if bytes.len() as u64 > max {
        let fault = Misbehaviour::TooLarge { max };
        return Err(TrustError::Misbehaved { role: role.clone(), version: None, fault });
    }
    Ok(bytes)
}
