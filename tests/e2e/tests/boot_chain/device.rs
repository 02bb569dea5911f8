//! A disk with real images on it, and the machine that boots it.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use fs_err as fs;
use partition_layout::{
    Access, BlockDevice, BootAttributes, DiskFile, DiskPlan, Guid, Layout, Nibble, Slot,
    SlotLetter, SlotTable, commit, create_disk,
};
use payload_tools::disk::esp::esp_image;
use seesaw_harness::firmware::Firmware;
use seesaw_harness::guest_shell::GuestShell;
use seesaw_harness::image::{File, ImageStore, Initrd, OsImage, Recipe};
use seesaw_harness::programs::target_dir;
use seesaw_harness::qemu::{Guest, Qemu, QemuBuilder};
use seesaw_harness::selector::build_selector;
use seesaw_harness::{packages, secure_boot};

const MIB: u64 = 1 << 20;

/// From reset to a shell takes 25 s on an idle machine.
pub const BOOT: Duration = Duration::from_secs(400);

/// A command in the guest takes a second at most.
pub const COMMAND: Duration = Duration::from_secs(60);

/// An image of the chain alone: Debian, the initrd's scripts, the harness's shell. `release` and
/// the kernel's command line are all that tells two of them apart.
pub fn image(release: &str, more_command_line: &str) -> OsImage {
    image_with(release, more_command_line, Vec::new())
}

/// The same with these files too.
pub fn image_with(release: &str, more_command_line: &str, more: Vec<File>) -> OsImage {
    packages::ensure(&[packages::IMAGES, packages::QEMU], |_| {}).unwrap();
    let mut files = seesaw_packaging::initramfs_files();
    files.push(File::text("usr/share/chain/release", release));
    files.extend(more);
    let recipe = Recipe {
        compatible: "chain-x86_64".to_owned(),
        release: release.to_owned(),
        counter: 1,
        built: "2026-01-01T00:00:00Z".to_owned(),
        command_line: format!(
            "ro panic=2 console=ttyS0 quiet systemd.gpt_auto=no {more_command_line}"
        ),
        initrd: Initrd::Included,
        packages: Vec::new(),
        files,
        enabled_units: Vec::new(),
        rebuilt_programs: Vec::new(),
    };
    ImageStore::open(target_dir().join("images")).unwrap().build(&recipe).unwrap()
}

/// The selector, signed.
pub fn selector() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let signed = dir.path().join("selector.efi");
    secure_boot::sign(&build_selector().unwrap(), &signed).unwrap();
    fs::read(signed).unwrap()
}

pub struct Device {
    dir: tempfile::TempDir,
    pub image: PathBuf,
    firmware: Firmware,
}

impl Device {
    /// Both slots empty, STATE blank, `boot_program` where the firmware looks first.
    pub fn new(boot_program: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        let plan = DiskPlan {
            disk_guid: Guid::from_bytes(*b"a disk for boots"),
            layout: Layout::standard(),
            esp_size: 64 * MIB,
            kernel_size: 48 * MIB,
            root_size: 128 * MIB,
            verity_size: None,
        };
        let disk = DiskFile::create(&image, plan.disk_size(32 * MIB).unwrap(), 512).unwrap();
        let esp = create_disk(&disk, &plan).unwrap().esp.unwrap();
        disk.write_at(esp.offset, &esp_image(esp.size, boot_program).unwrap()).unwrap();
        let firmware = Firmware::secure_boot(dir.path()).unwrap();
        Self { dir, image, firmware }
    }

    /// Writes an image to a slot. `boot` is (priority, tries, successful).
    pub fn fill(&self, letter: SlotLetter, boot: (u8, u8, bool), image: &OsImage) {
        let slot = self.slot(letter);
        let file = fs::OpenOptions::new().write(true).open(&self.image).unwrap();
        let write = |part: &PathBuf, at| {
            file.file().write_all_at(&fs::read(part).unwrap(), at).unwrap();
        };
        write(&image.kernel, slot.kernel.offset);
        write(&image.root, slot.root.offset);
        let (priority, tries, successful) = boot;
        let nibble = |value| Nibble::try_from(value).unwrap();
        let attributes =
            BootAttributes::default().with_boot(nibble(priority), nibble(tries), successful);
        let disk = DiskFile::open(&self.image, Access::ReadWrite).unwrap();
        let _durable = commit(&disk, &[(slot.kernel.number, attributes)]).unwrap();
    }

    /// Fills the beginning of STATE with what is no file system.
    pub fn spoil_state(&self) {
        let disk = DiskFile::open(&self.image, Access::ReadWrite).unwrap();
        let state = SlotTable::read(&disk, &Layout::standard()).unwrap().state.unwrap();
        disk.write_at(state.offset, &vec![0xa5; 1 << 20]).unwrap();
    }

    /// The bytes of STATE.
    pub fn state(&self) -> Vec<u8> {
        let disk = DiskFile::open(&self.image, Access::ReadOnly).unwrap();
        let state = SlotTable::read(&disk, &Layout::standard()).unwrap().state.unwrap();
        let mut bytes = vec![0; state.size as usize];
        disk.read_at(state.offset, &mut bytes).unwrap();
        bytes
    }

    pub fn slot(&self, letter: SlotLetter) -> Slot {
        let disk = DiskFile::open(&self.image, Access::ReadOnly).unwrap();
        let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
        table.slots.into_iter().find(|slot| slot.letter == letter).unwrap()
    }

    pub fn machine(&self) -> QemuBuilder {
        let console = self.dir.path().join("console.log");
        let mut machine =
            Qemu::builder().firmware(&self.firmware).disk(&self.image).console_file(console);
        for argument in GuestShell::qemu_arguments(&self.shell_socket()) {
            machine = machine.arg(argument);
        }
        machine
    }

    pub fn start(&self) -> (Guest, GuestShell) {
        self.start_as(self.machine().network())
    }

    /// Starts the machine that [`machine`](Self::machine) gave.
    pub fn start_as(&self, machine: QemuBuilder) -> (Guest, GuestShell) {
        let guest = machine.start().unwrap();
        let shell = GuestShell::connect(&self.shell_socket()).unwrap();
        (guest, shell)
    }

    fn shell_socket(&self) -> PathBuf {
        self.dir.path().join("shell")
    }
}
