use jiff::Timestamp;

use super::memory::cut;
use super::{Change, Effect, Kind, Life, Outcome, Phase, Report, Seen, Verdict};
use crate::install::Download;

/// One call of the machine: the life before and after it, and what is to be done.
pub(super) struct Step<'a> {
    pub life: Life,
    pub seen: &'a Seen,
    pub now: Timestamp,
    pub effects: Vec<Effect>,
}

impl Step<'_> {
    pub fn enter(&mut self, phase: Phase) {
        self.life.phase = phase;
    }

    pub fn perform(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Ends in a resting phase, with how it came out.
    pub fn rest(&mut self, phase: Phase, verdict: Verdict) {
        self.enter(phase);
        self.conclude(verdict);
    }

    pub fn conclude(&mut self, verdict: Verdict) {
        self.life.outcome = Some(Outcome { at: self.now, verdict });
    }

    /// Writes a line of history and queues it for the server.
    pub fn report(&mut self, kind: Kind, change: &Change, reason: Option<String>) {
        self.note(Report::of(kind, change, self.now, reason));
    }

    /// The same of a release that is staged: in words, and for programs.
    pub fn report_staged(&mut self, change: &Change, download: Download) {
        let report = Report::of(Kind::Staged, change, self.now, Some(download.to_string()));
        self.note(Report { download: Some(download), ..report });
    }

    /// As [`Self::report`], about the running release.
    pub fn report_booted(&mut self, kind: Kind, reason: Option<String>) {
        let booted = self.seen.pair().ok().map(|(booted, _)| booted);
        self.note(Report {
            at: self.now,
            kind,
            release: booted.and_then(|slot| slot.named.as_ref()).map(|named| named.release.clone()),
            slot: booted.map(|slot| slot.letter),
            from: None,
            reason,
            download: None,
        });
    }

    fn note(&mut self, mut report: Report) {
        report.reason = report.reason.as_deref().map(cut);
        self.life.memory.note(report.clone());
        self.perform(Effect::Send(report));
    }
}
