//! A device in QEMU: its disk, its firmware with Secure Boot on, and what is asked of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use seesaw_harness::firmware::Firmware;
use seesaw_harness::guest_shell::GuestShell;
use seesaw_harness::programs::target_dir;
use seesaw_harness::qemu::{Guest, Qemu};
use serde_json::Value;

use super::{DemoError, Narrator};
use crate::command::{Failure, expect};

/// From a reset to the harness's shell: 25 s on an idle machine of 2020.
const BOOT: Duration = Duration::from_secs(600);

/// A command in the guest.
const COMMAND: Duration = Duration::from_secs(120);

/// Fetching, writing and reading back 110 MiB, an answer from the firmware, three panics.
const CHANGE: Duration = Duration::from_secs(600);

/// A running device.
pub(super) struct Machine {
    guest: Guest,
    shell: GuestShell,
}

impl Machine {
    /// Starts the device whose disk is `disk`; its variables come beside it.
    pub(super) fn start(disk: &Path, narrator: &Narrator) -> Result<Self, DemoError> {
        let folder = disk.parent().unwrap_or(Path::new("."));
        let socket = folder.join("shell");
        // Kept, for whoever wants to know what a boot said.
        let console = target_dir().join("demo-console.log");
        narrator.note(&format!("the device's console goes to {}", console.display()));
        let mut machine = Qemu::builder()
            .firmware(&Firmware::secure_boot(folder)?)
            .disk(disk)
            .processors(1)
            .network()
            .console_file(&console);
        for argument in GuestShell::qemu_arguments(&socket) {
            machine = machine.arg(argument);
        }
        let guest = machine.start()?;
        let shell = GuestShell::connect(&socket)?;
        Ok(Self { guest, shell })
    }

    /// Waits for the next boot's shell.
    pub(super) fn wait_for_boot(&mut self, narrator: &Narrator) -> Result<(), DemoError> {
        let started = Instant::now();
        self.shell.wait_for_boot(BOOT)?;
        let facts = self.ask(". /run/seesaw/boot; echo \"slot $SLOT, root $ROOT\"")?;
        narrator.note(&format!("{facts}, up after {:.0} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// As [`Self::wait_for_boot`], with boots before it that do not reach a shell.
    pub(super) fn wait_for_fallback(&mut self, narrator: &Narrator) -> Result<(), DemoError> {
        self.guest.wait_for("Kernel panic - not syncing", CHANGE)?;
        narrator.note("Kernel panic on the console; nobody does anything");
        self.shell.wait_for_boot(CHANGE)?;
        let panics = self.guest.console().matches("Kernel panic - not syncing").count();
        narrator
            .note(&format!("{panics} panics, then: {}", self.ask("grep SLOT /run/seesaw/boot")?));
        Ok(())
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(super) fn ask(&mut self, command: &str) -> Result<String, DemoError> {
        Ok(self.shell.succeed(command, COMMAND)?.trim_end().to_owned())
    }

    /// Runs a command and shows it, however it ends.
    pub(super) fn show(&mut self, command: &str, narrator: &Narrator) -> Result<(), DemoError> {
        let output = self.shell.run(command, COMMAND)?;
        narrator.command(command, &output.text);
        Ok(())
    }

    /// Runs updatectl, shows it, and expects an exit status.
    pub(super) fn updatectl(
        &mut self,
        arguments: &str,
        status: u8,
        narrator: &Narrator,
    ) -> Result<String, DemoError> {
        let command = format!("updatectl {arguments}");
        let output = self.shell.run(&command, CHANGE)?;
        narrator.command(&command, &output.text);
        expect("exit status of updatectl", output.status, status)?;
        Ok(output.text)
    }

    /// Waits until updatectl's status is as wanted.
    pub(super) fn wait_for_status(
        &mut self,
        what: &'static str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, DemoError> {
        let until = Instant::now() + CHANGE;
        loop {
            // The daemon may be starting, so no answer is an answer too.
            let text = self.shell.run("updatectl status --json", COMMAND)?.text;
            let status: Value = serde_json::from_str(&text).unwrap_or_default();
            if wanted(&status) {
                return Ok(status);
            }
            if Instant::now() > until {
                let expected = what.to_owned();
                return Err(Failure::Unexpected { what: "the device", expected, found: text })?;
            }
            self.shell.run("sleep 1", COMMAND)?;
        }
    }

    /// Switches it off.
    pub(super) fn quit(self) -> Result<(), DemoError> {
        Ok(self.guest.quit(COMMAND)?)
    }
}

/// What `updatectl status` shows of a disk that nothing runs from.
pub(super) fn status_of(updatectl: &Path, disk: &PathBuf) -> Result<String, DemoError> {
    let mut command = Command::new(updatectl);
    let output = crate::command::succeed(command.arg("--disk").arg(disk).arg("status"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the device is at rest with `release` confirmed in the slot that runs.
pub(super) fn rests_on(release: &'static str) -> impl Fn(&Value) -> bool {
    move |status| {
        let Some(slots) = status["slots"].as_array() else { return false };
        let runs = slots.iter().find(|slot| slot["slot"] == status["booted"]);
        status["agent"]["phase"]["name"] == "idle"
            && runs.is_some_and(|slot| slot["release"] == release && slot["state"] == "confirmed")
    }
}
