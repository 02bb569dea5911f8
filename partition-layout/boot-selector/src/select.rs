//! The course of one boot: from the table to a running kernel, or to the reason why there is none.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::error::Error;
use core::fmt;

use partition_layout::kernel_entries::KernelEntriesError;
use partition_layout::table::TableError;
use partition_layout::{
    Attempt, BootReport, Entry, KernelEntries, Refusal, SlotLetter, StartFailure, Table,
};
use uefi::boot;

use crate::kernel::{self, KernelError};
use crate::own_disk::{OwnDisk, OwnDiskError};
use crate::report;
use crate::say;
use crate::try_write::{self, OneTry, TryError};

/// The firmware resets the machine when a kernel has not taken over within this time. Loading
/// 100 MiB from a slow USB stick takes 20 s; the UEFI default is the same 5 minutes.
const WATCHDOG_SECONDS: usize = 5 * 60;

/// Codes below 0x10000 belong to the firmware.
const WATCHDOG_CODE: u64 = 0x1_5EE5;

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum NothingStarted {
    #[error("this program's disk cannot be found")]
    Disk(#[from] OwnDiskError),
    #[error("the slot table of this disk cannot be used")]
    Table(#[from] TableError),
    #[error("the slots of this disk cannot be told")]
    Kernels(#[from] KernelEntriesError),
    #[error("every slot is empty")]
    AllEmpty,
    #[error("no slot could be started")]
    AllRefused,
}

/// Why one slot was not started.
#[derive(Debug, thiserror::Error)]
enum SlotError {
    #[error("its try is not on the disk")]
    Try(#[from] TryError),
    #[error("its image did not run")]
    Kernel(#[from] KernelError),
}

impl SlotError {
    fn for_report(&self) -> (StartFailure, u8) {
        match self {
            Self::Try(_) => (StartFailure::TryNotWritten, 0),
            Self::Kernel(error) => error.for_report(),
        }
    }
}

/// Starts the slot that the table says, or the next one. Comes back only without one.
pub fn start_a_slot() -> Result<Infallible, NothingStarted> {
    arm_watchdog();
    let own = OwnDisk::find()?;
    let table = Table::read(&own.disk)?;
    let other = table.current_place().other();
    if let Err(fault) = table.copy(other) {
        say!("the {other} table is not valid: {}", Chain(fault));
    }
    let kernels = KernelEntries::find(&table)?;
    for (letter, entry) in kernels.as_slice() {
        let boot = entry.attributes;
        say!(
            "slot {letter} {:9} priority {} tries {}",
            boot.state(),
            boot.priority(),
            boot.tries(),
        );
    }

    let mut right = Some(OneTry::of_this_boot());
    let mut refused = Vec::new();
    let order = kernels.order();
    for attempt in &order.attempts {
        let (letter, entry) = &kernels.as_slice()[attempt.index];
        let passed_over = kernels.passed_over(attempt, &refused);
        let slot = Slot { letter: *letter, entry, attempt };
        let Err(error) = slot.start(&own, &table, &mut right, passed_over);
        say!("slot {letter} NOT STARTED: {}", Chain(&error));
        let (failure, efi_status) = error.for_report();
        refused.push(Refusal { letter: *letter, state: attempt.state, failure, efi_status });
    }
    Err(if order.attempts.is_empty() {
        NothingStarted::AllEmpty
    } else {
        NothingStarted::AllRefused
    })
}

/// One attempt.
struct Slot<'a> {
    letter: SlotLetter,
    entry: &'a Entry,
    attempt: &'a Attempt,
}

impl Slot<'_> {
    /// The try is counted before the image is touched: a machine that hangs on it has paid.
    fn start(
        &self,
        own: &OwnDisk,
        table: &Table,
        right: &mut Option<OneTry>,
        refused: Vec<Refusal>,
    ) -> Result<Infallible, SlotError> {
        let Self { letter, entry, attempt: Attempt { state, reason, tries_after, .. } } = *self;
        if let Some(tries) = *tries_after {
            try_write::write(right.take(), &own.disk, table, entry, tries)?;
        }
        arm_watchdog();
        let kernel = kernel::load(own, entry)?;
        let tries = tries_after.unwrap_or(entry.attributes.tries());
        say!("starting slot {letter} ({state}, tries left {tries}): {reason}");
        let report = BootReport { started: letter, state: *state, tries, reason: *reason, refused };
        if let Err(status) = report::publish(&report) {
            // News for people, not a condition for booting.
            say!("the boot report was not published: {status}");
        }
        Err(kernel.start().into())
    }
}

/// A guard for this program and for loading; it ends where the kernel takes over. Firmware
/// without one has been warned about in vain: the boot goes on.
fn arm_watchdog() {
    if let Err(error) = boot::set_watchdog_timer(WATCHDOG_SECONDS, WATCHDOG_CODE, None) {
        say!("no watchdog guards this boot: {}", error.status());
    }
}

/// An error with its causes.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
