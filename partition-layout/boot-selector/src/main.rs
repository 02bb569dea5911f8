//! The boot selector: the only program on the EFI system partition.
//!
//! It reads the slot table of the disk that it was loaded from, takes the boot decision, writes
//! the one try that a trial costs, and starts the slot's kernel. Nobody is asked anything: what
//! cannot be started is passed over, and when nothing can, the machine is reset.

#![no_main]
#![no_std]

extern crate alloc;

mod console;
mod disk;
mod kernel;
mod own_disk;
mod pages;
mod report;
mod select;
mod try_write;

use core::panic::PanicInfo;
use core::time::Duration;

use uefi::boot::{self, EventType, TimerTrigger, Tpl};
use uefi::runtime::{self, ResetType};
use uefi::{Status, entry};

/// How long a message stands before the reset: long enough to be read, short enough that a
/// machine whose power came back before its disk did is soon up.
const RESET_DELAY: Duration = Duration::from_secs(60);

#[entry]
fn main() -> Status {
    say!("boot selector {}", env!("CARGO_PKG_VERSION"));
    let reason = match select::start_a_slot() {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    say!("NOTHING STARTED: {}", select::Chain(&reason));
    say!("reset in {} s", RESET_DELAY.as_secs());
    wait(RESET_DELAY);
    runtime::reset(ResetType::COLD, Status::ABORTED, None)
}

/// Idles. A timer that cannot be had means a wait by the processor, never no wait: a machine
/// that resets without pause shows no message.
fn wait(duration: Duration) {
    // SAFETY: a timer event without a callback runs no code of ours, so nothing of it can
    // outlive this program or run after boot services have ended.
    let timer = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) };
    let waited = timer.and_then(|timer| {
        boot::set_timer(&timer, TimerTrigger::Relative(duration))?;
        boot::wait_for_event(&[timer]).map_err(|error| error.to_err_without_payload())
    });
    if waited.is_err() {
        boot::stall(duration);
    }
}

/// A defect of ours must not hold up the machine: the next boot decides anew, with one try less
/// where a trial was the cause.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("{info}");
    // Boot services are there: a kernel that has ended them does not come back to this program.
    boot::stall(Duration::from_secs(10));
    runtime::reset(ResetType::COLD, Status::ABORTED, None)
}
