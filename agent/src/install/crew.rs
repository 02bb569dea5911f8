//! The threads of a stage: each takes the next piece of work until there is
//! none, or until one of them fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use partition_layout::AlignedBuf;
use payload_tools::format::SEGMENT;

use super::error::InstallError;

/// Threads that bring segments to the target. Each holds one in memory, and three when it
/// decodes: 36 MiB, and 81 from a delta, whose body, source of 6 MiB and streams of a patch come on
/// top. More than most devices have cores, since a thread waits for the network and the medium.
pub(super) const WRITERS: usize = 3;

/// Threads that only read back, each with a buffer of 2 MiB: one hashes while the other reads.
pub(super) const READERS: usize = 2;

/// Whether another thread has failed.
pub(super) struct Stop(AtomicBool);

impl Stop {
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on so many threads, each with its number, and returns the first error.
pub(super) fn run<E: Send>(
    threads: usize,
    work: impl Fn(usize, &Stop) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let stop = Stop(AtomicBool::new(false));
    let labour = |number| {
        let result = work(number, &stop);
        if result.is_err() {
            stop.0.store(true, Ordering::Relaxed);
        }
        result
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || labour(number))).collect();
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
    run(WRITERS + READERS, |_, stop| {
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
        let result = run(4, |_, stop| {
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
