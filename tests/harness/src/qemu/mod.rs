//! Boots a disk image in QEMU: the machine to be ([`QemuBuilder`]), and the running [`Guest`].
//!
//! Nothing here waits for a fixed time. The serial console and the QMP socket are read as
//! streams by a thread each, and every wait names a deadline.

mod console;
mod error;
mod guest;
mod machine;
mod qmp;
mod write_log;

pub use self::error::QemuError;
pub use self::guest::Guest;
pub use self::machine::{GuestClock, Qemu, QemuBuilder, RebootPolicy};
pub use self::write_log::{Entry, Operation, WriteLog};
