//! The machine to be: its parts, and QEMU's command line for them.

use std::path::{Path, PathBuf};

use super::error::QemuError;
use super::guest::Guest;
use crate::firmware::Firmware;

/// What a reset empties at the end of memory, where the firmware has its stack: QEMU keeps what it
/// translated of a page that code was in, and each write to such a page is slow. An OVMF of 2022 whose
/// stack is there takes longer for a tick of its timer than the 10 ms between two, and so for ever.
pub(super) const WIPED_MIB: u64 = 64;

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
    /// The same, and while the processor works each instruction takes a nanosecond, whatever the
    /// host is at: its counter counts instructions.
    Instructions,
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

#[derive(Debug)]
struct Disk {
    image: PathBuf,
    /// Of 512 bytes each; they take no write.
    bad_sectors: Vec<u64>,
    /// Where each write is logged.
    log: Option<PathBuf>,
}

impl Disk {
    /// QEMU's `-drive` options.
    fn drive(&self, index: usize) -> String {
        let file = option(&self.image);
        let mut drive = format!("if=none,id=disk{index},format=raw");
        if let Some(log) = &self.log {
            drive.push_str(",file.driver=blklogwrites,file.file.driver=file,file.log.driver=file");
            let log = option(log);
            drive.push_str(&format!(",file.file.filename={file},file.log.filename={log}"));
            return drive;
        }
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

/// A path within an option, which a comma would end.
fn option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
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
    pub(super) firmware: Option<Firmware>,
    memory_mib: u32,
    processors: u32,
    reboot: RebootPolicy,
    clock: GuestClock,
    network: Network,
    pub(super) console: Option<PathBuf>,
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
        self.disks.push(Disk { image: image.into(), bad_sectors: bad_sectors.to_vec(), log: None });
        self
    }

    /// A disk whose writes are logged in an empty file, for a [`WriteLog`](super::WriteLog).
    pub fn logged_disk(mut self, image: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        let (image, log) = (image.into(), Some(log.into()));
        self.disks.push(Disk { image, bad_sectors: Vec::new(), log });
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
    pub fn start(self) -> Result<Guest, QemuError> {
        Guest::start(self)
    }

    /// QEMU's command line.
    pub(super) fn arguments(
        &self,
        firmware: &Firmware,
        wiped: &Path,
        socket: &Path,
    ) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        let mut add = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        add("-machine", "q35,smm=on".into());
        match self.clock {
            GuestClock::Host => {
                add("-accel", "tcg,thread=multi".into());
                add("-smp", self.processors.to_string());
            }
            GuestClock::SkipIdle | GuestClock::Instructions => {
                let shift = if self.clock == GuestClock::SkipIdle { "auto" } else { "0" };
                add("-accel", "tcg,thread=single".into());
                add("-icount", format!("shift={shift},sleep=off"));
                add("-rtc", "base=2026-01-01T00:00:00,clock=vm".into());
            }
        }
        add("-m", format!("{}M", self.memory_mib));
        let end = u64::from(self.memory_mib) - WIPED_MIB;
        let wipe = format!("loader,file={},addr={:#x},force-raw=on", option(wiped), end << 20);
        add("-device", wipe);
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
        if let Network::User { forwards } = &self.network {
            add("-netdev", user_network(forwards));
            // Without its option ROM: nothing boots from the network.
            add("-device", "virtio-net-pci,netdev=network,romfile=".to_owned());
        }
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
}

fn user_network(forwards: &[(u16, u16)]) -> String {
    let mut network = "user,id=network".to_owned();
    for (host, guest) in forwards {
        network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
    }
    network
}
