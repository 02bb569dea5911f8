use jiff::Timestamp;
use rusqlite::{Connection, named_params};

use super::{JobError, rows};
use crate::deltas::{Pair, Standing};
use crate::rollout::Fleet;
use crate::store::DeltaRecord;

/// Anyone may report anything: only what is listed makes a fleet, so there are never many. A device
/// that failed a release, or was rolled back from it, does not go there.
const FLEETS: &str = "
    SELECT devices.compatible, CASE WHEN devices.pin IS NULL THEN devices.channel END,
           devices.pin, devices.release, count(*)
    FROM devices JOIN releases
        ON releases.compatible = devices.compatible AND releases.release = devices.release
    WHERE releases.withdrawn_at IS NULL AND devices.last_seen >= ?
        AND devices.check_reason NOT IN ('failed_before', 'held')
        AND (devices.pin IS NOT NULL OR EXISTS (
            SELECT 1 FROM channels WHERE channels.compatible = devices.compatible
                AND channels.channel = devices.channel))
    GROUP BY 1, 2, 3, 4";

/// What devices heard of since then run, and where they belong.
pub fn fleets(db: &Connection, since: Timestamp) -> Result<Vec<Fleet>, JobError> {
    let mut statement = db.prepare_cached(FLEETS)?;
    let mut found = statement.query([since.as_second()])?;
    let mut fleets = Vec::new();
    while let Some(row) = found.next()? {
        fleets.push(Fleet {
            compatible: rows::parse("devices.compatible", row.get(0)?)?,
            channel: rows::parse_opt("devices.channel", row.get(1)?)?,
            pin: rows::parse_opt("devices.pin", row.get(2)?)?,
            release: rows::parse("devices.release", row.get(3)?)?,
            devices: row.get(4)?,
        });
    }
    Ok(fleets)
}

/// Every delta that the server made, or tried to.
pub fn list(db: &Connection) -> Result<Vec<DeltaRecord>, JobError> {
    let mut statement = db.prepare_cached(
        "SELECT to_root, from_root, state, bytes, sha256, attempts, changed_at FROM deltas",
    )?;
    let mut found = statement.query([])?;
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        let to = rows::parse("deltas.to_root", row.get(0)?)?;
        let from = rows::parse("deltas.from_root", row.get(1)?)?;
        let (state, bytes): (String, Option<i64>) = (row.get(2)?, row.get(3)?);
        let standing = match (state.as_str(), bytes.map(i64::cast_unsigned)) {
            ("made", Some(bytes)) => Standing::Made(bytes),
            ("unkept", Some(bytes)) => Standing::Unkept(bytes),
            ("not_worth", _) => Standing::NotWorth,
            ("failed", _) => {
                let at = rows::time("deltas.changed_at", row.get(6)?)?;
                Standing::Failed(row.get(5)?, at)
            }
            _ => return Err(JobError::Corrupt { column: "deltas.state", value: state }),
        };
        let sha256 = rows::parse_opt("deltas.sha256", row.get(4)?)?;
        records.push(DeltaRecord { pair: Pair { to, from }, standing, sha256 });
    }
    Ok(records)
}

/// Keeps what is known of a delta, in place of what was.
pub fn record(tx: &Connection, record: &DeltaRecord, now: Timestamp) -> Result<(), JobError> {
    let DeltaRecord { pair, standing, sha256 } = record;
    let (state, bytes, attempts, at) = match *standing {
        Standing::Unknown => return forget(tx, pair),
        Standing::Made(bytes) => ("made", Some(bytes), 0, now),
        Standing::Unkept(bytes) => ("unkept", Some(bytes), 0, now),
        Standing::NotWorth => ("not_worth", None, 0, now),
        Standing::Failed(attempts, at) => ("failed", None, attempts, at),
    };
    tx.execute(
        "INSERT OR REPLACE INTO deltas
             (to_root, from_root, state, bytes, sha256, attempts, changed_at)
         VALUES (:to, :from, :state, :bytes, :sha256, :attempts, :at)",
        named_params! {
            ":to": pair.to.to_string(),
            ":from": pair.from.to_string(),
            ":state": state,
            ":bytes": bytes.map(u64::cast_signed),
            ":sha256": sha256.as_ref().map(ToString::to_string),
            ":attempts": attempts,
            ":at": at.as_second(),
        },
    )?;
    Ok(())
}

fn forget(tx: &Connection, pair: &Pair) -> Result<(), JobError> {
    let pair = (pair.to.to_string(), pair.from.to_string());
    tx.execute("DELETE FROM deltas WHERE to_root = ? AND from_root = ?", pair)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Hash;
    use crate::store::sqlite::migrate::migrate;

    fn store() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        db
    }

    #[test]
    fn what_is_known_of_a_delta_is_read_back() {
        let db = store();
        let pair = Pair { to: Hash::of(b"to"), from: Hash::of(b"from") };
        let at = Timestamp::from_second(7).unwrap();
        for standing in [
            Standing::Made(5),
            Standing::Unkept(u64::MAX),
            Standing::NotWorth,
            Standing::Failed(3, at),
        ] {
            let sha256 = matches!(standing, Standing::Made(_)).then(|| Hash::of(b"file"));
            let kept = DeltaRecord { pair, standing, sha256 };
            record(&db, &kept, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(list(&db).unwrap(), [kept]);
        }
        let gone = DeltaRecord { pair, standing: Standing::Unknown, sha256: None };
        record(&db, &gone, at).unwrap();
        assert_eq!(list(&db).unwrap(), []);
    }

    /// (release, channel, pin, last seen, reason of the last answer).
    type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, i64, &'a str);

    #[test]
    fn a_fleet_is_what_runs_a_listed_release_and_may_go_on() {
        let db = store();
        db.execute_batch(
            "INSERT INTO releases (compatible, release, counter, facts, published_at, withdrawn_at)
             VALUES ('demo', '1', 1, '', 0, NULL), ('demo', '2', 2, '', 0, NULL),
                    ('demo', '0', 0, '', 0, 5);
             INSERT INTO channels (compatible, channel, release, changed_at)
             VALUES ('demo', 'stable', '2', 0);",
        )
        .unwrap();
        let stable = Some("stable");
        let devices: [Row; 9] = [
            ("1", stable, None, 20, "channel"),
            ("1", stable, None, 30, "paused"),
            ("1", Some("invented"), Some("2"), 30, "device_pin"),
            ("2", stable, None, 30, "up_to_date"),
            ("1", stable, None, 19, "channel"),
            ("0", stable, None, 30, "channel"),
            ("9", stable, None, 30, "channel"),
            ("1", Some("invented"), None, 30, "no_channel"),
            ("1", stable, None, 30, "failed_before"),
        ];
        for (n, (release, channel, pin, seen, reason)) in devices.into_iter().enumerate() {
            db.execute(
                "INSERT INTO devices (device, compatible, first_seen, last_seen, pin, channel, slot,
                                      release, counter, action, check_reason, check_detail)
                 VALUES (?, 'demo', 0, ?, ?, ?, 'A', ?, 1, 'none', ?, '')",
                (format!("{n:032x}"), seen, pin, channel, release, reason),
            )
            .unwrap();
        }
        let found = fleets(&db, Timestamp::from_second(20).unwrap()).unwrap();
        let said = |fleet: &Fleet| {
            let channel = fleet.channel.as_ref().map_or("-", |channel| channel.as_str());
            let pin = fleet.pin.as_ref().map_or("-", |pin| pin.as_str());
            format!("{} {channel} {pin} {}", fleet.release, fleet.devices)
        };
        let mut said: Vec<_> = found.iter().map(said).collect();
        said.sort();
        assert_eq!(said, ["1 - 2 1", "1 stable - 2", "2 stable - 1"]);
    }
}
