//! The effects on the slots, and the reboot.

use std::time::Duration;

use jiff::Timestamp;
use tracing::error;

use super::{Driver, Letter, Performed, Shared};
use crate::boot_control::{BootError, Ready, Undo, Vouched};
use crate::config::Strategy;
use crate::health::{self, Looks};
use crate::reboot::Ordered;
use crate::strategy::{RebootLeave, inhibitors, reboot_leave};
use crate::update::{Change, ConfirmedBy, Event, Moment, SlotFault, Way};

impl Driver {
    pub(super) fn activate(&mut self, change: &Change) -> Result<(), SlotFault> {
        let ready = match change.way {
            Way::Install => Ready::Staged(self.staged.take().ok_or(SlotFault::StageLost)?),
            Way::Installed => {
                let installed = self.boot().installed(change.slot, change.to.as_ref());
                Ready::Installed(installed.map_err(|error| of_table(&error))?)
            }
        };
        told(self.boot().activate(change.slot, ready))
    }

    pub(super) fn cancel(&mut self, change: &Change) -> Result<(), SlotFault> {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        let undo = match change.way {
            Way::Install => Undo::Unbootable,
            Way::Installed => Undo::Confirmed,
        };
        told(self.boot().cancel(change.slot, undo))
    }

    pub(super) fn confirm(&mut self, by: ConfirmedBy) -> Result<(), SlotFault> {
        let vouched = match by {
            ConfirmedBy::Person => Vouched::by_person(),
            ConfirmedBy::Checks => {
                Vouched::by_checks(self.healthy.take().ok_or(SlotFault::Unproven)?)
            }
        };
        told(self.boot().confirm(vouched))
    }

    pub(super) fn probe(&self, moment: Moment) {
        let looks = match moment {
            Moment::BeforeReboot => Looks::Once,
            Moment::Trial | Moment::AfterFallback => Looks::UntilDeadline,
        };
        self.spawn(|shared| async move {
            let server = || shared.reach_server();
            let Shared { settings, standing, tls, .. } = &*shared;
            let probed = health::probe(&settings.health, standing, looks, tls, server).await;
            Letter::Probed(moment, probed)
        });
    }

    pub(super) fn await_reboot(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        let (shared, mailbox) = (self.shared.clone(), self.mailbox.clone());
        self.waiting = Some(tokio::spawn(async move {
            if shared.reboot_comes().await {
                let _ = mailbox.send(Letter::Event(Event::RebootDue));
            }
        }));
    }

    pub(super) async fn order_reboot(&mut self) -> Performed {
        self.publish();
        // Reports survive on STATE; this is only to tell them sooner.
        let send = self.shared.send_reports();
        let _ = tokio::time::timeout(Duration::from_secs(5), send).await;
        match self.reboot.reboot() {
            Ok(Ordered::Simulated) => Performed::Reboot,
            Ok(Ordered::ShuttingDown) => Performed::Quietly,
            Err(error) => {
                error!("{}", crate::chain(&error));
                Performed::Quietly
            }
        }
    }
}

impl Shared {
    pub(super) fn reboot_leave(&self) -> RebootLeave {
        let by = inhibitors(&self.inhibit).unwrap_or_else(|error| vec![error.to_string()]);
        reboot_leave(&self.settings.strategy, &by, Timestamp::now())
    }

    /// Waits until the strategy allows the reboot; `false`: only a person does.
    async fn reboot_comes(&self) -> bool {
        // Short, because wall clocks are set and inhibitors come and go.
        const LOOK_AGAIN: Duration = Duration::from_secs(20);
        if self.settings.strategy == Strategy::Manual {
            return false;
        }
        while self.reboot_leave() != RebootLeave::Now {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        true
    }
}

pub(super) fn told(written: Result<partition_layout::Durable, BootError>) -> Result<(), SlotFault> {
    written.map(|_durable| ()).map_err(|error| of_table(&error))
}

fn of_table(error: &BootError) -> SlotFault {
    SlotFault::Table(crate::chain(error))
}
