use super::*;
use crate::testing::MemoryDisk;

const MIB: u64 = 1 << 20;

fn plan(verity_size: Option<u64>) -> DiskPlan {
    DiskPlan {
        disk_guid: Guid::from_bytes(*b"0123456789abcdef"),
        layout: Layout::standard(),
        esp_size: 4 * MIB,
        kernel_size: 3 * MIB + 1,
        root_size: 6 * MIB,
        verity_size,
    }
}

#[test]
fn partitions_are_those_of_the_standard_layout() {
    for block_size in [512, 4096] {
        let disk = MemoryDisk::new(64 * MIB, block_size);
        let table = create_disk(&disk, &plan(Some(1))).unwrap();
        let copy = crate::Table::read_device(&disk).unwrap();
        let block = u64::from(block_size);
        let rows: Vec<_> = copy
            .partitions()
            .map(|e| (e.number, e.name, e.first_lba * block / MIB, (e.last_lba + 1) * block / MIB))
            .collect();
        let expected = [
            (1, "ESP", 1, 5),
            (2, "KERNEL-A", 5, 9),
            (3, "KERNEL-B", 9, 13),
            (4, "ROOT-A", 13, 19),
            (5, "ROOT-B", 19, 25),
            (6, "VERITY-A", 25, 26),
            (7, "VERITY-B", 26, 27),
            (8, "STATE", 27, 63),
        ];
        assert_eq!(rows, expected.map(|(n, name, from, to)| (n, name.to_owned(), from, to)));
        for entry in copy.partitions() {
            let no_auto = u64::from(entry.number > 3) << 63;
            assert_eq!(entry.attributes.bits(), no_auto, "{}", entry.name);
        }
        assert_eq!(table.next(), None, "a new disk has only empty slots");
        assert!(table.copies.agree());
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes_and_another_seed_another_disk() {
    let disk = |seed: u8| {
        let disk = MemoryDisk::new(64 * MIB, 512);
        let plan = DiskPlan { disk_guid: Guid::from_bytes([seed; 16]), ..plan(None) };
        let slots = create_disk(&disk, &plan).unwrap().slots;
        (disk, slots.map(|slot| [slot.kernel.guid, slot.root.guid]).concat())
    };
    let ((one, _), (same, guids), (_, others)) = (disk(1), disk(1), disk(2));
    assert!(one == same);
    assert!(guids.iter().all(|guid| !others.contains(guid)));
    for guid in guids {
        // Version 8, the variant of RFC 9562.
        let text = guid.to_string();
        assert_eq!(&text[14..15], "8");
        assert!("89AB".contains(&text[19..20]), "{text}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_told_what_it_would_need() {
    let needed = plan(None).disk_size(1).unwrap();
    assert_eq!(needed, (1 + 4 + 2 * 4 + 2 * 6 + 1 + 1) * MIB);
    create_disk(&MemoryDisk::new(needed, 512), &plan(None)).unwrap();
    let error = create_disk(&MemoryDisk::new(needed - 4096, 4096), &plan(None)).unwrap_err();
    assert!(matches!(error, CreateError::TooSmall { needed: n, .. } if n == needed), "{error}");

    let absurd = DiskPlan { root_size: u64::MAX, ..plan(None) };
    assert!(matches!(absurd.disk_size(1), Err(CreateError::Absurd)));
}
