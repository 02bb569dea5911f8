//! Parts that are made on every core and accepted in order.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::run;

/// Parts that may be finished before the one that is accepted next: this bounds what a slow one
/// makes the others hold.
const AHEAD_MAX: u64 = 32;

/// Makes the parts below `count` on this many threads, each with tools of its own, and gives them
/// to `accept` in order. The first error ends the work of all, and so does a panic.
pub(crate) fn in_order<Tools, Part: Send, E: Send>(
    (threads, count): (NonZero<usize>, u64),
    tools: impl Fn() -> Result<Tools, E> + Sync,
    make: impl Fn(&mut Tools, u64) -> Result<Part, E> + Sync,
    accept: impl FnMut(u64, Part) -> Result<(), E> + Send,
) -> Result<(), E> {
    let line = Line {
        state: Mutex::new(State {
            taken: 0,
            next: 0,
            stopped: false,
            waiting: BTreeMap::new(),
            accept,
        }),
        turn: Condvar::new(),
    };
    run(threads, || {
        // The others wait for parts that will not come.
        let stop = StopUnlessDone { line: &line, done: false };
        let mut tools = tools()?;
        while let ControlFlow::Continue(index) = line.take(count) {
            line.bring(index, make(&mut tools, index)?)?;
        }
        stop.done();
        Ok(())
    })
}

/// Where workers bring their parts.
struct Line<Part, Accept> {
    state: Mutex<State<Part, Accept>>,
    turn: Condvar,
}

struct State<Part, Accept> {
    taken: u64,
    next: u64,
    stopped: bool,
    waiting: BTreeMap<u64, Part>,
    accept: Accept,
}

impl<Part, Accept> Line<Part, Accept> {
    fn lock(&self) -> MutexGuard<'_, State<Part, Accept>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part to make, when it is near enough to the one that is accepted next.
    fn take(&self, count: u64) -> ControlFlow<(), u64> {
        let mut state = self.lock();
        let index = state.taken;
        if index >= count {
            return ControlFlow::Break(());
        }
        state.taken += 1;
        let too_far = |state: &mut State<_, _>| index > state.next + AHEAD_MAX && !state.stopped;
        let waited = self.turn.wait_while(state, too_far);
        match waited.unwrap_or_else(PoisonError::into_inner).stopped {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(index),
        }
    }

    /// Keeps a part, or accepts it and those that have waited for it.
    fn bring<E>(&self, index: u64, part: Part) -> Result<(), E>
    where
        Accept: FnMut(u64, Part) -> Result<(), E>,
    {
        let mut state = self.lock();
        let state = &mut *state;
        state.waiting.insert(index, part);
        while let Some(part) = state.waiting.remove(&state.next) {
            (state.accept)(state.next, part)?;
            state.next += 1;
        }
        self.turn.notify_all();
        Ok(())
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.turn.notify_all();
    }
}

/// Stops the line when its worker ends by an error or a panic.
struct StopUnlessDone<'a, Part, Accept> {
    line: &'a Line<Part, Accept>,
    done: bool,
}

impl<Part, Accept> StopUnlessDone<'_, Part, Accept> {
    fn done(mut self) {
        self.done = true;
    }
}

impl<Part, Accept> Drop for StopUnlessDone<'_, Part, Accept> {
    fn drop(&mut self) {
        if !self.done {
            self.line.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const COUNT: u64 = 200;

    fn threads() -> NonZero<usize> {
        NonZero::new(4).unwrap()
    }

    #[test]
    fn parts_are_accepted_in_order_and_no_worker_runs_ahead() {
        let next = AtomicU64::new(0);
        let make = |_: &mut (), index| {
            assert!(index <= next.load(Ordering::SeqCst) + AHEAD_MAX);
            if index % 7 == 0 {
                std::thread::yield_now();
            }
            Ok::<_, ()>(index * 2)
        };
        let mut accepted = Vec::new();
        in_order(
            (threads(), COUNT),
            || Ok(()),
            make,
            |index, part| {
                next.store(index + 1, Ordering::SeqCst);
                accepted.push(part);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(accepted, (0..COUNT).map(|index| index * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_the_work_of_all() {
        let fail_at = |bad: u64| move |index: u64| if index == bad { Err(index) } else { Ok(()) };
        let in_make = in_order(
            (threads(), COUNT),
            || Ok(()),
            |_: &mut (), index| fail_at(3)(index),
            |_, ()| Ok(()),
        );
        assert_eq!(in_make, Err(3));
        let in_accept = in_order(
            (threads(), COUNT),
            || Ok(()),
            |_: &mut (), _| Ok(()),
            |index, ()| fail_at(5)(index),
        );
        assert_eq!(in_accept, Err(5));
        let no_tools = || Err::<(), _>(7);
        let made = in_order((threads(), COUNT), no_tools, |(), _| Ok(()), |_, ()| Ok(()));
        assert_eq!(made, Err(7));
    }

    /// The part that panics is the one for which all others come to wait.
    #[test]
    fn a_panic_ends_the_work_of_all() {
        let panicking = || {
            in_order(
                (threads(), COUNT),
                || Ok::<_, ()>(()),
                |_: &mut (), index| {
                    assert!(index > 0, "on purpose");
                    Ok(())
                },
                |_, ()| Ok(()),
            )
        };
        assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    }
}
