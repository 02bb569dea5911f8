use super::*;
use crate::create::{DiskPlan, create_disk};
use crate::testing::{MemoryDisk, sample_disk, small_plan};

/// A disk made with one layout, read with another.
fn read_as(made: &str, read: &str) -> Result<SlotTable, String> {
    let disk = MemoryDisk::new(32 << 20, 512);
    let plan = DiskPlan { layout: Layout::from_toml(made).unwrap(), ..small_plan() };
    create_disk(&disk, &plan).unwrap();
    let table = SlotTable::read(&disk, &Layout::from_toml(read).unwrap());
    table.map_err(|error| error.to_string())
}

#[test]
fn partitions_are_found_by_letter_number_and_identity() {
    let table = SlotTable::read(&sample_disk(4096), &Layout::standard()).unwrap();
    let b = table.slot(SlotLetter::B);
    assert_eq!((b.letter, b.kernel.number, b.root.number), (SlotLetter::B, 3, 5));
    assert_eq!((b.kernel.offset, b.kernel.size), (6 << 20, 3 << 20));
    assert_eq!(table.slot_of_kernel(b.kernel.guid), Some(SlotLetter::B));
    assert_eq!(table.slot_of_root(b.root.guid), Some(SlotLetter::B));
    assert_eq!(table.slot_of_root(b.kernel.guid), None);
    let owners: Vec<_> = (1..=9).map(|number| table.slot_of_number(number)).collect();
    let (a, b) = (Some(SlotLetter::A), Some(SlotLetter::B));
    assert_eq!(owners, [None, a, b, a, b, a, b, None, None]);
    assert_eq!((table.esp.unwrap().number, table.state.unwrap().number), (1, 8));
}

#[test]
fn custom_names_are_read_by_the_layout_that_made_them() {
    let custom = "kernel = \"kern_\"\nroot = \"system_\"\nesp = \"boot\"";
    let table = read_as(custom, custom).unwrap();
    assert_eq!(table.slot(SlotLetter::A).root.name, "system_A");
    assert_eq!(table.slot(SlotLetter::A).verity, None);
}

#[test]
fn a_disk_that_is_not_as_the_layout_says_is_refused() {
    let check = |made, expected: &str| {
        let error = read_as(made, "").unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check("root = \"SYSTEM-\"", "no partition is called ROOT-A");
    check("kernel = \"BOOT-\"", "slot A starts from partition 2, called BOOT-A, not KERNEL-A");
    assert_eq!(read_as("esp = \"boot\"\nstate = \"data\"", "").unwrap().state, None);
}

#[test]
fn an_image_must_fit() {
    let table = SlotTable::read(&sample_disk(512), &Layout::standard()).unwrap();
    let kernel = &table.slot(SlotLetter::A).kernel;
    assert_eq!(kernel.check_fit(3 << 20), Ok(()));
    let error = kernel.check_fit((3 << 20) + 1).unwrap_err().to_string();
    assert_eq!(error, "an image of 3145729 bytes does not fit KERNEL-A, which has 3145728");
}
