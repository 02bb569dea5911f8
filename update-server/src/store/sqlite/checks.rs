use rusqlite::{Connection, named_params};

use super::{JobError, room};
use crate::store::{CheckRecord, Room};

const UPSERT: &str = "
    INSERT INTO devices (device, compatible, first_seen, last_seen, checked_at, channel, slot,
                         release, counter, action, check_reason, check_detail)
    VALUES (:device, :compatible, :at, :at, :at, :channel, :slot,
            :release, :counter, :action, :reason, :detail)
    ON CONFLICT (device) DO UPDATE SET
        compatible = :compatible, last_seen = max(last_seen, :at), checked_at = :at,
        channel = :channel, slot = :slot, release = :release, counter = :counter,
        action = :action, check_reason = :reason, check_detail = :detail
    WHERE checked_at IS NULL OR :at >= checked_at";

/// Keeps the last word of each device, in whatever order they are written down; says how many
/// devices were let go for that.
pub fn record(tx: &Connection, checks: &[CheckRecord], room: Room) -> Result<u64, JobError> {
    let mut upsert = tx.prepare_cached(UPSERT)?;
    for CheckRecord { device, compatible, at, check } in checks {
        upsert.execute(named_params! {
            ":device": device.as_str(),
            ":compatible": compatible.as_str(),
            ":at": at.as_second(),
            ":channel": check.channel.as_ref().map(|c| c.as_str()),
            ":slot": check.slot.as_str(),
            ":release": check.release.as_ref().map(|r| r.as_str()),
            // SQLite integers are signed: the bits are kept.
            ":counter": check.counter.cast_signed(),
            ":action": check.verdict.action(),
            ":reason": check.verdict.reason(),
            ":detail": check.detail,
        })?;
    }
    room::make(tx, room, None)
}

#[cfg(test)]
pub mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::rollout::{Hold, Slot, Verdict};
    use crate::store::sqlite::migrate::migrate;
    use crate::store::sqlite::{devices, events};
    use crate::store::{EventReport, LastCheck};

    const ROOM: Room = Room { devices: 9 };

    const DEVICE: &str = "00112233445566778899aabbccddeeff";

    pub fn check(second: i64, hold: Hold) -> CheckRecord {
        let check = LastCheck {
            channel: None,
            slot: Slot::A,
            release: None,
            counter: 1,
            verdict: Verdict::Stay(hold),
            detail: String::new(),
        };
        let (device, compatible) = (DEVICE.parse().unwrap(), "demo".parse().unwrap());
        CheckRecord { device, compatible, at: Timestamp::from_second(second).unwrap(), check }
    }

    #[test]
    fn the_last_check_stays_whatever_is_written_down_after_it() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let shown = || {
            let [device] = devices::list(&db, 9, None).unwrap().devices.try_into().unwrap();
            (device.check.unwrap().verdict, device.last_seen.as_second())
        };
        record(&db, &[check(20, Hold::Paused)], ROOM).unwrap();
        record(&db, &[check(10, Hold::Held)], ROOM).unwrap();
        assert_eq!(shown(), (Verdict::Stay(Hold::Paused), 20));
        // An event in between makes a check no older.
        let (device, compatible) = (DEVICE.parse().unwrap(), "demo".parse().unwrap());
        let report = EventReport { device, compatible, events: Vec::new() };
        events::record(&db, &report, Timestamp::from_second(40).unwrap(), ROOM).unwrap();
        record(&db, &[check(30, Hold::UpToDate)], ROOM).unwrap();
        assert_eq!(shown(), (Verdict::Stay(Hold::UpToDate), 40));
    }
}
