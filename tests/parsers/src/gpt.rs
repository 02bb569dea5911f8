use std::collections::BTreeMap;
use std::io;

use partition_layout::commit::commit;
use partition_layout::entry::ENTRY_SIZE;
use partition_layout::header::CopyFault;
use partition_layout::slot_table::DiscoverError;
use partition_layout::testing::{MemoryDisk, sample_disk};
use partition_layout::{
    BlockDevice, CopyPlace, Layout, Nibble, ReadBlocks, SlotTable, Table, TableError, preflight,
};

use crate::input::{Input, put_piece};
use crate::{Outcomes, Parser};

/// The errors of other crates that may grow.
const FAULTS: &[&str] = &[
    "copy unreadable",
    "copy signature",
    "copy revision",
    "copy header size",
    "copy header sum",
    "copy own place",
    "copy other place",
    "copy array",
    "copy placement",
    "copy entries sum",
];
const TABLES: &[&str] =
    &["geometry", "no valid copy", "out of bounds", "overlap", "duplicate identity", "table"];
const SLOTS: &[&str] = &["kernels", "missing", "twice the name", "kernel's name", "slots"];

pub(crate) const PARSER: Parser =
    Parser { name: "gpt", run, outcomes: &[FAULTS, TABLES, SLOTS], never: &[], seeds };

// What is done about the input first.
const MEND_PRIMARY: u8 = 1;
const MEND_BACKUP: u8 = 2;
const LARGE_BLOCKS: u8 = 4;
const READS_FAIL: u8 = 8;
const ODD_BLOCKS: u8 = 16;
const ENDLESS: u8 = 32;

/// A disk of few blocks that were ever written, as hostile as an input wants it.
struct Disk {
    block_size: u32,
    block_count: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
    fails_at: Option<u64>,
}

impl ReadBlocks for Disk {
    type Error = io::Error;

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        let size = self.block_size as usize;
        assert!(buf.len() <= 1 << 20, "a reader asks for {} bytes", buf.len());
        for (number, out) in (0..).zip(buf.chunks_mut(size)) {
            let there = lba.checked_add(number).filter(|lba| *lba < self.block_count);
            let lba = there.filter(|lba| self.fails_at != Some(*lba));
            let lba = lba.ok_or(io::ErrorKind::UnexpectedEof)?;
            match self.blocks.get(&lba) {
                Some(block) => out.copy_from_slice(&block[..out.len()]),
                None => out.fill(0),
            }
        }
        Ok(())
    }
}

impl Disk {
    fn put(&mut self, lba: u64, bytes: &[u8]) {
        let size = self.block_size as usize;
        for (number, part) in (0..).zip(bytes.chunks(size)) {
            let there = lba.checked_add(number).filter(|lba| *lba < self.block_count);
            let Some(lba) = there else { return };
            let block = self.blocks.entry(lba).or_insert_with(|| vec![0; size]);
            block[..part.len()].copy_from_slice(part);
        }
    }

    /// Puts a copy where its header says its entries are, with sums that are right if `mend`.
    fn put_copy(&mut self, lba: u64, header: &[u8], entries: &[u8], mend: bool) {
        let mut header = header.to_vec();
        header.resize(self.block_size as usize, 0);
        let u32_at = |header: &[u8], at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let entries_at = u64::from(u32_at(&header, 72));
        self.put(entries_at, entries);
        if mend {
            let len = (u32_at(&header, 80).min(1024) as usize) * ENTRY_SIZE;
            let mut array = entries.to_vec();
            array.resize(len, 0);
            header[88..92].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
            let size = (u32_at(&header, 12) as usize).clamp(20, header.len());
            header[16..20].fill(0);
            let sum = crc32fast::hash(&header[..size]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
        }
        self.put(lba, &header);
    }

    /// The same for what writes too.
    fn in_memory(&self) -> MemoryDisk {
        let disk = MemoryDisk::new(self.block_count * u64::from(self.block_size), self.block_size);
        self.blocks.iter().for_each(|(lba, block)| disk.set_block(*lba, block.clone()));
        disk
    }
}

/// What to do first, blocks, the block that fails, the end of the MBR, then of each copy its header
/// and its entries.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let (mode, blocks, fails_at) = (input.byte(), input.u16(), input.u16());
    let is = |flag| mode & flag != 0;
    let block_size = if is(LARGE_BLOCKS) { 4096 } else { 512 };
    let mut disk = Disk {
        block_size: if is(ODD_BLOCKS) { 1000 } else { block_size },
        block_count: if is(ENDLESS) { u64::MAX - u64::from(blocks) } else { blocks.into() },
        blocks: BTreeMap::new(),
        fails_at: is(READS_FAIL).then_some(fails_at.into()),
    };
    let mut mbr = [0; 512];
    let records = input.piece();
    let len = records.len().min(66);
    mbr[446..446 + len].copy_from_slice(&records[..len]);
    disk.put(0, &mbr);
    disk.put_copy(1, input.piece(), input.piece(), is(MEND_PRIMARY));
    let last = disk.block_count.saturating_sub(1);
    disk.put_copy(last, input.piece(), input.piece(), is(MEND_BACKUP));
    let mut outcomes = Outcomes::new();
    match Table::read(&disk) {
        Ok(table) => check(&disk, &table, &mut outcomes),
        Err(error) => outcomes.extend(named(&error)),
    }
    if disk.fails_at.is_none() && !is(ODD_BLOCKS | ENDLESS) && disk.block_count > 0 {
        repair(&disk);
    }
    outcomes
}

/// What every reader of a table relies on.
fn check(disk: &Disk, table: &Table, outcomes: &mut Outcomes) {
    outcomes.push("table".to_owned());
    let places = [CopyPlace::Primary, CopyPlace::Backup];
    outcomes.extend(places.iter().filter_map(|place| table.copy(*place).err().map(fault)));
    let header = table.current().header();
    let mut taken: Vec<_> =
        table.partitions().map(|entry| (entry.first_lba, entry.last_lba)).collect();
    taken.sort_unstable();
    assert!(taken.iter().all(|(first, last)| first <= last));
    assert!(taken.windows(2).all(|pair| pair[0].1 < pair[1].0));
    let usable = header.first_usable..=header.last_usable;
    assert!(taken.iter().all(|(first, last)| usable.contains(first) && usable.contains(last)));
    assert!(header.last_usable < disk.block_count - 1);
    outcomes.push(match SlotTable::of(table, &Layout::standard()) {
        Ok(slots) => {
            let _order = slots.order();
            "slots".to_owned()
        }
        Err(DiscoverError::Table(_)) => "read twice".to_owned(),
        Err(DiscoverError::Kernels(_)) => "kernels".to_owned(),
        Err(DiscoverError::Missing { .. }) => "missing".to_owned(),
        Err(DiscoverError::Duplicate { .. }) => "twice the name".to_owned(),
        Err(DiscoverError::KernelName { .. }) => "kernel's name".to_owned(),
        Err(_) => "unnamed".to_owned(),
    });
}

/// A disk that passes the checks before an update has two copies that say the same, and a change of
/// boot attributes changes nothing else.
fn repair(disk: &Disk) {
    let disk = disk.in_memory();
    let Ok(report) = preflight(&disk, &Layout::standard()) else { return };
    assert!(report.table.copies.agree());
    let before = Table::read_device(&disk).expect("it was just read");
    let kernel = &report.table.slots[0];
    let attributes = kernel.attributes.with_boot(Nibble::MAX, Nibble::ZERO, true);
    let number = kernel.kernel.number;
    let _durable =
        commit(&disk, &[(number, attributes)]).expect("what passed preflight can be changed");
    let after = Table::read_device(&disk).expect("what was committed is read");
    assert!(SlotTable::read(&disk, &Layout::standard()).expect("slots").copies.agree());
    for (old, new) in before.partitions().zip(after.partitions()) {
        let expected = if old.number == number { attributes } else { old.attributes };
        assert_eq!(new.attributes, expected);
        assert_eq!(partition_layout::Entry { attributes: old.attributes, ..new }, old);
    }
    assert_eq!(before.partitions().count(), after.partitions().count());
}

fn named(error: &TableError) -> Outcomes {
    let name = match error {
        TableError::NoValidCopy { primary, backup } => {
            return vec!["no valid copy".to_owned(), fault(primary), fault(backup)];
        }
        TableError::Geometry(_) => "geometry",
        TableError::OutOfBounds { .. } => "out of bounds",
        TableError::Overlap { .. } => "overlap",
        TableError::DuplicateGuid { .. } => "duplicate identity",
        _ => "unnamed",
    };
    vec![name.to_owned()]
}

fn fault(fault: &CopyFault) -> String {
    let name = match fault {
        CopyFault::Unreadable { .. } => "copy unreadable",
        CopyFault::Signature => "copy signature",
        CopyFault::Revision(_) => "copy revision",
        CopyFault::HeaderSize(_) => "copy header size",
        CopyFault::HeaderCrc { .. } => "copy header sum",
        CopyFault::MyLba { .. } => "copy own place",
        CopyFault::AlternateLba(_) => "copy other place",
        CopyFault::EntryArray { .. } => "copy array",
        CopyFault::Placement { .. } => "copy placement",
        CopyFault::EntriesCrc { .. } => "copy entries sum",
        _ => "unnamed",
    };
    name.to_owned()
}

/// The sample disk of the layout's own tests, and that with one thing changed.
#[derive(Clone)]
struct Seed {
    mode: u8,
    blocks: u16,
    fails_at: u16,
    records: Vec<u8>,
    copies: [(Vec<u8>, Vec<u8>); 2],
}

impl Seed {
    fn sample(block_size: u32) -> Self {
        let disk = sample_disk(block_size);
        // 32 MiB of blocks of 512 bytes are one more than 16 bits can say.
        let blocks = (disk.size() / u64::from(block_size)).min(u16::MAX.into());
        let last = disk.size() / u64::from(block_size) - 1;
        let copy = |lba: u64| {
            let mut header = disk.block(lba)[..92].to_vec();
            let at = u64::from_le_bytes(header[72..80].try_into().expect("eight bytes"));
            // A disk of one block less has its backup one block earlier.
            if lba != 1 && blocks < last + 1 {
                for field in [24, 72] {
                    header[field] = header[field].wrapping_sub(1);
                }
            }
            (header, [disk.block(at), disk.block(at + 1)].concat()[..7 * ENTRY_SIZE].to_vec())
        };
        let large = if block_size == 4096 { LARGE_BLOCKS } else { 0 };
        Self {
            mode: MEND_PRIMARY | MEND_BACKUP | large,
            blocks: blocks as u16,
            fails_at: 0,
            records: disk.block(0)[446..512].to_vec(),
            copies: [copy(1), copy(last)],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.mode];
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(self.fails_at.to_le_bytes());
        put_piece(&self.records, &mut bytes);
        for (header, entries) in &self.copies {
            put_piece(header, &mut bytes);
            put_piece(entries, &mut bytes);
        }
        bytes
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut seed = self.clone();
        change(&mut seed);
        seed.bytes()
    }

    /// The same in both copies' headers.
    fn headers(&self, at: usize, value: u32) -> Vec<u8> {
        self.with(|seed| {
            for (header, _) in &mut seed.copies {
                header[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
        })
    }

    /// The same in both copies' entry arrays.
    fn entries(&self, change: impl Fn(&mut [u8])) -> Vec<u8> {
        self.with(|seed| seed.copies.iter_mut().for_each(|(_, entries)| change(entries)))
    }
}

fn seeds() -> Vec<Vec<u8>> {
    const GUID: usize = 16;
    const FIRST: usize = 32;
    const NAME: usize = 56;
    let entry = |number: usize| (number - 1) * ENTRY_SIZE;
    let sample = Seed::sample(512);
    let large = Seed::sample(4096);
    let copied = |at: usize, from: usize, len: usize| {
        sample.entries(|entries| entries.copy_within(from..from + len, at))
    };
    vec![
        sample.bytes(),
        large.bytes(),
        sample.with(|seed| seed.copies[0].0[0] = 0),
        sample.with(|seed| seed.copies[1].0[0] = 0),
        sample.with(|seed| seed.mode = MEND_BACKUP),
        sample.with(|seed| (seed.mode, seed.copies[0].1[0]) = (0, 7)),
        sample.with(|seed| (seed.mode, seed.fails_at) = (seed.mode | READS_FAIL, 1)),
        sample.with(|seed| (seed.mode, seed.fails_at) = (seed.mode | READS_FAIL, 2)),
        sample.with(|seed| seed.mode |= ODD_BLOCKS),
        sample.with(|seed| seed.mode |= ENDLESS),
        sample.with(|seed| seed.blocks = 5),
        sample.with(|seed| seed.blocks -= 1),
        sample.headers(8, 0x20000),
        sample.headers(12, 91),
        sample.headers(24, 7),
        sample.headers(32, 2),
        sample.headers(40, u32::MAX),
        sample.headers(80, 1025),
        sample.headers(84, 256),
        sample.entries(|entries| entries[FIRST + 1] = 0),
        copied(entry(2) + FIRST, entry(3) + FIRST, 16),
        copied(entry(2) + GUID, entry(3) + GUID, 16),
        copied(entry(4) + NAME, entry(5) + NAME, 72),
        copied(entry(7) + NAME, entry(4) + NAME, 72),
        copied(entry(3) + NAME, entry(2) + NAME, 72),
        sample.entries(|entries| entries[entry(2) + NAME] = b'X'),
        sample.entries(|entries| entries[entry(4)..].fill(0)),
    ]
}
