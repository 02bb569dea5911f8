//! What an offered release would cost to fetch, for a person who asks.

use std::sync::Arc;
use std::time::Duration;

use partition_layout::SlotLetter;
use tokio::sync::watch;

use super::ask::{Found, Leave};
use super::install::{apart, fault};
use super::{Shared, lock};
use crate::chain;
use crate::install::{Costs, StopWord, prepare, survey};
use crate::update::{Checked, InstallFault};

/// Longer than that nobody waits for a price.
const PRICE_MAX: Duration = Duration::from_secs(60);

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
        // Dropped by a task that is aborted or out of time, which ends the survey.
        let wanted = watch::Sender::new(false);
        let stop = StopWord::of(&wanted);
        let (manifest, payload) = self.payload_of_server(leave, stop.clone()).await?;
        let shared = self.clone();
        let priced = apart(self.settings.priority, move || {
            let deltas = payload.deltas();
            let source = payload.source()?;
            let prepared = prepare(&manifest.images, &deltas, &*source);
            let prepared = prepared.map_err(|error| fault(&error))?;
            let extents = lock(&shared.boot).extents(target);
            let extents = extents.map_err(|error| InstallFault::Device(chain(&error)))?;
            survey(&prepared, &extents, &stop).map_err(|error| fault(&error))
        });
        priced.await.unwrap_or_else(|error| Err(InstallFault::Device(error)))
    }
}
