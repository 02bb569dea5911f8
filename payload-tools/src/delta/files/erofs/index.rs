//! What the indexes of a compressed inode say: "Compressed inodes", `struct z_erofs_lcluster_index`,
//! and the same packed. There is one for every 4 KiB of the content.

use std::ops::ControlFlow;

use super::Flaw;
use super::volume::Volume;
use crate::delta::files::numbers::{u16_at, u32_at};
use crate::format::BLOCK;

/// `Z_EROFS_LI_D0_CBLKCNT`: the number is that of the blocks of the compressed block before.
const COUNT: u16 = 0x800;
/// `Z_EROFS_LI_PARTIAL_REF`: the file has only the beginning of the compressed block.
const PARTIAL: u16 = 0x8000;
/// An index is taken for so many bytes. A block of LZ4 has at most some 255 times its length of
/// content, so that it has room for the indexes of that.
const COST: u64 = BLOCK as u64 / 256;
/// Bytes that packs of small indexes are aligned to, and how many indexes are in one.
const SMALL_PACK: u64 = 32;
const SMALL_INDEXES: u64 = 16;

/// What begins in 4 KiB of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Index {
    /// A compressed block, behind so many bytes of the one before.
    Head { coded: bool, behind: u16, block: u64 },
    /// Nothing. Of the first such one behind a head, its blocks if it has several.
    Rest { count: Option<u16> },
}

/// Where indexes lie.
pub(super) struct Indexes {
    /// Where the first one begins in the image.
    pub at: u64,
    pub len: u64,
    pub packing: Packing,
    /// Compressed blocks may take several blocks.
    pub are_counted: bool,
}

/// How indexes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Each takes 8 bytes.
    None,
    /// Each takes 4 bytes, in pairs.
    Large,
    /// As many as possible take 2 bytes.
    Small,
}

impl Indexes {
    /// Tells all of them, in their order.
    pub fn each(
        &self,
        volume: &mut Volume<'_>,
        mut found: impl FnMut(&mut Volume<'_>, Index) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        volume.spend(self.len.checked_mul(COST).ok_or(Flaw::Damaged)?)?;
        let mut at = self.at;
        for (len, packing) in self.stretches() {
            let (pack_len, in_pack) = packing.pack();
            let mut left = len;
            let mut buffer = [0; BLOCK];
            while left > 0 {
                // Packs are aligned, so that none lies in two blocks.
                let room = BLOCK as u64 - at % BLOCK as u64;
                let packs = left.div_ceil(in_pack).min(room / pack_len);
                let bytes = &mut buffer[..(packs * pack_len) as usize];
                if bytes.is_empty() {
                    return Err(Flaw::Damaged);
                }
                volume.fill(bytes, at)?;
                at += packs * pack_len;
                for pack in bytes.chunks_exact(pack_len as usize) {
                    let taken = left.min(in_pack);
                    left -= taken;
                    self.pack(pack, packing, taken, &mut |index| found(volume, index))?;
                }
            }
        }
        Ok(())
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        let bytes = |(len, packing): (u64, Packing)| {
            let (pack_len, in_pack) = packing.pack();
            len.div_ceil(in_pack) * pack_len
        };
        self.stretches().into_iter().map(bytes).sum()
    }

    /// How many are packed how. Small ones come in whole packs that are aligned, with large ones
    /// before and behind them.
    fn stretches(&self) -> [(u64, Packing); 3] {
        let before = self.at.next_multiple_of(SMALL_PACK).saturating_sub(self.at) / 4;
        if self.packing != Packing::Small || before >= self.len {
            let packing =
                if self.packing == Packing::None { Packing::None } else { Packing::Large };
            return [(self.len, packing), (0, packing), (0, packing)];
        }
        let small = (self.len - before) / SMALL_INDEXES * SMALL_INDEXES;
        let behind = self.len - before - small;
        [(before, Packing::Large), (small, Packing::Small), (behind, Packing::Large)]
    }

    /// Tells the first indexes of a pack.
    fn pack(
        &self,
        pack: &[u8],
        packing: Packing,
        taken: u64,
        found: &mut dyn FnMut(Index) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        if packing == Packing::None {
            return found(self.full(pack)?);
        }
        let (pack_len, in_pack) = packing.pack();
        let bits = (pack_len - 4) * 8 / in_pack;
        // The address of the first compressed block that begins here, or where there is but one
        // block to each, of the one before.
        let mut block = u64::from(u32_at(pack, pack_len as usize - 4)?);
        let mut is_behind_head = false;
        for index in 0..taken {
            let at = index * bits;
            let value = u32_at(pack, (at / 8) as usize)? >> (at % 8);
            // Twelve bits and two for the type.
            let (number, kind) = ((value & 0xFFF) as u16, (value >> 12) as u16);
            let index = match head(kind) {
                ControlFlow::Break(coded) => {
                    block += u64::from(is_behind_head || !self.are_counted);
                    is_behind_head = true;
                    Index::Head { coded: coded?, behind: number, block }
                }
                ControlFlow::Continue(()) => {
                    is_behind_head = false;
                    let count = self.count(number);
                    block += u64::from(count.unwrap_or(0));
                    Index::Rest { count }
                }
            };
            found(index)?;
        }
        Ok(())
    }

    /// An index of 8 bytes.
    fn full(&self, bytes: &[u8]) -> Result<Index, Flaw> {
        let advise = u16_at(bytes, 0)?;
        match head(advise) {
            ControlFlow::Break(_) if advise & PARTIAL != 0 => Err(Flaw::Damaged),
            ControlFlow::Break(coded) => Ok(Index::Head {
                coded: coded?,
                behind: u16_at(bytes, 2)?,
                block: u32_at(bytes, 4)?.into(),
            }),
            ControlFlow::Continue(()) => Ok(Index::Rest { count: self.count(u16_at(bytes, 4)?) }),
        }
    }

    /// Otherwise the number is how far away a head is.
    fn count(&self, number: u16) -> Option<u16> {
        (self.are_counted && number & COUNT != 0).then_some(number & !COUNT)
    }
}

impl Packing {
    /// Bytes of a pack, and the indexes in it. Behind those is the number of a block.
    fn pack(self) -> (u64, u64) {
        match self {
            Self::None => (8, 1),
            Self::Large => (8, 2),
            Self::Small => (SMALL_PACK, SMALL_INDEXES),
        }
    }
}

/// `Z_EROFS_LCLUSTER_TYPE_*`: whether it is a head, and whether one of what is compressed with the
/// first of two algorithms; with the second it is none that is read here.
fn head(kind: u16) -> ControlFlow<Result<bool, Flaw>> {
    match kind & 3 {
        0 => ControlFlow::Break(Ok(false)),
        1 => ControlFlow::Break(Ok(true)),
        2 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(Err(Flaw::Damaged)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Index = Index::Rest { count: None };

    fn counted(count: u16) -> Index {
        Index::Rest { count: Some(count) }
    }

    fn head(coded: bool, behind: u16, block: u64) -> Index {
        Index::Head { coded, behind, block }
    }

    /// Packs of indexes, each a type and a number, before the number of a block.
    #[track_caller]
    fn check(packing: Packing, are_counted: bool, indexes: &[(u16, u16)], expected: &[Index]) {
        let (len, in_pack) = packing.pack();
        let bits = (len as usize - 4) * 8 / in_pack as usize;
        let mut pack = vec![0; len as usize];
        for (place, (kind, number)) in indexes.iter().enumerate() {
            let value = kind << 12 | number;
            for bit in (0..14).filter(|bit| value >> bit & 1 != 0) {
                let at = place * bits + bit;
                pack[at / 8] |= 1 << (at % 8);
            }
        }
        pack[len as usize - 4] = 100;
        let all = Indexes { at: 0, len: 0, packing, are_counted };
        let mut found = Vec::new();
        let told = all.pack(&pack, packing, indexes.len() as u64, &mut |index| {
            found.push(index);
            Ok(())
        });
        told.unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn blocks_are_one_behind_the_other_in_a_pack() {
        let indexes = [(2, 1), (1, 7), (2, 1), (2, 2), (0, 9), (1, 4095)];
        let expected =
            [REST, head(true, 7, 101), REST, REST, head(false, 9, 102), head(true, 4095, 103)];
        check(Packing::Small, false, &indexes, &expected);
        check(Packing::Large, false, &indexes[1..3], &expected[1..3]);
    }

    #[test]
    fn where_blocks_are_counted_those_without_a_count_are_one() {
        let indexes = [(2, COUNT | 3), (2, 2), (1, 7), (0, 8), (1, 9), (2, COUNT | 2), (1, 10)];
        let expected = [
            counted(3),
            REST,
            head(true, 7, 103),
            head(false, 8, 104),
            head(true, 9, 105),
            counted(2),
            head(true, 10, 107),
        ];
        check(Packing::Small, true, &indexes, &expected);
        check(Packing::Large, true, &[(1, 7), (0, 8)], &[head(true, 7, 100), head(false, 8, 101)]);
    }
}
