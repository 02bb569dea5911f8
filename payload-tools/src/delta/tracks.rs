use super::matcher::Matcher;
use crate::format::delta::Step;

/// Which bytes of a new file continue which of an old one.
pub(super) struct Tracks(Vec<Track>);

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
        let mut tracks: Vec<_> = Matcher::new(old).steps(new).into_iter().map(track).collect();
        tracks.sort_by_key(|track| (track.old, track.len));
        Self(tracks)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.0.iter()
    }

    /// Where these bytes of the old file are in the new one.
    pub fn find(&self, at: usize, len: usize) -> Option<usize> {
        let past = self.0.partition_point(|track| track.old <= at);
        let track = self.0[past.checked_sub(1)?];
        (at + len <= track.old + track.len).then(|| track.new + at - track.old)
    }
}
