use rusqlite::{Connection, named_params};

use super::{JobError, devices, rows};
use crate::names::DeviceId;
use crate::store::Room;

/// An agent reports that it started as soon as it can, so what asks and never reports was invented,
/// or has only just come.
const WITHOUT_EVENTS: &str = "
    DELETE FROM devices WHERE rowid IN (
        SELECT rowid FROM devices WHERE event_at IS NULL AND pin IS NULL AND device <> :spared
        ORDER BY last_seen, rowid LIMIT :excess)";

/// Whoever floods the store comes after the devices that it would push out.
const YOUNGEST: &str = "
    SELECT device FROM devices WHERE event_at IS NOT NULL AND pin IS NULL AND device <> :spared
    ORDER BY first_seen DESC, rowid DESC LIMIT :excess";

const OLDEST_EVENTS: &str = "
    DELETE FROM events WHERE rowid IN (SELECT rowid FROM events ORDER BY rowid LIMIT ?)";

/// Lets devices go until no more are kept than there is room for, and the oldest events likewise;
/// says how many devices. `spared` is who reports right now.
pub fn make(tx: &Connection, room: Room, spared: Option<&DeviceId>) -> Result<u64, JobError> {
    let (devices, _) = tally(tx)?;
    let spared = spared.map_or("", |device| device.as_str());
    let mut excess = devices.saturating_sub(room.devices.into());
    let mut let_go = 0;
    if excess > 0 {
        let some = named_params! { ":spared": spared, ":excess": excess };
        let_go = tx.prepare_cached(WITHOUT_EVENTS)?.execute(some)? as u64;
        excess -= let_go;
    }
    if excess > 0 {
        let some = named_params! { ":spared": spared, ":excess": excess };
        let mut statement = tx.prepare_cached(YOUNGEST)?;
        let young = statement.query_map(some, |row| row.get::<_, String>(0))?;
        for device in young.collect::<Result<Vec<_>, _>>()? {
            devices::forget(tx, &rows::parse("devices.device", device)?)?;
            let_go += 1;
        }
    }
    let (_, events) = tally(tx)?;
    let excess = events.saturating_sub(room.events());
    if excess > 0 {
        tx.prepare_cached(OLDEST_EVENTS)?.execute([excess])?;
    }
    Ok(let_go)
}

/// How many devices and events there are.
fn tally(tx: &Connection) -> rusqlite::Result<(u64, u64)> {
    let mut statement = tx.prepare_cached("SELECT devices, events FROM tally")?;
    statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What the tally says and what there is.
    #[track_caller]
    pub fn assert_counted(db: &Connection, devices: u64, events: u64) {
        let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
        let counted = ["SELECT count(*) FROM devices", "SELECT count(*) FROM events"].map(count);
        assert_eq!((tally(db).unwrap(), counted), ((devices, events), [devices, events]));
    }
}
