//! A device that is an image file: the agent works on it as on a disk, and the boot decision
//! stands in the selector's place. Nothing boots.

mod content;
mod daemon;
mod selector;

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use partition_layout::{Access, DiskFile, Layout, Slot, SlotLetter, SlotTable};
use payload_tools::testing::{noise, osrel, uki};
use seesaw_harness::programs::{Programs, programs};
use serde_json::Value;

use crate::COMPATIBLE;
use crate::command::{Failure, ended, expect, json, output, succeed};
use crate::judge;
use crate::publisher::Publisher;
use crate::server::Server;
use content::{SMALL_ROOT, root_of};

/// What faketime(1) preloads, by the name that the loader finds it under on every architecture.
pub const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// Exit status of the agent where an image file would reboot.
pub const REBOOT: i32 = 10;

/// What the kernel of a release does when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It comes up.
    Runs,
    /// It resets the machine.
    Panics,
}

/// What a device's health check finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It passes.
    Well,
    /// It fails.
    Sick,
}

/// A server, a publisher and a device that runs release 1.
#[derive(Debug)]
pub struct World {
    folder: tempfile::TempDir,
    programs: Programs,
    /// The server.
    pub server: Server,
    /// The publisher.
    pub publisher: Publisher,
    /// The slot that runs.
    pub booted: SlotLetter,
    /// The root of trust in the device's image.
    pub first_root: PathBuf,
    /// How far the device's clock is off, as faketime(1) takes it (`+3d`); nothing: it is right.
    pub clock: Option<String>,
    /// A file with the certificates of the authorities that the device trusts; nothing: this host's.
    pub authorities: Option<PathBuf>,
    judges: Judges,
    /// Bytes of a release's root.
    root: u64,
    /// What the device's programs work on.
    disk: PathBuf,
}

/// What a server is told that makes no deltas by itself.
const NO_DELTAS: &[&str] = &["--delta-threads", "0"];

/// Who looks at the disk after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judges {
    /// cgpt and sgdisk, which a machine that runs the tests has.
    Foreign,
    /// Nobody but this program.
    Ours,
}

impl World {
    /// A device that runs release 1, a server that offers it. After each step cgpt and sgdisk look
    /// at the disk.
    ///
    /// # Errors
    /// When a program fails.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self { judges: Judges::Foreign, ..Self::without_judges()? })
    }

    /// A device whose releases have roots of `root` bytes, which compress to about half.
    ///
    /// # Errors
    /// When a program fails.
    pub fn with_root(root: u64) -> Result<Self, Failure> {
        Self::made(root, NO_DELTAS)
    }

    /// From now on the device's programs work on `disk`, which is the image file under another
    /// name.
    pub fn work_on(&mut self, disk: PathBuf) {
        self.disk = disk;
    }

    /// The same for a machine without cgpt and sgdisk.
    ///
    /// # Errors
    /// When a program fails.
    pub fn without_judges() -> Result<Self, Failure> {
        Self::made(SMALL_ROOT, NO_DELTAS)
    }

    /// The same with a server that has these options.
    ///
    /// # Errors
    /// When a program fails.
    pub fn served(options: &[&str]) -> Result<Self, Failure> {
        Self::made(SMALL_ROOT, options)
    }

    fn made(root: u64, options: &[&str]) -> Result<Self, Failure> {
        let programs = programs()?;
        let folder = tempfile::tempdir()?;
        let server = Server::start_with(&programs, folder.path(), options)?;
        let publisher = Publisher::found(&programs, &folder.path().join("publisher"), &server)?;
        let (booted, clock, authorities) = (SlotLetter::A, None, None);
        let (first_root, disk) = (publisher.first_root(), folder.path().join("disk"));
        let world = Self {
            folder,
            programs,
            server,
            publisher,
            booted,
            first_root,
            clock,
            authorities,
            judges: Judges::Ours,
            root,
            disk,
        };
        world.publish(1)?;
        world.make_device()?;
        Ok(world)
    }

    /// A file of this world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds a release with a little kernel, once; its folder.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build(&self, counter: u64) -> Result<PathBuf, Failure> {
        let out = self.path(&format!("release-{counter}"));
        if out.exists() {
            return Ok(out);
        }
        let text = osrel(COMPATIBLE, &counter.to_string(), counter);
        let body = noise(counter, 256 << 10);
        let sections: [(&str, &[u8]); 3] =
            [(".osrel", text.as_bytes()), (".cmdline", b"panic=10"), (".linux", &body)];
        fs::write(self.path("kernel"), uki(&sections))?;
        fs::write(self.path("root"), root_of(self.root, counter))?;
        self.publisher.build(counter, &self.path("kernel"), &self.path("root"), &out)?;
        Ok(out)
    }

    /// Publishes a release and promotes it in `stable`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn publish(&self, counter: u64) -> Result<(), Failure> {
        self.publisher.publish(&self.build(counter)?, "stable", &self.server)
    }

    fn make_device(&self) -> Result<(), Failure> {
        // No selector: nothing boots here.
        fs::write(self.path("selector.efi"), uki(&[]))?;
        let slot = (self.root >> 20).max(16);
        let mut create = Command::new(&self.programs.payload);
        create
            .args(["disk", "create", "--kernel-size", "8M"])
            .args(["--size", &format!("{}M", 88 + 2 * slot)])
            .args(["--root-size", &format!("{slot}M")])
            .arg("--release")
            .arg(self.path("release-1"))
            .arg("--esp")
            .arg(self.path("selector.efi"))
            .arg("--out")
            .arg(self.path("disk"));
        succeed(&mut create)?;
        fs::create_dir(self.path("config"))?;
        self.ask_at(self.server.url())
    }

    /// Configures the device's update server.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn ask_at(&self, url: &str) -> Result<(), Failure> {
        let sick = self.path("sick");
        let config = format!(
            "[server]\nurl = \"{url}\"\ntimeout_seconds = 3\n[health]\ndeadline_seconds = 1\n\
             [health.checks.demo]\nkind = \"command\"\n\
             command = [\"test\", \"!\", \"-e\", \"{}\"]\n",
            sick.display(),
        );
        Ok(fs::write(self.path("config/10-server.toml"), config)?)
    }

    /// A command line of updatectl on this device, without a daemon.
    pub fn line(&self, args: &[&str]) -> Command {
        let mut command = self.on_device(&self.programs.updatectl);
        command.args(args);
        command
    }

    /// A command line of the agent on this device, which ends when it has nothing more to do.
    pub fn agent_line(&self) -> Command {
        let mut command = self.on_device(&self.programs.update_agent);
        command.arg("--once");
        command
    }

    /// Where updatectl is.
    pub fn updatectl_program(&self) -> &Path {
        &self.programs.updatectl
    }

    fn on_device(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--disk")
            .arg(&self.disk)
            .arg("--state")
            .arg(self.path("state"))
            .arg("--config")
            .arg(self.path("config"))
            .arg("--first-root")
            .arg(&self.first_root)
            .args(["--booted", &self.booted.to_string()]);
        if let Some(clock) = &self.clock {
            // Time goes on as it does; it is only another time.
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", clock);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        }
        if let Some(authorities) = &self.authorities {
            command.env("SSL_CERT_FILE", authorities).env_remove("SSL_CERT_DIR");
        }
        command
    }

    /// Does `what` to the device. Afterwards the booted slot is what it was, to the byte, and
    /// foreign programs read the table as ours do.
    ///
    /// # Errors
    /// When that is not so, or `what` fails.
    pub fn judged<T>(&self, what: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let before = self.fingerprint(self.booted)?;
        let result = what()?;
        expect("the booted slot's bytes", self.fingerprint(self.booted)?, before)?;
        if self.judges == Judges::Foreign {
            let disk = DiskFile::open(self.path("disk"), Access::ReadOnly)?;
            judge::judge(&self.path("disk"), &table(&disk)?)?;
        }
        Ok(result)
    }

    /// Stands for every byte of a slot.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn fingerprint(&self, letter: SlotLetter) -> Result<u64, Failure> {
        let disk = DiskFile::open(self.path("disk"), Access::ReadOnly)?;
        judge::fingerprint(&disk, table(&disk)?.slot(letter))
    }

    /// Runs the agent until it has nothing more to do: 0, or [`REBOOT`].
    ///
    /// # Errors
    /// When it ends otherwise, or the disk is not as it should be afterwards.
    pub fn agent(&self) -> Result<i32, Failure> {
        self.agent_once().map(|(code, _)| code)
    }

    /// As [`agent`](Self::agent), with what the agent logs.
    ///
    /// # Errors
    /// As there.
    pub fn agent_once(&self) -> Result<(i32, String), Failure> {
        let mut agent = self.agent_line();
        let output = self.judged(|| output(&mut agent))?;
        match output.status.code() {
            Some(code @ (0 | REBOOT)) => Ok((code, String::from_utf8_lossy(&output.stderr).into())),
            _ => Err(ended(&agent, &output)),
        }
    }

    /// Runs updatectl without a daemon: exit status and JSON.
    ///
    /// # Errors
    /// When it prints no JSON, or the disk is not as it should be afterwards.
    pub fn updatectl(&self, args: &[&str]) -> Result<(i32, Value), Failure> {
        self.judged(|| json(self.line(args).arg("--json")))
    }

    /// What updatectl prints for people.
    ///
    /// # Errors
    /// When it does not start.
    pub fn told(&self, args: &[&str]) -> Result<String, Failure> {
        let told = output(self.on_device(&self.programs.updatectl).args(args))?;
        Ok(String::from_utf8_lossy(&told.stdout).into_owned())
    }

    /// Runs updatectl on nothing but the disk.
    ///
    /// # Errors
    /// When it prints no JSON.
    pub fn bare_updatectl(&self, args: &[&str]) -> Result<(i32, Value), Failure> {
        let mut command = Command::new(&self.programs.updatectl);
        json(command.arg("--disk").arg(self.path("disk")).arg("--json").args(args))
    }

    /// Makes the health check fail, or pass again.
    ///
    /// # Errors
    /// When its file cannot be made or removed.
    pub fn turn(&self, health: Health) -> Result<(), Failure> {
        let flag = self.path("sick");
        match health {
            Health::Sick => fs::write(flag, "")?,
            Health::Well if flag.exists() => fs::remove_file(flag)?,
            Health::Well => {}
        }
        Ok(())
    }

    /// The release that a slot says it holds.
    ///
    /// # Errors
    /// When updatectl fails.
    pub fn release_in(&self, letter: SlotLetter) -> Result<String, Failure> {
        let (_, status) = self.bare_updatectl(&["status"])?;
        let slots = status["slots"].as_array().map(Vec::as_slice).unwrap_or_default();
        let slot = slots.iter().find(|slot| slot["slot"] == letter.to_string());
        let release = slot.and_then(|slot| slot["release"].as_str());
        Ok(release.unwrap_or("none").to_owned())
    }

    /// The release that runs.
    ///
    /// # Errors
    /// When updatectl fails.
    pub fn running(&self) -> Result<String, Failure> {
        self.release_in(self.booted)
    }

    /// A slot as the table has it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn slot(&self, letter: SlotLetter) -> Result<Slot, Failure> {
        Ok(table(&DiskFile::open(self.path("disk"), Access::ReadOnly)?)?.slot(letter).clone())
    }
}

fn table(disk: &DiskFile) -> Result<SlotTable, Failure> {
    Ok(SlotTable::read(disk, &Layout::standard())?)
}
