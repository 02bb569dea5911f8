//! From a leave to stage to a staged slot.

use std::ops::ControlFlow;
use std::sync::Arc;

use payload_tools::bundle::{Bundle, BundleError};
use payload_tools::format::Manifest;
use payload_tools::trust::policy::Admitted;

use super::{Shared, lock};
use crate::client::{AskError, client_builder};
use crate::config::ServerUrl;
use crate::health::chain;
use crate::install::{
    self, BundleSource, HttpSource, InstallError, Patience, PayloadSource, Report, StagePlan,
    Staged, TargetContent,
};
use crate::status::StageProgress;
use crate::update::{Change, InstallFault, Motive};

impl Shared {
    pub(crate) async fn install(
        self: Arc<Self>,
        change: Change,
        admitted: Option<Admitted>,
    ) -> Result<Staged, InstallFault> {
        let admitted = admitted.filter(|admitted| {
            let facts = admitted.release().facts();
            change
                .to
                .as_ref()
                .is_some_and(|to| to.release == facts.release && to.counter == facts.counter)
        });
        let lost = || InstallFault::Device("the leave to stage was lost: check again".to_owned());
        let admitted = admitted.ok_or_else(lost)?;
        let (manifest, source) = self.payload(&change, &admitted).await?;
        let plan = lock(&self.boot)
            .make_unbootable(change.slot, &manifest.images, TargetContent::CutStage)
            .map_err(|error| InstallFault::Device(chain(&error)))?;
        let shared = self.clone();
        let staging = tokio::task::spawn_blocking(move || shared.stage(&plan, source));
        staging.await.unwrap_or_else(|error| Err(InstallFault::Device(chain(&error))))
    }

    async fn payload(
        &self,
        change: &Change,
        admitted: &Admitted,
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
                Ok((manifest, Payload::Server(server.base().clone())))
            }
        }
    }

    fn stage(&self, plan: &StagePlan, payload: Payload) -> Result<Staged, InstallFault> {
        let source = payload.source()?;
        let tell = |report: &Report| {
            self.progress.send_replace(Some(progress(report)));
            ControlFlow::Continue(())
        };
        install::stage(plan, &*source, &tell).map_err(|error| fault(&error))
    }
}

/// Where the images come from.
enum Payload {
    Server(ServerUrl),
    Bundle(Box<Bundle>),
}

impl Payload {
    /// Made in the thread that stages: its connections live there.
    fn source(self) -> Result<Box<dyn PayloadSource>, InstallFault> {
        match self {
            Payload::Bundle(bundle) => Ok(Box::new(BundleSource::new(*bundle))),
            Payload::Server(base) => {
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
        InstallError::Index { .. } | InstallError::Fetch { .. } => InstallFault::Network(text),
        InstallError::Levels { .. }
        | InstallError::SeekTable { .. }
        | InstallError::Decode { .. }
        | InstallError::Mismatch { .. } => InstallFault::Verification(text),
        _ => InstallFault::Device(text),
    }
}
