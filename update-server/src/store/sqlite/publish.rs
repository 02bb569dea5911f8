use payload_tools::format::ReleaseFacts;
use payload_tools::trust::Files;
use rusqlite::{Connection, OptionalExtension, params};

use super::{JobError, rows};
use crate::store::{Publication, PublishOutcome, Repository};

/// Takes a publication if nobody else published since it was verified.
pub fn publish(tx: &Connection, publication: &Publication) -> Result<PublishOutcome, JobError> {
    if repository(tx)? != publication.replaces {
        return Ok(PublishOutcome::Moved);
    }
    let now = publication.at.as_second();
    for (name, body) in &publication.files {
        // Plain: a file that devices may hold already never changes under its name.
        tx.execute(
            "INSERT INTO metadata (name, body, stored_at) VALUES (?, ?, ?)",
            params![name, body, now],
        )?;
    }
    if let Some(releases) = &publication.releases {
        list_releases(tx, releases, now)?;
    }
    let becomes = &publication.becomes;
    tx.execute(
        "INSERT OR REPLACE INTO repository (only_row, snapshot_version,
             timestamp_version, timestamp_expires, timestamp)
         VALUES (1, ?, ?, ?, ?)",
        params![
            becomes.snapshot_version.cast_signed(),
            becomes.timestamp_version.cast_signed(),
            becomes.timestamp_expires.as_second(),
            becomes.timestamp,
        ],
    )?;
    Ok(PublishOutcome::Published)
}

fn list_releases(tx: &Connection, releases: &[ReleaseFacts], now: i64) -> Result<(), JobError> {
    tx.execute("UPDATE releases SET withdrawn_at = ? WHERE withdrawn_at IS NULL", [now])?;
    let mut upsert = tx.prepare_cached(
        "INSERT INTO releases (compatible, release, counter, facts, published_at)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (compatible, release) DO UPDATE SET
             counter = excluded.counter, facts = excluded.facts, withdrawn_at = NULL",
    )?;
    for facts in releases {
        upsert.execute(params![
            facts.compatible.as_str(),
            facts.release.as_str(),
            facts.counter.cast_signed(),
            serde_json::json!(facts).to_string(),
            now
        ])?;
    }
    Ok(())
}

/// What is trusted now.
pub fn repository(db: &Connection) -> Result<Option<Repository>, JobError> {
    let mut statement = db.prepare_cached(
        "SELECT snapshot_version, timestamp_version, timestamp_expires, timestamp
         FROM repository",
    )?;
    let mut found = statement.query([])?;
    let Some(row) = found.next()? else { return Ok(None) };
    Ok(Some(Repository {
        snapshot_version: row.get::<_, i64>(0)?.cast_unsigned(),
        timestamp_version: row.get::<_, i64>(1)?.cast_unsigned(),
        timestamp_expires: rows::time("repository.timestamp_expires", row.get(2)?)?,
        timestamp: row.get(3)?,
    }))
}

/// A signed file.
pub fn metadata(db: &Connection, name: &str) -> Result<Option<Vec<u8>>, JobError> {
    let mut statement = db.prepare_cached("SELECT body FROM metadata WHERE name = ?")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// Every signed file.
pub fn metadata_files(db: &Connection) -> Result<Files, JobError> {
    let mut statement = db.prepare_cached("SELECT name, body FROM metadata")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::sqlite::migrate::migrate;

    fn step(replaces: Option<&Repository>, snapshot_version: u64) -> Publication {
        let becomes = Repository {
            snapshot_version,
            timestamp_version: snapshot_version,
            timestamp_expires: Timestamp::UNIX_EPOCH,
            timestamp: vec![1],
        };
        let (at, replaces) = (Timestamp::UNIX_EPOCH, replaces.cloned());
        Publication { replaces, becomes, files: Vec::new(), releases: None, at }
    }

    #[test]
    fn a_signed_file_never_changes_under_its_name() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let first =
            Publication { files: vec![("2.targets.json".into(), vec![1])], ..step(None, 1) };
        publish(&db, &first).unwrap();
        let files = vec![("2.targets.json".into(), vec![2])];
        let second = Publication { files, ..step(Some(&first.becomes), 2) };
        assert!(matches!(publish(&db, &second), Err(JobError::Sql(_))));
        assert_eq!(metadata(&db, "2.targets.json").unwrap(), Some(vec![1]));
    }

    #[test]
    fn only_what_was_verified_against_the_present_state_is_taken() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        let first = step(None, 1);
        assert_eq!(publish(&db, &first).unwrap(), PublishOutcome::Published);
        assert_eq!(publish(&db, &step(None, 1)).unwrap(), PublishOutcome::Moved);
        let second = step(Some(&first.becomes), 2);
        assert_eq!(publish(&db, &second).unwrap(), PublishOutcome::Published);
        assert_eq!(publish(&db, &second).unwrap(), PublishOutcome::Moved);
        assert_eq!(repository(&db).unwrap(), Some(second.becomes));
    }
}
