//! One look at what is wanted and what is there, and one step towards it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use payload_tools::error_chain::one_line;
use payload_tools::format::Manifest;
use payload_tools::format::delta::{FIXED_LEN, Head};
use tokio::io::AsyncReadExt as _;

use super::figures::{DeltaRow, RowState};
use super::maker::{self, Made, MakeFailure};
use super::plan::{Candidate, plan};
use super::wanted::{Manifests, Wanted, is_listed, wanted};
use super::{Pair, Standing};
use crate::app::App;
use crate::names::Hash;
use crate::payloads::{PayloadFolder, Stored, StoredFile};
use crate::publish::{PublishError, manifest};
use crate::store::{DeltaRecord, StoreError};

/// What devices run is looked at this often; what an operator changes, at once.
const PERIOD: Duration = Duration::from_secs(10);
/// A device that was not heard of for so long may not come for its update either.
const RUNNING_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// This share of the disk is left to others: a twentieth.
const DISK_SHARE_LEFT: u64 = 20;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the payload folder cannot be read or written")]
    Folder(#[from] std::io::Error),
}

/// Makes the deltas that the fleet could use, one after the other, for ever.
pub async fn keep_making(app: Arc<App>) {
    let Some(threads) = app.deltas.budget.threads else { return };
    let mut maker = Maker::of(&app, threads);
    loop {
        let wait = match maker.round().await {
            Ok(Some(wait)) => wait.min(PERIOD),
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(error = one_line(&error), "no deltas are made for now");
                PERIOD
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = app.deltas.reconsidered() => {}
        }
    }
}

struct Maker<'a> {
    app: &'a App,
    threads: NonZero<usize>,
    /// By the hash of the manifest, which is read once.
    manifests: BTreeMap<Hash, Manifest>,
    /// Those that cannot be read.
    lost: BTreeSet<Hash>,
}

/// What there is of one delta.
struct Found {
    /// What the plan is to know, unless a publisher has uploaded it.
    standing: Option<Standing>,
    state: RowState,
}

impl<'a> Maker<'a> {
    fn of(app: &'a App, threads: NonZero<usize>) -> Self {
        Self { app, threads, manifests: BTreeMap::new(), lost: BTreeSet::new() }
    }

    /// Does what is to be done next; with nothing to be made, how long that holds.
    async fn round(&mut self) -> Result<Option<Duration>, RoundError> {
        let (app, now) = (self.app, self.app.now());
        app.flush_last_seen().await?;
        let manifests = self.manifests().await?;
        let fleets = app.store.fleets(now - RUNNING_WITHIN).await?;
        let wanted = wanted(&app.policy(), &fleets, &manifests, now);
        let records = self.records(&manifests).await?;
        let candidates = self.candidates(&wanted, &records).await?;
        let planned = plan(&candidates, app.deltas.budget.disk_bytes, now);
        for pair in &planned.remove {
            self.let_go(*pair).await?;
        }
        let next = planned.next.and_then(|pair| wanted.iter().find(|one| one.pair() == pair));
        let Some(next) = next else {
            let wait = planned.retry_at.map(|at| at.duration_since(now));
            let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
            return Ok(Some(wait.unwrap_or(PERIOD)));
        };
        let full_bytes = self.size(&StoredFile::Full(next.to.root)).await?;
        if !self.has_room(next, full_bytes)? {
            return Ok(Some(PERIOD));
        }
        self.make(next, full_bytes, candidates, &records).await?;
        Ok(None)
    }

    /// What the listed releases consist of; without those whose manifest cannot be read.
    async fn manifests(&mut self) -> Result<Manifests, RoundError> {
        let app = self.app;
        let releases = app.publisher.releases(&*app.store).await?;
        let (mut known, mut lost) = (BTreeMap::new(), BTreeSet::new());
        let mut found = Manifests::new();
        for release in releases {
            let sha256 = release.sha256();
            let manifest = match self.manifests.remove(&sha256) {
                Some(manifest) => manifest,
                None => match manifest(&release, &app.payloads).await {
                    Ok(manifest) => manifest,
                    Err(error) => {
                        if !self.lost.contains(&sha256) {
                            let (release, error) = (&release.facts().release, one_line(&error));
                            tracing::warn!(%release, error, "no deltas of this release are made: publish it again");
                        }
                        lost.insert(sha256);
                        continue;
                    }
                },
            };
            let name = (manifest.compatible.clone(), manifest.release.clone());
            found.insert(name, manifest.clone());
            known.insert(sha256, manifest);
        }
        (self.manifests, self.lost) = (known, lost);
        Ok(found)
    }

    /// What is known of deltas, after those that nothing listed needs any more, those of a format that
    /// devices do not take any more, and those whose file is another's by now, were forgotten.
    async fn records(
        &self,
        manifests: &Manifests,
    ) -> Result<BTreeMap<Pair, DeltaRecord>, RoundError> {
        let mut records = BTreeMap::new();
        for record in self.app.store.deltas().await? {
            let is_made = matches!(record.standing, Standing::Made(_));
            let ours = is_made && is_ours(&self.app.payloads, &record).await?;
            // What a lost manifest names is not known, so nothing is taken for withdrawn.
            let is_listed = !self.lost.is_empty() || is_listed(&record.pair, manifests);
            let is_old = ours && is_of_an_old_format(&self.app.payloads, record.pair).await?;
            if is_listed && ours == is_made && !is_old {
                records.insert(record.pair, record);
                continue;
            }
            if ours {
                self.app.payloads.remove(&file(record.pair)).await?;
                let Pair { to, from } = record.pair;
                match is_listed {
                    true => tracing::info!(%to, %from, "delta of an older format removed"),
                    false => tracing::info!(%to, %from, "delta of a withdrawn release removed"),
                }
            }
            self.know(record.pair, Standing::Unknown, None).await?;
        }
        Ok(records)
    }

    /// What the plan decides on, and what people are shown.
    async fn candidates(
        &self,
        wanted: &[Wanted],
        records: &BTreeMap<Pair, DeltaRecord>,
    ) -> Result<Vec<Candidate>, RoundError> {
        let (mut candidates, mut rows) = (Vec::new(), Vec::new());
        for one in wanted {
            let pair = one.pair();
            let Found { standing, state } = self.find(pair, records.get(&pair)).await?;
            let (devices, image_bytes) = (one.devices, one.to.size);
            candidates.extend(standing.map(|standing| Candidate {
                pair,
                devices,
                image_bytes,
                standing,
            }));
            let full_bytes = self.size(&StoredFile::Full(pair.to)).await?;
            let (between, role) = (one.between.clone(), one.to.role);
            rows.push(DeltaRow { between, role, devices, state, full_bytes });
        }
        let is_wanted = |pair: &Pair| wanted.iter().any(|one| one.pair() == *pair);
        let mut kept_bytes = 0;
        for (pair, record) in records {
            let Standing::Made(bytes) = record.standing else { continue };
            kept_bytes += bytes;
            if !is_wanted(pair) {
                let (pair, standing) = (*pair, record.standing);
                candidates.push(Candidate { pair, devices: 0, image_bytes: 0, standing });
            }
        }
        rows.sort_by_key(|row| (std::cmp::Reverse(row.devices), std::cmp::Reverse(row.full_bytes)));
        self.app.deltas.change(|figures| {
            figures.rows = rows;
            figures.kept_bytes = kept_bytes;
        });
        Ok(candidates)
    }

    async fn find(&self, pair: Pair, record: Option<&DeltaRecord>) -> Result<Found, RoundError> {
        let standing = record.map_or(Standing::Unknown, |record| record.standing);
        let state = match standing {
            Standing::Made(bytes) => RowState::Made(bytes),
            Standing::Unknown => RowState::Waiting,
            Standing::Unkept(bytes) => RowState::Unkept(bytes),
            Standing::NotWorth => RowState::NotWorth,
            Standing::Failed(attempts, _) => RowState::Failed(attempts),
        };
        if matches!(standing, Standing::Made(_)) {
            return Ok(Found { standing: Some(standing), state });
        }
        Ok(match self.app.payloads.open(&file(pair)).await? {
            Some(Stored { facts, .. }) => {
                Found { standing: None, state: RowState::Uploaded(facts.size) }
            }
            None => Found { standing: Some(standing), state },
        })
    }

    async fn size(&self, file: &StoredFile) -> Result<u64, RoundError> {
        let stored = self.app.payloads.open(file).await?;
        Ok(stored.map_or(0, |stored| stored.facts.size))
    }

    /// Whether both images and the delta have room beside what is there.
    fn has_room(&self, next: &Wanted, full_bytes: u64) -> Result<bool, RoundError> {
        let needed = next.from.size.saturating_add(next.to.size).saturating_add(full_bytes);
        let (free, total) = self.app.payloads.room()?;
        let has_room = free.saturating_sub(needed) >= total / DISK_SHARE_LEFT;
        let had_room = !self.app.deltas.figures().no_room;
        if had_room && !has_room {
            tracing::warn!(needed, free, "no delta is made: there is no room to unpack its images");
        }
        self.app.deltas.change(|figures| figures.no_room = !has_room);
        Ok(has_room)
    }

    /// Makes a delta, and keeps it if it is worth its room.
    async fn make(
        &self,
        next: &Wanted,
        full_bytes: u64,
        candidates: Vec<Candidate>,
        records: &BTreeMap<Pair, DeltaRecord>,
    ) -> Result<(), RoundError> {
        let (app, pair, between, role) = (self.app, next.pair(), &next.between, next.to.role);
        tracing::info!(%between, %role, devices = next.devices, "making a delta");
        app.deltas.change(|figures| {
            let is_next = |row: &&mut DeltaRow| row.between == *between && row.role == role;
            figures.rows.iter_mut().filter(is_next).for_each(|row| row.state = RowState::Making);
        });
        let made = maker::make(&app.payloads, &app.deltas.budget, self.threads, next).await;
        let taken = match made {
            Ok(made) => self.take(next, made, full_bytes, candidates).await?,
            Err(error) => Err(error),
        };
        let Err(error) = taken else { return Ok(()) };
        let failures = match records.get(&pair).map(|record| record.standing) {
            Some(Standing::Failed(before, _)) => before.saturating_add(1),
            _ => 1,
        };
        let error = one_line(&error);
        tracing::warn!(%between, %role, failures, error, "a delta was not made");
        self.know(pair, Standing::Failed(failures, app.now()), None).await
    }

    /// Keeps a delta if it is worth its room.
    async fn take(
        &self,
        next: &Wanted,
        Made { incoming, bytes, sha256 }: Made,
        full_bytes: u64,
        mut candidates: Vec<Candidate>,
    ) -> Result<Result<(), MakeFailure>, RoundError> {
        let (app, pair, between, role) = (self.app, next.pair(), &next.between, next.to.role);
        if bytes >= full_bytes {
            tracing::info!(%between, %role, bytes, full_bytes, "the delta saves nothing");
            return Ok(Ok(self.know(pair, Standing::NotWorth, None).await?));
        }
        for candidate in candidates.iter_mut().filter(|candidate| candidate.pair == pair) {
            candidate.standing = Standing::Made(bytes);
        }
        let planned = plan(&candidates, app.deltas.budget.disk_bytes, app.now());
        if planned.remove.contains(&pair) {
            tracing::info!(%between, %role, bytes, "the delta has no room: --delta-disk-mib");
            return Ok(Ok(self.know(pair, Standing::Unkept(bytes), None).await?));
        }
        // While it was made somebody may have uploaded it.
        if app.payloads.open(&file(pair)).await?.is_some() {
            return Ok(Ok(()));
        }
        for pair in planned.remove {
            self.let_go(pair).await?;
        }
        // Known first: cut before it has its name, it is made again; cut the other way round, nobody
        // would know that it may be removed.
        self.know(pair, Standing::Made(bytes), Some(sha256)).await?;
        if let Err(error) = app.payloads.keep(incoming, sha256, &file(pair)).await {
            return Ok(Err(error.into()));
        }
        tracing::info!(%between, %role, bytes, full_bytes, "delta made");
        Ok(Ok(()))
    }

    /// Removes what had room until now.
    async fn let_go(&self, pair: Pair) -> Result<(), RoundError> {
        let records = self.app.store.deltas().await?;
        let Some(record) = records.into_iter().find(|record| record.pair == pair) else {
            return Ok(());
        };
        let Standing::Made(bytes) = record.standing else { return Ok(()) };
        // Since the round began a publisher may have uploaded another: that is not to be removed.
        if !is_ours(&self.app.payloads, &record).await? {
            return Ok(());
        }
        // The file first: cut in between, it is found missing and forgotten.
        self.app.payloads.remove(&file(pair)).await?;
        tracing::info!(to = %pair.to, from = %pair.from, bytes, "delta removed for more wanted ones");
        self.know(pair, Standing::Unkept(bytes), None).await
    }

    async fn know(
        &self,
        pair: Pair,
        standing: Standing,
        sha256: Option<Hash>,
    ) -> Result<(), RoundError> {
        let record = DeltaRecord { pair, standing, sha256 };
        Ok(self.app.store.record_delta(record, self.app.now()).await?)
    }
}

fn file(Pair { to, from }: Pair) -> StoredFile {
    StoredFile::Delta { to, from }
}

/// Whether the file of that name is the one that was made. What was put back from a backup has nobody
/// to vouch for it, and is taken by its size.
async fn is_ours(payloads: &PayloadFolder, record: &DeltaRecord) -> Result<bool, RoundError> {
    let Standing::Made(bytes) = record.standing else { return Ok(false) };
    let Some(stored) = payloads.open(&file(record.pair)).await? else { return Ok(false) };
    let tag = stored.facts.etag.trim_matches('"').parse::<Hash>().ok();
    Ok(match tag {
        Some(found) => record.sha256 == Some(found),
        None => stored.facts.size == bytes,
    })
}

/// Whether the server made it before it was updated: no device that was, too, makes use of it.
async fn is_of_an_old_format(payloads: &PayloadFolder, pair: Pair) -> Result<bool, RoundError> {
    let Some(stored) = payloads.open(&file(pair)).await? else { return Ok(false) };
    let mut start = Vec::new();
    stored.file.take(FIXED_LEN as u64).read_to_end(&mut start).await?;
    Ok(!Head::is_delta(&start))
}

#[cfg(test)]
mod tests;
