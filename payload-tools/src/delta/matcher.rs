//! Which bytes of a source a segment continues, and with which differences.

use crate::format::delta::Step;

/// Bytes that are looked up. Shorter matches are found by growing longer ones.
const SEED: usize = 8;
/// Bits of the table of seeds: as many as there are places, within these.
const TABLE_BITS: std::ops::RangeInclusive<u32> = 10..=20;
/// Places with one seed that are tried.
const TRIES: usize = 12;
/// A match has to explain so many bytes more than going on does: what a step costs.
const WORTH: usize = 8;
const NOWHERE: u32 = u32::MAX;

/// Where the seeds of a source are.
pub(super) struct Matcher<'a> {
    source: &'a [u8],
    table_bits: u32,
    newest: Vec<u32>,
    /// For each place the one before with the same seed.
    before: Vec<u32>,
}

/// From here on the segment goes on like the source does there.
#[derive(Debug, Clone, Copy)]
struct Track {
    new: usize,
    old: usize,
}

impl<'a> Matcher<'a> {
    pub fn new(source: &'a [u8]) -> Self {
        let table_bits = source.len().max(1).ilog2() + 1;
        let table_bits = table_bits.clamp(*TABLE_BITS.start(), *TABLE_BITS.end());
        let mut matcher = Self {
            source,
            table_bits,
            newest: vec![NOWHERE; 1 << table_bits],
            before: vec![NOWHERE; source.len()],
        };
        for (at, seed) in (0u32..).zip(source.windows(SEED)) {
            let newest = &mut matcher.newest[slot(seed, table_bits)];
            matcher.before[at as usize] = std::mem::replace(newest, at);
        }
        matcher
    }

    /// The steps that make `segment` from the source.
    pub fn steps(&self, segment: &[u8]) -> Vec<Step> {
        let tracks = self.tracks(segment);
        let mut steps = Vec::new();
        let mut begin = 0;
        let mut back = 0;
        for (at, track) in tracks.iter().enumerate() {
            let next = tracks.get(at + 1);
            let end = next.map_or(segment.len(), |next| next.new);
            let start = Track { new: begin, old: track.old - back };
            let forward = self.reach(segment, start, end);
            let (same, backward) = match next {
                Some(next) => self.share(segment, start, forward, *next),
                None => (forward, 0),
            };
            let past = end - backward;
            if past > begin {
                steps.push(Step { old: start.old, same, fresh: past - begin - same });
            }
            (begin, back) = (past, backward);
        }
        steps
    }

    /// Where the segment changes from one track to another.
    fn tracks(&self, segment: &[u8]) -> Vec<Track> {
        let mut tracks = vec![Track { new: 0, old: 0 }];
        let (mut track, mut at, mut misses) = (tracks[0], 0, 0usize);
        while at + SEED <= segment.len() {
            // Going on is cheap to see and costs no step.
            let on = self.common(segment, at, track.old + (at - track.new));
            if on >= SEED {
                at += on;
                misses = 0;
                continue;
            }
            let Some((old, len)) = self.longest(segment, at) else {
                misses += 1;
                at += 1 + (misses >> 8);
                continue;
            };
            let agree = self.agreement(segment, at, track.old + (at - track.new), len);
            if len > agree + WORTH {
                track = Track { new: at, old };
                tracks.push(track);
                at += len;
                misses = 0;
            } else {
                at += if agree * 2 > len { len } else { 1 };
            }
        }
        tracks
    }

    /// The longest match that a few tries find.
    fn longest(&self, segment: &[u8], at: usize) -> Option<(usize, usize)> {
        let mut place = self.newest[slot(&segment[at..at + SEED], self.table_bits)];
        let mut best: Option<(usize, usize)> = None;
        for _ in 0..TRIES {
            if place == NOWHERE {
                break;
            }
            let len = self.common(segment, at, place as usize);
            if len >= SEED && best.is_none_or(|(_, longest)| len > longest) {
                best = Some((place as usize, len));
            }
            place = self.before[place as usize];
        }
        best
    }

    /// How many bytes are the same from here on.
    fn common(&self, segment: &[u8], at: usize, old: usize) -> usize {
        let source = self.source.get(old..).unwrap_or_default();
        let mut len = 0;
        let wide = segment[at..].chunks_exact(16).zip(source.chunks_exact(16));
        len += 16 * wide.take_while(|(new, old)| new == old).count();
        let rest = segment[at + len..].iter().zip(source.get(len..).unwrap_or_default());
        len + rest.take_while(|(new, old)| new == old).count()
    }

    /// How many of the next `len` bytes are the same.
    fn agreement(&self, segment: &[u8], at: usize, old: usize, len: usize) -> usize {
        let source = self.source.get(old..).unwrap_or_default();
        segment[at..at + len].iter().zip(source).filter(|(new, old)| new == old).count()
    }

    /// How far a track is worth following: most of what it covers is the same.
    fn reach(&self, segment: &[u8], start: Track, end: usize) -> usize {
        let source = self.source.get(start.old..).unwrap_or_default();
        best_prefix(segment[start.new..end].iter().zip(source))
    }

    /// Where one track hands over to the next, whose beginning lies before the
    /// match that it was found by: bytes of this one, and of the next before that.
    fn share(&self, segment: &[u8], start: Track, forward: usize, next: Track) -> (usize, usize) {
        let gap = next.new - start.new;
        let before = &segment[start.new..next.new];
        let source = &self.source[..next.old];
        let backward = best_prefix(before.iter().rev().zip(source.iter().rev()));
        let Some(overlap) = (forward + backward).checked_sub(gap).filter(|len| *len > 0) else {
            return (forward, backward);
        };
        // Both cover the overlap: cut where the sum of what is the same is largest.
        let from = gap - backward;
        let this = &self.source[start.old + from..][..overlap];
        let that = &self.source[next.old - backward..][..overlap];
        let (mut gain, mut most, mut cut) = (0i64, 0i64, 0);
        let bytes = before[from..].iter().zip(this).zip(that);
        for (len, ((new, this), that)) in (1..).zip(bytes) {
            gain += i64::from(new == this) - i64::from(new == that);
            // Where both are as good this one goes on: the next ones then have less behind them to
            // look at, which would be the same zeroes again and again.
            if gain >= most {
                (most, cut) = (gain, len);
            }
        }
        (from + cut, backward - cut)
    }
}

/// The length up to which the same bytes outnumber the others by most.
fn best_prefix<'b>(pairs: impl Iterator<Item = (&'b u8, &'b u8)>) -> usize {
    let (mut score, mut most, mut best) = (0i64, 0i64, 0);
    for (len, (new, old)) in (1..).zip(pairs) {
        score += if new == old { 1 } else { -1 };
        if score > most {
            (most, best) = (score, len);
        }
    }
    best
}

fn slot(seed: &[u8], table_bits: u32) -> usize {
    let mut bytes = [0; SEED];
    bytes.copy_from_slice(seed);
    let hash = u64::from_le_bytes(bytes).wrapping_mul(0x9E37_79B1_85EB_CA87);
    (hash >> (64 - table_bits)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    /// The steps, and how many bytes of the segment they find in the source as they are.
    fn found(source: &[u8], segment: &[u8]) -> (Vec<Step>, usize) {
        let steps = Matcher::new(source).steps(segment);
        let (mut at, mut found) = (0, 0);
        for Step { old, same, fresh } in &steps {
            let pairs = segment[at..at + same].iter().zip(&source[*old..old + same]);
            found += pairs.filter(|(new, old)| new == old).count();
            at += same + fresh;
        }
        assert_eq!(at, segment.len(), "{steps:?}");
        (steps, found)
    }

    #[test]
    fn an_insertion_and_scattered_changes_cost_a_step_and_differences() {
        let source = noise(7, 100_000);
        let mut segment = source.clone();
        segment.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x40);
        segment.splice(50_000..50_000, *b"something that was not there");
        let (steps, found) = found(&source, &segment);
        assert!(steps.len() <= 2, "{steps:?}");
        let changed = source.len().div_ceil(97);
        assert!(found + changed + 40 >= source.len(), "{found} found: {steps:?}");
        let fresh: usize = steps.iter().map(|step| step.fresh).sum();
        assert!(fresh <= 40, "{steps:?}");
    }

    proptest! {
        /// Cut and mixed in any way, the steps cover the segment, and find most of each piece.
        #[test]
        fn steps_cover_the_segment(
            cuts in proptest::collection::vec((0usize..4000, 0usize..300, any::<u8>()), 0..30),
        ) {
            let source = noise(8, 4096);
            let (count, mut segment) = (cuts.len(), Vec::new());
            for (at, len, change) in cuts {
                let start = segment.len();
                segment.extend(source.iter().skip(at).take(len));
                if let Some(byte) = segment.get_mut(start + len / 2) {
                    *byte ^= change;
                }
            }
            let (steps, found) = found(&source, &segment);
            prop_assert!(found + 40 * count >= segment.len(), "{} of {}: {:?}", found, segment.len(), steps);
        }
    }
}
