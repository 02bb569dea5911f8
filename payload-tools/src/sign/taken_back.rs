//! What is taken back only where that was asked for by name.

use crate::format::Compatible;
use crate::repository::Statement;

/// What was asked for by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// A release that was withdrawn is listed again.
    pub relist_withdrawn: bool,
    /// A channel goes back to an older release.
    pub move_back: bool,
}

/// What signing or publishing takes back, in words: that a release was withdrawn, or how far a channel came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// Releases that were withdrawn, of which compatible.
    pub relisted: Vec<(Compatible, String)>,
    /// Channels that go back.
    pub moves: Vec<String>,
}

/// Nobody asked for that by name.
#[derive(Debug, thiserror::Error)]
#[error("{what}. {next}")]
pub struct NotAskedFor {
    what: String,
    next: String,
}

impl TakenBack {
    /// Shows it to who is asked.
    pub fn describe(&self, statement: &mut Statement, permits: Permits) {
        for (compatible, words) in &self.relisted {
            statement.say_again(compatible, words);
        }
        statement.notes.extend(self.moves.clone());
        statement.needs = self.lacking(permits);
    }

    /// Refuses what nobody asked for.
    pub fn refuse_unasked(&self, permits: Permits) -> Result<(), NotAskedFor> {
        let lacking = self.lacking(permits).join(" and ");
        self.refuse_lacking(&lacking, format!("If that is meant, run this again with {lacking}"))
    }

    /// Refuses what a draft takes back that goes with something else.
    pub fn refuse_in_draft(&self) -> Result<(), NotAskedFor> {
        let lacking = self.lacking(Permits::default()).join(" and ");
        let next = format!(
            "Publish the draft by itself first (`payload publish {lacking}`), or give it up (`payload \
             draft discard`)"
        );
        self.refuse_lacking(&lacking, next)
    }

    /// The options that permit it and were not given.
    fn lacking(&self, permits: Permits) -> Vec<&'static str> {
        let relist = !self.relisted.is_empty() && !permits.relist_withdrawn;
        let back = !self.moves.is_empty() && !permits.move_back;
        let all = [(relist, "--relist-withdrawn"), (back, "--move-back")];
        all.into_iter().filter_map(|(lacks, option)| lacks.then_some(option)).collect()
    }

    fn refuse_lacking(&self, lacking: &str, next: String) -> Result<(), NotAskedFor> {
        if lacking.is_empty() {
            return Ok(());
        }
        let relisted = self.relisted.iter().map(|(_, words)| words);
        let what: Vec<_> = relisted.chain(&self.moves).cloned().collect();
        Err(NotAskedFor { what: what.join("; "), next })
    }
}
