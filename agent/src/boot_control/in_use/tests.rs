use super::*;
use crate::install::tests::loop_device::Loop;
use partition_layout::Guid;

/// What the kernel shows of a disk vda whose fifth partition is the target.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.write("sys/class/block/vda/vda4/partition", "4\n");
        machine.write("sys/class/block/vda/vda5/partition", "5\n");
        machine.write("sys/class/block/vda/vda5/dev", "254:5\n");
        machine.write("sys/class/block/dm-0/dm/name", "old-root\n");
        machine.write("proc/self/mountinfo", "21 20 254:4 / / ro - ext4 /dev/vda4 ro\n");
        std::fs::create_dir_all(machine.0.path().join("dev")).unwrap();
        std::fs::File::create(machine.0.path().join("dev/vda5")).unwrap().set_len(4 << 20).unwrap();
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn claim(&self, number: u32) -> Result<Vec<DiskFile>, String> {
        let partition = Partition {
            number,
            guid: Guid::from_bytes([1; 16]),
            type_guid: Guid::from_bytes([2; 16]),
            name: String::new(),
            offset: 0,
            size: 0,
        };
        claim(self.0.path(), Path::new("/dev/vda"), [&partition]).map_err(|error| error.to_string())
    }
}

#[test]
fn who_uses_the_target_is_named_with_the_next_move() {
    assert_eq!(Machine::new().claim(5).unwrap().len(), 1);
    assert!(Machine::new().claim(6).unwrap().is_empty(), "the kernel knows no such partition");

    let mount = "/dev/vda5 is mounted on /mnt/old root: `umount /mnt/old root`, then update again";
    let swap = "/dev/vda5 is used as swap: `swapoff` it, then update again";
    let device = "/dev/vda5 is part of device dm-0 (old-root): take that down, then update again";
    for (file, text, expected) in [
        ("proc/self/mountinfo", "40 21 254:5 / /mnt/old\\040root rw - ext4 /dev/root rw\n", mount),
        // A file system with a device number of its own.
        ("proc/self/mountinfo", "40 21 0:44 / /mnt/old\\040root rw - btrfs /dev/vda5 rw\n", mount),
        ("proc/swaps", "Filename\tType\tSize\n/dev/vda5   partition\t8388604\t0\t-2\n", swap),
        ("sys/class/block/vda/vda5/holders/dm-0", "", device),
    ] {
        let machine = Machine::new();
        machine.write(file, text);
        assert_eq!(machine.claim(5).unwrap_err(), expected);
    }
}

/// On a real block device; who has it open so shows in none of the kernel's lists.
#[test]
fn a_partition_is_claimed_and_what_somebody_claimed_is_not() {
    use std::os::unix::fs::OpenOptionsExt;
    let machine = Machine::new();
    let node = machine.0.path().join("dev/vda5");
    let medium = machine.0.path().join("medium");
    std::fs::rename(&node, &medium).unwrap();
    let device = Loop::attach(&medium);
    std::os::unix::fs::symlink(device.path(), &node).unwrap();
    let open = || {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).custom_flags(libc::O_EXCL).open(device.path())
    };
    let somebody = open().unwrap();
    let refused = machine.claim(5).unwrap_err();
    assert!(refused.starts_with("/dev/vda5 is claimed by a program"), "{refused}");
    drop(somebody);
    let claims = machine.claim(5).unwrap();
    assert_eq!(open().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    drop(claims);
    drop(open().unwrap());
}

#[test]
fn a_machine_that_cannot_be_asked_gives_no_partition_away() {
    let machine = Machine::new();
    std::fs::remove_file(machine.0.path().join("proc/self/mountinfo")).unwrap();
    assert!(machine.claim(5).unwrap_err().contains("cannot tell whether /dev/vda5 is in use"));
    let machine = Machine::new();
    std::fs::remove_file(machine.0.path().join("dev/vda5")).unwrap();
    assert!(machine.claim(5).unwrap_err().contains("cannot claim /dev/vda5"));
}
