//! Whether a publication takes something back: that a release was withdrawn, or how far a channel came.

use super::requests::ChannelAt;
use super::{PublishError, Publisher};
use crate::format::{Channel, Compatible, Release, ReleaseFacts};
use crate::repository::{Draft, Statement};
use crate::sign::{Permits, RELIST};

/// What a publication takes back, each in words.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    relisted: Vec<(Compatible, String)>,
    moves: Vec<String>,
}

impl TakenBack {
    /// Shows it to who is asked.
    pub(super) fn describe(&self, statement: &mut Statement, permits: Permits) {
        for (compatible, words) in &self.relisted {
            statement.say_again(compatible, words);
        }
        statement.notes.extend(self.moves.clone());
        statement.needs = self.lacking(permits);
    }

    /// The options that permit it and were not given.
    fn lacking(&self, permits: Permits) -> Vec<&'static str> {
        let relist = !self.relisted.is_empty() && !permits.relist_withdrawn;
        let back = !self.moves.is_empty() && !permits.move_back;
        let all = [(relist, RELIST), (back, "--move-back")];
        all.into_iter().filter_map(|(lacks, option)| lacks.then_some(option)).collect()
    }

    /// Refuses what nobody asked for.
    pub(super) fn refuse_unasked(&self, permits: Permits) -> Result<(), PublishError> {
        let lacking = self.lacking(permits).join(" and ");
        self.refuse_lacking(&lacking, &format!("If that is meant, run this again with {lacking}"))
    }

    /// Refuses what a draft that goes with something else takes back.
    pub(super) fn refuse_in_draft(&self) -> Result<(), PublishError> {
        let lacking = self.lacking(Permits::default()).join(" and ");
        let next = format!(
            "Publish the draft by itself first (`payload publish {lacking}`), or give it up (`payload \
             draft discard`)"
        );
        self.refuse_lacking(&lacking, &next)
    }

    fn refuse_lacking(&self, lacking: &str, next: &str) -> Result<(), PublishError> {
        if lacking.is_empty() {
            return Ok(());
        }
        let relisted = self.relisted.iter().map(|(_, words)| words);
        let what: Vec<_> = relisted.chain(&self.moves).cloned().collect();
        Err(PublishError::TakesBack { what: what.join("; "), next: next.to_owned() })
    }
}

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

impl TakenBack {
    /// The same with channels that go back.
    pub(super) fn with_moves(self, moves: Vec<String>) -> Self {
        Self { moves, ..self }
    }
}
