//! A file as a block device.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, succeed};

/// A file as a block device, whose writes the kernel counts.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    /// Bytes that the kernel had counted before.
    before: u64,
}

impl LoopDevice {
    /// Attaches a file, without a cache in between.
    ///
    /// # Errors
    /// When losetup fails.
    pub fn attach(file: &Path) -> Result<Self, Failure> {
        let mut losetup = Command::new("losetup");
        let found = succeed(losetup.args(["--find", "--show", "--direct-io=on"]).arg(file))?;
        let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        let mut device = Self { path, before: 0 };
        device.before = device.written()?;
        Ok(device)
    }

    /// Its node below /dev.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written since it was attached.
    ///
    /// # Errors
    /// When the kernel's count cannot be read.
    pub fn written(&self) -> Result<u64, Failure> {
        let name = self.path.file_name().unwrap_or_default();
        let stat = std::fs::read_to_string(Path::new("/sys/block").join(name).join("stat"))?;
        let sectors = stat.split_whitespace().nth(6).and_then(|count| count.parse::<u64>().ok());
        let none = || io::Error::other(format!("no sectors written in {stat:?}"));
        Ok(sectors.ok_or_else(none)? * 512 - self.before)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}
