use super::*;
use partition_layout::testing::{MemoryDisk, small_plan};
use partition_layout::{Nibble, Refusal, SlotState, StartFailure, create_disk};

/// A /proc and /sys as the kernel and systemd-stub leave them.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        root.write("proc/sys/kernel/random/boot_id", b"0d1f\n");
        root.write("sys/devices/virtio/vda/vda4/partition", b"4\n");
        root.write("sys/devices/virtio/vda/vda5/partition", b"5\n");
        root.link("sys/dev/block/254:4", "../../devices/virtio/vda/vda4");
        root.link("sys/dev/block/254:5", "../../devices/virtio/vda/vda5");
        root.mounts("254:4");
        root
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, path).unwrap();
    }

    fn mounts(&self, device: &str) {
        let text = format!(
            "20 1 0:2 / / rw - rootfs rootfs rw\n21 20 {device} / / ro,relatime shared:1 - ext4 /dev/root ro\n22 21 0:5 / /proc rw - proc proc rw\n"
        );
        self.write("proc/self/mountinfo", text.as_bytes());
    }

    fn kernel(&self, variable: &str, guid: &str) {
        // Volatile, boot service and runtime access.
        self.variable(variable, 6, guid);
    }

    fn variable(&self, variable: &str, attributes: u8, guid: &str) {
        let text: Vec<u8> = guid.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let name = format!("{EFIVARS}/{variable}-{LOADER_VENDOR}");
        self.write(&name, &[&[attributes, 0, 0, 0], &text[..]].concat());
    }

    fn evidence(&self) -> Result<(Evidence, PathBuf), EvidenceError> {
        Evidence::of_device(self.0.path())
    }
}

fn table() -> SlotTable {
    let disk = MemoryDisk::new(64 << 20, 512);
    create_disk(&disk, &small_plan()).unwrap()
}

/// What `Root` with these variables says about the disk of `table`.
fn booted(root: &Root) -> Booted {
    root.evidence().unwrap().0.booted(&table())
}

#[test]
fn the_disk_that_runs_is_recognized_by_whatever_name() {
    let root = Root::new();
    root.write("dev/vda", b"");
    root.write("dev/vdb", b"");
    root.link("dev/disk/by-id/virtio-system", "../../vda");
    for (name, runs) in
        [("dev/vda", true), ("dev/disk/by-id/virtio-system", true), ("dev/vdb", false)]
    {
        let said = Evidence::runs_from(root.0.path(), &root.0.path().join(name));
        assert_eq!(said.unwrap(), runs, "{name}");
    }
    root.mounts("0:20");
    let said = Evidence::runs_from(root.0.path(), &root.0.path().join("dev/vdb"));
    assert!(said.is_err(), "an overlay may lie on any disk");
}

#[test]
fn kernel_and_root_of_one_slot_are_that_slot() {
    let table = table();
    for (letter, device) in [(SlotLetter::A, "254:4"), (SlotLetter::B, "254:5")] {
        let root = Root::new();
        root.mounts(device);
        root.kernel(
            "StubDevicePartUUID",
            &table.slot(letter).kernel.guid.to_string().to_lowercase(),
        );
        let (evidence, disk) = root.evidence().unwrap();
        assert_eq!(disk, Path::new("/dev/vda"));
        assert_eq!(evidence.booted(&table), Booted::Slot(letter));
        assert_eq!(evidence.boot_id(), "0d1f");
    }
}

#[test]
fn the_stubs_word_goes_before_the_loaders() {
    let root = Root::new();
    let table = table();
    root.kernel("LoaderDevicePartUUID", &table.esp.as_ref().unwrap().guid.to_string());
    assert!(matches!(booted(&root), Booted::Mixed(_)));
    root.kernel("StubDevicePartUUID", &table.slot(SlotLetter::A).kernel.guid.to_string());
    assert_eq!(booted(&root), Booted::Slot(SlotLetter::A));
}

/// As the initrd has it: what is stored says nothing about this boot, and hides
/// what the other variable says.
#[test]
fn a_stored_variable_is_no_evidence() {
    let kernel_of_a = table().slot(SlotLetter::A).kernel.guid.to_string();
    let root = Root::new();
    root.kernel("LoaderDevicePartUUID", &kernel_of_a);
    assert_eq!(booted(&root), Booted::Slot(SlotLetter::A));
    root.variable("StubDevicePartUUID", 7, &kernel_of_a);
    let Booted::Mixed(why) = booted(&root) else { panic!("it counts as evidence") };
    assert!(why.contains("no EFI variable of this boot"), "{why}");
}

#[test]
fn what_disagrees_or_is_missing_is_mixed() {
    let kernel_of_b = table().slot(SlotLetter::B).kernel.guid.to_string();
    for (guid, word) in [
        (Some(kernel_of_b.as_str()), "slot B"),
        (Some("00000000-0000-0000-0000-000000000001"), "no slot"),
        (Some("not a guid"), "no EFI variable"),
        (None, "no EFI variable"),
    ] {
        let root = Root::new();
        if let Some(guid) = guid {
            root.kernel("StubDevicePartUUID", guid);
        }
        let Booted::Mixed(why) = booted(&root) else { panic!("{guid:?} is not mixed") };
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn a_verity_device_is_the_partition_below_it() {
    let root = Root::new();
    root.mounts("253:0");
    root.write("sys/devices/virtual/block/dm-0/slaves/.keep", b"");
    root.link("sys/dev/block/253:0", "../../devices/virtual/block/dm-0");
    root.link("sys/devices/virtual/block/dm-0/slaves/vda5", "../../../../virtio/vda/vda5");
    let (evidence, disk) = root.evidence().unwrap();
    assert_eq!(disk, Path::new("/dev/vda"));
    assert!(matches!(evidence, Evidence::Device { root: 5, .. }));
}

#[test]
fn a_root_that_is_on_no_partition_is_an_error() {
    let root = Root::new();
    root.mounts("0:20");
    assert!(matches!(root.evidence(), Err(EvidenceError::NoPartition { .. })));
}

#[test]
fn the_selectors_report_is_told_and_never_evidence() {
    let root = Root::new();
    let report = BootReport {
        started: SlotLetter::A,
        state: SlotState::Confirmed,
        tries: Nibble::ZERO,
        reason: partition_layout::Reason::Fallback,
        refused: vec![Refusal {
            letter: SlotLetter::B,
            state: SlotState::Trial,
            failure: StartFailure::LoadImage,
            efi_status: 26,
        }],
    };
    let vendor = BootReport::VENDOR.to_string().to_lowercase();
    let name = format!("{EFIVARS}/SeesawBoot-{vendor}");
    root.write(&name, &[&[6, 0, 0, 0], &report.encode()[..]].concat());
    let (evidence, _) = root.evidence().unwrap();
    let told = evidence.report().unwrap();
    assert!(
        told.contains("slot B (trial) not: the firmware refused the image, EFI status 26"),
        "{told}"
    );
    assert!(matches!(evidence.booted(&table()), Booted::Mixed(_)));

    root.write(&name, b"\x06\0\0\0garbage");
    assert!(root.evidence().unwrap().0.report().is_some(), "an unreadable report is told as such");
}
