//! Fix-ups: what has to be said so that an encoder makes the bytes of another one.

use std::ops::Range;

use super::sequences::Sequences;
use super::{Codec, CodecError, Coder, edits};
use crate::format::delta::varint::{self, Reader};

/// The encoder's own output.
pub(super) const OWN: u64 = 0;
/// The content as it is.
pub(super) const PLAIN: u64 = 1;
/// A patch of the encoder's output.
pub(super) const PATCH: u64 = 2;

/// What zstd makes of edited sequences.
pub(super) const EDITS: u64 = 3;
/// The same, and a patch of that.
pub(super) const EDITS_AND_PATCH: u64 = 4;
/// Added to others: the encoder's other way.
pub(super) const OTHER: u64 = 8;
/// Added to those with edits: offsets are told as faster levels of zstd do.
pub(super) const IN_FULL: u64 = 16;

/// A fix-up of edits that is no longer is not bettered.
const ENOUGH: usize = 128;

/// Replaces the middle of a block.
pub(super) struct Patch<'a> {
    len: usize,
    start: usize,
    end: usize,
    middle: &'a [u8],
}

impl<'a> Patch<'a> {
    /// What makes `wanted` of `own`.
    pub fn between(own: &[u8], wanted: &'a [u8]) -> Self {
        let start = own.iter().zip(wanted).take_while(|(own, wanted)| own == wanted).count();
        let (own, rest) = (&own[start..], &wanted[start..]);
        let ends = own.iter().rev().zip(rest.iter().rev());
        let end = ends.take_while(|(own, wanted)| own == wanted).count();
        Self { len: wanted.len(), start, end, middle: &rest[..rest.len() - end] }
    }

    pub fn parse(fix: &mut Reader<'a>) -> Result<Self, CodecError> {
        let [len, start, end] = [fix.number()?, fix.number()?, fix.number()?]
            .map(|number| usize::try_from(number).map_err(|_| CodecError::FixUp));
        let (len, start, end) = (len?, start?, end?);
        let kept = start.checked_add(end).ok_or(CodecError::FixUp)?;
        let middle = fix.bytes(len.checked_sub(kept).ok_or(CodecError::FixUp)?)?;
        Ok(Self { len, start, end, middle })
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        for number in [self.len, self.start, self.end] {
            varint::put(number as u64, out);
        }
        out.extend(self.middle);
    }

    /// Whether nothing of the encoder's output is kept.
    pub fn is_whole(&self) -> bool {
        self.start + self.end == 0
    }

    pub fn apply(&self, own: &[u8], out: &mut [u8]) -> Result<usize, CodecError> {
        let out = out.get_mut(..self.len).ok_or(CodecError::Room)?;
        let (start, rest) = own.split_at_checked(self.start).ok_or(CodecError::FixUp)?;
        let cut = rest.len().checked_sub(self.end).ok_or(CodecError::FixUp)?;
        out[..self.start].copy_from_slice(start);
        out[self.start..][..self.middle.len()].copy_from_slice(self.middle);
        out[self.start + self.middle.len()..].copy_from_slice(&rest[cut..]);
        Ok(self.len)
    }
}

/// What has to be said so that [`Coder::encode`] makes exactly `stored` of the first `used` bytes of
/// `content`, which is all that is left of a run; the shortest there is. In the worst case that is
/// the block itself, which works for every codec and never fails.
///
/// # Panics
///
/// If `content` is shorter than `used`.
pub fn fix_up(
    coder: &mut Coder,
    codec: Codec,
    content: &[u8],
    used: usize,
    stored: &[u8],
) -> Vec<u8> {
    let taken = &content[..used];
    let mut wanted = None;
    let mut found = Vec::new();
    for other in [0, OTHER] {
        let ahead = if other == 0 { content } else { taken };
        let mut made = coder.make(codec, ahead, other != 0);
        if let Ok((took, made)) = &made
            && *took == used
            && &coder.own[made.clone()] == stored
        {
            return if other == 0 { vec![OWN as u8] } else { head(OWN | OTHER, used) };
        }
        if made.as_ref().is_ok_and(|(took, _)| *took != used) {
            made = coder.make_taken(codec, content, used, other != 0);
        }
        if let Ok((_, made)) = made {
            found.push(patched(coder, made, head(PATCH | other, used), stored));
        }
        // Looked for only now: most blocks need no fix-up.
        let wanted = wanted.get_or_insert_with(|| sequences_of(codec, used, stored));
        let Some((level, wanted)) = wanted else { continue };
        if coder.sequences(*level, other != 0, taken).is_err() {
            continue;
        }
        let edits = edits::between(&coder.sequences, wanted, taken);
        let ways = other | if wanted.in_full { IN_FULL } else { 0 };
        if let Ok(made) = coder.edited(codec, ways, taken, &mut Reader::new(&edits)) {
            let fix = [head(EDITS | ways, used), edits.clone()].concat();
            if &coder.own[made.clone()] == stored {
                let is_least = found.iter().all(|other| other.len() > fix.len());
                if is_least && fix.len() <= ENOUGH {
                    return fix;
                }
                found.push(fix);
            }
            let fix = [head(EDITS_AND_PATCH | ways, used), edits].concat();
            found.push(patched(coder, made, fix, stored));
        }
    }
    found.extend([head(PLAIN, used), patched(coder, 0..0, head(PATCH, used), stored)]);
    found.sort_by_key(Vec::len);
    let mut out = vec![0; stored.len()];
    let mut works = |fix: &Vec<u8>| {
        let mut reader = Reader::new(fix);
        let made = coder.encode(codec, content, &mut reader, &mut out);
        made == Ok((used, stored.len())) && out == stored && reader.rest().is_empty()
    };
    let best = found.iter().position(&mut works);
    found.swap_remove(best.unwrap_or(found.len() - 1))
}

fn head(kind: u64, used: usize) -> Vec<u8> {
    let mut fix = Vec::new();
    varint::put(kind, &mut fix);
    varint::put(used as u64, &mut fix);
    fix
}

/// `fix`, and a patch of what it makes.
fn patched(coder: &Coder, made: Range<usize>, mut fix: Vec<u8>, stored: &[u8]) -> Vec<u8> {
    Patch::between(&coder.own[made], stored).put(&mut fix);
    fix
}

/// The sequences of `stored`, and the level to make such at.
fn sequences_of(codec: Codec, used: usize, stored: &[u8]) -> Option<(u8, Sequences)> {
    let Codec::Zstd { level, headed, .. } = codec else { return None };
    let frame = if headed { stored.get(super::zstd::HEAD..)? } else { stored };
    let mut sequences = Sequences::new();
    sequences.read(frame, used).ok()?;
    Some((level, sequences))
}
