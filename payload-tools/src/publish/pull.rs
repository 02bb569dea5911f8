use super::requests;
use crate::admin::{AdminClient, AdminError};
use crate::repository::{Published, published_name};
use crate::trust::metadata::{Roles, Snapshot, Timestamp, Unverified, same_content};
use crate::trust::root_chain::RootChain;
use crate::trust::{Files, Limits, MAX_ROOTS, Role, TrustError};

/// Why the server's state could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] AdminError),
    /// There is nothing to prove it by.
    #[error(
        "the publisher's folder has no metadata/1.root.json, by which what a server has is proven; copy it \
         from who began the repository"
    )]
    NoFirstRoot,
    /// It does not verify from the publisher's own first root.
    #[error("what the server has published does not verify; is it this repository's server?")]
    Trust(#[from] TrustError),
    /// It lacks what this publisher published.
    #[error(
        "the server stands at snapshot {server}, and {folder} was published from this folder: its data \
         folder was restored from an old backup, or it is another server. Restore a newer backup. If \
         there is none, take every N.snapshot.json above {server} out of metadata/: devices then refuse \
         what is published until its versions pass the ones they have seen"
    )]
    WentBack {
        /// Version of the server's snapshot; 0: it has none.
        server: u64,
        /// Version of the folder's.
        folder: u64,
    },
    /// Two roots of one version, both signed.
    #[error(
        "the server's {file} says something else than the one that was published from this folder: it is \
         another server, or somebody else signs roots. Publish nothing to it; look who holds the root \
         keys, and restore its data folder from a backup"
    )]
    OtherRoot {
        /// The root's file.
        file: String,
    },
}

/// What a server has published.
pub(super) struct Pulled {
    pub published: Published,
    /// Roots of the folder that the server lacks are not among these.
    pub served: Files,
}

/// Refuses a server that lacks what was published from this folder: signing on top of it would give
/// devices a second, different version of what they have seen.
pub(super) fn not_gone_back(
    published: Option<&Published>,
    folder: Option<u64>,
) -> Result<(), PullError> {
    let server = published.map_or(0, Published::snapshot_version);
    match folder {
        Some(folder) if folder > server => Err(PullError::WentBack { server, folder }),
        _ => Ok(()),
    }
}

/// Fetches and verifies the state that the server has published; nothing if there is none yet.
/// `own` are the publisher's roots, behind which no server may lead back. Dates do not matter: an
/// expired state is there to be replaced.
pub(super) async fn pull(
    server: &AdminClient,
    own: Option<RootChain>,
) -> Result<Option<Pulled>, PullError> {
    let limits = Limits::default();
    let missing = |role: Role, file: &str| TrustError::Missing { role, file: file.to_owned() };
    let Some(bytes) = requests::metadata(server, "timestamp.json", limits.timestamp).await? else {
        return Ok(None);
    };
    let mut chain = own.ok_or(PullError::NoFirstRoot)?;
    let mut files = chain.files().clone();
    files.retain(|name, _| name == "1.root.json");
    for version in 2..=chain.root().version().saturating_add(MAX_ROOTS.into()) {
        let name = published_name(&Role::Root, version);
        let Some(root) = requests::metadata(server, &name, limits.root).await? else { break };
        take_root(&mut chain, &name, &root)?;
        files.insert(name, root);
    }
    let signers = |role: fn(&Roles) -> &_| chain.root().signers(role);
    let timestamp = Unverified::<Timestamp>::parse(&Role::Timestamp, &bytes)?;
    let version = timestamp.verify(signers(|roles| &roles.timestamp))?.meta.snapshot.version;
    let name = format!("{version}.snapshot.json");
    let bytes = requests::metadata(server, &name, limits.snapshot).await?;
    let bytes = bytes.ok_or_else(|| missing(Role::Snapshot, &name))?;
    let snapshot = Unverified::<Snapshot>::parse(&Role::Snapshot, &bytes)?;
    let snapshot = snapshot.verify(signers(|roles| &roles.snapshot))?;
    files.insert(name, bytes);
    for (file, meta) in &snapshot.meta {
        let name = format!("{}.{file}", meta.version);
        let bytes = requests::metadata(server, &name, limits.targets).await?;
        files.insert(name.clone(), bytes.ok_or_else(|| missing(Role::Targets, &name))?);
    }
    let mut all = files.clone();
    all.extend(chain.files().clone());
    Ok(Some(Pulled { published: Published::load(&all, version)?, served: files }))
}

/// Goes on to a root that the server has, or sees that it is the folder's.
fn take_root(chain: &mut RootChain, name: &str, root: &[u8]) -> Result<(), PullError> {
    match chain.files().get(name) {
        None => Ok(chain.advance(root)?),
        Some(own) if same_content(own, root) => Ok(()),
        Some(_) => Err(PullError::OtherRoot { file: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::metadata::{self, Header, Keys, RoleKeys, Root};
    use crate::trust::{SigningKey, UnixTime};

    fn root(version: u64, expires: i64) -> Vec<u8> {
        let key = SigningKey::from_seed(&[1; 32]);
        let id = key.public().id().clone();
        let keys: Keys = [(id.clone(), key.public().to_object())].into();
        let role = || RoleKeys { keyids: vec![id.clone()], threshold: 1 };
        let (root, targets, snapshot, timestamp) = (role(), role(), role(), role());
        let roles = Roles { root, targets, snapshot, timestamp };
        let root = Root { consistent_snapshot: true, keys, roles };
        let header = Header::new::<Root>(version, UnixTime::from_secs(expires));
        metadata::sign(&header, &root, &[&key]).unwrap()
    }

    #[test]
    fn a_server_never_replaces_a_root_of_the_folder() {
        let mut chain = RootChain::begin(&root(1, 9)).unwrap();
        chain.advance(&root(2, 9)).unwrap();
        take_root(&mut chain, "1.root.json", &root(1, 9)).unwrap();
        let error = take_root(&mut chain, "2.root.json", &root(2, 8)).unwrap_err();
        assert!(matches!(error, PullError::OtherRoot { .. }), "{error:?}");
        take_root(&mut chain, "3.root.json", &root(3, 9)).unwrap();
        assert_eq!(chain.root().version(), 3);
    }
}
