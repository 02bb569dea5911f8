//! Whether a publication takes something back: that a release was withdrawn, or how far a channel came.

use super::requests::ChannelAt;
use super::{PublishError, Publisher};
use crate::format::{Channel, Compatible, Release, ReleaseFacts};
use crate::repository::{Draft, Statement};
use crate::trust::{Role, UnixTime};

/// What is done only where it was asked for by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// A release that was withdrawn is listed again.
    pub relist_withdrawn: bool,
    /// A channel goes back to an older release.
    pub move_back: bool,
}

/// What a publication takes back, each in words.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    relisted: Option<String>,
    moves: Vec<String>,
}

impl TakenBack {
    /// Shows it to who is asked.
    pub(super) fn describe(&self, statement: &mut Statement, permits: Permits) {
        statement.notes.extend(self.moves.clone());
        statement.needs = self.lacking(permits);
    }

    /// The options that permit it and were not given.
    fn lacking(&self, permits: Permits) -> Vec<&'static str> {
        let relist = self.relisted.is_some() && !permits.relist_withdrawn;
        let back = !self.moves.is_empty() && !permits.move_back;
        let all = [(relist, "--relist-withdrawn"), (back, "--move-back")];
        all.into_iter().filter_map(|(lacks, option)| lacks.then_some(option)).collect()
    }

    /// Refuses what nobody asked for.
    pub(super) fn refuse_unasked(&self, permits: Permits) -> Result<(), PublishError> {
        let lacking = self.lacking(permits);
        if lacking.is_empty() {
            return Ok(());
        }
        let what: Vec<_> = self.relisted.iter().chain(&self.moves).cloned().collect();
        Err(PublishError::TakesBack { what: what.join("; "), options: lacking.join(" and ") })
    }
}

impl Publisher<'_> {
    /// What publishing a release in these channels takes back.
    pub(super) fn taken_back(
        &self,
        facts: &ReleaseFacts,
        channels: &[Channel],
    ) -> Result<TakenBack, PublishError> {
        let relisted = self.withdrawn_before(&facts.compatible, &facts.release)?;
        let at = |channel: &Channel| {
            let is_it =
                |at: &&ChannelAt| at.compatible == facts.compatible && at.channel == *channel;
            self.channels.iter().find(is_it)
        };
        let moves = channels.iter().filter_map(at).filter_map(|at| self.moves_back(at, facts));
        Ok(TakenBack { relisted, moves: moves.collect() })
    }

    fn moves_back(&self, at: &ChannelAt, facts: &ReleaseFacts) -> Option<String> {
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

    /// What is going to be signed, and which releases come again that were withdrawn.
    pub(super) fn statement(
        &self,
        draft: &Draft,
        now: UnixTime,
    ) -> Result<Statement, PublishError> {
        let mut statement = draft.statement_to_publish(&self.keyring, now)?;
        for compatible in draft.compatibles() {
            let role = Role::from(&compatible).to_string();
            let Some(paper) = statement.papers.iter_mut().find(|paper| paper.role == role) else {
                continue;
            };
            for release in draft.releases(&compatible)? {
                let before = self.withdrawn_before(&compatible, &release.facts().release)?;
                paper.lines.extend(before.map(|before| format!("again      {before}")));
            }
        }
        Ok(statement)
    }

    /// How a release that is not listed now was listed before; nothing if it never was.
    fn withdrawn_before(
        &self,
        compatible: &Compatible,
        release: &Release,
    ) -> Result<Option<String>, PublishError> {
        let Some(state) = self.draft.state() else { return Ok(None) };
        // Where there is no role, nothing is listed.
        let listed = state.releases(compatible).unwrap_or_default();
        if listed.iter().any(|listed| listed.facts().release == *release) {
            return Ok(None);
        }
        let before = match self.folder.listed_in(state, compatible, release)? {
            Some(version) => {
                format!("version {version} of {compatible} listed it, and it was withdrawn")
            }
            None => {
                let mut known = self.releases.iter().filter(|of| of.is(compatible, release));
                let Some(at) = known.find_map(|of| of.withdrawn_at) else { return Ok(None) };
                format!("it was withdrawn on {}", at.strftime("%F"))
            }
        };
        Ok(Some(format!("release {release} is not listed now: {before}")))
    }
}
