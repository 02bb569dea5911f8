use super::varint::{self, Reader, VarintError};

/// One step of a patch: move in the source, add a difference to it, then take
/// new bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How far to move in the source, from where the last step ended.
    pub skip: i64,
    /// Bytes of the source that the difference is added to.
    pub same: usize,
    /// New bytes.
    pub fresh: usize,
}

/// A patch that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A number of the control stream cannot be read.
    #[error("the patch is damaged: {0}")]
    Number(#[from] VarintError),
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

/// The control stream of these steps.
pub fn encode_steps(steps: &[Step]) -> Vec<u8> {
    let mut control = Vec::new();
    for Step { skip, same, fresh } in steps {
        varint::put_signed(*skip, &mut control);
        varint::put(*same as u64, &mut control);
        varint::put(*fresh as u64, &mut control);
    }
    control
}

/// Follows `control`: fills `segment` from the source and the other streams,
/// all of which have to be used up.
pub(super) fn apply(
    control: &[u8],
    mut difference: &[u8],
    mut extra: &[u8],
    source: &[u8],
    mut segment: &mut [u8],
) -> Result<(), PatchError> {
    let mut reader = Reader::new(control);
    let mut at = 0u64;
    while !reader.rest().is_empty() {
        let (skip, same, fresh) = (reader.signed()?, reader.number()?, reader.number()?);
        at = at.checked_add_signed(skip).ok_or(PatchError::Source)?;
        let end = at.checked_add(same).ok_or(PatchError::Source)?;
        let base = usize::try_from(at).ok().zip(usize::try_from(end).ok());
        let base = base.and_then(|(at, end)| source.get(at..end)).ok_or(PatchError::Source)?;
        at = end;
        let added = take(&mut difference, base.len())?;
        let made = take_mut(&mut segment, base.len())?;
        for ((made, base), added) in made.iter_mut().zip(base).zip(added) {
            *made = base.wrapping_add(*added);
        }
        let fresh = usize::try_from(fresh).map_err(|_| PatchError::Streams)?;
        take_mut(&mut segment, fresh)?.copy_from_slice(take(&mut extra, fresh)?);
    }
    let rest = segment.len() + difference.len() + extra.len();
    if rest == 0 { Ok(()) } else { Err(PatchError::Incomplete) }
}

fn take<'a>(stream: &mut &'a [u8], len: usize) -> Result<&'a [u8], PatchError> {
    let (taken, rest) = stream.split_at_checked(len).ok_or(PatchError::Streams)?;
    *stream = rest;
    Ok(taken)
}

fn take_mut<'a>(stream: &mut &'a mut [u8], len: usize) -> Result<&'a mut [u8], PatchError> {
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

    fn run(
        steps: &[Step],
        difference: &[u8],
        extra: &[u8],
        len: usize,
    ) -> Result<Vec<u8>, PatchError> {
        let mut segment = vec![0; len];
        apply(&encode_steps(steps), difference, extra, SOURCE, &mut segment)?;
        Ok(segment)
    }

    #[test]
    fn steps_move_add_and_take() {
        let steps = [
            Step { skip: 4, same: 3, fresh: 2 },
            Step { skip: -7, same: 2, fresh: 0 },
            Step { skip: 0, same: 0, fresh: 1 },
        ];
        assert_eq!(run(&steps, &[0, 1, 0, 0, 255], b"abc", 8), Ok(b"466ab00c".to_vec()));
    }

    #[test]
    fn hostile_steps_are_refused() {
        let step = |skip, same, fresh| [Step { skip, same, fresh }];
        assert_eq!(run(&step(-1, 1, 0), &[0], b"", 1), Err(PatchError::Source));
        assert_eq!(run(&step(11, 0, 0), &[], b"", 0), Err(PatchError::Source));
        assert_eq!(run(&step(9, 2, 0), &[0; 2], b"", 2), Err(PatchError::Source));
        assert_eq!(run(&step(1, usize::MAX, 0), &[0; 2], b"", 2), Err(PatchError::Source));
        assert_eq!(run(&step(i64::MIN, 0, 0), &[], b"", 0), Err(PatchError::Source));
        assert_eq!(run(&step(0, 2, 0), &[0], b"", 2), Err(PatchError::Streams));
        assert_eq!(run(&step(0, 2, 0), &[0; 2], b"", 1), Err(PatchError::Streams));
        assert_eq!(run(&step(0, 0, 2), &[], b"a", 2), Err(PatchError::Streams));
        assert_eq!(run(&step(0, 0, usize::MAX), &[], b"a", 1), Err(PatchError::Streams));
        assert_eq!(run(&step(0, 1, 0), &[0; 2], b"", 1), Err(PatchError::Incomplete));
        assert_eq!(run(&step(0, 0, 1), &[], b"ab", 1), Err(PatchError::Incomplete));
        assert_eq!(run(&step(0, 1, 0), &[0], b"", 2), Err(PatchError::Incomplete));
        let cut = apply(&[0], &[], &[], SOURCE, &mut []);
        assert_eq!(cut, Err(PatchError::Number(VarintError::Cut)));
    }

    proptest! {
        #[test]
        fn arbitrary_control_never_panics(
            control in proptest::collection::vec(any::<u8>(), 0..64),
            difference in proptest::collection::vec(any::<u8>(), 0..16),
            extra in proptest::collection::vec(any::<u8>(), 0..16),
        ) {
            let _ = apply(&control, &difference, &extra, SOURCE, &mut [0; 12]);
        }
    }
}
