//! What people must sign again before it expires: the server's own key signs the timestamp only.

use jiff::Timestamp;
use payload_tools::trust::{Role, UnixTime};

/// Whoever holds the keys is told this long before: a release team meets in that time.
const NOTICE_SECONDS: i64 = 14 * 24 * 3600;

/// The end of one role's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Whose.
    pub role: Role,
    /// From then on devices refuse it.
    pub at: UnixTime,
}

/// How soon something must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing yet.
    None,
    /// Within two weeks.
    Soon,
    /// It has expired: devices take nothing new.
    Over,
}

impl Expiry {
    /// Seconds until then; negative afterwards.
    pub fn seconds_left(&self, now: Timestamp) -> i64 {
        self.at.as_secs() - now.as_second()
    }

    /// How soon it must be signed again.
    pub fn urgency(&self, now: Timestamp) -> Urgency {
        match self.seconds_left(now) {
            ..=0 => Urgency::Over,
            1..NOTICE_SECONDS => Urgency::Soon,
            _ => Urgency::None,
        }
    }

    /// The command that signs it again.
    pub fn remedy(&self) -> &'static str {
        match self.role {
            Role::Root => "payload renew --root",
            Role::Targets | Role::Delegated(_) => "payload renew --all",
            Role::Snapshot | Role::Timestamp => "payload renew",
        }
    }

    /// Says in the log what must be done, if anything.
    pub fn warn(&self, now: Timestamp) {
        let Self { role, at } = self;
        let remedy = self.remedy();
        match self.urgency(now) {
            Urgency::None => {}
            Urgency::Soon => tracing::warn!(%role, %at, remedy, "metadata expires soon"),
            Urgency::Over => {
                tracing::error!(%role, %at, remedy, "metadata has expired: devices refuse it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_is_given_two_weeks_before() {
        let at = UnixTime::from_secs(100 * 24 * 3600);
        let expiry = Expiry { role: Role::Snapshot, at };
        for (days_before, urgency) in
            [(15, Urgency::None), (14, Urgency::None), (13, Urgency::Soon), (0, Urgency::Over)]
        {
            let now = Timestamp::from_second(at.as_secs() - days_before * 24 * 3600).unwrap();
            assert_eq!(expiry.urgency(now), urgency, "{days_before}");
        }
    }
}
