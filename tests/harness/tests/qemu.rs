//! The QEMU driver itself, with firmware and no operating system.

use std::time::Duration;

use seesaw_harness::firmware::Firmware;
use seesaw_harness::qemu::{Qemu, QemuError, RebootPolicy};

const BOOT: Duration = Duration::from_secs(120);

#[test]
fn the_console_is_searched_and_a_reset_ends_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("console");
    let disk = dir.path().join("empty.img");
    fs_err::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
    let firmware = Firmware::secure_boot(dir.path()).unwrap();
    let mut guest = Qemu::builder()
        .disk(&disk)
        .firmware(&firmware)
        .memory_mib(256)
        .reboot_policy(RebootPolicy::Exit)
        .console_file(&log)
        .start()
        .unwrap();
    let line = guest.wait_for_line("BdsDxe: ", BOOT).unwrap();
    assert!(line.starts_with("BdsDxe: "), "{line}");
    let silent = guest.wait_for("no firmware says this", Duration::from_millis(1)).unwrap_err();
    assert!(matches!(silent, QemuError::Silent { .. }), "{silent}");
    guest.reset().unwrap();
    guest.wait_until_ended(BOOT).unwrap();
    assert!(fs_err::read(&log).unwrap().len() >= guest.console().len());
    assert!(matches!(guest.wait_for("no firmware says this", BOOT), Err(QemuError::Ended { .. })));
}
