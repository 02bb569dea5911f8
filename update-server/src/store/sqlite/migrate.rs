use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// Each brings the schema from its index to the next; `user_version` counts them.
const MIGRATIONS: &[&str] = &[include_str!("../../../migrations/0001_first.sql")];

/// Brings the schema up to date.
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let refused = |source| StoreError::Refused { doing: "migrate its schema", source };
    let tx =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(refused)?;
    let found: u32 =
        tx.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(refused)?;
    let known = MIGRATIONS.len() as u32;
    let pending = MIGRATIONS.get(found as usize..).ok_or(StoreError::Newer { found, known })?;
    for sql in pending {
        tx.execute_batch(sql).map_err(refused)?;
    }
    tx.pragma_update(None, "user_version", known).map_err(refused)?;
    tx.commit().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_migrated_once_and_a_newer_one_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        migrate(&mut db).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(migrate(&mut db), Err(StoreError::Newer { found: 99, .. })));
    }
}
