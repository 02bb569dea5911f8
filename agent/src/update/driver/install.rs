//! From a leave to stage to a staged slot.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use partition_layout::SlotLetter;
use payload_tools::bundle::{Bundle, BundleError};
use payload_tools::format::{Image, Manifest};
use payload_tools::trust::SignedRelease;

use super::ask::Leave;
use super::{Shared, lock};
use crate::boot_control::BootControl;
use crate::chain;
use crate::client::{AskError, UpdateServer, client_builder};
use crate::config::ServerUrl;
use crate::install::{
    self, BundleSource, DeltaOffer, HttpSource, InstallError, Patience, PayloadSource, Progress,
    Report, SourceError, Staged, TargetContent,
};
use crate::status::StageProgress;
use crate::update::{Change, InstallFault, Motive};

/// A stage that takes longer ends, and goes on where it was once a new check has
/// shown that what is known is still fresh: no server may hold that up.
const STAGE_MAX: Duration = Duration::from_secs(24 * 3600);

impl Shared {
    pub(crate) async fn install(
        self: Arc<Self>,
        change: Change,
        leave: Option<Box<Leave>>,
    ) -> Result<Staged, InstallFault> {
        let leave = leave.filter(|leave| {
            let facts = leave.admitted.release().facts();
            change
                .to
                .as_ref()
                .is_some_and(|to| to.release == facts.release && to.counter == facts.counter)
        });
        let lost = || InstallFault::Device("the leave to stage was lost: check again".to_owned());
        let leave = leave.ok_or_else(lost)?;
        let (manifest, payload) = self.payload(&change, &leave).await?;
        let shared = self.clone();
        let staging = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let tell = |report: &Report| {
                shared.progress.send_replace(Some(progress(report)));
                let stop = shared.stop.load(Ordering::Relaxed) || began.elapsed() > STAGE_MAX;
                if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            stage(&shared.boot, change.slot, &manifest.images, payload, &tell)
        });
        staging.await.unwrap_or_else(|error| Err(InstallFault::Device(chain(&error))))
    }

    async fn payload(
        &self,
        change: &Change,
        Leave { admitted, base }: &Leave,
    ) -> Result<(Manifest, Payload), InstallFault> {
        match &change.motive {
            Motive::Bundle { path, .. } => {
                let unreadable = |error: BundleError| match error {
                    BundleError::Io(_) => InstallFault::Device(chain(&error)),
                    _ => InstallFault::Verification(chain(&error)),
                };
                let bundle = Bundle::open(path).map_err(unreadable)?;
                let manifest = bundle.manifest_bytes().map_err(unreadable)?;
                let manifest = admitted.release().open(&manifest);
                let manifest =
                    manifest.map_err(|error| InstallFault::Verification(chain(&error)))?;
                Ok((manifest, Payload::Bundle(Box::new(bundle))))
            }
            _ => {
                let none = || InstallFault::Network("no update server is configured".to_owned());
                let server = self.server.as_ref().ok_or_else(none)?;
                let manifest =
                    server.manifest(admitted.release()).await.map_err(|error| match error {
                        AskError::Http(_) | AskError::Protocol { .. } => {
                            InstallFault::Network(chain(&error))
                        }
                        AskError::Target(_) => InstallFault::Verification(chain(&error)),
                    })?;
                let deltas = match base {
                    Some(base) => deltas(server, base, &manifest).await,
                    None => Vec::new(),
                };
                Ok((manifest, Payload::Server(server.base().clone(), deltas)))
            }
        }
    }
}

/// The deltas that would help, by what is signed about the release that runs. Whether the server
/// has them, and whether the slot really holds that release, is seen when they are used.
async fn deltas(server: &UpdateServer, base: &SignedRelease, to: &Manifest) -> Vec<DeltaOffer> {
    let from = match server.manifest(base).await {
        Ok(from) => from,
        Err(error) => {
            let error = chain(&error);
            tracing::info!("no delta is asked for, the running release is not known: {error}");
            return Vec::new();
        }
    };
    let offer = |image: &Image| {
        let from = from.images.iter().find(|from| from.role == image.role)?;
        let offer = DeltaOffer { from: from.root, from_size: from.size, to: image.root };
        (offer.from != offer.to).then_some(offer)
    };
    to.images.iter().filter_map(offer).collect()
}

/// The target stays what it is until the source has shown that it has the
/// release: it may be the slot that a person would go back to.
fn stage(
    boot: &Mutex<Box<dyn BootControl>>,
    target: SlotLetter,
    images: &[Image],
    payload: Payload,
    tell: &dyn Progress,
) -> Result<Staged, InstallFault> {
    let deltas = payload.deltas();
    let source = payload.source()?;
    let prepared = install::prepare(images, &deltas, &*source).map_err(|error| fault(&error))?;
    // Asking may have taken minutes, in which a person has changed his mind.
    let total = images.iter().map(|image| image.size).sum();
    if tell.advanced(&Report::of_nothing(total)).is_break() {
        return Err(fault(&InstallError::Cancelled { bytes_done: 0, bytes_total: total }));
    }
    let plan = lock(boot)
        .make_unbootable(target, prepared, TargetContent::CutStage)
        .map_err(|error| InstallFault::Device(chain(&error)))?;
    install::stage(&plan, &*source, tell).map_err(|error| fault(&error))
}

/// Where the images come from.
enum Payload {
    Server(ServerUrl, Vec<DeltaOffer>),
    Bundle(Box<Bundle>),
}

impl Payload {
    fn deltas(&self) -> Vec<DeltaOffer> {
        match self {
            Payload::Server(_, deltas) => deltas.clone(),
            Payload::Bundle(_) => Vec::new(),
        }
    }

    /// Made in the thread that stages: its connections live there.
    fn source(self) -> Result<Box<dyn PayloadSource>, InstallFault> {
        match self {
            Payload::Bundle(bundle) => Ok(Box::new(BundleSource::new(*bundle))),
            Payload::Server(base, _) => {
                let client = client_builder(&base);
                let source = HttpSource::new(base.url().clone(), client, Patience::default());
                Ok(Box::new(source.map_err(|error| InstallFault::Network(chain(&error)))?))
            }
        }
    }
}

fn progress(report: &Report) -> StageProgress {
    let step = match report.phase {
        install::Phase::Scanning => "scanning",
        install::Phase::Writing => "writing",
        install::Phase::ReadingBack => "reading_back",
    };
    StageProgress {
        step: step.to_owned(),
        bytes_done: report.bytes_done,
        bytes_total: report.bytes_total,
        bytes_fetched: report.bytes_fetched,
    }
}

/// Whose fault it is that a stage ended.
fn fault(error: &InstallError) -> InstallFault {
    let text = chain(error);
    match error {
        InstallError::Index { source, .. } | InstallError::Fetch { source, .. } => match source {
            SourceError::Bundle { .. } | SourceError::Client(_) => InstallFault::Device(text),
            _ => InstallFault::Network(text),
        },
        // By its length; a person's word is known to the driver.
        InstallError::Cancelled { .. } => {
            InstallFault::Network(format!("the stage took longer than a day: {text}"))
        }
        InstallError::NoImage(_)
        | InstallError::Levels { .. }
        | InstallError::SeekTable { .. }
        | InstallError::Decode { .. }
        | InstallError::Mismatch { .. } => InstallFault::Verification(text),
        _ => InstallFault::Device(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_control::{BootSource, GptBootControl};
    use crate::install::tests::fixture::TestRelease;
    use partition_layout::testing::small_plan;
    use partition_layout::{
        Access, BootAttributes, DiskFile, Layout, Nibble, SlotTable, commit, create_disk,
    };

    fn disk(path: &std::path::Path) -> DiskFile {
        let disk = DiskFile::create(path, 64 << 20, 512).unwrap();
        let table = create_disk(&disk, &small_plan()).unwrap();
        let confirmed = BootAttributes::default().with_boot(Nibble::MAX, Nibble::ZERO, true);
        let numbers = SlotLetter::BOTH.map(|letter| table.slot(letter).kernel.number);
        drop(commit(&disk, &numbers.map(|number| (number, confirmed))).unwrap());
        disk
    }

    #[test]
    fn a_release_that_is_lacking_or_cancelled_costs_no_slot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = disk(&path);
        let before = SlotTable::read(&disk, &Layout::standard()).unwrap();
        let source = BootSource::Disk { path, booted: Some(SlotLetter::A) };
        let boot = GptBootControl::open(source, Access::ReadWrite).unwrap();
        let boot: Mutex<Box<dyn BootControl>> = Mutex::new(Box::new(boot));

        let release = TestRelease::tiny(1);
        for missing in ["levels", "full"] {
            let of_release = tempfile::tempdir().unwrap();
            release.in_folder(of_release.path());
            let images = of_release.path().join("images");
            let of_root = images.join(release.root.image.root.to_string());
            std::fs::remove_file(of_root.join(missing)).unwrap();
            let bundle = Payload::Bundle(Box::new(Bundle::open(of_release.path()).unwrap()));
            let result = stage(&boot, SlotLetter::B, &release.images(), bundle, &());
            assert!(matches!(result, Err(InstallFault::Device(_))), "{missing}: {result:?}");
            let after = SlotTable::read(&disk, &Layout::standard()).unwrap();
            assert_eq!(after, before, "{missing}");
        }

        let of_release = tempfile::tempdir().unwrap();
        release.in_folder(of_release.path());
        let bundle = Payload::Bundle(Box::new(Bundle::open(of_release.path()).unwrap()));
        let cancelled = |_: &Report| ControlFlow::Break(());
        let result = stage(&boot, SlotLetter::B, &release.images(), bundle, &cancelled);
        assert!(result.is_err());
        let after = SlotTable::read(&disk, &Layout::standard()).unwrap();
        assert_eq!(after, before, "cancelled");
    }
}
