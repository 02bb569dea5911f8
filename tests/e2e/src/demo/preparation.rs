//! What is there before the device boots: programs, a server, a publisher, releases, a disk.

use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;
use seesaw_harness::programs::{Programs, programs};
use seesaw_harness::{packages, secure_boot, selector};

use super::machine::{Machine, status_of};
use super::releases::DemoRelease;
use super::{DemoError, Narrator, agent_package};
use crate::command::succeed;
use crate::publisher::Publisher;
use crate::server::Server;

/// Devices poll this often: nobody wants to watch a demo wait.
const POLL_SECONDS: u32 = 10;

/// Everything on the host's side.
pub(super) struct Demo {
    folder: tempfile::TempDir,
    programs: Programs,
    server: Server,
    publisher: Publisher,
    agent_package: PathBuf,
}

impl Demo {
    pub(super) fn prepare(narrator: &Narrator) -> Result<Self, DemoError> {
        let needed = [packages::IMAGES, packages::QEMU];
        packages::ensure(&needed, |package| narrator.note(&format!("apt-get: {package}")))?;
        let programs = programs()?;
        narrator.note("built payload, update-server, update-agent, updatectl");
        let folder = tempfile::Builder::new().prefix("seesaw-demo-").tempdir()?;
        selector::prepare(|package| narrator.note(&format!("apt-get: {package}")))?;
        secure_boot::sign(&selector::build_selector()?, &folder.path().join("selector.efi"))?;
        narrator.note("built and signed the boot selector");
        let server = Server::start(&programs, folder.path(), POLL_SECONDS)?;
        narrator.note(&format!("update-server init, serve: {}", server.url()));
        let publisher = Publisher::found(&programs, &folder.path().join("publisher"), &server)?;
        narrator.note("payload keygen, init: the first root of trust goes into the images");
        let agent_package = agent_package(&programs, folder.path())?;
        narrator.note("packed seesaw-agent, which the images are built with");
        Ok(Self { folder, programs, server, publisher, agent_package })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn release_folder(&self, release: DemoRelease) -> PathBuf {
        self.path(&format!("release-{}", release.counter()))
    }

    /// Builds its image and the release from it, signs it, promotes it in `stable`.
    pub(super) fn publish(
        &self,
        release: DemoRelease,
        narrator: &Narrator,
    ) -> Result<(), DemoError> {
        let image = release.image(self.agent_package.clone(), self.publisher.first_root())?;
        let [kernel, root] = [&image.kernel, &image.root]
            .map(|path| fs::metadata(path).map(|metadata| metadata.len() >> 20));
        let (counter, what) = (release.counter(), release.description());
        narrator.note(&format!(
            "image of release {counter}, {what}: kernel {} MiB, root {} MiB",
            kernel?, root?
        ));
        let folder = self.release_folder(release);
        self.publisher.build(counter, &image.kernel, &image.root, &folder)?;
        self.publisher.publish(&folder, "stable", &self.server)?;
        narrator.note(&format!("payload build, publish: release {counter} is in stable"));
        Ok(())
    }

    /// Makes the disk as the factory would, shows its slots, and switches the device on.
    pub(super) fn first_boot(&self, narrator: &Narrator) -> Result<Machine, DemoError> {
        let config = self.path("state/lib/seesaw/config.d");
        fs::create_dir_all(&config)?;
        // QEMU's user network shows the host's 127.0.0.1 as 10.0.2.2.
        let url = self.server.url().replace("127.0.0.1", "10.0.2.2");
        // The server says the same; this is for the first poll after a boot.
        let text = format!("[server]\nurl = \"{url}\"\n[updates]\npoll_seconds = {POLL_SECONDS}\n");
        fs::write(config.join("60-server.toml"), text)?;
        let disk = self.path("disk.img");
        let mut create = Command::new(&self.programs.payload);
        create
            .args(["disk", "create", "--size", "640M", "--release"])
            .arg(self.release_folder(DemoRelease::One))
            .arg("--esp")
            .arg(self.path("selector.efi"))
            .arg("--state")
            .arg(self.path("state"))
            .arg("--out")
            .arg(&disk);
        let output = succeed(&mut create)?;
        narrator.command("payload disk create", &String::from_utf8_lossy(&output.stdout));
        let status = status_of(&self.programs.updatectl, &disk)?;
        narrator.command("updatectl --disk disk.img status", &status);
        let mut machine = Machine::start(&disk, narrator)?;
        machine.wait_for_boot(narrator)?;
        Ok(machine)
    }

    /// What the server knows of the device.
    pub(super) fn show_devices(&self, narrator: &Narrator) -> Result<(), DemoError> {
        let devices = self.server.operate(&["device", "list"])?;
        narrator.command("update-server device list --json", &format!("{devices:#}"));
        Ok(())
    }
}
