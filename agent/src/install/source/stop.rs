use std::ops::ControlFlow;

use tokio::sync::watch;

use crate::install::{Progress, Report};

/// How work that waits hears of its end at once: when the word is given, or nobody is left who
/// could give it.
#[derive(Clone, Debug)]
pub struct StopWord(watch::Receiver<bool>);

impl StopWord {
    /// Given by sending `true`, or by dropping the sender.
    pub fn of(sender: &watch::Sender<bool>) -> Self {
        Self(sender.subscribe())
    }

    /// Whether it was given.
    pub fn is_given(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is given.
    pub async fn given(&self) {
        // An error says that the sender is gone.
        let _ = self.0.clone().wait_for(|given| *given).await;
    }
}

impl Progress for StopWord {
    fn advanced(&self, _: &Report) -> ControlFlow<()> {
        if self.is_given() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaks(stop: &StopWord) -> bool {
        stop.advanced(&Report::of_nothing(1)).is_break()
    }

    #[tokio::test]
    async fn the_word_is_heard_when_it_is_given_and_when_nobody_can_give_it() {
        let sender = watch::Sender::new(false);
        let stop = StopWord::of(&sender);
        let early = tokio::time::timeout(Duration::ZERO, stop.given()).await;
        assert!(early.is_err() && !stop.is_given() && !breaks(&stop));
        sender.send_replace(true);
        stop.given().await;
        assert!(stop.is_given() && breaks(&stop));
        assert!(StopWord::of(&sender).is_given(), "who comes late hears it too");

        let sender = watch::Sender::new(false);
        let stop = StopWord::of(&sender);
        drop(sender);
        stop.given().await;
        assert!(stop.is_given() && breaks(&stop));
    }

    /// As a task that is aborted, or out of time, does.
    #[tokio::test]
    async fn a_task_that_is_aborted_gives_the_word() {
        let sender = watch::Sender::new(false);
        let stop = StopWord::of(&sender);
        let task = tokio::spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        assert!(!stop.is_given());
        task.abort();
        stop.given().await;
    }
}
