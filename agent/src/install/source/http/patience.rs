use std::time::Duration;

/// How long a source goes on trying before it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts in a row that bring no byte, before it is an error.
    pub fruitless_attempts_max: u32,
    /// Wait before the second attempt in a row; doubled for each further one,
    /// at most 64 times this.
    pub pause: Duration,
    /// Silence on an open connection that counts as a dropped one.
    pub silence_max: Duration,
    /// Of waiting for one reader: what brings fewer than `least` bytes in it
    /// drips, and dripping so many times in a row is an error too.
    pub pace: Duration,
    /// Bytes.
    pub least: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            fruitless_attempts_max: 6,
            pause: Duration::from_millis(500),
            silence_max: Duration::from_secs(30),
            pace: Duration::from_secs(60),
            least: 16 << 10,
        }
    }
}

impl Patience {
    pub(super) fn pause_before(&self, attempt: u32) -> Duration {
        match attempt {
            0 => Duration::ZERO,
            n => self.pause.saturating_mul(1 << (n - 1).min(6)),
        }
    }
}

/// What came while a reader waited.
#[derive(Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

/// How a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gait {
    /// Not known yet.
    Open,
    /// As it should.
    Steady,
    /// So slowly that it would hold up a stage for days.
    Dripping,
}

impl Pace {
    pub(super) fn count(&mut self, bytes: usize, waited: Duration, patience: &Patience) -> Gait {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.waited < patience.pace {
            return Gait::Open;
        }
        let brought = std::mem::take(self).bytes;
        if brought < patience.least { Gait::Dripping } else { Gait::Steady }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_pace_tells_a_drip() {
        let minute = Duration::from_secs(60);
        let patience = Patience { pace: minute, least: 100, ..Patience::default() };
        let mut pace = Pace::default();
        let mut after = |seconds, bytes| pace.count(bytes, Duration::from_secs(seconds), &patience);
        assert_eq!([after(59, 0), after(1, 99)], [Gait::Open, Gait::Dripping]);
        assert_eq!([after(30, 50), after(30, 50)], [Gait::Open, Gait::Steady]);
    }

    /// docs/threat-model.md names these.
    #[test]
    fn a_server_that_brings_next_to_nothing_is_left_within_minutes() {
        let patience = Patience::default();
        let attempts = patience.fruitless_attempts_max;
        let pauses: Duration = (0..attempts - 1).map(|n| patience.pause_before(n)).sum();
        assert_eq!((attempts, pauses), (6, Duration::from_millis(7500)));
        assert_eq!(patience.silence_max * attempts + pauses, Duration::from_millis(187_500));
        // A byte each second, from the first to the end.
        let (mut pace, mut drips, mut waited) = (Pace::default(), 0, Duration::ZERO);
        while drips < attempts {
            waited += Duration::from_secs(1);
            drips += u32::from(pace.count(1, Duration::from_secs(1), &patience) == Gait::Dripping);
        }
        assert_eq!(waited + pauses, Duration::from_millis(367_500));
    }
}
