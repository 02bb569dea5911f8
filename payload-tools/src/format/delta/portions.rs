//! Which bytes of a patch make which part of its segment: to tell what a part costs.

use std::ops::Range;

use super::patch::{PatchError, Run, Runs, Streams};

/// What a part of a segment takes of the streams. A number belongs to the part in which what it says
/// begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion<'a> {
    /// Numbers: where to continue the source, and for how long.
    pub control: &'a [u8],
    /// Differences from the source.
    pub difference: &'a [u8],
    /// New bytes.
    pub fresh: &'a [u8],
}

/// The portions of the parts of a segment that end at `ends`, of which the last is the segment's. What
/// is done to the whole source first is no part's.
pub fn portions<'a>(streams: &'a [u8], ends: &[u64]) -> Result<Vec<Portion<'a>>, PatchError> {
    let Streams { control, difference, fresh, .. } = Streams::parse(streams)?;
    let mut cutter = Cutter { ends, made: 0, at: Mark::default(), marks: Vec::new() };
    let mut runs = Runs::of(control);
    while let Some(run) = runs.next() {
        cutter.at.control = control.len() - runs.left();
        match run? {
            Run::Continue { .. } => {}
            Run::Equal(len) => cutter.pass(len, |_| None)?,
            Run::Differ(len) => cutter.pass(len, |at| Some(&mut at.difference))?,
            Run::Fresh(len) => cutter.pass(len, |at| Some(&mut at.fresh))?,
        }
    }
    let whole = Mark { control: control.len(), difference: difference.len(), fresh: fresh.len() };
    let marks = cutter.finish(&whole)?;
    let mut last = Mark::default();
    let portion = |mark: Mark| {
        let from = std::mem::replace(&mut last, mark);
        let cut = |stream: &'a [u8], range: Range<usize>| stream.get(range).unwrap_or_default();
        Portion {
            control: cut(control, from.control..mark.control),
            difference: cut(difference, from.difference..mark.difference),
            fresh: cut(fresh, from.fresh..mark.fresh),
        }
    };
    Ok(marks.into_iter().map(portion).collect())
}

/// Bytes of the streams that were used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    control: usize,
    difference: usize,
    fresh: usize,
}

/// Notes how much of the streams was used up where each part ends.
struct Cutter<'a> {
    ends: &'a [u64],
    /// Bytes of the segment so far.
    made: u64,
    at: Mark,
    marks: Vec<Mark>,
}

impl Cutter<'_> {
    /// Makes so many bytes of the segment, each of a byte of one of the streams or of none.
    fn pass(
        &mut self,
        len: u64,
        stream: impl Fn(&mut Mark) -> Option<&mut usize>,
    ) -> Result<(), PatchError> {
        let end = self.made.checked_add(len).ok_or(PatchError::Streams)?;
        if self.ends.last().is_none_or(|last| end > *last) {
            return Err(PatchError::Streams);
        }
        let moved = |by: u64| {
            let mut mark = self.at;
            if let Some(used) = stream(&mut mark) {
                // At most a segment at a time, and a segment in all.
                *used += by as usize;
            }
            mark
        };
        let parts = self.ends[self.marks.len()..].iter().take_while(|part| **part <= end);
        let marks: Vec<_> = parts.map(|part| moved(part.saturating_sub(self.made))).collect();
        self.at = moved(len);
        self.marks.extend(marks);
        self.made = end;
        Ok(())
    }

    /// The marks, if the streams make the whole segment and are used up by that.
    fn finish(mut self, whole: &Mark) -> Result<Vec<Mark>, PatchError> {
        let is_made = self.marks.len() == self.ends.len();
        let last = self.marks.last_mut().filter(|_| is_made).ok_or(PatchError::Incomplete)?;
        // Numbers behind the last byte make nothing.
        last.control = whole.control;
        if last == whole { Ok(self.marks) } else { Err(PatchError::Streams) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::delta::{Step, encode_patch};

    /// 0 to 9 as they are but for the 5, then "ab", then 2 to 7.
    fn streams() -> Vec<u8> {
        let source = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let segment = [&[0, 1, 2, 3, 4, 7, 6, 7, 8, 9], &b"ab"[..], &[2, 3, 4, 5, 6, 7]].concat();
        let steps = [Step { old: 0, same: 10, fresh: 2 }, Step { old: 2, same: 6, fresh: 0 }];
        encode_patch(&[9, 9], &steps, &source, &segment)
    }

    #[test]
    fn each_byte_of_the_streams_is_of_the_part_that_it_makes() {
        let streams = streams();
        let numbers = |ends: &[u64]| -> Vec<(usize, Vec<u8>, Vec<u8>)> {
            let found = portions(&streams, ends).unwrap();
            let owned = |portion: Portion<'_>| {
                (portion.control.len(), portion.difference.to_vec(), portion.fresh.to_vec())
            };
            found.into_iter().map(owned).collect()
        };
        // Skip, new, same, 5 equal, 1 different, 4 equal; skip, new, same, 6 equal.
        assert_eq!(numbers(&[18]), [(10, vec![2], b"ab".to_vec())]);
        assert_eq!(
            numbers(&[5, 6, 11, 12, 18]),
            [
                (4, vec![], vec![]),
                (1, vec![2], vec![]),
                (1, vec![], b"a".to_vec()),
                (0, vec![], b"b".to_vec()),
                (4, vec![], vec![]),
            ]
        );
        assert_eq!(numbers(&[4, 12, 18])[0], (4, vec![], vec![]));
    }

    #[test]
    fn streams_of_another_segment_are_refused() {
        use PatchError::{Incomplete, Streams};
        for (ends, error) in
            [(&[19][..], Incomplete), (&[12], Streams), (&[17], Streams), (&[], Streams)]
        {
            assert_eq!(portions(&streams(), ends), Err(error), "{ends:?}");
        }
        let mut longer = streams();
        longer.push(0);
        assert_eq!(portions(&longer, &[18]), Err(Streams));
        for at in 0..streams().len() {
            let mut bad = streams();
            bad[at] = bad[at].wrapping_add(1);
            let _ = portions(&bad, &[4, 18]);
            let _ = portions(&streams()[..at], &[4, 18]);
        }
        // No steps at all, of a huge step, and one that makes nothing of a difference.
        let by_hand = |control: &[u8]| [&[0, control.len() as u8, 0], control].concat();
        assert_eq!(portions(&by_hand(&[]), &[4]), Err(Incomplete));
        // One that makes nothing, last of all.
        let found =
            portions(&by_hand(&[0, 0, 4, 4, 0, 0, 0]), &[4]).map(|found| found[0].control.len());
        assert_eq!(found, Ok(7));
        assert_eq!(portions(&by_hand(&[0, 0, 4, 1, 0]), &[4]), Err(Streams));
        assert_eq!(portions(&by_hand(&[0, 0, 4, 5]), &[4]), Err(Streams));
    }
}
