//! The threads of a stage: each takes the next piece of work until there is
//! none, or until one of them fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use partition_layout::AlignedBuf;
use payload_tools::format::SEGMENT;

use super::error::InstallError;

/// What a thread is there for, as long as there is any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// To bring segments to the target. Each thread holds one in memory, and three when it decodes.
    Write,
    /// To bring those that need no decoder, and to read back.
    Copy,
    /// To read back only, 2 MiB at a time.
    ReadBack,
}

/// Three write, 36 MiB, and two read back: one hashes while the other reads. More than most devices
/// have cores, since a thread waits for the network and the medium.
pub(super) const CREW: &[Duty] =
    &[Duty::Write, Duty::Write, Duty::Write, Duty::ReadBack, Duty::ReadBack];

/// With a delta two write, 41 MiB: to the segment and the decoder's two copies come its source of 6 MiB,
/// another MiB of streams than a frame has, and one of places. A third copies, with 4 MiB.
pub(super) const CREW_OF_DELTA: &[Duty] =
    &[Duty::Write, Duty::Write, Duty::Copy, Duty::ReadBack, Duty::ReadBack];

/// Whether another thread has failed.
pub(super) struct Stop(AtomicBool);

impl Stop {
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on every thread of a crew, and returns the first error.
pub(super) fn run<E: Send>(
    crew: &[Duty],
    work: impl Fn(Duty, &Stop) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let stop = Stop(AtomicBool::new(false));
    let labour = |duty| {
        let result = work(duty, &stop);
        if result.is_err() {
            stop.0.store(true, Ordering::Relaxed);
        }
        result
    };
    std::thread::scope(|scope| {
        let labour = &labour;
        let start = |duty: &Duty| {
            let duty = *duty;
            scope.spawn(move || labour(duty))
        };
        let threads: Vec<_> = crew.iter().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // All are joined before the first error is returned.
        let results: Vec<_> = threads.into_iter().map(join).collect();
        results.into_iter().collect()
    })
}

/// Calls `work` once for each segment, with a segment's buffer.
pub(super) fn each_segment(
    count: u64,
    work: impl Fn(u64, &mut AlignedBuf) -> Result<(), InstallError> + Sync,
) -> Result<(), InstallError> {
    let next = AtomicU64::new(0);
    run(CREW, |_, stop| {
        let mut buffer = AlignedBuf::zeroed(SEGMENT);
        while !stop.asked() {
            let segment = next.fetch_add(1, Ordering::Relaxed);
            if segment >= count {
                break;
            }
            work(segment, &mut buffer)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_stops_the_others() {
        let taken = AtomicU64::new(0);
        let result = run(CREW, |_, stop| {
            while !stop.asked() {
                if taken.fetch_add(1, Ordering::Relaxed) == 10 {
                    return Err("the tenth");
                }
            }
            Ok(())
        });
        assert_eq!(result, Err("the tenth"));
    }
}
