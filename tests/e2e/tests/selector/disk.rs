//! Small disks with a selector and stand-ins for kernels, and one boot of them.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use partition_layout::{
    Access, BlockDevice, BootAttributes, BootReport, CopyPlace, DiskFile, DiskPlan, Guid,
    KernelImage, Layout, Nibble, SlotLetter, SlotTable, commit, create_disk, repair_backup,
};
use payload_tools::disk::esp::esp_image;
use seesaw_harness::firmware::Firmware;
use seesaw_harness::qemu::{Guest, Qemu, QemuBuilder, RebootPolicy};
use seesaw_harness::secure_boot;
use seesaw_harness::selector::{build_probe, build_selector};

/// One boot takes 5 s on an idle machine.
pub const BOOT: Duration = Duration::from_secs(180);

const MIB: u64 = 1 << 20;
pub const SECTOR: u64 = 512;

/// Whether the machine enforces Secure Boot (and selector and probes are signed).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    Off,
    SecureBoot,
}

/// What a probe does after it has reported (examples/slot-probe.rs of the selector).
#[derive(Clone, Copy)]
pub enum Then {
    PowerOff,
    Reset,
    Return,
    Hang,
}

/// A disk, a firmware, and the folder that holds both.
pub struct TestDisk {
    dir: tempfile::TempDir,
    pub image: PathBuf,
    firmware: Firmware,
    enforcement: Enforcement,
}

impl TestDisk {
    /// Both slots empty, the selector on the ESP.
    pub fn new(enforcement: Enforcement) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let selector = build_selector().unwrap();
        let selector = match enforcement {
            Enforcement::Off => fs::read(selector).unwrap(),
            Enforcement::SecureBoot => signed(&fs::read(selector).unwrap()),
        };
        let firmware = match enforcement {
            Enforcement::Off => Firmware::plain(dir.path()),
            Enforcement::SecureBoot => Firmware::secure_boot(dir.path()),
        };
        let image = dir.path().join("disk.img");
        create(&image, &selector);
        Self { image, firmware: firmware.unwrap(), enforcement, dir }
    }

    /// A probe for this machine: signed where that is enforced.
    pub fn probe(&self, then: Then) -> Vec<u8> {
        let probe = unsigned_probe(then);
        match self.enforcement {
            Enforcement::Off => probe,
            Enforcement::SecureBoot => signed(&probe),
        }
    }

    /// Fills a slot. `boot` is (priority, tries, successful).
    pub fn fill(&self, letter: SlotLetter, boot: (u8, u8, bool), kernel: &[u8]) {
        let slot = self.slot(letter);
        self.write_at(slot.kernel.offset, kernel);
        let (priority, tries, successful) = boot;
        let nibble = |value| Nibble::try_from(value).unwrap();
        let attributes =
            BootAttributes::default().with_boot(nibble(priority), nibble(tries), successful);
        let _durable =
            commit(&self.open(Access::ReadWrite), &[(slot.kernel.number, attributes)]).unwrap();
    }

    pub fn table(&self) -> SlotTable {
        SlotTable::read(&self.open(Access::ReadOnly), &Layout::standard()).unwrap()
    }

    fn slot(&self, letter: SlotLetter) -> partition_layout::Slot {
        self.table().slots.into_iter().find(|slot| slot.letter == letter).unwrap()
    }

    /// (priority, tries, successful) as they stand on the disk.
    pub fn boot(&self, letter: SlotLetter) -> (u8, u8, bool) {
        let boot = self.slot(letter).attributes;
        (boot.priority().get(), boot.tries().get(), boot.successful())
    }

    pub fn partuuid(&self, letter: SlotLetter) -> Guid {
        self.slot(letter).kernel.guid
    }

    fn open(&self, access: Access) -> DiskFile {
        DiskFile::open(&self.image, access).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.image).unwrap()
    }

    /// Inverts a byte.
    pub fn damage(&self, at: u64) {
        self.write_at(at, &[!self.bytes()[at as usize]]);
    }

    fn write_at(&self, at: u64, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(&self.image).unwrap();
        file.file().write_all_at(bytes, at).unwrap();
    }

    /// Bytes of one table copy on the disk, header and entries.
    pub fn copy_range(&self, place: CopyPlace) -> Range<usize> {
        let size = fs::metadata(&self.image).unwrap().len() as usize;
        let copy = 33 * SECTOR as usize;
        match place {
            CopyPlace::Primary => SECTOR as usize..SECTOR as usize + copy,
            CopyPlace::Backup => size - copy..size,
        }
    }

    /// The first thing that an agent does makes it a disk that cgpt and sgdisk agree to.
    pub fn judged_once_an_agent_ran(&self) {
        repair_backup(&self.open(Access::ReadWrite)).unwrap();
        seesaw_e2e::judge::judge(&self.image, &self.table()).unwrap();
    }

    /// This disk in a machine that stops at a reset.
    pub fn machine(&self) -> QemuBuilder {
        self.machine_without_disk().disk(&self.image)
    }

    pub fn machine_without_disk(&self) -> QemuBuilder {
        Qemu::builder()
            .firmware(&self.firmware)
            .memory_mib(256)
            .processors(1)
            .reboot_policy(RebootPolicy::Exit)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn create(image: &Path, selector: &[u8]) {
    let plan = DiskPlan {
        disk_guid: Guid::from_bytes(*b"a disk for tests"),
        layout: Layout::standard(),
        esp_size: 2 * MIB,
        kernel_size: MIB,
        root_size: MIB,
        verity_size: None,
    };
    let disk = DiskFile::create(image, plan.disk_size(MIB).unwrap(), SECTOR as u32).unwrap();
    let table = create_disk(&disk, &plan).unwrap();
    let esp = table.esp.unwrap();
    disk.write_at(esp.offset, &esp_image(esp.size, selector).unwrap()).unwrap();
}

/// A probe that does `then`, unsigned.
pub fn unsigned_probe(then: Then) -> Vec<u8> {
    const MARKER: &[u8] = b"seesaw-probe";
    let mut probe = fs::read(build_probe().unwrap()).unwrap();
    let at = probe.windows(MARKER.len()).position(|bytes| bytes == MARKER).unwrap();
    let word = match then {
        Then::PowerOff => b":off",
        Then::Reset => b":rst",
        Then::Return => b":ret",
        Then::Hang => b":hng",
    };
    probe[at + MARKER.len()..at + MARKER.len() + word.len()].copy_from_slice(word);
    probe
}

fn signed(program: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (unsigned, signed) = (dir.path().join("unsigned"), dir.path().join("signed"));
    fs::write(&unsigned, program).unwrap();
    secure_boot::sign(&unsigned, &signed).unwrap();
    fs::read(signed).unwrap()
}

/// Inverts a byte in the middle of the code of `image`.
pub fn with_a_changed_byte(mut image: Vec<u8>) -> Vec<u8> {
    let code = KernelImage::parse(&image, image.len() as u64).unwrap().sections().next().unwrap();
    let middle = (code.bytes.start + code.bytes.end) / 2;
    image[middle as usize] ^= 0xff;
    image
}

/// Waits until a probe runs: the partition that it was loaded from, and the selector's report.
pub fn probe_runs(guest: &mut Guest) -> (Guid, BootReport) {
    let line = guest.wait_for_line("probe: loaded from", BOOT).unwrap();
    let partition = line.split("PARTUUID=").nth(1).unwrap().trim().parse().unwrap();
    let line = guest.wait_for_line("probe: report [", BOOT).unwrap();
    let bytes = line.split(['[', ']']).nth(1).unwrap();
    let bytes = bytes.split(", ").map(|byte| u8::from_str_radix(byte, 16).unwrap());
    // Boot service and runtime access, and nothing that would put it into NVRAM.
    assert!(line.trim_end().ends_with("attributes 0x6"), "{line}");
    (partition, BootReport::decode(&bytes.collect::<Vec<_>>()).unwrap())
}
