//! Taking what a publisher signed, and signing which of it is newest.

use std::collections::BTreeSet;

use jiff::Timestamp;
use payload_tools::format::{Hash, Manifest};
use payload_tools::repository::{AcceptedUpload, Published, UploadError, accept};
use payload_tools::trust::timestamp::{self, LIFETIME_HOURS};
use payload_tools::trust::{Files, SignedRelease, TargetError, TrustError, UnixTime};
use tokio::sync::Mutex;

use crate::data_folder::DataFolderError;
use crate::expiry::Expiry;
use crate::payloads::{ImageFault, PayloadFolder, StoredFile};
use crate::store::{Publication, PublishOutcome, Repository, Store, StoreError};
use crate::timestamp_keys::TimestampKeys;

/// Publications are begun anew so often when other processes sign in between.
const ATTEMPTS_MAX: u32 = 32;

/// The repository as it stands, and the keys of which one says so. One publication at a
/// time: the second waits, and is then held against what the first left.
pub struct Publisher {
    keys: TimestampKeys,
    standing: Mutex<Option<Published>>,
}

/// Why a publication was not taken. Devices see what they saw before.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It does not verify, or is not the next one.
    #[error(transparent)]
    Refused(#[from] UploadError),
    /// Other processes signed between verification and commit, again and again.
    #[error("others signed in between, again and again; run `payload publish` again")]
    Moved,
    /// Something that devices would ask for is not here, or of no use to them.
    #[error(transparent)]
    Image(#[from] ImageFault),
    /// A manifest is not the one that was signed.
    #[error("a manifest does not match its metadata")]
    Manifest(#[from] TargetError),
    /// The store's own metadata no longer verifies.
    #[error("the stored metadata does not verify; restore the data folder from a backup")]
    Stored(#[from] TrustError),
    /// The keys could not be read.
    #[error(transparent)]
    Keys(#[from] DataFolderError),
    /// The newest root names another server's key.
    #[error(
        "root names none of this server's timestamp keys; restore the data folder from a newer backup, or \
         publish a root that names one (`payload key rotate timestamp`)"
    )]
    NoKey,
    /// The timestamp could not be encoded.
    #[error("the timestamp cannot be encoded")]
    Encode(#[from] serde_json::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of renewing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// Signed anew; expires then.
    Until(Timestamp),
    /// Another process did, after this one had looked.
    ByAnother,
    /// Nothing was ever published.
    NothingPublished,
}

impl Publisher {
    /// Verifies what the store holds.
    pub async fn open(store: &dyn Store, keys: TimestampKeys) -> Result<Self, PublishError> {
        let publisher = Self { keys, standing: Mutex::new(None) };
        catch_up(&mut *publisher.standing.lock().await, store).await?;
        Ok(publisher)
    }

    /// Takes an upload whole or not at all. Returns the snapshot's version.
    pub async fn publish(
        &self,
        store: &dyn Store,
        payloads: &PayloadFolder,
        upload: &Files,
        clock: impl Fn() -> Timestamp,
    ) -> Result<u64, PublishError> {
        let mut standing = self.standing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let replaces = catch_up(&mut standing, store).await?;
            let now = clock();
            let before = standing.as_ref();
            let keys = self.keys.publics()?;
            let accepted = accept(before, upload, &keys, UnixTime::from(now))?;
            self.check_uploaded(before, &accepted, payloads).await?;
            let releases = accepted.releases()?.into_values().flatten();
            let publication = Publication {
                releases: Some(releases.map(|release| release.facts().clone()).collect()),
                files: accepted.new_files().clone().into_iter().collect(),
                ..self.stand(replaces, accepted.published(), now)?
            };
            match store.publish(publication).await? {
                PublishOutcome::Published => {
                    let published = accepted.published().clone();
                    return Ok(standing.insert(published).snapshot_version());
                }
                // Another process signed the timestamp again; or it published, and then the upload
                // is refused now.
                PublishOutcome::Moved => {}
            }
        }
        Err(PublishError::Moved)
    }

    /// Signs the timestamp again, at the time that the clock has once it is known what is replaced:
    /// a process that slept in between must not put an older end in the place of a newer one.
    pub async fn renew(
        &self,
        store: &dyn Store,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Renewed, PublishError> {
        let mut standing = self.standing.lock().await;
        let replaces = catch_up(&mut standing, store).await?;
        let now = clock();
        let Some(published) = standing.as_ref() else { return Ok(Renewed::NothingPublished) };
        let publication = self.stand(replaces, published, now)?;
        let expires = publication.becomes.timestamp_expires;
        match store.publish(publication).await? {
            PublishOutcome::Published => Ok(Renewed::Until(expires)),
            PublishOutcome::Moved => Ok(Renewed::ByAnother),
        }
    }

    /// When what people signed expires; nothing before the first publication.
    pub async fn expiries(&self, store: &dyn Store) -> Result<Vec<Expiry>, PublishError> {
        let mut standing = self.standing.lock().await;
        catch_up(&mut standing, store).await?;
        let expiries = standing.as_ref().map(Published::expiries).unwrap_or_default();
        Ok(expiries.into_iter().map(|(role, at)| Expiry { role, at }).collect())
    }

    /// Every release that the metadata lists.
    pub async fn releases(&self, store: &dyn Store) -> Result<Vec<SignedRelease>, PublishError> {
        let mut standing = self.standing.lock().await;
        catch_up(&mut standing, store).await?;
        let mut releases = Vec::new();
        if let Some(published) = standing.as_ref() {
            for compatible in published.compatibles() {
                releases.extend(published.releases(compatible)?);
            }
        }
        Ok(releases)
    }

    /// The step from `replaces` to `published` with a new timestamp.
    fn stand(
        &self,
        replaces: Option<Repository>,
        published: &Published,
        now: Timestamp,
    ) -> Result<Publication, PublishError> {
        let version = timestamp_version(replaces.as_ref(), now);
        let signed_at = UnixTime::from(now);
        let key = self.keys.named_by(published)?.ok_or(PublishError::NoKey)?;
        let bytes = timestamp::sign(&published.snapshot_meta(), version, &key, signed_at)?;
        let expires = signed_at.plus_secs(LIFETIME_HOURS * 3600);
        let becomes = Repository {
            snapshot_version: published.snapshot_version(),
            timestamp_version: version,
            timestamp_expires: Timestamp::from_second(expires.as_secs()).unwrap_or(now),
            timestamp: bytes,
        };
        Ok(Publication { replaces, becomes, files: Vec::new(), releases: None, at: now })
    }

    /// A release is offered only once everything a device will ask for is here.
    async fn check_uploaded(
        &self,
        before: Option<&Published>,
        accepted: &AcceptedUpload,
        payloads: &PayloadFolder,
    ) -> Result<(), PublishError> {
        let mut known: BTreeSet<Hash> = BTreeSet::new();
        if let Some(before) = before {
            for compatible in before.compatibles() {
                known.extend(before.releases(compatible)?.iter().map(SignedRelease::sha256));
            }
        }
        for release in accepted.releases()?.values().flatten() {
            if !known.contains(&release.sha256()) {
                for image in &manifest(release, payloads).await?.images {
                    payloads.check_image(image).await?;
                }
            }
        }
        Ok(())
    }
}

/// The seconds since 1970, or one more than the last where that is not enough. A store restored
/// from a backup does not know what it signed since, and devices refuse whatever is older than that.
fn timestamp_version(before: Option<&Repository>, now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    before.map_or(1, |before| before.timestamp_version + 1).max(seconds)
}

/// Reads again what stands if the store has another snapshot; returns what it has. A publication
/// whose answer was lost is durable all the same: signing a timestamp over what this process
/// remembers would then roll devices back.
async fn catch_up(
    standing: &mut Option<Published>,
    store: &dyn Store,
) -> Result<Option<Repository>, PublishError> {
    let stored = store.repository().await?;
    let version = stored.as_ref().map(|stored| stored.snapshot_version);
    if version != standing.as_ref().map(Published::snapshot_version) {
        *standing = match version {
            None => None,
            Some(version) => Some(Published::load(&store.metadata_files().await?, version)?),
        };
    }
    Ok(stored)
}

/// What a release consists of.
pub async fn manifest(
    release: &SignedRelease,
    payloads: &PayloadFolder,
) -> Result<Manifest, PublishError> {
    let facts = release.facts();
    let file = StoredFile::Manifest {
        compatible: facts.compatible.clone(),
        sha256: release.sha256(),
        release: facts.release.clone(),
    };
    let bytes = payloads.read(&file).await.map_err(ImageFault::from)?;
    let bytes = bytes.ok_or_else(|| ImageFault::Missing { path: file.path() })?;
    Ok(release.open(&bytes)?)
}
