use super::adjust::{AdjustError, Adjuster};
use super::varint::{self, Reader, VarintError};

/// Equal bytes between different ones that are not worth two numbers.
const RUN_MIN: usize = 4;

/// One step of a patch: what to continue in the source, and then new bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where in the source.
    pub old: usize,
    /// Bytes that are like the source's from there on; those that differ have a difference each.
    pub same: usize,
    /// New bytes.
    pub fresh: usize,
}

/// A patch that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A number of the streams cannot be read.
    #[error("the patch is damaged: {0}")]
    Number(#[from] VarintError),
    /// What is to be done to the source first cannot be.
    #[error(transparent)]
    Adjust(#[from] AdjustError),
    /// A step leaves the source.
    #[error("the patch reads outside of its source")]
    Source,
    /// A step needs more of a stream than there is, or makes more than the segment.
    #[error("the patch has other streams than its steps need")]
    Streams,
    /// Steps end before the segment or the streams do.
    #[error("the patch does not make the whole segment")]
    Incomplete,
}

/// The streams of a patch: `adjust` as [`Adjustment::encode`](super::Adjustment::encode) makes it, then what makes
/// `segment` from the adjusted `source` by these steps.
pub fn encode_patch(adjust: &[u8], steps: &[Step], source: &[u8], segment: &[u8]) -> Vec<u8> {
    let [control, difference, fresh] = step_streams(steps, source, segment);
    let mut streams = Vec::new();
    for part in [adjust, &control, &difference] {
        varint::put(part.len() as u64, &mut streams);
    }
    streams.extend([adjust, &control, &difference, &fresh].concat());
    streams
}

/// Control, difference and new bytes of what makes `segment` from the adjusted `source` by these steps.
pub(super) fn step_streams(steps: &[Step], source: &[u8], segment: &[u8]) -> [Vec<u8>; 3] {
    let (mut control, mut difference, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    let (mut made, mut was) = (0, 0i64);
    for step in steps {
        let like = &segment[made..made + step.same];
        let base = &source[step.old..step.old + step.same];
        // Where nothing is continued, nowhere is as good as here.
        let old = if step.same == 0 { was } else { step.old as i64 };
        varint::put_signed(old - was, &mut control);
        varint::put(step.fresh as u64, &mut control);
        varint::put(step.same as u64, &mut control);
        put_runs(like, base, &mut control, &mut difference);
        made += step.same;
        fresh.extend(&segment[made..made + step.fresh]);
        made += step.fresh;
        was = old + step.same as i64;
    }
    [control, difference, fresh]
}

/// By turns how many bytes are equal, and how many differ, until there are no more.
fn put_runs(like: &[u8], base: &[u8], control: &mut Vec<u8>, difference: &mut Vec<u8>) {
    let mut at = 0;
    while at < like.len() {
        let equal = equal_len(&like[at..], &base[at..]);
        varint::put(equal as u64, control);
        at += equal;
        if at == like.len() {
            break;
        }
        let start = at;
        loop {
            at += 1;
            let equal = equal_len(&like[at..], &base[at..]);
            if equal >= RUN_MIN || at + equal == like.len() {
                break;
            }
            at += equal;
        }
        varint::put((at - start) as u64, control);
        let pairs = like[start..at].iter().zip(&base[start..at]);
        difference.extend(pairs.map(|(like, base)| like.wrapping_sub(*base)));
    }
}

fn equal_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The streams of a patch, apart.
pub(super) struct Streams<'a> {
    pub adjust: &'a [u8],
    pub control: &'a [u8],
    pub difference: &'a [u8],
    pub fresh: &'a [u8],
}

impl<'a> Streams<'a> {
    pub fn parse(streams: &'a [u8]) -> Result<Self, PatchError> {
        let mut lens = Reader::new(streams);
        let lengths = [lens.number()?, lens.number()?, lens.number()?];
        let mut rest = lens.rest();
        let mut part = |len: u64| take(&mut rest, len);
        let [adjust, control, difference] = lengths;
        let (adjust, control, difference) = (part(adjust)?, part(control)?, part(difference)?);
        Ok(Self { adjust, control, difference, fresh: rest })
    }
}

/// Follows the streams: adjusts the source, and fills `segment` from it and them, all of which
/// have to be used up.
pub(super) fn apply(
    streams: Streams<'_>,
    adjuster: &mut Adjuster,
    source: &mut [u8],
    mut segment: &mut [u8],
) -> Result<(), PatchError> {
    let Streams { adjust, control, mut difference, mut fresh } = streams;
    adjuster.apply(adjust, source)?;
    let (mut at, mut base) = (0u64, &[][..]);
    for run in Runs::of(control) {
        match run? {
            Run::Continue { skip, len } => {
                at = at.checked_add_signed(skip).ok_or(PatchError::Source)?;
                let end = at.checked_add(len).ok_or(PatchError::Source)?;
                let range = usize::try_from(at).ok().zip(usize::try_from(end).ok());
                let range = range.and_then(|(at, end)| source.get(at..end));
                (at, base) = (end, range.ok_or(PatchError::Source)?);
            }
            Run::Equal(len) => {
                take_mut(&mut segment, len)?.copy_from_slice(take(&mut base, len)?);
            }
            Run::Differ(len) => {
                let (base, added) = (take(&mut base, len)?, take(&mut difference, len)?);
                let made = take_mut(&mut segment, len)?;
                for ((made, base), added) in made.iter_mut().zip(base).zip(added) {
                    *made = base.wrapping_add(*added);
                }
            }
            Run::Fresh(len) => {
                take_mut(&mut segment, len)?.copy_from_slice(take(&mut fresh, len)?);
            }
        }
    }
    let rest = segment.len() + difference.len() + fresh.len();
    if rest == 0 { Ok(()) } else { Err(PatchError::Incomplete) }
}

/// What a control stream says next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Go on in the source, so far from where it ended last, with so many bytes.
    Continue { skip: i64, len: u64 },
    /// Bytes that are equal there.
    Equal(u64),
    /// Bytes that differ: a difference each.
    Differ(u64),
    /// New bytes.
    Fresh(u64),
}

/// Reads a control stream, run by run.
pub(super) struct Runs<'a> {
    control: Reader<'a>,
    /// Bytes of the step's that no run has had yet.
    same: u64,
    /// The run before was of equal bytes.
    was_equal: bool,
    /// New bytes at the end of the step; `None`: it has ended.
    fresh: Option<u64>,
}

impl<'a> Runs<'a> {
    pub fn of(control: &'a [u8]) -> Self {
        Self { control: Reader::new(control), same: 0, was_equal: false, fresh: None }
    }

    /// Bytes of the stream that are left.
    pub fn left(&self) -> usize {
        self.control.rest().len()
    }

    fn read(&mut self) -> Result<Run, PatchError> {
        if self.same > 0 {
            let len = self.control.number()?;
            self.was_equal = !self.was_equal;
            let left = self.same.checked_sub(len).filter(|_| self.was_equal || len > 0);
            self.same = left.ok_or(PatchError::Streams)?;
            return Ok(if self.was_equal { Run::Equal(len) } else { Run::Differ(len) });
        }
        if let Some(fresh) = self.fresh.take() {
            return Ok(Run::Fresh(fresh));
        }
        let (skip, fresh) = (self.control.signed()?, self.control.number()?);
        let len = self.control.number()?;
        (self.same, self.was_equal, self.fresh) = (len, false, Some(fresh));
        Ok(Run::Continue { skip, len })
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, PatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let has_ended = self.same == 0 && self.fresh.is_none() && self.left() == 0;
        (!has_ended).then(|| self.read())
    }
}

fn take<'a>(stream: &mut &'a [u8], len: u64) -> Result<&'a [u8], PatchError> {
    let len = usize::try_from(len).map_err(|_| PatchError::Streams)?;
    let (taken, rest) = stream.split_at_checked(len).ok_or(PatchError::Streams)?;
    *stream = rest;
    Ok(taken)
}

fn take_mut<'a>(stream: &mut &'a mut [u8], len: u64) -> Result<&'a mut [u8], PatchError> {
    let len = usize::try_from(len).map_err(|_| PatchError::Streams)?;
    let whole = std::mem::take(stream);
    let (taken, rest) = whole.split_at_mut_checked(len).ok_or(PatchError::Streams)?;
    *stream = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOURCE: &[u8] = b"0123456789";

    fn follow(streams: &[u8], source: &mut [u8], segment: &mut [u8]) -> Result<(), PatchError> {
        apply(Streams::parse(streams)?, &mut Adjuster::default(), source, segment)
    }

    /// Streams by hand: the control stream as its numbers, zigzag where they are signed.
    fn run(
        numbers: &[u64],
        difference: &[u8],
        fresh: &[u8],
        len: usize,
    ) -> Result<Vec<u8>, PatchError> {
        let mut control = Vec::new();
        numbers.iter().for_each(|number| varint::put(*number, &mut control));
        let mut streams = vec![0];
        varint::put(control.len() as u64, &mut streams);
        varint::put(difference.len() as u64, &mut streams);
        streams.extend([&control, difference, fresh].concat());
        let mut segment = vec![0; len];
        follow(&streams, &mut SOURCE.to_vec(), &mut segment)?;
        Ok(segment)
    }

    #[test]
    fn steps_move_add_and_take() {
        // From 4 on: one equal, one plus 2, one equal, then "ab"; back by 7: one plus 255; "c".
        let numbers = [8, 2, 3, 1, 1, 1, 13, 0, 1, 0, 1, 0, 1, 0];
        assert_eq!(run(&numbers, &[2, 255], b"abc", 7), Ok(b"476ab/c".to_vec()));
    }

    #[test]
    fn hostile_streams_are_refused() {
        use PatchError::{Incomplete, Source, Streams};
        type Case<'a> = (&'a [u64], &'a [u8], &'a [u8], usize, PatchError);
        let cases: [Case<'_>; 15] = [
            (&[1, 0, 1, 1], b"", b"", 1, Source),
            (&[22, 0, 0], b"", b"", 0, Source),
            (&[18, 0, 2, 2], b"", b"", 2, Source),
            (&[2, 0, u64::MAX], b"", b"", 2, Source),
            (&[u64::MAX, 0, 1], b"", b"", 1, Source),
            (&[0, 0, 2, 3], b"", b"", 2, Streams),
            (&[0, 0, 2, 1, 0], b"", b"", 2, Streams),
            (&[0, 0, 2, 1, 2], b"ab", b"", 2, Streams),
            (&[0, 0, 2, 0, 2], b"a", b"", 2, Streams),
            (&[0, 0, 2, 2], b"", b"", 1, Streams),
            (&[0, 2, 0], b"", b"a", 2, Streams),
            (&[0, u64::MAX, 0], b"", b"a", 1, Streams),
            (&[0, 0, 1, 0, 1], b"ab", b"", 1, Incomplete),
            (&[0, 1, 0], b"", b"ab", 1, Incomplete),
            (&[0, 0, 1, 1], b"", b"", 2, Incomplete),
        ];
        for (numbers, difference, fresh, len, error) in cases {
            assert_eq!(run(numbers, difference, fresh, len), Err(error), "{numbers:?}");
        }
        assert_eq!(run(&[0, 0, 1], b"", b"", 1), Err(PatchError::Number(VarintError::Cut)));
        for lens in [&[1, 0, 0][..], &[0, 1, 0], &[0, 0, 1]] {
            let parsed = super::Streams::parse(lens).map(|_| ());
            assert_eq!(parsed, Err(Streams), "{lens:?}");
        }
        for cut in [&[][..], &[0, 0], &[0, 0, 0x80]] {
            let parsed = super::Streams::parse(cut).map(|_| ());
            assert_eq!(parsed, Err(PatchError::Number(VarintError::Cut)), "{cut:?}");
        }
        let adjust = follow(&[1, 0, 0, 0x80], &mut [], &mut []);
        assert!(matches!(adjust, Err(PatchError::Adjust(_))), "{adjust:?}");
    }

    proptest! {
        #[test]
        fn arbitrary_streams_never_panic(
            streams in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = follow(&streams, &mut SOURCE.to_vec(), &mut [0; 12]);
        }

        /// What is encoded is made again, wherever source and segment agree.
        #[test]
        fn a_patch_makes_its_segment(
            source in proptest::collection::vec(0u8..3, 40..200),
            flips in proptest::collection::vec((0usize..200, any::<u8>()), 0..20),
            cuts in proptest::collection::vec((0usize..200, 0usize..60, 0usize..5), 1..6),
        ) {
            let mut source = source;
            let (mut segment, mut steps) = (Vec::new(), Vec::new());
            for (old, same, fresh) in cuts {
                let old = old % source.len();
                let same = same.min(source.len() - old);
                segment.extend(&source[old..old + same]);
                segment.extend(std::iter::repeat_n(9, fresh));
                steps.push(Step { old, same, fresh });
            }
            for (at, byte) in flips {
                let at = at % segment.len().max(1);
                segment.get_mut(at).into_iter().for_each(|found| *found = byte);
            }
            let streams = encode_patch(&[], &steps, &source, &segment);
            let mut made = vec![0; segment.len()];
            prop_assert_eq!(follow(&streams, &mut source, &mut made), Ok(()));
            prop_assert_eq!(made, segment);
        }
    }
}
