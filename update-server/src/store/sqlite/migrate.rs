use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// Each brings the schema from its index to the next; `user_version` counts them.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/0001_first.sql"),
    include_str!("../../../migrations/0002_named_tokens.sql"),
    include_str!("../../../migrations/0003_checked_at.sql"),
    include_str!("../../../migrations/0004_tally.sql"),
    include_str!("../../../migrations/0005_deltas.sql"),
];

/// The schema's version; 0: there is none yet.
pub fn version(connection: &Connection) -> Result<u32, StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    version.map_err(|source| StoreError::of("read its schema's version", source))
}

/// Brings the schema up to date.
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as u32;
    if version(connection)? == known {
        return Ok(());
    }
    let refused = |source| StoreError::of("migrate its schema", source);
    let tx =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(refused)?;
    // Another process may have done it since.
    let found = version(&tx)?;
    let pending = MIGRATIONS.get(found as usize..).ok_or(StoreError::Newer { found, known })?;
    for sql in pending {
        tx.execute_batch(sql).map_err(refused)?;
    }
    tx.pragma_update(None, "user_version", known).map_err(refused)?;
    tx.commit().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::super::room::tests::assert_counted;
    use super::super::{checks, deltas, devices, room, tokens};
    use super::*;
    use crate::names::TokenName;
    use crate::rollout::{Hold, Verdict};
    use crate::store::Room;

    /// A store of that version, with these rows, brought up to date.
    fn upgraded(version: usize, rows: &str) -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        for sql in &MIGRATIONS[..version] {
            db.execute_batch(sql).unwrap();
        }
        db.pragma_update(None, "user_version", version as u32).unwrap();
        db.execute_batch(rows).unwrap();
        migrate(&mut db).unwrap();
        db
    }

    #[test]
    fn the_only_token_of_an_old_store_is_called_first() {
        let hash = "07".repeat(32);
        let db = upgraded(1, &format!("INSERT INTO admin_token VALUES ('{hash}', 5)"));
        assert_eq!(tokens::hashes(&db).unwrap(), [(TokenName::first(), [7; 32])]);
        let [first] = tokens::list(&db).unwrap().try_into().unwrap();
        assert_eq!((first.name.as_str(), first.created_at.as_second()), ("first", 5));
    }

    #[test]
    fn a_device_of_an_old_store_takes_its_next_check() {
        let row = "INSERT INTO devices (device, compatible, first_seen, last_seen, slot, counter,
                                        action, check_reason, check_detail)
                   VALUES ('00112233445566778899aabbccddeeff', 'demo', 1, 9, 'A', 1,
                           'none', 'paused', 'stable is paused')";
        let db = upgraded(2, row);
        let check = checks::tests::check(9, Hold::UpToDate);
        checks::record(&db, &[check], Room::default()).unwrap();
        let [device] = devices::list(&db, 9, None).unwrap().devices.try_into().unwrap();
        assert_eq!(device.check.unwrap().verdict, Verdict::Stay(Hold::UpToDate));
    }

    #[test]
    fn the_devices_and_events_of_an_old_store_are_counted() {
        let row = "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 9)
                   INSERT INTO devices (device, compatible, first_seen, last_seen)
                   SELECT format('%032x', n), 'demo', n, n FROM n;
                   INSERT INTO events (event, device, at, received_at, kind)
                   SELECT format('%032x', 1), device, 1, 1, 'seen' FROM devices LIMIT 1;";
        let db = upgraded(3, row);
        assert_counted(&db, 9, 1);
        assert_eq!(room::make(&db, Room { devices: 5 }, None).unwrap(), 4);
        assert_counted(&db, 5, 1);
    }

    #[test]
    fn an_old_store_knows_of_no_deltas() {
        assert_eq!(deltas::list(&upgraded(4, "")).unwrap(), []);
    }

    #[test]
    fn a_store_is_migrated_once_and_a_newer_one_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        migrate(&mut db).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(migrate(&mut db), Err(StoreError::Newer { found: 99, .. })));
    }
}
