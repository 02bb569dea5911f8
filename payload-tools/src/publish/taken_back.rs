//! Whether a publication takes something back, by what the folder and the server know.

use super::requests::ChannelAt;
use super::{PublishError, Publisher};
use crate::format::{Channel, Compatible, Release, ReleaseFacts};
use crate::repository::Draft;
use crate::sign::TakenBack;

impl Publisher<'_> {
    /// What publishing a draft lists again, by the word of the folder or the server's.
    pub(super) fn relists(&self, draft: &Draft) -> Result<TakenBack, PublishError> {
        let told = |compatible: &Compatible, release: &Release| {
            let mut known = self.releases.iter().filter(|of| of.is(compatible, release));
            let at = known.find_map(|of| of.withdrawn_at)?;
            Some(format!("it was withdrawn on {}", at.strftime("%F")))
        };
        let relisted = self.folder.relisted(draft, &told)?;
        Ok(TakenBack { relisted, moves: Vec::new() })
    }

    /// How these channels go back where a release is promoted in them.
    pub(super) fn moves_back(&self, facts: &ReleaseFacts, channels: &[Channel]) -> Vec<String> {
        let of_it =
            |at: &&ChannelAt| at.compatible == facts.compatible && channels.contains(&at.channel);
        self.channels.iter().filter(of_it).filter_map(|at| self.move_back(at, facts)).collect()
    }

    fn move_back(&self, at: &ChannelAt, facts: &ReleaseFacts) -> Option<String> {
        let ChannelAt { compatible, channel, release: newer, .. } = at;
        let is_it = |of: &&super::ReleaseAt| of.is(compatible, newer);
        let counter = self.releases.iter().find(is_it)?.counter;
        let who = match &facts.downgrade_from {
            _ if counter <= facts.counter => return None,
            None => "devices above it do not take it".to_owned(),
            Some(range) => {
                let (lo, hi, expires) = (range.lo, range.hi, range.expires);
                format!("devices above it take it from counters {lo} to {hi} only, until {expires}")
            }
        };
        Some(format!("channel {channel} goes back from {newer} to {}; {who}", facts.release))
    }
}
