use std::process::Command;

use super::*;
use partition_layout::testing::small_plan;
use partition_layout::{Nibble, OpenError, commit, create_disk};
use payload_tools::testing::{osrel, uki};

use crate::install::tests::fixture::TestRelease;
use crate::install::tests::loop_device::Loop;

struct Disk(tempfile::NamedTempFile);

impl Disk {
    /// Slot A confirmed with release 1, slot B empty.
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        let disk = Self(file);
        create_disk(&disk.file(), &small_plan()).unwrap();
        disk.put(SlotLetter::A, 1);
        disk.set(SlotLetter::A, 1, 0, true);
        disk
    }

    fn file(&self) -> DiskFile {
        DiskFile::open(self.0.path(), Access::ReadWrite).unwrap()
    }

    fn table(&self) -> SlotTable {
        SlotTable::read(&self.file(), &Layout::standard()).unwrap()
    }

    fn put(&self, letter: SlotLetter, release: u64) {
        let text = osrel("demo", &release.to_string(), release);
        let image = uki(&[(".osrel", text.as_bytes()), (".cmdline", b"x")]);
        self.file().write_at(self.table().slot(letter).kernel.offset, &image).unwrap();
    }

    fn set(&self, letter: SlotLetter, priority: u8, tries: u8, successful: bool) {
        let (table, nibble) = (self.table(), |value| Nibble::try_from(value).unwrap());
        let slot = table.slot(letter);
        let attributes = slot.attributes.with_boot(nibble(priority), nibble(tries), successful);
        drop(commit(&self.file(), &[(slot.kernel.number, attributes)]).unwrap());
    }

    fn boot(&self, booted: Option<SlotLetter>) -> GptBootControl {
        let path = self.0.path().to_owned();
        GptBootControl::open(BootSource::Disk { path, booted }, Access::ReadWrite).unwrap()
    }

    /// What a device knows that runs these slots' kernel and root.
    fn evidence(&self, kernel: SlotLetter, root: SlotLetter) -> Evidence {
        Evidence::Device {
            kernel: Some(self.table().slot(kernel).kernel.guid),
            root: self.table().slot(root).root.number,
            boot_id: "boot".to_owned(),
            report: None,
        }
    }

    /// With evidence that kernel and root disagree.
    fn mixed(&self) -> GptBootControl {
        let evidence = self.evidence(SlotLetter::A, SlotLetter::B);
        GptBootControl { evidence, ..self.boot(Some(SlotLetter::A)) }
    }

    fn bits(&self) -> [(u8, u8, bool); 2] {
        SlotLetter::BOTH.map(|letter| {
            let of = self.table().slot(letter).attributes;
            (of.priority().get(), of.tries().get(), of.successful())
        })
    }
}

fn named(counter: u64) -> Named {
    Named { release: counter.to_string().parse().unwrap(), counter }
}

fn prepared() -> Prepared {
    TestRelease::tiny(1).prepared()
}

#[test]
fn slots_name_their_releases_without_a_file_system() {
    let disk = Disk::new();
    let seen = disk.boot(None).seen().unwrap();
    assert_eq!(seen.booted, Booted::Slot(SlotLetter::A));
    assert_eq!(seen.slots[0].named, Some(named(1)));
    assert_eq!(seen.slots[1].named, None);
}

#[test]
fn a_device_that_is_used_or_may_run_this_system_is_not_taken() {
    let disk = Disk::new();
    let device = Loop::attach(disk.0.path());
    let open = |booted| {
        let path = device.path().to_owned();
        GptBootControl::open(BootSource::Disk { path, booted }, Access::ReadWrite)
    };
    let claim = DiskFile::open(device.path(), Access::Exclusive).unwrap();
    let in_use = open(Some(SlotLetter::A)).err();
    assert!(matches!(in_use, Some(BootError::Open(OpenError::InUse { .. }))), "{in_use:?}");
    drop(claim);
    drop(open(Some(SlotLetter::A)).unwrap());

    // A root that is on no partition, and so says nothing about any disk.
    let root = tempfile::tempdir().unwrap();
    let unsure = runs_nothing(root.path(), device.path(), None);
    assert!(matches!(unsure, Err(BootError::PerhapsRunning { .. })), "{unsure:?}");
    runs_nothing(root.path(), device.path(), Some(SlotLetter::A)).unwrap();
    runs_nothing(root.path(), disk.0.path(), None).unwrap();
}

/// What starts next after an activation is a trial that nobody booted.
#[test]
fn who_is_to_write_is_told_what_is_booted_where_two_slots_could_be() {
    let disk = Disk::new();
    let open = |booted, access| {
        let path = disk.0.path().to_owned();
        let boot = GptBootControl::open(BootSource::Disk { path, booted }, access)?;
        Ok::<_, BootError>(boot.seen()?.booted)
    };
    let (a, b) = (Booted::Slot(SlotLetter::A), Booted::Slot(SlotLetter::B));
    for (bits, next) in [
        ((2, 3, false), &b),
        ((2, 0, true), &b),
        ((1, 0, true), &a),
        ((1, 0, false), &a),
        ((0, 0, true), &a),
    ] {
        disk.set(SlotLetter::B, bits.0, bits.1, bits.2);
        assert_eq!(open(None, Access::ReadOnly).unwrap(), *next, "{bits:?}");
        let unsaid = open(None, Access::ReadWrite);
        assert!(matches!(unsaid, Err(BootError::EitherBooted { .. })), "{bits:?} {unsaid:?}");
        assert_eq!(open(Some(SlotLetter::A), Access::ReadWrite).unwrap(), a);
    }
    disk.set(SlotLetter::B, 0, 0, false);
    assert_eq!(open(None, Access::ReadWrite).unwrap(), a, "nothing else can have started");
}

#[test]
fn rollback_confirm_and_cancel_on_the_disk() {
    let disk = Disk::new();
    disk.put(SlotLetter::B, 2);
    disk.set(SlotLetter::B, 2, 0, true);
    let mut boot = disk.boot(Some(SlotLetter::B));
    let ready = || boot.installed(SlotLetter::A, Some(&named(1))).map(Ready::Installed);
    let ready = [ready().unwrap(), ready().unwrap()];
    let [first, second] = ready;
    drop(boot.activate(SlotLetter::A, first).unwrap());
    assert_eq!(disk.bits(), [(3, 3, false), (2, 0, true)]);
    assert_eq!(boot.predict().unwrap(), Some(SlotLetter::A));
    drop(boot.cancel(SlotLetter::A, Undo::Confirmed).unwrap());
    assert_eq!(disk.bits(), [(1, 0, true), (2, 0, true)]);
    drop(boot.activate(SlotLetter::A, second).unwrap());

    let mut tried = disk.boot(Some(SlotLetter::A));
    drop(tried.confirm(Vouched::by_person()).unwrap());
    assert_eq!(disk.bits(), [(3, 0, true), (2, 0, true)]);
}

#[test]
fn the_booted_slot_is_never_a_target() {
    let disk = Disk::new();
    let mut boot = disk.boot(Some(SlotLetter::A));
    let target = boot.make_unbootable(SlotLetter::A, prepared(), TargetContent::Other);
    assert!(matches!(target, Err(BootError::TargetIsBooted(SlotLetter::A))));
    assert!(matches!(boot.installed(SlotLetter::A, None), Err(BootError::TargetIsBooted(_))));
    assert!(matches!(
        boot.cancel(SlotLetter::A, Undo::Unbootable),
        Err(BootError::TargetIsBooted(_))
    ));
    assert_eq!(disk.bits(), [(1, 0, true), (0, 0, false)]);
}

#[test]
fn a_target_becomes_unbootable_and_its_partitions_are_the_plan() {
    let disk = Disk::new();
    disk.set(SlotLetter::B, 2, 0, true);
    let mut boot = disk.boot(Some(SlotLetter::A));
    let plan = boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other).unwrap();
    let table = disk.table();
    assert_eq!(disk.bits()[1], (0, 0, false));
    assert_eq!(plan.kernel.target.offset, table.slot(SlotLetter::B).kernel.offset);
    assert_eq!(plan.root.target.size, table.slot(SlotLetter::B).root.size);
    assert_eq!(plan.root.booted.unwrap().offset, table.slot(SlotLetter::A).root.offset);
}

#[test]
fn what_was_made_ready_in_one_slot_activates_no_other() {
    let (disk, release) = (Disk::new(), TestRelease::tiny(1));
    let folder = tempfile::tempdir().unwrap();
    let mut boot = disk.boot(Some(SlotLetter::A));
    let mut stage = || {
        let release_in = release.in_folder(folder.path());
        let prepared = release.prepared();
        let plan = boot.make_unbootable(SlotLetter::B, prepared, TargetContent::Other).unwrap();
        Ready::Staged(crate::install::stage(&plan, &release_in, &()).unwrap())
    };
    let [first, second] = [stage(), stage()];
    let mut from_b = disk.boot(Some(SlotLetter::B));
    let refused = from_b.activate(SlotLetter::A, first);
    assert!(matches!(refused, Err(BootError::NotReady { ready: SlotLetter::B, .. })));
    drop(boot.activate(SlotLetter::B, second).unwrap());
    assert_eq!(disk.bits(), [(1, 0, true), (2, 3, false)]);
}

/// A machine below `root` that runs slot A of a disk vda, which is `disk`.
fn running(disk: &Disk, root: &Path) -> GptBootControl {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("proc/self/mountinfo", "21 20 254:4 / / ro - ext4 /dev/vda4 ro\n");
    std::fs::create_dir_all(root.join("dev")).unwrap();
    let slots = disk.table().slots;
    for number in slots.iter().flat_map(|slot| [slot.kernel.number, slot.root.number]) {
        write(&format!("sys/class/block/vda/vda{number}/partition"), &number.to_string());
        write(&format!("sys/class/block/vda/vda{number}/dev"), &format!("254:{number}"));
        DiskFile::create(root.join(format!("dev/vda{number}")), 4 << 20, 512).unwrap();
    }
    let (path, root) = (PathBuf::from("/dev/vda"), root.to_owned());
    let evidence = disk.evidence(SlotLetter::A, SlotLetter::A);
    GptBootControl { path, root, evidence, ..disk.boot(Some(SlotLetter::A)) }
}

#[test]
fn a_running_device_writes_no_slot_that_somebody_uses() {
    let (disk, root) = (Disk::new(), tempfile::tempdir().unwrap());
    disk.set(SlotLetter::B, 1, 0, true);
    let mut boot = running(&disk, root.path());
    let target = disk.table().slot(SlotLetter::B).clone();
    let mut take = || {
        let before = std::fs::read(disk.0.path()).unwrap();
        let plan = boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other);
        (plan, std::fs::read(disk.0.path()).unwrap() == before)
    };
    for number in [target.kernel.number, target.root.number] {
        let holder = format!("sys/class/block/vda/vda{number}/holders/dm-0");
        std::fs::create_dir_all(root.path().join(&holder)).unwrap();
        let (refused, untouched) = take();
        let told = crate::chain(&refused.unwrap_err());
        let expected = format!("slot B is not free to be written: /dev/vda{number} is part of");
        assert!(told.starts_with(&expected), "{told}");
        assert!(untouched);
        std::fs::remove_dir(root.path().join(holder)).unwrap();
    }
    let (plan, untouched) = take();
    assert_eq!((plan.unwrap().claims.len(), untouched), (2, false));
}

#[test]
fn nothing_is_written_beside_a_disk_with_the_same_guid() {
    let (disk, root) = (Disk::new(), tempfile::tempdir().unwrap());
    let mut boot = running(&disk, root.path());
    std::fs::create_dir_all(root.path().join("sys/block/vdb/device")).unwrap();
    std::fs::copy(disk.0.path(), root.path().join("dev/vdb")).unwrap();
    let before = std::fs::read(disk.0.path()).unwrap();
    let refused = boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other);
    let twin = root.path().join("dev/vdb");
    let Err(BootError::Twin { twin: found, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(*found, twin);
    assert!(std::fs::read(disk.0.path()).unwrap() == before);
}

/// The kernel's own word, beyond what /proc and /sys say.
#[test]
fn a_target_that_is_mounted_is_not_written_and_one_that_is_written_not_mounted() {
    let disk = Disk::new();
    let device = Loop::attach(disk.0.path());
    let run = |program: &str, args: &[&str]| {
        Command::new(program).args(args).arg(device.path()).status().unwrap().success()
    };
    assert!(run("partx", &["--update"]), "this test needs partx (package util-linux)");
    let path = device.path().to_owned();
    let evidence = disk.evidence(SlotLetter::A, SlotLetter::A);
    let mut boot = GptBootControl { path, evidence, ..disk.boot(None) };
    let number = disk.table().slot(SlotLetter::B).root.number;
    let node = format!("{}p{number}", device.path().display());

    let claim = DiskFile::open(&node, Access::Exclusive).unwrap();
    let refused = boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other);
    let told = crate::chain(&refused.unwrap_err());
    assert!(told.contains(&format!("{node} is claimed by a program")), "{told}");
    drop(claim);

    let made = Command::new("mke2fs").args(["-q", "-F", &node]).status();
    assert!(made.expect("this test needs mke2fs (package e2fsprogs)").success());
    let at = tempfile::tempdir().unwrap();
    let mount = || {
        let output = Command::new("mount").arg(&node).arg(at.path()).output();
        output.unwrap().status.success()
    };
    assert!(mount());
    let refused = boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other);
    assert!(Command::new("umount").arg(at.path()).status().unwrap().success());
    let told = crate::chain(&refused.unwrap_err());
    assert!(told.contains(&format!("is mounted on {}", at.path().display())), "{told}");
    assert_eq!(disk.bits()[1], (0, 0, false));

    let plan = boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other).unwrap();
    assert!(!mount(), "it is mounted while it is written");
    drop(plan);
    assert!(run("partx", &["--delete"]));
}

#[test]
fn a_release_that_does_not_fit_leaves_the_target_as_it_is() {
    let disk = Disk::new();
    disk.set(SlotLetter::B, 1, 0, true);
    let large = TestRelease::new(1).prepared();
    let mut boot = disk.boot(Some(SlotLetter::A));
    let refused = boot.make_unbootable(SlotLetter::B, large, TargetContent::Other);
    assert!(matches!(refused, Err(BootError::DoesNotFit(_))));
    assert_eq!(disk.bits()[1], (1, 0, true));
}

#[test]
fn nothing_is_staged_or_activated_from_a_trial() {
    let disk = Disk::new();
    disk.put(SlotLetter::B, 2);
    disk.set(SlotLetter::B, 2, 1, false);
    let mut boot = disk.boot(Some(SlotLetter::B));
    let ready = Ready::Installed(boot.installed(SlotLetter::A, Some(&named(1))).unwrap());
    assert!(matches!(boot.activate(SlotLetter::A, ready), Err(BootError::Transition { .. })));
    let staged = boot.make_unbootable(SlotLetter::A, prepared(), TargetContent::Other);
    assert!(matches!(staged, Err(BootError::Transition { .. })));
    assert_eq!(disk.bits(), [(1, 0, true), (2, 1, false)]);
}

#[test]
fn only_what_is_confirmed_and_named_counts_as_installed() {
    let disk = Disk::new();
    disk.put(SlotLetter::B, 2);
    let boot = disk.boot(Some(SlotLetter::A));
    for (bits, release, holds) in [
        ((1, 0, true), Some(2), true),
        ((1, 0, true), Some(3), false),
        ((1, 0, true), None, false),
        ((1, 3, false), Some(2), false),
        ((1, 0, false), Some(2), false),
        ((0, 0, true), Some(2), false),
        ((0, 0, false), Some(2), false),
    ] {
        disk.set(SlotLetter::B, bits.0, bits.1, bits.2);
        let installed = boot.installed(SlotLetter::B, release.map(named).as_ref());
        assert_eq!(installed.is_ok(), holds, "{bits:?} {release:?}");
    }
}

#[test]
fn a_mixed_disk_is_shown_and_never_written() {
    let disk = Disk::new();
    disk.put(SlotLetter::B, 2);
    disk.set(SlotLetter::B, 1, 0, true);
    let before = std::fs::read(disk.0.path()).unwrap();
    let mut boot = disk.mixed();
    assert!(matches!(boot.seen().unwrap().booted, Booted::Mixed(_)));
    let refused = |result: Result<(), BootError>| matches!(result, Err(BootError::Mixed(_)));
    assert!(refused(boot.confirm(Vouched::by_person()).map(drop)));
    assert!(refused(boot.mark_failed(SlotLetter::A).map(drop)));
    assert!(refused(boot.cancel(SlotLetter::B, Undo::Confirmed).map(drop)));
    assert!(refused(
        boot.make_unbootable(SlotLetter::B, prepared(), TargetContent::Other).map(drop)
    ));
    assert!(refused(boot.installed(SlotLetter::B, Some(&named(2))).map(drop)));
    assert!(refused(boot.sync()));
    assert!(std::fs::read(disk.0.path()).unwrap() == before);
}

#[test]
fn sync_brings_the_backup_up_to_date() {
    let disk = Disk::new();
    // The selector writes the primary only.
    let path = disk.0.path();
    let backup = |path: &Path| std::fs::read(path).unwrap().split_off((64 << 20) - 512);
    let old = backup(path);
    disk.set(SlotLetter::A, 2, 0, true);
    let mut bytes = std::fs::read(path).unwrap();
    let (new, len) = (backup(path), bytes.len());
    bytes[len - 512..].copy_from_slice(&old);
    std::fs::write(path, bytes).unwrap();
    disk.boot(None).sync().unwrap();
    assert!(backup(path) == new);
}
