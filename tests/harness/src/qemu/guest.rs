//! A running QEMU.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::json;

use super::console::{Console, Waited};
use super::error::{QemuError, io_error};
use super::machine::{QemuBuilder, WIPED_MIB};
use super::qmp::{self, Qmp};
use crate::firmware::Firmware;

/// How long QEMU may take from its start to its first word on the QMP socket. Creating the
/// guest takes 0.2 s on an idle machine; a loaded one has been seen to need 5 s.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Ends QEMU, by the id of the process we started, when it is dropped.
#[derive(Debug)]
struct RunningChild(Child);

impl Drop for RunningChild {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // A child that cannot be killed has ended by itself: nothing is left to do.
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// A running guest. Dropping it kills QEMU; the disk keeps every write that QEMU made.
#[derive(Debug)]
pub struct Guest {
    child: RunningChild,
    console: Console,
    qmp: Qmp,
    dir: tempfile::TempDir,
    firmware: Firmware,
}

impl Guest {
    pub(super) fn start(mut machine: QemuBuilder) -> Result<Self, QemuError> {
        let dir = tempfile::Builder::new()
            .prefix("seesaw-qemu-")
            .tempdir()
            .map_err(io_error("making a folder", Path::new("/tmp")))?;
        let firmware = match machine.firmware.take() {
            Some(firmware) => firmware,
            None => {
                Firmware::plain(dir.path()).map_err(io_error("copying variables", dir.path()))?
            }
        };
        let wiped = dir.path().join("wiped");
        fs::File::create(&wiped)
            .and_then(|file| file.set_len(WIPED_MIB << 20))
            .map_err(io_error("making the content of memory after a reset", dir.path()))?;
        let socket = dir.path().join("qmp");
        let listener = qmp::Listener::bind(&socket).map_err(io_error("binding", dir.path()))?;
        let stderr_path = dir.path().join("stderr");
        let stderr = fs::File::create(&stderr_path)
            .map_err(io_error("creating a log", dir.path()))?
            .into_file();

        let mut command = Command::new("qemu-system-x86_64");
        command.args(machine.arguments(&firmware, &wiped, &socket));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let child = command.spawn().map_err(|source| QemuError::Start {
            program: "qemu-system-x86_64".to_owned(),
            source,
        })?;
        // From here on the guest's Drop ends QEMU, whatever fails.
        let mut child = RunningChild(child);
        let stdout = child.0.stdout.take();
        let console = Console::read(stdout, machine.console.as_deref())
            .map_err(io_error("opening the console's file", dir.path()))?;
        let qmp = listener
            .accept(START_DEADLINE, || matches!(child.0.try_wait(), Ok(None)))
            .map_err(|what| QemuError::Control { what, stderr: read_text(&stderr_path) })?;
        Ok(Self { child, console, qmp, dir, firmware })
    }

    /// Waits for `text` on the console, after what earlier waits found.
    pub fn wait_for(&mut self, text: &str, within: Duration) -> Result<(), QemuError> {
        self.wait_for_any(&[text], within).map(drop)
    }

    /// Waits for `text` and for the end of its line; gives the whole line without terminal
    /// control sequences.
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> Result<String, QemuError> {
        let deadline = Instant::now() + within;
        self.wait_for(text, within)?;
        self.wait_for("\n", deadline.saturating_duration_since(Instant::now()))?;
        Ok(self.console.line())
    }

    /// Waits for the first of several texts: which one.
    pub fn wait_for_any(&mut self, texts: &[&str], within: Duration) -> Result<usize, QemuError> {
        let wanted = || texts.iter().map(|text| (*text).to_owned()).collect();
        match self.console.wait_for_any(texts, Instant::now() + within) {
            Waited::Found(index) => Ok(index),
            Waited::Deadline => Err(QemuError::Silent {
                wanted: wanted(),
                after: within,
                tail: self.console.tail(),
            }),
            Waited::Closed => Err(QemuError::Ended {
                status: self.status_text(),
                wanted: wanted(),
                tail: self.console.tail(),
            }),
        }
    }

    /// Waits until the guest was reset, `times` times since it started, as QEMU counts them.
    pub fn wait_for_resets(&mut self, times: usize, within: Duration) -> Result<(), QemuError> {
        self.qmp
            .wait_for_event("RESET", times, Instant::now() + within)
            .map_err(|what| self.control(what))
    }

    /// Waits until the guest stands still: it shut down or was reset under
    /// [`RebootPolicy::Pause`].
    pub fn wait_until_paused(&mut self, within: Duration) -> Result<(), QemuError> {
        self.qmp
            .wait_for_event("STOP", 1, Instant::now() + within)
            .map_err(|what| self.control(what))
    }

    /// How long a guest of [`GuestClock::SkipIdle`] has run, by its mainboard's clock: to the
    /// second, and for less than a day.
    pub fn guest_time(&mut self) -> Result<Duration, QemuError> {
        let property = json!({ "path": "/machine", "property": "rtc-time" });
        let time = self.qmp.execute("qom-get", property).map_err(|what| self.control(what))?;
        let field = |name: &str| {
            time[name].as_u64().ok_or_else(|| self.control(format!("no time of day in {time}")))
        };
        let (hours, minutes) = (field("tm_hour")?, field("tm_min")?);
        Ok(Duration::from_secs(hours * 3600 + minutes * 60 + field("tm_sec")?))
    }

    /// Waits until QEMU has ended: the guest shut down, or was reset under
    /// [`RebootPolicy::Exit`].
    pub fn wait_until_ended(&mut self, within: Duration) -> Result<ExitStatus, QemuError> {
        // The console's end is QEMU's end, and unlike the process it can be waited for with a
        // deadline.
        if !self.console.wait_for_end(Instant::now() + within) {
            return Err(QemuError::StillRunning { after: within, tail: self.console.tail() });
        }
        let dir = self.dir.path();
        self.child.0.wait().map_err(io_error("waiting for QEMU", dir))
    }

    /// Everything the console has said, over all boots.
    pub fn console(&self) -> String {
        self.console.text()
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<(), QemuError> {
        self.command("system_reset")
    }

    /// Presses the power button: the guest's own shutdown begins.
    pub fn power_button(&mut self) -> Result<(), QemuError> {
        self.command("system_powerdown")
    }

    /// Pulls the plug. What the guest has written stays written: QEMU holds nothing back.
    pub fn quit(mut self, within: Duration) -> Result<(), QemuError> {
        self.command("quit")?;
        self.wait_until_ended(within).map(drop)
    }

    /// The firmware with the variable store that this guest wrote, for the next guest.
    pub fn firmware(&self) -> &Firmware {
        &self.firmware
    }

    fn command(&mut self, name: &str) -> Result<(), QemuError> {
        self.qmp.execute(name, json!({})).map(drop).map_err(|what| self.control(what))
    }

    fn control(&self, what: String) -> QemuError {
        QemuError::Control { what, stderr: read_text(&self.dir.path().join("stderr")) }
    }

    fn status_text(&mut self) -> String {
        let stderr = read_text(&self.dir.path().join("stderr"));
        match self.child.0.wait() {
            Ok(status) => format!("{status} {stderr}").trim().to_owned(),
            Err(error) => format!("status unknown: {error}"),
        }
    }
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}
