use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{JobError, policy, rows};
use crate::names::{Compatible, DeviceId, Release};
use crate::store::{
    DeviceCursor, DeviceDetail, DeviceEvent, DevicePage, DeviceRecord, Forgotten, LastCheck,
    LastEvent, Pinned, Standing,
};

/// Pins a device that was seen before, or lets it go.
pub fn pin(
    tx: &Connection,
    device: &DeviceId,
    release: Option<&Release>,
) -> Result<Pinned, JobError> {
    let compatible: Option<String> = tx
        .prepare_cached("SELECT compatible FROM devices WHERE device = ?")?
        .query_row([device.as_str()], |row| row.get(0))
        .optional()?;
    let Some(compatible) = compatible else { return Ok(Pinned::UnknownDevice) };
    let compatible: Compatible = rows::parse("devices.compatible", compatible)?;
    if let Some(release) = release
        && policy::offer(tx, &compatible, release)?.is_none()
    {
        return Ok(Pinned::UnknownRelease);
    }
    let pin = release.map(|release| release.as_str());
    tx.execute("UPDATE devices SET pin = ? WHERE device = ?", (pin, device.as_str()))?;
    Ok(Pinned::Done)
}

/// Removes a device and its events.
pub fn forget(tx: &Connection, device: &DeviceId) -> Result<Forgotten, JobError> {
    tx.execute("DELETE FROM events WHERE device = ?", [device.as_str()])?;
    match tx.execute("DELETE FROM devices WHERE device = ?", [device.as_str()])? {
        0 => Ok(Forgotten::UnknownDevice),
        _ => Ok(Forgotten::Done),
    }
}

/// Removes at most `limit` devices without a pin that were not heard of since.
pub fn forget_unseen(tx: &Connection, since: Timestamp, limit: u32) -> Result<u64, JobError> {
    let mut statement = tx.prepare_cached(
        "SELECT device FROM devices WHERE last_seen < ? AND pin IS NULL
         ORDER BY last_seen LIMIT ?",
    )?;
    let rows = statement.query_map((since.as_second(), limit), |row| row.get::<_, String>(0))?;
    let mut forgotten = 0;
    for device in rows.collect::<Result<Vec<_>, _>>()? {
        forget(tx, &rows::parse("devices.device", device)?)?;
        forgotten += 1;
    }
    Ok(forgotten)
}

const DEVICE: &str = "
    SELECT device, compatible, first_seen, last_seen, pin, channel, slot, release, counter, action,
           check_reason, check_detail, event_at, event_kind, event_release, event_reason
    FROM devices";

/// At most `limit` devices that come after the one of the cursor.
pub fn list(
    db: &Connection,
    limit: u32,
    before: Option<&DeviceCursor>,
) -> Result<DevicePage, JobError> {
    // One read transaction: list and number of the same instant.
    let db = db.unchecked_transaction()?;
    let sql = format!(
        "{DEVICE} WHERE last_seen <= ?1 AND (last_seen < ?1 OR device > ?2)
         ORDER BY last_seen DESC, device LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let (last_seen, after) =
        before.map_or((i64::MAX, ""), |cursor| (cursor.last_seen, cursor.device.as_str()));
    // One more than is shown says whether there are more.
    let mut found = statement.query((last_seen, after, u64::from(limit) + 1))?;
    let mut devices = Vec::new();
    while let Some(row) = found.next()? {
        devices.push(device(row)?);
    }
    let total = db.query_row("SELECT count(*) FROM devices", [], |row| row.get(0))?;
    let more = devices.len() > limit as usize;
    devices.truncate(limit as usize);
    let next = devices.last().filter(|_| more).map(|last: &DeviceRecord| DeviceCursor {
        last_seen: last.last_seen.as_second(),
        device: last.device.clone(),
    });
    Ok(DevicePage { devices, total, next })
}

/// One device with the events that arrived last.
pub fn detail(
    db: &Connection,
    id: &DeviceId,
    limit: u32,
) -> Result<Option<DeviceDetail>, JobError> {
    let mut statement = db.prepare_cached(&format!("{DEVICE} WHERE device = ?"))?;
    let mut found = statement.query([id.as_str()])?;
    let Some(row) = found.next()? else { return Ok(None) };
    let device = device(row)?;
    let mut statement = db.prepare_cached(
        "SELECT event, at, kind, release, slot, from_release, reason FROM events
         WHERE device = ? ORDER BY rowid DESC LIMIT ?",
    )?;
    let mut found = statement.query((id.as_str(), limit))?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        events.push(event(row)?);
    }
    Ok(Some(DeviceDetail { device, events }))
}

/// Anyone may report any name: only published ones are told apart.
const STANDING: &str = "
    SELECT CASE WHEN devices.compatible IN (SELECT compatible FROM releases)
                THEN devices.compatible END,
           releases.release, count(*)
    FROM devices LEFT JOIN releases
        ON releases.compatible = devices.compatible AND releases.release = devices.release
    GROUP BY 1, 2";

/// How many devices run which release.
pub fn standing(db: &Connection) -> Result<Vec<Standing>, JobError> {
    let mut statement = db.prepare_cached(STANDING)?;
    let mut found = statement.query([])?;
    let mut standing = Vec::new();
    while let Some(row) = found.next()? {
        standing.push(Standing {
            compatible: rows::parse_opt("devices.compatible", row.get(0)?)?,
            release: rows::parse_opt("releases.release", row.get(1)?)?,
            devices: row.get(2)?,
        });
    }
    Ok(standing)
}

fn device(row: &Row<'_>) -> Result<DeviceRecord, JobError> {
    Ok(DeviceRecord {
        device: rows::parse("devices.device", row.get(0)?)?,
        compatible: rows::parse("devices.compatible", row.get(1)?)?,
        first_seen: rows::time("devices.first_seen", row.get(2)?)?,
        last_seen: rows::time("devices.last_seen", row.get(3)?)?,
        pin: rows::parse_opt("devices.pin", row.get(4)?)?,
        check: last_check(row)?,
        event: last_event(row)?,
    })
}

fn last_check(row: &Row<'_>) -> Result<Option<LastCheck>, JobError> {
    let Some(action) = row.get::<_, Option<String>>(9)? else { return Ok(None) };
    let counter: i64 = row.get(8)?;
    let reason: String = row.get(10)?;
    Ok(Some(LastCheck {
        channel: rows::parse_opt("devices.channel", row.get(5)?)?,
        slot: rows::slot("devices.slot", row.get(6)?)?,
        release: rows::parse_opt("devices.release", row.get(7)?)?,
        counter: counter.cast_unsigned(),
        verdict: rows::verdict("devices.check_reason", &action, &reason)?,
        detail: row.get(11)?,
    }))
}

fn last_event(row: &Row<'_>) -> Result<Option<LastEvent>, JobError> {
    let Some(at) = row.get::<_, Option<i64>>(12)? else { return Ok(None) };
    Ok(Some(LastEvent {
        at: rows::time("devices.event_at", at)?,
        kind: rows::parse("devices.event_kind", row.get(13)?)?,
        release: rows::parse_opt("devices.event_release", row.get(14)?)?,
        reason: row.get(15)?,
    }))
}

fn event(row: &Row<'_>) -> Result<DeviceEvent, JobError> {
    let slot: Option<String> = row.get(4)?;
    Ok(DeviceEvent {
        id: rows::parse("events.event", row.get(0)?)?,
        at: rows::time("events.at", row.get(1)?)?,
        kind: rows::parse("events.kind", row.get(2)?)?,
        release: rows::parse_opt("events.release", row.get(3)?)?,
        slot: slot.map(|slot| rows::slot("events.slot", slot)).transpose()?,
        from: rows::parse_opt("events.from_release", row.get(5)?)?,
        reason: row.get(6)?,
    })
}
