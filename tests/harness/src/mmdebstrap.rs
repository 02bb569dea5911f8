//! Trees of Debian, as packages install them.

use std::process::Command;

use crate::image::EPOCH;

/// mmdebstrap for a tree of these packages whose time stamps are [`EPOCH`]; hooks, suite and target
/// are still to be named. It takes Debian's own mirror, with updates and security.
pub fn mmdebstrap(variant: &str, packages: &[&str], excluded: &[&str]) -> Command {
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        // An initrd is made later, or on the machine that it boots; kernel packages would make one now.
        .env("INITRD", "No")
        .args(["--quiet", &format!("--variant={variant}")])
        .arg(format!("--include={}", packages.join(",")))
        .args(excluded.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
    mmdebstrap
}
