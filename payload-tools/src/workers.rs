//! Work on every core.

#[cfg(feature = "delta")]
mod line;

use std::num::NonZero;
use std::panic::resume_unwind;

#[cfg(feature = "delta")]
pub(crate) use line::in_order;

/// Threads that use every core.
pub(crate) fn every_core() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Runs `work` on this many threads at once, each until it returns, and gives
/// the first error.
pub(crate) fn run<E: Send>(
    threads: NonZero<usize>,
    work: impl Fn() -> Result<(), E> + Sync,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads.get()).map(|_| scope.spawn(&work)).collect();
        let mut result = work();
        for worker in workers {
            result = result.and(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        result
    })
}
