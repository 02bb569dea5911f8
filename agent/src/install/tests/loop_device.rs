//! Real block devices for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device without a page cache, detached when dropped.
pub(crate) struct Loop(PathBuf);

impl Loop {
    pub fn attach(file: &Path) -> Self {
        let root = rustix::process::geteuid().is_root();
        assert!(root, "this test attaches a loop device and needs root; run it as root");
        let output = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(file)
            .output()
            .expect("this test needs losetup (package mount)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "this test needs loop devices: {said}");
        Loop(String::from_utf8(output.stdout).unwrap().trim().into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}
