//! The threads of a stage: each takes the next piece of work until there is
//! none, or until one of them fails.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use partition_layout::AlignedBuf;
use payload_tools::format::SEGMENT;

use super::error::InstallError;

/// Most threads. Each holds one segment in memory, and three when it decodes:
/// this bounds a stage to 48 MiB of buffers, and one from a delta to 108: its body,
/// its source of 6 MiB and the streams of a patch come on top. More than cores, since a thread
/// waits while the medium writes.
const THREADS_MAX: usize = 4;

/// Whether another thread has failed.
pub(super) struct Stop(AtomicBool);

impl Stop {
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many threads so many pieces of work deserve.
pub(super) fn threads(pieces: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores * 2).min(THREADS_MAX).min(pieces.max(1))
}

/// Runs `work` on as many threads as `pieces` of work deserve, and returns the
/// first error.
pub(super) fn run<E: Send>(
    pieces: usize,
    work: impl Fn(&Stop) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let threads = threads(pieces);
    let stop = Stop(AtomicBool::new(false));
    let labour = || {
        let result = work(&stop);
        if result.is_err() {
            stop.0.store(true, Ordering::Relaxed);
        }
        result
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(labour)).collect();
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
    run(usize::try_from(count).unwrap_or(usize::MAX), |stop| {
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
        let result = run(100, |stop| {
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
