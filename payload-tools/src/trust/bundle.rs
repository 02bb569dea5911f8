//! A release that came by hand, verified without a server.

use super::client::{Limits, Trusted};
use super::error::{Misbehaviour, Role, TrustError};
use super::metadata::{Files, Metadata, Signers, Targets, Unverified, Verified};
use super::root_chain::RootChain;
use super::time::UnixTime;
use super::trusted_set::stored_name;
use crate::format::Compatible;

/// Verifies the metadata of a bundle (`N.root.json`, `targets.json`, `<compatible>.json`):
/// from the first root through the stored roots and the bundle's to targets and the compatible's
/// role. No timestamp is asked for, so nothing says that it is the newest; the dates that people
/// signed bound its use, and the device's counter floor what it may install.
pub fn verify_bundle(
    first_root: &[u8],
    stored: &Files,
    bundle: &Files,
    compatible: &Compatible,
    now: UnixTime,
    limits: Limits,
) -> Result<Trusted, TrustError> {
    let mut chain = RootChain::begin(first_root)?;
    // A stored root that does not verify ends the stored part; the bundle may go on from there.
    let _refused = chain.follow(stored).err();
    chain.follow(bundle)?;
    let root = chain.unexpired(now)?;
    let signers = root.signers(|roles| &roles.targets);
    let targets = read::<Targets>(Role::Targets, bundle, limits.targets, signers)?;
    targets.unexpired(now)?;
    let signers = targets.delegated(compatible)?;
    let role = Role::Delegated(compatible.clone());
    let delegated = read::<Targets>(role, bundle, limits.delegated, signers)?;
    delegated.unexpired(now)?;
    Ok(Trusted {
        compatible: compatible.clone(),
        releases: delegated.releases(compatible)?,
        freshness: None,
        expires: root.expires().min(targets.expires()).min(delegated.expires()),
        files: chain.files().clone(),
    })
}

fn read<T: Metadata>(
    role: Role,
    bundle: &Files,
    max: u64,
    signers: Signers<'_>,
) -> Result<Verified<T>, TrustError> {
    let file = stored_name(&role);
    let Some(bytes) = bundle.get(&file) else {
        return Err(TrustError::Missing { role, file });
    };
    if bytes.len() as u64 > max {
        let fault = Misbehaviour::TooLarge { max };
        return Err(TrustError::Misbehaved { role, version: None, fault });
    }
    Unverified::parse(&role, bytes)?.verify(signers)
}
