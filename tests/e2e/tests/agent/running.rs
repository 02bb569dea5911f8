//! `updatectl` without --disk, as on a device that runs: in a mount namespace whose /proc, /sys and
//! /dev say what the kernel and systemd-stub would. These tests run as root.

use std::path::PathBuf;
use std::process::Command;

use partition_layout::SlotLetter::{self, A, B};
use partition_layout::{DiskFile, SlotState};
use seesaw_e2e::command::{Failure, json};
use seesaw_e2e::image_file::World;
use serde_json::Value;

const STUB: &str =
    "sys/firmware/efi/efivars/StubDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

struct Machine {
    world: World,
    root: PathBuf,
}

impl Machine {
    /// Runs the root file system of slot A; no EFI variable says where its kernel is from.
    fn new() -> Result<Self, Failure> {
        let world = World::new()?;
        let machine = Self { root: world.path("machine"), world };
        machine.write("proc/sys/kernel/random/boot_id", b"0d1f\n")?;
        machine.write("dev/.keep", b"")?;
        for letter in SlotLetter::BOTH {
            let slot = machine.world.slot(letter)?;
            for number in [slot.kernel.number, slot.root.number] {
                let device = format!("sys/class/block/vda/vda{number}");
                machine.write(&format!("{device}/partition"), number.to_string().as_bytes())?;
                machine.write(&format!("{device}/dev"), format!("254:{number}").as_bytes())?;
                let link = machine.root.join(format!("sys/dev/block/254:{number}"));
                std::fs::create_dir_all(machine.root.join("sys/dev/block"))?;
                let to = format!("../../class/block/vda/vda{number}");
                std::os::unix::fs::symlink(to, link)?;
                DiskFile::create(machine.root.join(format!("dev/vda{number}")), 4 << 20, 512)?;
            }
        }
        std::os::unix::fs::symlink(machine.world.path("disk"), machine.root.join("dev/vda"))?;
        machine.mounts("")?;
        Ok(machine)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
        Ok(std::fs::write(path, bytes)?)
    }

    fn mounts(&self, more: &str) -> Result<(), Failure> {
        let root = self.world.slot(A)?.root.number;
        let text = format!("21 20 254:{root} / / ro - ext4 /dev/root ro\n{more}");
        self.write("proc/self/mountinfo", text.as_bytes())
    }

    fn kernel_from(&self, letter: SlotLetter) -> Result<(), Failure> {
        let guid = self.world.slot(letter)?.kernel.guid.to_string();
        let text = guid.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        self.write(STUB, &[6, 0, 0, 0].into_iter().chain(text).collect::<Vec<u8>>())
    }

    fn updatectl(&self, args: &[&str]) -> Result<(i32, Value), Failure> {
        // /proc comes last: mount(8) reads it.
        let enter = "mount --bind \"$0/dev\" /dev && mount --bind \"$0/sys\" /sys && \
                     mount --bind \"$0/proc\" /proc && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", enter]).arg(&self.root);
        command.arg(self.world.updatectl_program()).arg("--json");
        for (option, name) in [("--state", "state"), ("--config", "config"), ("--run", "running")] {
            command.arg(option).arg(self.world.path(name));
        }
        json(command.arg("--first-root").arg(self.world.publisher.first_root()).args(args))
    }
}

#[test]
fn a_device_of_which_nobody_knows_what_runs_is_shown_and_not_written() -> Result<(), Failure> {
    let machine = Machine::new()?;
    machine.world.publish(2)?;
    let before = std::fs::read(machine.world.path("disk"))?;
    for (kernel, why) in [
        (None, "no EFI variable of this boot says which partition the kernel was loaded from"),
        (Some(B), "the kernel comes from slot B and the root file system from slot A"),
    ] {
        if let Some(letter) = kernel {
            machine.kernel_from(letter)?;
        }
        let (code, status) = machine.updatectl(&["status"])?;
        assert_eq!((code, status["mixed"].as_str()), (10, Some(why)), "{status}");
        for verb in ["update", "rollback", "cancel", "confirm"] {
            let (code, refused) = machine.updatectl(&[verb])?;
            assert_eq!((code, refused["exit"].as_str()), (10, Some("mixed")), "{verb}: {refused}");
        }
        assert!(std::fs::read(machine.world.path("disk"))? == before);
    }
    Ok(())
}

#[test]
fn a_target_that_is_mounted_is_named_and_not_written() -> Result<(), Failure> {
    let machine = Machine::new()?;
    machine.kernel_from(A)?;
    machine.world.publish(2)?;
    let (code, status) = machine.updatectl(&["status"])?;
    assert_eq!((code, status["booted"].as_str()), (0, Some("A")), "{status}");
    let before = std::fs::read(machine.world.path("disk"))?;

    let target = machine.world.slot(B)?.root.number;
    machine.mounts(&format!("40 21 254:{target} / /mnt rw - ext4 /dev/vda{target} rw\n"))?;
    let (code, refused) = machine.updatectl(&["update"])?;
    let error = refused["outcome"]["error"].as_str().unwrap_or_default();
    let expected = format!(
        "slot B is not free to be written: /dev/vda{target} is mounted on /mnt: `umount /mnt`, \
         then update again"
    );
    assert_eq!((code, error), (1, expected.as_str()), "{refused}");
    assert!(std::fs::read(machine.world.path("disk"))? == before);
    assert_eq!(machine.world.slot(B)?.attributes.state(), SlotState::Empty);
    Ok(())
}
