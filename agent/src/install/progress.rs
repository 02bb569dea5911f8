//! How far a stage is, told to whoever watches, who may end it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Told after each segment, from several threads.
pub trait Progress: Sync {
    /// `Break` cancels the stage at the next segment; the target stays unbootable.
    fn advanced(&self, report: &Report) -> ControlFlow<()>;
}

/// Watches nothing.
impl Progress for () {
    fn advanced(&self, _: &Report) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: Fn(&Report) -> ControlFlow<()> + Sync> Progress for F {
    fn advanced(&self, report: &Report) -> ControlFlow<()> {
        self(report)
    }
}

/// What a stage is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking for what the target or the booted slot already has.
    Scanning,
    /// Fetching, decoding, checking, writing; what is written is read back meanwhile.
    Writing,
    /// All is written, the rest of the slot is read back from the medium.
    ReadingBack,
}

/// A moment of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What is being done.
    pub phase: Phase,
    /// Bytes of both images that this phase is through with.
    pub bytes_done: u64,
    /// Bytes of both images.
    pub bytes_total: u64,
    /// Payload bytes read from the source since the stage began.
    pub bytes_fetched: u64,
    /// Time since the phase began; reading back begins with writing.
    pub elapsed: Duration,
}

impl Report {
    /// Before anything is done of so many bytes.
    pub fn of_nothing(bytes_total: u64) -> Self {
        Report {
            phase: Phase::Scanning,
            bytes_done: 0,
            bytes_total,
            bytes_fetched: 0,
            elapsed: Duration::ZERO,
        }
    }
}

/// Counts for all threads of a stage.
pub(super) struct Meter<'p> {
    progress: &'p dyn Progress,
    phase: Phase,
    began: Instant,
    total: u64,
    scanned: AtomicU64,
    written: AtomicU64,
    read_back: AtomicU64,
    fetched: AtomicU64,
}

impl<'p> Meter<'p> {
    pub fn new(progress: &'p dyn Progress, total: u64) -> Self {
        Meter {
            progress,
            phase: Phase::Scanning,
            began: Instant::now(),
            total,
            scanned: AtomicU64::new(0),
            written: AtomicU64::new(0),
            read_back: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
        }
    }

    pub fn enter(&mut self, phase: Phase) {
        *self = Meter {
            phase,
            fetched: AtomicU64::new(*self.fetched.get_mut()),
            ..Meter::new(self.progress, self.total)
        };
    }

    pub fn count_fetched(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts image bytes that went through `phase` and tells the watcher.
    pub fn advance(&self, phase: Phase, bytes: u64) -> ControlFlow<()> {
        self.counter(phase).fetch_add(bytes, Ordering::Relaxed);
        self.progress.advanced(&self.report())
    }

    pub fn report(&self) -> Report {
        let all_written = self.written.load(Ordering::Relaxed) >= self.total;
        let phase = if all_written { Phase::ReadingBack } else { self.phase };
        Report {
            phase,
            bytes_done: self.counter(phase).load(Ordering::Relaxed),
            bytes_total: self.total,
            bytes_fetched: self.fetched.load(Ordering::Relaxed),
            elapsed: self.began.elapsed(),
        }
    }

    fn counter(&self, phase: Phase) -> &AtomicU64 {
        match phase {
            Phase::Scanning => &self.scanned,
            Phase::Writing => &self.written,
            Phase::ReadingBack => &self.read_back,
        }
    }
}
