//! The one effect that ends everything.

use std::io;
use std::process::Command;

/// How the device reboots.
pub trait Reboot: Send {
    /// Orders the reboot.
    ///
    /// # Errors
    /// It was not ordered.
    fn reboot(&mut self) -> Result<Ordered, RebootError>;
}

/// What follows from the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered {
    /// The system shuts down, and will end this program when it is its turn.
    ShuttingDown,
    /// Nothing runs from the image file: this program ends, and whoever started
    /// it plays the firmware.
    Simulated,
}

/// A reboot that was not ordered.
#[derive(Debug, thiserror::Error)]
#[error("cannot order the reboot by `systemctl reboot`: reboot by hand")]
pub struct RebootError(#[source] io::Error);

/// Through the service manager.
#[derive(Debug)]
pub struct SystemReboot;

/// Of an image file.
#[derive(Debug)]
pub struct SimulatedReboot;

impl Reboot for SystemReboot {
    fn reboot(&mut self) -> Result<Ordered, RebootError> {
        let status = Command::new("systemctl").arg("reboot").status().map_err(RebootError)?;
        if status.success() {
            return Ok(Ordered::ShuttingDown);
        }
        Err(RebootError(io::Error::other(format!("systemctl: {status}"))))
    }
}

impl Reboot for SimulatedReboot {
    fn reboot(&mut self) -> Result<Ordered, RebootError> {
        Ok(Ordered::Simulated)
    }
}
