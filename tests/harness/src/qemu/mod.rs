//! Boots a disk image in QEMU: the builder, and the guest it starts.
//!
//! Nothing here waits for a fixed time. The serial console and the QMP socket are read as
//! streams by a thread each, and every wait names a deadline.

mod console;
mod qmp;

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use fs_err as fs;
use serde_json::json;

use self::{console::Console, qmp::Qmp};
use crate::firmware::Firmware;

/// How long QEMU may take from its start to its first word on the QMP socket. Creating the
/// guest takes 0.2 s on an idle machine; a loaded one has been seen to need 5 s.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What QEMU does when the guest asks for a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RebootPolicy {
    /// The guest boots again, as a machine would.
    #[default]
    Reboot,
    /// QEMU ends at that moment, so that the disk can be looked at between two boots.
    Exit,
    /// The machine stands still at that moment, so that its clock can be read.
    Pause,
}

/// How the guest's clock runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GuestClock {
    /// With the host's.
    #[default]
    Host,
    /// It jumps to the next timer whenever the processor sleeps, so that a wait of a minute costs
    /// no time on the host. One processor is emulated, by instruction count, and the clock of the
    /// machine's mainboard begins at midnight.
    SkipIdle,
}

/// Why a guest did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// QEMU itself could not be run.
    #[error("starting {program} failed; is the Debian package qemu-system-x86 installed?")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file or socket of the guest failed.
    #[error("{step} failed for the guest in {}", dir.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The guest's folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before the text came.
    #[error("QEMU ended ({status}) before the console said {wanted:?}; its last lines:\n{tail}")]
    Ended {
        /// QEMU's exit status.
        status: String,
        /// What was waited for.
        wanted: Vec<String>,
        /// The end of the console.
        tail: String,
    },
    /// The deadline passed first.
    #[error("the console did not say {wanted:?} within {} s; its last lines:\n{tail}", after.as_secs())]
    Silent {
        /// What was waited for.
        wanted: Vec<String>,
        /// The deadline.
        after: Duration,
        /// The end of the console.
        tail: String,
    },
    /// QEMU was still running at the deadline.
    #[error("QEMU did not end within {} s; its last lines:\n{tail}", after.as_secs())]
    StillRunning {
        /// The deadline.
        after: Duration,
        /// The end of the console.
        tail: String,
    },
    /// The control socket did not do what it was told.
    #[error("QEMU's control socket: {what}; QEMU said: {stderr}")]
    Control {
        /// What went wrong.
        what: String,
        /// QEMU's standard error.
        stderr: String,
    },
}

/// Namespace for [`Qemu::builder`].
#[derive(Debug)]
pub struct Qemu;

impl Qemu {
    /// A q35 machine without devices: 512 MiB, two processors, OVMF without Secure Boot.
    pub fn builder() -> QemuBuilder {
        QemuBuilder {
            disks: Vec::new(),
            firmware: None,
            memory_mib: 512,
            processors: 2,
            reboot: RebootPolicy::default(),
            clock: GuestClock::default(),
            network: Network::Absent,
            console: None,
            extra: Vec::new(),
        }
    }
}

/// A disk and the 512-byte sectors of it that take no write.
#[derive(Debug)]
struct Disk {
    image: PathBuf,
    bad_sectors: Vec<u64>,
}

impl Disk {
    /// QEMU's `-drive` options. A comma in the path would end the option.
    fn drive(&self, index: usize) -> String {
        let file = self.image.display().to_string().replace(',', ",,");
        let mut drive = format!("if=none,id=disk{index},format=raw");
        if self.bad_sectors.is_empty() {
            drive.push_str(&format!(",file={file}"));
            return drive;
        }
        drive.push_str(&format!(",file.driver=blkdebug,file.image.filename={file}"));
        for (rule, sector) in self.bad_sectors.iter().enumerate() {
            let rule = format!("file.inject-error.{rule}");
            drive.push_str(&format!(
                ",{rule}.event=none,{rule}.iotype=write,{rule}.sector={sector},{rule}.errno=5"
            ));
        }
        drive
    }
}

#[derive(Debug)]
enum Network {
    Absent,
    User { forwards: Vec<(u16, u16)> },
}

/// A guest to be.
#[derive(Debug)]
pub struct QemuBuilder {
    disks: Vec<Disk>,
    firmware: Option<Firmware>,
    memory_mib: u32,
    processors: u32,
    reboot: RebootPolicy,
    clock: GuestClock,
    network: Network,
    console: Option<PathBuf>,
    extra: Vec<String>,
}

impl QemuBuilder {
    /// Adds a raw image as a virtio disk (its flushes reach the host). The firmware boots the
    /// first one added.
    pub fn disk(self, image: impl Into<PathBuf>) -> Self {
        self.failing_disk(image, &[])
    }

    /// A disk on which every write to these sectors, of 512 bytes each, fails.
    pub fn failing_disk(mut self, image: impl Into<PathBuf>, bad_sectors: &[u64]) -> Self {
        self.disks.push(Disk { image: image.into(), bad_sectors: bad_sectors.to_vec() });
        self
    }

    /// The firmware and its variable store. Without it: OVMF without Secure Boot and with a
    /// fresh variable store.
    pub fn firmware(mut self, firmware: &Firmware) -> Self {
        self.firmware = Some(firmware.clone());
        self
    }

    /// Memory of the guest in MiB.
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Processors of the guest. Firmware uses one.
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// What a reset by the guest does.
    pub fn reboot_policy(mut self, policy: RebootPolicy) -> Self {
        self.reboot = policy;
        self
    }

    /// How the guest's clock runs.
    pub fn clock(mut self, clock: GuestClock) -> Self {
        self.clock = clock;
        self
    }

    /// A network card; the host's 127.0.0.1 is 10.0.2.2 in the guest.
    pub fn network(mut self) -> Self {
        if matches!(self.network, Network::Absent) {
            self.network = Network::User { forwards: Vec::new() };
        }
        self
    }

    /// A network card, and `guest_port` of the guest at `host_port` of 127.0.0.1.
    pub fn forward(self, host_port: u16, guest_port: u16) -> Self {
        let mut this = self.network();
        if let Network::User { forwards } = &mut this.network {
            forwards.push((host_port, guest_port));
        }
        this
    }

    /// Where the serial console is kept (appended to). Without it the console lives in memory only.
    pub fn console_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.console = Some(path.into());
        self
    }

    /// One more argument for QEMU's command line.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.extra.push(arg.into());
        self
    }

    /// Starts the guest.
    pub fn start(mut self) -> Result<Guest, QemuError> {
        let dir = tempfile::Builder::new()
            .prefix("seesaw-qemu-")
            .tempdir()
            .map_err(io_error("making a folder", Path::new("/tmp")))?;
        let firmware = match self.firmware.take() {
            Some(firmware) => firmware,
            None => {
                Firmware::plain(dir.path()).map_err(io_error("copying variables", dir.path()))?
            }
        };
        let socket = dir.path().join("qmp");
        let listener = qmp::Listener::bind(&socket).map_err(io_error("binding", dir.path()))?;
        let stderr_path = dir.path().join("stderr");
        let stderr = fs::File::create(&stderr_path)
            .map_err(io_error("creating a log", dir.path()))?
            .into_file();

        let mut command = Command::new("qemu-system-x86_64");
        command.args(self.arguments(&firmware, &socket));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let child = command.spawn().map_err(|source| QemuError::Start {
            program: "qemu-system-x86_64".to_owned(),
            source,
        })?;
        // From here on the guest's Drop ends QEMU, whatever fails.
        let mut child = RunningChild(child);
        let stdout = child.0.stdout.take();
        let console = Console::read(stdout, self.console.as_deref())
            .map_err(io_error("opening the console's file", dir.path()))?;
        let qmp = listener
            .accept(START_DEADLINE, || matches!(child.0.try_wait(), Ok(None)))
            .map_err(|what| QemuError::Control { what, stderr: read_text(&stderr_path) })?;
        Ok(Guest { child, console, qmp, dir, firmware })
    }

    fn arguments(&self, firmware: &Firmware, socket: &Path) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        let mut add = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        add("-machine", "q35,smm=on".into());
        match self.clock {
            GuestClock::Host => {
                add("-accel", "tcg,thread=multi".into());
                add("-smp", self.processors.to_string());
            }
            GuestClock::SkipIdle => {
                add("-accel", "tcg,thread=single".into());
                add("-icount", "shift=auto,sleep=off".into());
                add("-rtc", "base=2026-01-01T00:00:00,clock=vm".into());
            }
        }
        add("-m", format!("{}M", self.memory_mib));
        match self.reboot {
            RebootPolicy::Reboot => {}
            RebootPolicy::Exit => add("-action", "reboot=shutdown".into()),
            RebootPolicy::Pause => add("-action", "reboot=shutdown,shutdown=pause".into()),
        }
        for argument in firmware.arguments() {
            add(argument.0, argument.1);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            add("-drive", disk.drive(index));
            add("-device", format!("virtio-blk-pci,drive=disk{index},bootindex={}", index + 1));
        }
        add("-nic", self.network_argument());
        add("-device", "virtio-rng-pci".into());
        add("-chardev", "stdio,id=console,signal=off".into());
        add("-serial", "chardev:console".into());
        add("-chardev", format!("socket,id=qmp,path={}", socket.display()));
        add("-mon", "chardev=qmp,mode=control".into());
        add("-display", "none".into());
        args.extend(["-no-user-config".to_owned(), "-nodefaults".to_owned()]);
        args.extend(self.extra.iter().cloned());
        args
    }

    fn network_argument(&self) -> String {
        match &self.network {
            Network::Absent => "none".to_owned(),
            Network::User { forwards } => {
                let mut nic = "user,model=virtio-net-pci,romfile=".to_owned();
                for (host, guest) in forwards {
                    nic.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
                }
                nic
            }
        }
    }
}

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
            console::Waited::Found(index) => Ok(index),
            console::Waited::Deadline => Err(QemuError::Silent {
                wanted: wanted(),
                after: within,
                tail: self.console.tail(),
            }),
            console::Waited::Closed => Err(QemuError::Ended {
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

fn io_error(step: &'static str, dir: &Path) -> impl FnOnce(io::Error) -> QemuError {
    let dir = dir.to_owned();
    move |source| QemuError::Io { step, dir, source }
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}
