//! What an offered release would cost to fetch, for a person who asks.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use partition_layout::SlotLetter;

use super::ask::{Found, Leave};
use super::install::{apart, fault};
use super::{Shared, lock};
use crate::chain;
use crate::install::{Costs, Report, prepare, survey};
use crate::update::{Checked, InstallFault};

/// Longer than that nobody waits for a price.
const PRICE_MAX: Duration = Duration::from_secs(60);

/// Ends a survey with whoever wanted it: a task that is aborted, or out of time, drops this.
#[derive(Default)]
struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// For the thread that surveys.
    fn watch(&self) -> impl Fn(&Report) -> ControlFlow<()> + Send + Sync + use<> {
        let over = self.0.clone();
        move |_| match over.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Adds its costs to an offer to the slot `target`. What cannot be told is left out: the offer
    /// stands without.
    pub(super) async fn priced(self: Arc<Self>, found: Found, target: SlotLetter) -> Found {
        let Found { checked: Checked::Offer(mut offer), admitted: Some(leave), poll } = found
        else {
            return found;
        };
        if self.allowance.over().is_some() {
            // It is not taken, and asking costs bytes.
            return Found { checked: Checked::Offer(offer), admitted: Some(leave), poll };
        }
        let priced = tokio::time::timeout(PRICE_MAX, self.price(&leave, target)).await;
        let late = |_| Err(InstallFault::Network(format!("it takes over {PRICE_MAX:?} to say")));
        offer.costs = priced.unwrap_or_else(late).map_or_else(
            |fault| {
                tracing::warn!("what it costs to fetch is not known: {fault}");
                None
            },
            Some,
        );
        Found { checked: Checked::Offer(offer), admitted: Some(leave), poll }
    }

    async fn price(
        self: &Arc<Self>,
        leave: &Leave,
        target: SlotLetter,
    ) -> Result<Costs, InstallFault> {
        let (manifest, payload) = self.payload_of_server(leave).await?;
        let shared = self.clone();
        let wanted = Wanted::default();
        let watch = wanted.watch();
        let priced = apart(self.settings.priority, move || {
            let deltas = payload.deltas();
            let source = payload.source()?;
            let prepared = prepare(&manifest.images, &deltas, &*source);
            let prepared = prepared.map_err(|error| fault(&error))?;
            let extents = lock(&shared.boot).extents(target);
            let extents = extents.map_err(|error| InstallFault::Device(chain(&error)))?;
            survey(&prepared, &extents, &watch).map_err(|error| fault(&error))
        });
        priced.await.unwrap_or_else(|error| Err(InstallFault::Device(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_survey_ends_with_whoever_wanted_it() {
        let asked = || {
            let wanted = Wanted::default();
            let watch = wanted.watch();
            let task = async move {
                let _wanted = wanted;
                std::future::pending::<()>().await;
            };
            (task, move || watch(&Report::of_nothing(1)).is_break())
        };
        let (task, over) = asked();
        assert!(!over());
        let task = tokio::spawn(task);
        tokio::task::yield_now().await;
        assert!(!over());
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(over());
        let (task, over) = asked();
        assert!(tokio::time::timeout(Duration::ZERO, task).await.is_err());
        assert!(over());
    }
}
