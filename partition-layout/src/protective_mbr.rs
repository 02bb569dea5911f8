//! The protective MBR in block 0 (UEFI 2.10, section 5.2.3). Without it neither Linux nor EDK2
//! looks for a GPT.

use crate::Geometry;

/// Bytes of an MBR, whatever the block size.
pub(crate) const MBR_SIZE: usize = 512;

const RECORDS_AT: usize = 446;
const RECORD_SIZE: usize = 16;
const SIGNATURE_AT: usize = RECORDS_AT + 4 * RECORD_SIZE;
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

// Within a record.
const TYPE_AT: usize = 4;
const FIRST_LBA_AT: usize = 8;
const BLOCKS_AT: usize = 12;
const TYPE_GPT_PROTECTIVE: u8 = 0xEE;

/// Whether Linux and EDK2 take this for the MBR of a GPT disk: the signature, and a record of
/// type EE that begins at block 1.
pub(crate) fn is_valid(mbr: &[u8; MBR_SIZE]) -> bool {
    let protects = |record: &[u8]| {
        record[TYPE_AT] == TYPE_GPT_PROTECTIVE && record[FIRST_LBA_AT..BLOCKS_AT] == [1, 0, 0, 0]
    };
    mbr[SIGNATURE_AT..] == SIGNATURE
        && mbr[RECORDS_AT..SIGNATURE_AT].chunks_exact(RECORD_SIZE).any(protects)
}

/// The one that the specification prescribes.
pub(crate) fn for_disk(disk: Geometry) -> [u8; MBR_SIZE] {
    let blocks = u32::try_from(disk.block_count() - 1).unwrap_or(u32::MAX);
    let mut mbr = [0; MBR_SIZE];
    let record = &mut mbr[RECORDS_AT..RECORDS_AT + RECORD_SIZE];
    // First and last cylinder, head, sector, which nobody reads.
    record[1..4].copy_from_slice(&[0x00, 0x02, 0x00]);
    record[TYPE_AT] = TYPE_GPT_PROTECTIVE;
    record[5..FIRST_LBA_AT].copy_from_slice(&[0xFF; 3]);
    record[FIRST_LBA_AT..BLOCKS_AT].copy_from_slice(&1_u32.to_le_bytes());
    record[BLOCKS_AT..].copy_from_slice(&blocks.to_le_bytes());
    mbr[SIGNATURE_AT..].copy_from_slice(&SIGNATURE);
    mbr
}
