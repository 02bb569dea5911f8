//! What others say of a disk that ours have written: cgpt and sgdisk share no code with us.

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::process::Command;

use partition_layout::{BlockDevice, DiskFile, Slot, SlotTable};

use crate::command::{Failure, expect, succeed};

/// Both programs find the table whole and read the same boot attributes as we do.
///
/// # Errors
/// When they do not.
pub fn judge(path: &Path, table: &SlotTable) -> Result<(), Failure> {
    let verdict = succeed(Command::new("sgdisk").arg("-v").arg(path))?;
    let verdict = String::from_utf8_lossy(&verdict.stdout).into_owned();
    if !verdict.contains("No problems found") {
        expect("sgdisk's verdict", verdict.as_str(), "No problems found")?;
    }
    for slot in &table.slots {
        let theirs = ["-P", "-T", "-S"].map(|flag| shown(path, slot.kernel.number, flag));
        let [priority, tries, successful] = theirs;
        let theirs = (priority?, tries?, successful?);
        let ours = slot.attributes;
        let ours = (ours.priority().get(), ours.tries().get(), u8::from(ours.successful()));
        expect("a slot's attributes as cgpt reads them", theirs, ours)?;
    }
    Ok(())
}

fn shown(path: &Path, number: u32, flag: &str) -> Result<u8, Failure> {
    let mut cgpt = Command::new("cgpt");
    cgpt.args(["show", "-i", &number.to_string(), flag]).arg(path);
    let shown = String::from_utf8_lossy(&succeed(&mut cgpt)?.stdout).trim().to_owned();
    let unreadable = |_| Failure::Json { command: "cgpt show".to_owned(), output: shown.clone() };
    shown.parse().map_err(unreadable)
}

/// Stands for every byte of a slot's partitions.
///
/// # Errors
/// When they cannot be read.
pub fn fingerprint(disk: &DiskFile, slot: &Slot) -> Result<u64, Failure> {
    let mut hasher = DefaultHasher::new();
    for partition in [&slot.kernel, &slot.root] {
        let mut bytes = vec![0; usize::try_from(partition.size).unwrap_or(usize::MAX)];
        disk.read_at(partition.offset, &mut bytes)?;
        hasher.write(&bytes);
    }
    Ok(hasher.finish())
}
