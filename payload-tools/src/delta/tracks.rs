use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::matcher::Matcher;
use crate::format::delta::Step;

/// Which bytes of a new file continue which of an old one.
pub(super) struct Tracks {
    all: Vec<Track>,
    /// Of each byte of the old file only the longest: what is used again elsewhere is mostly a few
    /// bytes that happen to be the same. In order, and apart.
    longest: Vec<Track>,
}

/// Bytes that go on alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Track {
    pub old: usize,
    pub new: usize,
    pub len: usize,
}

impl Tracks {
    pub fn of(old: &[u8], new: &[u8]) -> Self {
        let mut at = 0;
        let track = |Step { old, same, fresh }| {
            let track = Track { old, new: at, len: same };
            at += same + fresh;
            track
        };
        let all: Vec<_> = Matcher::new(old).steps(new).into_iter().map(track).collect();
        Self { longest: longest(&all), all }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.all.iter()
    }

    /// Where these bytes of the old file are in the new one.
    pub fn find(&self, at: usize, len: usize) -> Option<usize> {
        let past = self.longest.partition_point(|track| track.old <= at);
        let track = self.longest[past.checked_sub(1)?];
        (at + len <= track.old + track.len).then(|| track.new + at - track.old)
    }
}

/// Of tracks that have the same old bytes the longest, and what others have beside it.
fn longest(all: &[Track]) -> Vec<Track> {
    let mut by_len = all.to_vec();
    by_len.sort_by_key(|track| (Reverse(track.len), track.old));
    let mut kept: BTreeMap<usize, Track> = BTreeMap::new();
    for track in by_len {
        let end = track.old + track.len;
        let (mut at, mut free) = (track.old, Vec::new());
        let before = kept.range(..at).next_back().map(|(_, before)| before);
        for taken in before.into_iter().chain(kept.range(at..end).map(|(_, taken)| taken)) {
            if at < taken.old {
                free.push(at..taken.old);
            }
            at = at.max(taken.old + taken.len);
        }
        free.push(at..end);
        for range in free.into_iter().filter(|range| range.start < range.end) {
            let new = track.new + (range.start - track.old);
            kept.insert(range.start, Track { old: range.start, new, len: range.len() });
        }
    }
    kept.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    /// Twelve bytes of a file are behind it once more.
    #[test]
    fn what_is_used_again_elsewhere_is_found_where_it_lies() {
        let old = noise(1, 4000);
        let new = [&old[..], &noise(2, 300), &old[1000..1012], &noise(3, 300)].concat();
        let tracks = Tracks::of(&old, &new);
        assert!(tracks.iter().any(|track| track.old <= 1000 && track.new > 4000), "used again");
        for at in [900, 1004, 1100, 3000] {
            assert_eq!(tracks.find(at, 4), Some(at));
        }
    }

    #[test]
    fn a_longer_track_has_the_bytes_of_the_shorter_ones() {
        let track = |old, new, len| Track { old, new, len };
        let all = [track(10, 100, 50), track(20, 500, 8), track(55, 300, 20), track(0, 700, 12)];
        assert_eq!(longest(&all), [track(0, 700, 10), track(10, 100, 50), track(60, 305, 15)]);
        let around = [track(0, 0, 10), track(30, 30, 10), track(5, 80, 9), track(8, 60, 25)];
        assert_eq!(
            longest(&around),
            [track(0, 0, 8), track(8, 60, 25), track(33, 33, 7)],
            "the first ones give way to one that is longer"
        );
        let tracks = Tracks { all: all.to_vec(), longest: longest(&all) };
        assert_eq!(tracks.find(20, 8), Some(110));
        assert_eq!(tracks.find(58, 4), None);
        assert_eq!(tracks.find(60, 4), Some(305));
        assert_eq!(tracks.find(80, 1), None);
    }
}
