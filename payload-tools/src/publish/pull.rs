use super::requests;
use crate::admin::{AdminClient, AdminError};
use crate::repository::Published;
use crate::trust::metadata::{Roles, Snapshot, Timestamp, Unverified};
use crate::trust::root_chain::RootChain;
use crate::trust::{Files, Limits, MAX_ROOTS, Role, TrustError};

/// Why the server's state could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] AdminError),
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
/// `local` holds the publisher's first root. Dates do not matter: an expired state is there to be
/// replaced.
pub(super) async fn pull(
    server: &AdminClient,
    local: &Files,
) -> Result<Option<Published>, PullError> {
    let limits = Limits::default();
    let missing = |role: Role, file: &str| TrustError::Missing { role, file: file.to_owned() };
    let Some(bytes) = requests::metadata(server, "timestamp.json", limits.timestamp).await? else {
        return Ok(None);
    };
    let first = local.get("1.root.json").ok_or_else(|| missing(Role::Root, "1.root.json"))?;
    let mut chain = RootChain::begin(first)?;
    let mut files = chain.files().clone();
    for _ in 0..MAX_ROOTS {
        let Some(name) = chain.next_file() else { break };
        let Some(root) = requests::metadata(server, &name, limits.root).await? else { break };
        chain.advance(&root)?;
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
    Ok(Some(Published::load(&files, version)?))
}
