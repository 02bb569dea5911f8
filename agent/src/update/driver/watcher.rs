//! What a running stage tells, and how it hears of its end.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Letter, Shared, lock};
use crate::install::{Phase, Progress, Report};
use crate::status::StageProgress;

/// A stage that takes longer ends, and goes on where it was once a new check has
/// shown that what is known is still fresh: no server may hold that up.
const STAGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Between two words to the server about how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Watches one stage.
pub(super) struct Watch {
    shared: Arc<Shared>,
    mailbox: mpsc::UnboundedSender<Letter>,
    began: Instant,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    speed: Speed,
    told: Duration,
}

impl Watch {
    pub fn new(shared: Arc<Shared>, mailbox: mpsc::UnboundedSender<Letter>) -> Self {
        Self { shared, mailbox, began: Instant::now(), kept: Mutex::default() }
    }
}

impl Progress for Watch {
    fn advanced(&self, report: &Report) -> ControlFlow<()> {
        let now = self.began.elapsed();
        let mut kept = lock(&self.kept);
        let rate = kept.speed.note(now, report.phase, report.bytes_done);
        let progress = progress(report, rate);
        if now.saturating_sub(kept.told) >= TOLD_EVERY {
            kept.told = now;
            // Nobody reads letters any more when the program ends.
            let _ = self.mailbox.send(Letter::Progress(progress.clone()));
        }
        self.shared.progress.send_replace(Some(progress));
        let stop = *self.shared.stop.borrow() || now > STAGE_MAX;
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn progress(report: &Report, rate: Option<u64>) -> StageProgress {
    let step = match report.phase {
        Phase::Scanning => "scanning",
        Phase::Writing => "writing",
        Phase::ReadingBack => "reading_back",
    };
    let left = report.bytes_total.saturating_sub(report.bytes_done);
    StageProgress {
        step: step.to_owned(),
        bytes_done: report.bytes_done,
        bytes_total: report.bytes_total,
        bytes_fetched: report.bytes_fetched,
        bytes_per_second: rate,
        seconds_left: rate.filter(|rate| *rate > 0).map(|rate| left.div_ceil(rate)),
    }
}

/// Bytes per second over the last seconds of one step. What a step found done when it began
/// is no speed.
#[derive(Default)]
struct Speed {
    step: Option<Phase>,
    /// Time and bytes, the oldest first.
    marks: VecDeque<(Duration, u64)>,
}

impl Speed {
    const WINDOW: Duration = Duration::from_secs(10);
    const BETWEEN: Duration = Duration::from_millis(250);
    /// Less than that says nothing.
    const LEAST: Duration = Duration::from_millis(500);

    fn note(&mut self, now: Duration, step: Phase, done: u64) -> Option<u64> {
        if self.step != Some(step) {
            *self = Self { step: Some(step), marks: VecDeque::new() };
        }
        let is_old = |mark: &(Duration, u64)| now.saturating_sub(mark.0) > Self::WINDOW;
        while self.marks.len() > 1 && self.marks.front().is_some_and(is_old) {
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|last| now.saturating_sub(last.0) >= Self::BETWEEN) {
            self.marks.push_back((now, done));
        }
        let (then, before) = self.marks.front()?;
        let span = now.saturating_sub(*then);
        if span < Self::LEAST {
            return None;
        }
        let bytes = u128::from(done.saturating_sub(*before)) * 1_000_000;
        u64::try_from(bytes / span.as_micros()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_last_seconds() {
        const MIB: u64 = 1 << 20;
        let mut speed = Speed::default();
        let mut note = |seconds: f64, step, done| {
            speed.note(Duration::from_secs_f64(seconds), step, done * MIB).map(|rate| rate / MIB)
        };
        assert_eq!(note(0.0, Phase::Writing, 100), None, "what was there is no speed");
        assert_eq!(note(0.4, Phase::Writing, 104), None, "too short to tell");
        assert_eq!(note(2.0, Phase::Writing, 120), Some(10));
        for second in 3..30_u32 {
            note(second.into(), Phase::Writing, 120 + u64::from(second));
        }
        assert_eq!(note(30.0, Phase::Writing, 150), Some(1), "the fast start is forgotten");
        assert_eq!(note(30.0, Phase::ReadingBack, 150), None);
        assert_eq!(note(31.0, Phase::ReadingBack, 140), Some(0), "threads overtake each other");
    }

    #[test]
    fn what_is_left_follows_from_the_speed() {
        let report = Report {
            phase: Phase::ReadingBack,
            bytes_done: 60 << 20,
            bytes_total: 100 << 20,
            bytes_fetched: 3 << 19,
            elapsed: Duration::ZERO,
        };
        let told = |rate| progress(&report, rate).to_string();
        assert_eq!(told(None), "reading back 60 %, 1.5 MiB fetched");
        assert_eq!(told(Some(0)), "reading back 60 %, 1.5 MiB fetched, 0.0 MiB/s");
        assert_eq!(told(Some(3 << 20)), "reading back 60 %, 1.5 MiB fetched, 3.0 MiB/s, 14 s left");
        assert_eq!(told(Some(1 << 16)).rsplit(", ").next(), Some("11 min left"));
    }
}
