//! From the firmware to a running system, on real images and under Secure Boot.

mod device;
mod power_cuts;

use fs_err as fs;
use partition_layout::SlotLetter::{A, B};
use seesaw_harness::guest_shell::GuestShell;
use seesaw_harness::qemu::RebootPolicy;

use crate::device::{BOOT, COMMAND, Device, image, selector};

const CONFIRMED: (u8, u8, bool) = (1, 0, true);
const LAST_TRY: (u8, u8, bool) = (2, 1, false);

fn ask(shell: &mut GuestShell, command: &str) -> String {
    shell.succeed(command, COMMAND).unwrap().trim().to_owned()
}

/// What a variable of /run/seesaw/boot holds.
fn boot_fact(shell: &mut GuestShell, name: &str) -> String {
    ask(shell, &format!(". /run/seesaw/boot; echo \"${name}\""))
}

#[test]
fn a_trial_nobody_confirms_runs_its_own_root_and_gives_way() {
    let device = Device::new(&selector());
    device.fill(A, CONFIRMED, &image("1", ""));
    device.fill(B, LAST_TRY, &image("2", "seesaw.trial_deadline=60"));
    let (mut guest, mut shell) = device.start();

    shell.wait_for_boot(BOOT).unwrap();
    assert_eq!(boot_fact(&mut shell, "SLOT"), "B");
    assert_eq!(ask(&mut shell, "cat /usr/share/chain/release"), "2");
    let root = boot_fact(&mut shell, "ROOT");
    let name = format!("sed -n s/^PARTNAME=//p /sys/class/block/{}/uevent", &root[5..]);
    assert_eq!(ask(&mut shell, &name), "ROOT-B");
    let kernel = boot_fact(&mut shell, "KERNEL_PARTUUID");
    assert_eq!(kernel, device.slot(B).kernel.guid.to_string().to_lowercase());

    // A read-only root; a STATE that was blank and now has the image's skeleton.
    assert_ne!(shell.run("touch /usr/new", COMMAND).unwrap().status, 0);
    assert_eq!(boot_fact(&mut shell, "STATE_MOUNTED"), "persistent");
    assert_eq!(ask(&mut shell, "ls -d /var/lib/dpkg"), "/var/lib/dpkg");
    ask(&mut shell, "echo kept >/var/lib/note; sync");

    // The guard, and nothing else, restarts it; that was the only try.
    guest.wait_for_resets(1, BOOT).unwrap();
    shell.wait_for_boot(BOOT).unwrap();
    assert_eq!(boot_fact(&mut shell, "SLOT"), "A");
    assert_eq!(ask(&mut shell, "cat /var/lib/note"), "kept");
    let guard = shell.run("sh /run/seesaw/trial-deadline", COMMAND).unwrap();
    assert_eq!((guard.status, guard.text.trim()), (0, "trial-deadline: slot A is confirmed"));
}

/// Neither a file system nor blank: it is not made anew, for what was on it may be saved yet.
#[test]
fn a_state_that_cannot_be_mounted_keeps_no_device_down() {
    let device = Device::new(&selector());
    device.fill(A, CONFIRMED, &image("1", ""));
    device.spoil_state();
    let before = device.state();
    let (_guest, mut shell) = device.start();
    shell.wait_for_boot(BOOT).unwrap();
    assert_eq!(boot_fact(&mut shell, "SLOT"), "A");
    assert_eq!(boot_fact(&mut shell, "STATE_MOUNTED"), "volatile");
    assert_eq!(
        ask(&mut shell, "ls -d /var/lib/dpkg; findmnt -no FSTYPE /var"),
        "/var/lib/dpkg\ntmpfs"
    );
    assert!(device.state() == before, "it was written");
}

/// The kernel image as the boot program itself: the stub then names the ESP.
#[test]
fn a_kernel_from_a_foreign_partition_stops() {
    let image = image("1", "");
    let device = Device::new(&fs::read(&image.kernel).unwrap());
    device.fill(A, CONFIRMED, &image);
    let mut guest = device.machine().reboot_policy(RebootPolicy::Exit).start().unwrap();
    guest.wait_for("seesaw: loaded from the partition 'ESP'", BOOT).unwrap();
    guest.wait_until_ended(BOOT).unwrap();
}

#[test]
fn a_copied_disk_beside_the_original_stops() {
    let device = Device::new(&selector());
    device.fill(A, CONFIRMED, &image("1", ""));
    let copy = device.image.with_file_name("copy.img");
    fs::copy(&device.image, &copy).unwrap();
    let machine = device.machine().disk(&copy).reboot_policy(RebootPolicy::Exit);
    let mut guest = machine.start().unwrap();
    guest.wait_for("seesaw: several partitions have the GUID", BOOT).unwrap();
    guest.wait_until_ended(BOOT).unwrap();
}
