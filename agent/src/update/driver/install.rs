//! From a leave to stage to a staged slot.

use std::sync::{Arc, Mutex};

use partition_layout::SlotLetter;
use payload_tools::bundle::{Bundle, BundleError};
use payload_tools::confined::DecodeError;
use payload_tools::format::{Image, Manifest};
use payload_tools::trust::SignedRelease;
use tokio::sync::{mpsc, oneshot};

use super::ask::Leave;
use super::watcher::Watch;
use super::{Letter, Shared, lock};
use crate::boot_control::BootControl;
use crate::chain;
use crate::client::{AskError, Http, UpdateServer};
use crate::config::{Priority, Save};
use crate::install::{
    self, Allowance, BundleSource, DeltaOffer, HttpSource, InstallError, OverBudget, Patience,
    PayloadSource, Progress, Report, SourceError, Staged, StopWord, TargetContent,
};
use crate::update::{Change, InstallFault, Motive};

/// About a tenth of a processor that everything else wants too.
const NICENESS: i32 = 10;

impl Shared {
    pub(crate) async fn install(
        self: Arc<Self>,
        change: Change,
        leave: Option<Box<Leave>>,
        mailbox: mpsc::UnboundedSender<Letter>,
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
        let stop = StopWord::of(&self.stop);
        let (manifest, payload) = tokio::select! {
            payload = self.payload(&change, &leave, stop.clone()) => payload?,
            () = stop.given() => return Err(InstallFault::Cancelled),
        };
        let (shared, priority) = (self.clone(), self.settings.priority);
        let staging = apart(priority, move || {
            let watch = Watch::new(shared.clone(), mailbox);
            stage(&shared.boot, change.slot, &manifest.images, payload, &watch)
        });
        staging.await.unwrap_or_else(|error| Err(InstallFault::Device(error)))
    }

    async fn payload(
        &self,
        change: &Change,
        leave: &Leave,
        stop: StopWord,
    ) -> Result<(Manifest, Payload), InstallFault> {
        let admitted = &leave.admitted;
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
            _ => self.payload_of_server(leave, stop).await,
        }
    }

    /// The payload that the server has of an offered release, fetched until the word is given.
    pub(super) async fn payload_of_server(
        &self,
        Leave { admitted, base }: &Leave,
        stop: StopWord,
    ) -> Result<(Manifest, Payload), InstallFault> {
        let none = || InstallFault::Network("no update server is configured".to_owned());
        let server = self.server.as_ref().ok_or_else(none)?;
        let manifest = server.manifest(admitted.release()).await.map_err(|error| match error {
            AskError::Http(_) | AskError::Protocol { .. } => InstallFault::Network(chain(&error)),
            AskError::Target(_) => InstallFault::Verification(chain(&error)),
        })?;
        let base = base.as_ref().filter(|_| self.settings.download.save == Save::Bytes);
        let deltas = match base {
            Some(base) => deltas(server, base, &manifest).await,
            None => Vec::new(),
        };
        let patience =
            Patience { silence_max: self.settings.request_timeout, ..Patience::default() };
        let (http, allowance) = (server.http().clone(), self.allowance.clone());
        let of_server = OfServer { http, patience, allowance, deltas, stop };
        Ok((manifest, Payload::Server(Box::new(of_server))))
    }
}

/// Does `work` in a thread of its own: whatever that starts, connections and decoders too, has
/// its priority.
pub(super) async fn apart<T: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("stage".to_owned()).spawn(move || {
        if priority == Priority::Low {
            stand_back();
        }
        // Nobody waits for it any more when the program ends.
        let _ = done.send(work());
    });
    thread.map_err(|error| format!("no thread can be started: {error}"))?;
    result.await.map_err(|_| "the thread of the install ended without a result".to_owned())
}

/// Behind the device's work at the processors and, by that, at the disks, and not in the last
/// place: on a busy device that gets next to nothing, and a stage would run into its deadlines.
fn stand_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!("the install has the priority of any program: {error}");
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
pub(super) enum Payload {
    Server(Box<OfServer>),
    Bundle(Box<Bundle>),
}

/// How payloads are fetched from a server.
pub(super) struct OfServer {
    http: Http,
    patience: Patience,
    allowance: Arc<Allowance>,
    deltas: Vec<DeltaOffer>,
    stop: StopWord,
}

impl Payload {
    pub fn deltas(&self) -> Vec<DeltaOffer> {
        match self {
            Payload::Server(of_server) => of_server.deltas.clone(),
            Payload::Bundle(_) => Vec::new(),
        }
    }

    /// Made in the thread that stages: its connections live there.
    pub fn source(self) -> Result<Box<dyn PayloadSource>, InstallFault> {
        match self {
            Payload::Bundle(bundle) => Ok(Box::new(BundleSource::new(*bundle))),
            Payload::Server(of_server) => {
                let OfServer { http, patience, allowance, stop, .. } = *of_server;
                let client = http.unhurried();
                let client = client.map_err(|error| InstallFault::Device(chain(&error)))?;
                let source = HttpSource::new(http.base().url().clone(), client, patience);
                let source = source.map_err(|error| InstallFault::Network(chain(&error)))?;
                Ok(Box::new(source.within(allowance).until(stop)))
            }
        }
    }
}

/// Whose fault it is that a stage ended.
pub(super) fn fault(error: &InstallError) -> InstallFault {
    let text = chain(error);
    match error {
        InstallError::Index { source, .. } | InstallError::Fetch { source, .. } => match source {
            SourceError::Bundle { .. } | SourceError::Client(_) => InstallFault::Device(text),
            SourceError::OverBudget(OverBudget { until, .. }) => {
                InstallFault::OverBudget { until: *until, error: text }
            }
            _ => InstallFault::Network(text),
        },
        // By its length; a person's word is known to the driver.
        InstallError::Cancelled { .. } => {
            InstallFault::Network(format!("the stage took longer than a day: {text}"))
        }
        // As on a device that is busy: no word about the release, which may be good.
        InstallError::Decode { source: DecodeError::TimedOut(_), .. } => InstallFault::Device(text),
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
    use std::ops::ControlFlow;
    use std::time::Duration;

    use crate::boot_control::{BootSource, GptBootControl};
    use crate::install::tests::fixture::TestRelease;
    use partition_layout::testing::small_plan;
    use partition_layout::{
        Access, BootAttributes, DiskFile, Layout, Nibble, SlotTable, commit, create_disk,
    };
    use payload_tools::format::Role;

    fn disk(path: &std::path::Path) -> DiskFile {
        let disk = DiskFile::create(path, 64 << 20, 512).unwrap();
        let table = create_disk(&disk, &small_plan()).unwrap();
        let confirmed = BootAttributes::default().with_boot(Nibble::MAX, Nibble::ZERO, true);
        let numbers = SlotLetter::BOTH.map(|letter| table.slot(letter).kernel.number);
        drop(commit(&disk, &numbers.map(|number| (number, confirmed))).unwrap());
        disk
    }

    /// Also of the threads and programs that it starts; who waits for it keeps its own.
    #[tokio::test]
    async fn an_install_stands_back_behind_the_devices_work() {
        let niceness = || {
            let nice = std::process::Command::new("nice").output().unwrap();
            String::from_utf8(nice.stdout).unwrap().trim().parse::<i32>().unwrap()
        };
        let own = niceness();
        let of_child = move || std::thread::spawn(niceness).join().unwrap();
        assert_eq!(apart(Priority::Low, of_child).await, Ok(NICENESS));
        assert_eq!(apart(Priority::Normal, of_child).await, Ok(own));
        assert_eq!(niceness(), own);
        let panics: Result<(), String> = apart(Priority::Low, || panic!("on purpose")).await;
        assert!(panics.unwrap_err().contains("without a result"));
    }

    #[test]
    fn a_decoder_that_is_slow_is_no_word_about_the_release() {
        let place = install::Place { role: Role::Root, segment: 7, bytes_done: 0, bytes_total: 9 };
        let of = |source| fault(&InstallError::Decode { place, source });
        let slow = of(DecodeError::TimedOut(Duration::from_secs(20)));
        assert!(matches!(&slow, InstallFault::Device(text) if text.contains("install.priority")));
        assert!(!slow.to_string().contains("publish"), "{slow}");
        let bad = of(DecodeError::Nonsense);
        assert!(matches!(&bad, InstallFault::Verification(text) if text.contains("publish")));
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
