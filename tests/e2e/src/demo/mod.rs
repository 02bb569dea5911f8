//! The main job on real operating-system images: keys, images, releases, a disk, and a device
//! that boots from it in QEMU under Secure Boot and updates itself, well and badly.
//!
//! `cargo xtask demo` shows it and a test runs it; there is this one way.

mod machine;
mod narrator;
mod preparation;
mod releases;
mod steps;

use std::path::{Path, PathBuf};

use seesaw_harness::guest_shell::ShellError;
use seesaw_harness::image::{EPOCH, ImageError, OsImage};
use seesaw_harness::packages::{self, PackagesError};
use seesaw_harness::programs::{Programs, ProgramsError, programs};
use seesaw_harness::qemu::QemuError;
use seesaw_harness::secure_boot::SignError;
use seesaw_harness::selector::SelectorError;
use seesaw_packaging::PackagingError;
use thiserror::Error;

pub use self::narrator::Narrator;
use self::preparation::Demo;
pub use self::releases::DemoRelease;
use crate::command::Failure;

/// Why the demo stopped.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A Debian package.
    #[error("a package that the demo needs is not there")]
    Packages(#[from] PackagesError),
    /// The product's programs.
    #[error("the product's programs are not there")]
    Programs(#[from] ProgramsError),
    /// The selector.
    #[error("building the boot selector failed")]
    Selector(#[from] SelectorError),
    /// Signing it.
    #[error("signing the boot selector failed")]
    Sign(#[from] SignError),
    /// The agent's package.
    #[error("making the agent's package failed")]
    Packaging(#[from] PackagingError),
    /// An OS image.
    #[error("building an OS image failed")]
    Image(#[from] ImageError),
    /// QEMU, or what was waited for on the console.
    #[error("the device did not do what it should")]
    Qemu(#[from] QemuError),
    /// A command in the guest.
    #[error("a command on the device failed")]
    Shell(#[from] ShellError),
    /// A program on the host, or a state that is not as expected.
    #[error(transparent)]
    Flow(#[from] Failure),
    /// A file of the demo.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// Builds the image of `release` as the demo does, with the root of trust in the file
/// `first_root`, or finds it built. `progress` is told of what is installed.
///
/// # Errors
/// A package or a program is missing, or the build fails.
pub fn image(
    release: DemoRelease,
    first_root: &Path,
    progress: impl Fn(&str),
) -> Result<OsImage, DemoError> {
    packages::ensure(&[packages::IMAGES], |package| progress(&format!("apt-get: {package}")))?;
    let folder = tempfile::tempdir()?;
    release.image(agent_package(&programs()?, folder.path())?, first_root.to_owned())
}

/// Makes the package that the images have the agent from, in `folder`.
fn agent_package(programs: &Programs, folder: &Path) -> Result<PathBuf, DemoError> {
    Ok(seesaw_packaging::agent(programs)?.build(EPOCH, folder)?)
}

/// Runs all of it, telling each step on standard output.
///
/// # Errors
/// At the first step that does not do what it should.
pub fn run() -> Result<(), DemoError> {
    let narrator = Narrator::new();
    narrator.step(1, "programs, a server, keys, OS images");
    let demo = Demo::prepare(&narrator)?;

    narrator.step(2, "releases 1 and 2 are built, signed and published in the channel stable");
    demo.publish(DemoRelease::One, &narrator)?;
    demo.publish(DemoRelease::Two, &narrator)?;

    narrator.step(3, "a disk with release 1 in slot A boots, and updates itself");
    let mut machine = demo.first_boot(&narrator)?;
    steps::update_itself(&mut machine, &narrator)?;

    narrator.step(4, "back to 1, held; forward again without a download; pinned");
    steps::roll_back_and_return(&mut machine, &narrator)?;
    steps::pin(&mut machine, &narrator)?;
    demo.publish(DemoRelease::BrokenService, &narrator)?;
    steps::stay_pinned(&mut machine, &narrator)?;

    narrator.step(5, "release 3, whose demo.service answers 500");
    steps::return_from_a_sick_release(&mut machine, &narrator)?;

    narrator.step(6, "release 4, whose kernel panics");
    demo.publish(DemoRelease::Panics, &narrator)?;
    steps::fall_back_from_a_panic(&mut machine, &narrator)?;

    narrator.step(7, "a changed byte in the target's kernel image");
    steps::refuse_a_changed_kernel(&mut machine, &narrator)?;
    demo.show_devices(&narrator)?;
    machine.quit()?;
    narrator.note("all of it happened as it should, under Secure Boot");
    Ok(())
}
