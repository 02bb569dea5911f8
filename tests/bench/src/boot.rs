//! How long the same unified kernel image (UKI) waits for what starts it: our selector,
//! systemd-boot, or the firmware alone.
//!
//! In the place of the UKI's stub is a program that says how far the processor's counter has come,
//! the same for all three.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use fs_err as fs;
use partition_layout::{
    BlockDevice, BootAttributes, DiskFile, DiskPlan, Guid, Layout, Nibble, SlotLetter, commit,
    create_disk,
};
use payload_tools::disk::esp::SELECTOR_PATH;
use seesaw_harness::firmware::Firmware;
use seesaw_harness::image::{UkiParts, assemble_uki};
use seesaw_harness::qemu::{GuestClock, Qemu, RebootPolicy};
use seesaw_harness::selector::{build_probe, build_selector};

use crate::figures::Spread;
use crate::{BenchError, Figures, at};

const MIB: u64 = 1 << 20;
/// As Debian's are: a kernel for every machine, an initrd that is not compressed.
const LINUX_SIZE: u64 = 8 * MIB;
const INITRD_SIZE: u64 = 32 * MIB;
/// FAT 32, in clusters of 4 KiB.
const ESP_SIZE: u64 = 512 * MIB;
const KERNEL_SIZE: u64 = 64 * MIB;
/// Where Debian's systemd-boot-efi puts it.
const SYSTEMD_BOOT: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// What the probe says first (examples/slot-probe.rs of the selector).
const COUNTER: &str = "probe: counter ";
/// A boot takes 5 s on an idle machine, and on a busy one, when instructions are counted, minutes.
const BOOT: Duration = Duration::from_secs(900);

/// What starts the UKI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starter {
    Firmware,
    SystemdBoot,
    Selector,
}

impl Starter {
    const ALL: [Starter; 3] = [Starter::Firmware, Starter::SystemdBoot, Starter::Selector];

    fn key(self) -> &'static str {
        match self {
            Starter::Firmware => "firmware",
            Starter::SystemdBoot => "systemd_boot",
            Starter::Selector => "selector",
        }
    }
}

/// One boot, as far as the UKI.
#[derive(Clone, Copy, Debug)]
struct Boot {
    /// Since the firmware began to load what it starts, with the host's clock.
    wall: Duration,
    /// Since power-on, where the guest's clock counts instructions.
    instructions: u64,
}

/// The boots of all rounds.
#[derive(Debug)]
pub struct Boots {
    uki_bytes: u64,
    systemd_boot: String,
    rounds: Vec<[Boot; 3]>,
}

impl Boots {
    /// Boots `rounds` times by turns, after a round that does not count.
    pub fn measure(rounds: usize, note: &dyn Fn(&str)) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(at("make a folder for disks"))?;
        let uki = uki(folder.path())?;
        let systemd_boot = fs::read(SYSTEMD_BOOT).map_err(at("read systemd-boot"))?;
        let selector =
            fs::read(build_selector().map_err(boot)?).map_err(at("read the selector"))?;
        let disk = |starter: Starter| -> Result<PathBuf, BenchError> {
            let path = folder.path().join(starter.key());
            let program = [&uki, &systemd_boot, &selector][starter as usize];
            make_disk(&path, starter, program, &uki)?;
            Ok(path)
        };
        let disks =
            [disk(Starter::Firmware)?, disk(Starter::SystemdBoot)?, disk(Starter::Selector)?];
        let mut counted = Vec::new();
        for round in 0..=rounds {
            note(&format!("boots, round {round} of {rounds}"));
            let [firmware, systemd_boot, selector] = &disks;
            let boots = [one_boot(firmware)?, one_boot(systemd_boot)?, one_boot(selector)?];
            counted.extend((round > 0).then_some(boots));
        }
        Ok(Boots {
            uki_bytes: uki.len() as u64,
            systemd_boot: version(&systemd_boot),
            rounds: counted,
        })
    }

    /// Adds what the rounds come to.
    pub fn add_to(&self, figures: &mut Figures) {
        figures.set("boot.uki_bytes", self.uki_bytes);
        figures.set("boot.rounds", self.rounds.len());
        figures.set("boot.systemd_boot.version", &*self.systemd_boot);
        for starter in Starter::ALL {
            let key = |name: &str| format!("boot.{}.{name}", starter.key());
            let boots = || self.rounds.iter().map(|round| round[starter as usize]);
            let wall = Spread::of(boots().map(|boot| boot.wall.as_secs_f64()));
            figures.set_spread(&key("wall_seconds"), wall);
            let added = self.rounds.iter().map(|round| {
                let [firmware, boot] = [Starter::Firmware, starter].map(|who| round[who as usize]);
                boot.instructions as f64 - firmware.instructions as f64
            });
            figures.set_spread(&key("added_instructions"), Spread::of(added));
        }
        let [selector, peer] = [Starter::Selector, Starter::SystemdBoot].map(|who| {
            let boots = self.rounds.iter().map(|round| round[who as usize]);
            boots.map(|boot| boot.wall.as_secs_f64()).collect::<Vec<_>>()
        });
        figures.set_spread("boot.ratio_systemd_boot", Spread::ratio(&selector, &peer));
    }
}

/// Boots a disk twice: with the host's clock, and by counting.
fn one_boot(disk: &Path) -> Result<Boot, BenchError> {
    let (wall, _) = watch_boot(disk, GuestClock::Host)?;
    let (_, instructions) = watch_boot(disk, GuestClock::Instructions)?;
    Ok(Boot { wall, instructions })
}

/// The time from the firmware's word to the UKI's, and the counter that the UKI read.
fn watch_boot(disk: &Path, clock: GuestClock) -> Result<(Duration, u64), BenchError> {
    let folder = tempfile::tempdir().map_err(at("make a folder for firmware variables"))?;
    let firmware = Firmware::plain(folder.path()).map_err(at("copy firmware variables"))?;
    let machine = Qemu::builder().disk(disk).firmware(&firmware).processors(1).clock(clock);
    let mut guest = machine.reboot_policy(RebootPolicy::Exit).start().map_err(boot)?;
    guest.wait_for("BdsDxe: loading Boot", BOOT).map_err(boot)?;
    let loading = Instant::now();
    let line = guest.wait_for_line(COUNTER, BOOT).map_err(boot)?;
    let wall = loading.elapsed();
    guest.wait_until_ended(BOOT).map_err(boot)?;
    let counter = line.trim().strip_prefix(COUNTER).and_then(|number| number.parse().ok());
    Ok((wall, counter.ok_or_else(|| boot(format!("no number in `{line}`")))?))
}

/// systemd-boot carries its name and version between these signs.
fn version(systemd_boot: &[u8]) -> String {
    let text = String::from_utf8_lossy(systemd_boot);
    let version = text.split_once("LoaderInfo: systemd-boot ").and_then(|(_, rest)| {
        let (version, _) = rest.split_once(" ####")?;
        Some(version.to_owned())
    });
    version.unwrap_or_else(|| "unknown".to_owned())
}

/// The UKI: the probe with what a kernel image has, so that it is as large as one.
fn uki(folder: &Path) -> Result<Vec<u8>, BenchError> {
    let part = |name: &str, bytes: &[u8], size: u64| -> Result<PathBuf, BenchError> {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(at("write a part of the UKI"))?;
        let file = fs::OpenOptions::new().write(true).open(&path);
        file.and_then(|file| file.set_len(size)).map_err(at("write a part of the UKI"))?;
        Ok(path)
    };
    let release = b"ID=seesaw\nVERSION_ID=1\nPRETTY_NAME=Seesaw\n";
    let (stub, path) = (build_probe().map_err(boot)?, folder.join("uki.efi"));
    let parts = UkiParts {
        stub: &stub,
        os_release: &part("osrel", release, release.len() as u64)?,
        command_line: &part("cmdline", b"panic=10", 8)?,
        linux: &part("linux", b"", LINUX_SIZE)?,
        initrd: Some(&part("initrd", b"", INITRD_SIZE)?),
    };
    assemble_uki(&parts, &path).map_err(boot)?;
    fs::read(path).map_err(at("read the UKI"))
}

/// A disk whose firmware finds `program`, and where that finds the UKI.
fn make_disk(path: &Path, starter: Starter, program: &[u8], uki: &[u8]) -> Result<(), BenchError> {
    let plan = DiskPlan {
        disk_guid: Guid::from_bytes(*b"seesaw benchmark"),
        layout: Layout::standard(),
        esp_size: ESP_SIZE,
        kernel_size: KERNEL_SIZE,
        root_size: MIB,
        verity_size: None,
    };
    let size = plan.disk_size(MIB).map_err(boot)?;
    let disk = DiskFile::create(path, size, 512).map_err(boot)?;
    let table = create_disk(&disk, &plan).map_err(boot)?;
    let esp = table.esp.as_ref().ok_or_else(|| boot("the layout has no ESP"))?;
    let step = "write the ESP";
    let volume = volume(&files(starter, program, uki)).map_err(at(step))?;
    // Most of it is nothing, and stays a hole.
    for (index, part) in volume.chunks(MIB as usize).enumerate() {
        if part.iter().any(|&byte| byte != 0) {
            disk.write_at(esp.offset + index as u64 * MIB, part).map_err(at(step))?;
        }
    }
    if starter == Starter::Selector {
        let slot = table.slot(SlotLetter::A);
        disk.write_at(slot.kernel.offset, uki).map_err(at("write the kernel"))?;
        let [one, none] = [1, 0].map(|number| Nibble::try_from(number).unwrap_or(Nibble::MAX));
        let confirmed = BootAttributes::default().with_boot(one, none, true);
        let _durable = commit(&disk, &[(slot.kernel.number, confirmed)]).map_err(boot)?;
    }
    disk.flush().map_err(at("write the disk"))
}

/// What is on the ESP.
fn files<'a>(starter: Starter, program: &'a [u8], uki: &'a [u8]) -> Vec<(String, &'a [u8])> {
    let mut files = vec![(SELECTOR_PATH.join("/"), program)];
    if starter == Starter::SystemdBoot {
        files.push(("EFI/Linux/seesaw.efi".to_owned(), uki));
        // No menu: it starts what there is at once.
        files.push(("loader/loader.conf".to_owned(), b"timeout 0\n"));
    }
    files
}

fn volume(files: &[(String, &[u8])]) -> io::Result<Vec<u8>> {
    let mut volume = vec![0; ESP_SIZE as usize];
    fatfs::format_volume(Cursor::new(&mut volume), FormatVolumeOptions::new())?;
    let file_system = FileSystem::new(Cursor::new(&mut volume), FsOptions::new())?;
    for (path, bytes) in files {
        for (slash, _) in path.match_indices('/') {
            file_system.root_dir().create_dir(&path[..slash])?;
        }
        let mut file = file_system.root_dir().create_file(path)?;
        file.write_all(bytes)?;
        file.flush()?;
    }
    file_system.unmount()?;
    Ok(volume)
}

fn boot(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BenchError {
    BenchError::Boot(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_systemd_boot_is_in_it() {
        let program = b"\0#### LoaderInfo: systemd-boot 252.39-1~deb12u2 ####\0";
        assert_eq!(version(program), "252.39-1~deb12u2");
        assert_eq!(version(b"MZ"), "unknown");
    }

    #[test]
    fn what_is_added_is_added_to_the_firmware_of_the_same_round() {
        let boot =
            |millis, instructions| Boot { wall: Duration::from_millis(millis), instructions };
        let rounds = vec![
            [boot(100, 1000), boot(200, 1500), boot(150, 900)],
            [boot(100, 2000), boot(200, 2700), boot(250, 2000)],
        ];
        let boots = Boots { uki_bytes: 1, systemd_boot: "252".to_owned(), rounds };
        let mut figures = Figures::default();
        boots.add_to(&mut figures);
        let added = figures.spread("boot.systemd_boot.added_instructions").unwrap();
        assert_eq!(added, Spread { median: 600.0, least: 500.0, most: 700.0 });
        assert_eq!(figures.number("boot.selector.added_instructions_min").unwrap(), -100.0);
        assert_eq!(figures.number("boot.ratio_systemd_boot").unwrap(), 1.0);
    }
}
