//! A second disk with the same GUID, a clone of this one say: then an EFI
//! variable or a mount may speak of either, and neither is written.

use std::path::{Path, PathBuf};

use fs_err as fs;
use partition_layout::{Access, DiskFile, Guid, Table};

/// A disk of this machine other than `disk` whose table has the same GUID.
/// `root` is `/`. Only hardware is looked at: an image file behind a loop
/// device starts nothing.
pub(super) fn twin_of(root: &Path, disk: &Path, guid: Guid) -> Option<PathBuf> {
    let entries = fs::read_dir(root.join("sys/block")).ok()?;
    let hardware = entries.flatten().filter(|entry| entry.path().join("device").exists());
    let mut others = hardware
        .map(|entry| root.join("dev").join(entry.file_name()))
        .filter(|other| other.file_name() != disk.file_name());
    others.find(|other| guid_of(other) == Some(guid))
}

/// `None` for what is no disk with a table, an empty card reader say.
fn guid_of(path: &Path) -> Option<Guid> {
    let disk = DiskFile::open(path, Access::ReadOnly).ok()?;
    Some(Table::read_device(&disk).ok()?.current().header().disk_guid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use partition_layout::testing::small_plan;
    use partition_layout::{DiskPlan, create_disk};

    #[test]
    fn a_clone_is_found_and_other_disks_are_not() {
        let root = tempfile::tempdir().unwrap();
        let disk = |name: &str, guid: u8| {
            std::fs::create_dir_all(root.path().join("sys/block").join(name).join("device"))
                .unwrap();
            std::fs::create_dir_all(root.path().join("dev")).unwrap();
            let disk = DiskFile::create(root.path().join("dev").join(name), 64 << 20, 512).unwrap();
            let plan = DiskPlan { disk_guid: Guid::from_bytes([guid; 16]), ..small_plan() };
            create_disk(&disk, &plan).unwrap();
        };
        disk("vda", 7);
        disk("vdb", 8);
        std::fs::create_dir_all(root.path().join("sys/block/sr0/device")).unwrap();
        let vda = Path::new("/dev/vda");
        assert_eq!(twin_of(root.path(), vda, Guid::from_bytes([7; 16])), None);
        disk("vdc", 7);
        let twin = twin_of(root.path(), vda, Guid::from_bytes([7; 16]));
        assert_eq!(twin, Some(root.path().join("dev/vdc")));
    }
}
