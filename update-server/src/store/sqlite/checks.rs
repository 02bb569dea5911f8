use rusqlite::{Connection, named_params};

use super::JobError;
use crate::store::CheckRecord;

const UPSERT: &str = "
    INSERT INTO devices (device, compatible, first_seen, last_seen, channel, slot, release, counter,
                         action, check_reason, check_detail)
    VALUES (:device, :compatible, :at, :at, :channel, :slot, :release, :counter,
            :action, :reason, :detail)
    ON CONFLICT (device) DO UPDATE SET
        compatible = :compatible, last_seen = max(last_seen, :at), channel = :channel, slot = :slot,
        release = :release, counter = :counter, action = :action, check_reason = :reason,
        check_detail = :detail";

/// Keeps the last word of each device.
pub fn record(tx: &Connection, checks: &[CheckRecord]) -> Result<(), JobError> {
    let mut upsert = tx.prepare_cached(UPSERT)?;
    for CheckRecord { at, report, decision } in checks {
        let verdict = decision.verdict();
        upsert.execute(named_params! {
            ":device": report.device.as_str(),
            ":compatible": report.compatible.as_str(),
            ":at": at.as_second(),
            ":channel": decision.channel().map(|c| c.as_str()),
            ":slot": report.slot.as_str(),
            ":release": report.release.as_ref().map(|r| r.as_str()),
            // SQLite integers are signed: the bits are kept.
            ":counter": report.counter.cast_signed(),
            ":action": verdict.action(),
            ":reason": verdict.reason(),
            ":detail": decision.detail(),
        })?;
    }
    Ok(())
}
