//! A release that came by hand, verified without a server.

use super::client::Limits;
use super::error::{Misbehaviour, TrustError};
use super::metadata::{Files, Signers, Targets};
use super::role::{Role, RoleName, stored_name};
use super::time::UnixTime;
use super::trusted::Trusted;
use super::trusted_set::{Held, TrustedSet};
use crate::format::Compatible;

/// Verifies the metadata of a bundle (`N.root.json`, `targets.json`, `<compatible>.json`):
/// from the first root through the stored roots and the bundle's to targets and the compatible's
/// role. No timestamp is asked for, so nothing says that it is the newest; the dates that people
/// signed bound its use, and the device's counter floor what it may install.
///
/// Where newer versions of targets or of the role are stored, those count: keys that they took away
/// sign nothing, and a release that they no longer list is withdrawn.
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
    let mut known = TrustedSet::begin(first_root)?;
    // What is stored and does not verify is left out; of roots the bundle may go on from there.
    let _refused = known.load(stored);
    while let Some(name) = known.chain.next_file() {
        let Some(bytes) = read(&name, limits.root)? else { break };
        known.take_root(bounded(&Role::Root, &bytes, limits.root)?)?;
    }
    let files = known.files();
    let root = known.chain.unexpired(now)?;
    let signers = root.signers(|roles| &roles.targets);
    let offered = verify(&Role::Targets, &mut read, limits.targets, signers)?;
    offered.metadata.unexpired(now)?;
    let expires = root.expires().min(offered.metadata.expires());
    let targets = newest(known.targets.as_ref(), &offered);

    let signers = targets.metadata.delegated(compatible)?;
    let role = Role::from(compatible);
    let offered = verify(&role, &mut read, limits.delegated, signers)?;
    offered.metadata.unexpired(now)?;
    let by_these =
        |held: &&Held<Targets>| Held::<Targets>::verify(&role, &held.bytes, signers).is_ok();
    let delegated = known.delegated.get(&RoleName::from(compatible)).filter(by_these);
    Ok(Trusted {
        compatible: compatible.clone(),
        releases: newest(delegated, &offered).metadata.releases(compatible)?,
        freshness: None,
        expires: expires.min(offered.metadata.expires()),
        files,
        timestamp_rotated: known.timestamp_rotated,
    })
}

fn newest<'a>(known: Option<&'a Held<Targets>>, offered: &'a Held<Targets>) -> &'a Held<Targets> {
    let is_newer = |known: &&Held<Targets>| known.metadata.version() > offered.metadata.version();
    known.filter(is_newer).unwrap_or(offered)
}

fn verify<E: From<TrustError>>(
    role: &Role,
    read: &mut impl FnMut(&str, u64) -> Result<Option<Vec<u8>>, E>,
    max: u64,
    signers: Signers<'_>,
) -> Result<Held<Targets>, E> {
    let file = stored_name(role);
    let Some(bytes) = read(&file, max)? else {
        return Err(TrustError::Missing { role: role.clone(), file }.into());
    };
    Ok(Held::verify(role, bounded(role, &bytes, max)?, signers)?)
}

fn bounded<'a>(role: &Role, bytes: &'a [u8], max: u64) -> Result<&'a [u8], TrustError> {
    if bytes.len() as u64 > max {
        let fault = Misbehaviour::TooLarge { max };
        return Err(TrustError::Misbehaved { role: role.clone(), version: None, fault });
    }
    Ok(bytes)
}
