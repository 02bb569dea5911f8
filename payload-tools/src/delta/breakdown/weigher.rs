//! What the parts of a segment cost: each is compressed as it was, and how much comes out is its weight.

use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use crate::format::seekable::FrameError;

/// Near the level of deltas, at a fraction of its time.
const LEVEL: i32 = 9;
/// Of prefix and segment together.
const WINDOW_LOG: u32 = 24;
/// A block's own header: that each part is a block of its own is no cost of the part's.
const BLOCK_HEADER: u64 = 3;

/// Compresses parts one behind the other in one frame that may refer to `prefix`, each up to its end
/// before the next begins, and tells what came out for each.
pub(super) fn weigh(prefix: &[u8], parts: &[&[u8]]) -> Result<Vec<u64>, FrameError> {
    let error = |code| FrameError::Zstd(zstd_safe::get_error_name(code));
    let mut context =
        CCtx::try_create().ok_or(FrameError::Zstd("no memory for an encoding context"))?;
    context.set_parameter(CParameter::CompressionLevel(LEVEL)).map_err(error)?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG)).map_err(error)?;
    context.ref_prefix(prefix).map_err(error)?;
    let longest = parts.iter().map(|part| part.len()).max().unwrap_or(0);
    let mut out = vec![0; zstd_safe::compress_bound(longest)];
    let mut weights = Vec::with_capacity(parts.len());
    for part in parts {
        let (mut input, mut weight) = (InBuffer::around(part), 0u64);
        while input.pos() < part.len() {
            let mut output = OutBuffer::around(&mut out[..]);
            context.compress_stream(&mut output, &mut input).map_err(error)?;
            weight += output.pos() as u64;
        }
        let mut is_waiting = !part.is_empty();
        while is_waiting {
            let mut output = OutBuffer::around(&mut out[..]);
            is_waiting = context.flush_stream(&mut output).map_err(error)? > 0;
            weight += output.pos() as u64;
        }
        weights.push(weight.saturating_sub(BLOCK_HEADER));
    }
    Ok(weights)
}

/// Divides `total` by these weights, to the last byte; evenly where nothing weighs anything.
pub(super) fn divide(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let even = u128::from(sum == 0);
    let whole = sum + even * weights.len() as u128;
    let (mut weight_so_far, mut given) = (0u128, 0u64);
    let share = |weight: &u64| {
        weight_so_far += u128::from(*weight) + even;
        // At most the total.
        let up_to = (u128::from(total) * weight_so_far / whole) as u64;
        up_to - std::mem::replace(&mut given, up_to)
    };
    weights.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    #[test]
    fn a_part_weighs_what_is_new_in_it() {
        let (known, fresh) = (noise(1, 100_000), noise(2, 50_000));
        let weights = weigh(&known, &[&known, &fresh, &[], &fresh, &[7; 90_000]]).unwrap();
        let [known, fresh, nothing, again, same] = weights[..] else { panic!("{weights:?}") };
        assert!(known < 100 && again < 100 && same < 100 && nothing == 0, "{weights:?}");
        assert!((49_900..50_100).contains(&fresh), "{weights:?}");
        assert!(weigh(&[], &[]).unwrap().is_empty());
        assert_eq!(weigh(&[], &[&noise(3, 1000), &[7]]).unwrap()[1], 1, "no block's header");
    }

    #[test]
    fn a_total_is_divided_to_the_last_byte() {
        assert_eq!(divide(10, &[1, 1, 1]), [3, 3, 4]);
        assert_eq!(divide(10, &[0, 5, 0]), [0, 10, 0]);
        assert_eq!(divide(7, &[0, 0]), [3, 4]);
        assert!(divide(7, &[]).is_empty());
        assert_eq!(divide(u64::MAX, &[u64::MAX, 0]), [u64::MAX, 0]);
    }

    proptest! {
        #[test]
        fn what_is_divided_adds_up(
            total in 0u64..1 << 24,
            weights in proptest::collection::vec(0u64..1 << 23, 1..40),
        ) {
            prop_assert_eq!(divide(total, &weights).iter().sum::<u64>(), total);
        }
    }
}
