use jiff::Timestamp;
use rusqlite::{Connection, named_params};

use super::{JobError, room};
use crate::store::{DeviceEvent, EventReport, EventsRecorded, Room};

const INSERT: &str = "
    INSERT INTO events (event, device, at, received_at, kind, release, slot, from_release, reason)
    VALUES (:event, :device, :at, :now, :kind, :release, :slot, :from, :reason)
    ON CONFLICT (event) DO NOTHING";

const SEEN: &str = "
    INSERT INTO devices (device, compatible, first_seen, last_seen)
    VALUES (:device, :compatible, :now, :now)
    ON CONFLICT (device) DO UPDATE SET last_seen = max(last_seen, :now)";

/// A device reports in order and repeats until it is heard, so the last to arrive is its last
/// word. Its clock says nothing of that: it may stand at 1970, or in 2099. What says nothing of an
/// update hides no word that does: a fallback stays in sight until something comes of the next.
const LAST_WORD: &str = "
    UPDATE devices SET event_at = :at, event_kind = :kind, event_release = :release,
                       event_reason = :reason
    WHERE device = :device
      AND (:kind NOT IN ('seen', 'check', 'pinned', 'unpinned') OR event_kind IS NULL
           OR event_kind IN ('seen', 'check', 'pinned', 'unpinned'))";

/// Events kept of one device. A report has at most 256, and one that is repeated must find all of
/// them: what was let go would come again as news.
const KEPT_MAX: u32 = 1000;

const LET_GO: &str = "
    DELETE FROM events WHERE device = :device AND rowid <= (
        SELECT rowid FROM events WHERE device = :device
        ORDER BY rowid DESC LIMIT 1 OFFSET :kept)";

/// Takes the events that are not known yet, and lets the oldest go.
pub fn record(
    tx: &Connection,
    report: &EventReport,
    now: Timestamp,
    room: Room,
) -> Result<EventsRecorded, JobError> {
    let device = report.device.as_str();
    tx.prepare_cached(SEEN)?.execute(named_params! {
        ":device": device,
        ":compatible": report.compatible.as_str(),
        ":now": now.as_second(),
    })?;
    let mut new = Vec::new();
    for event in &report.events {
        if insert(tx, device, event, now)? {
            new.push(event.kind.clone());
            last_word(tx, device, event)?;
        }
    }
    if !new.is_empty() {
        let kept = named_params! { ":device": device, ":kept": KEPT_MAX };
        tx.prepare_cached(LET_GO)?.execute(kept)?;
    }
    let let_go = room::make(tx, room, Some(&report.device))?;
    Ok(EventsRecorded { new, let_go })
}

fn insert(
    tx: &Connection,
    device: &str,
    event: &DeviceEvent,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let inserted = tx.prepare_cached(INSERT)?.execute(named_params! {
        ":event": event.id.as_str(),
        ":device": device,
        ":at": event.at.as_second(),
        ":now": now.as_second(),
        ":kind": event.kind.as_str(),
        ":release": event.release.as_ref().map(|r| r.as_str()),
        ":slot": event.slot.map(|s| s.as_str()),
        ":from": event.from.as_ref().map(|r| r.as_str()),
        ":reason": event.reason.as_deref(),
    })?;
    Ok(inserted == 1)
}

fn last_word(tx: &Connection, device: &str, event: &DeviceEvent) -> rusqlite::Result<()> {
    tx.prepare_cached(LAST_WORD)?.execute(named_params! {
        ":device": device,
        ":at": event.at.as_second(),
        ":kind": event.kind.as_str(),
        ":release": event.release.as_ref().map(|r| r.as_str()),
        ":reason": event.reason.as_deref(),
    })?;
    Ok(())
}
