//! Every timestamp that was ever published, kept by the store itself in the transaction that published it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use payload_tools::format::Hash;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde::Deserialize;

use super::{FastClock, SoakError};

/// `subsec`: milliseconds. `there`: whether a device that read this timestamp at once would have found
/// its snapshot.
const TRIGGER: &str = "
    CREATE TABLE soak (
        n INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, version INTEGER NOT NULL,
        body BLOB NOT NULL, there INTEGER NOT NULL) STRICT;
    CREATE TRIGGER soak AFTER INSERT ON repository BEGIN
        INSERT INTO soak (at_ms, version, body, there)
        VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NEW.timestamp_version, NEW.timestamp,
                EXISTS (SELECT 1 FROM metadata
                        WHERE name = NEW.snapshot_version || '.snapshot.json'));
    END;";

const SNAPSHOT: &str = "SELECT snapshot_version FROM repository";

/// Reads what a store has published.
#[derive(Debug)]
pub struct Audit {
    db: Connection,
    /// Version of the snapshot when it began.
    first_snapshot: u64,
}

/// What was published, as far as it concerns what must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Timestamps over the snapshot of the one before.
    pub re_signs: u64,
    /// Timestamps over a new snapshot.
    pub publications: u64,
    /// The longest time from one to the next, in seconds of the fast clock.
    pub pause_seconds_max: i64,
    /// How long the one before was still good when the next came, at least.
    pub left_seconds_min: i64,
}

#[derive(Deserialize)]
struct Envelope {
    signed: Signed,
}

#[derive(Deserialize)]
struct Signed {
    version: u64,
    expires: Timestamp,
    signed_at: Timestamp,
    meta: BTreeMap<String, Named>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    version: u64,
    length: u64,
    hashes: BTreeMap<String, Hash>,
}

/// One row.
struct Row {
    at_ms: i64,
    version: u64,
    body: Vec<u8>,
    there: bool,
}

impl Audit {
    /// Keeps what is published in this store from now on.
    pub fn begin(store: &Path) -> Result<Self, SoakError> {
        let flags = OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE);
        let db = Connection::open_with_flags(store, flags)?;
        db.execute_batch(TRIGGER)?;
        let first_snapshot = db.query_row(SNAPSHOT, [], |row| row.get(0))?;
        Ok(Self { db, first_snapshot })
    }

    /// How many timestamps were published over a snapshot that had one.
    pub fn re_signs(&self) -> Result<u64, SoakError> {
        let number = |sql| self.db.query_row(sql, [], |row| row.get::<_, u64>(0));
        let published = number("SELECT ifnull(max(n), 0) FROM soak")?;
        Ok(published.saturating_sub(1 + number(SNAPSHOT)? - self.first_snapshot))
    }

    /// When the present timestamp expires.
    pub fn expires(&self) -> Result<i64, SoakError> {
        let sql = "SELECT timestamp_expires FROM repository";
        Ok(self.db.query_row(sql, [], |row| row.get(0))?)
    }

    /// Judges all that was published; an error says what must not be.
    pub fn judge(&self, clock: FastClock) -> Result<Published, SoakError> {
        let whole: String = self.db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        wrong_unless(whole == "ok", || format!("the store is damaged: {whole}"))?;
        let mut published = Published { left_seconds_min: i64::MAX, ..Published::default() };
        let mut before: Option<(Row, Signed)> = None;
        let mut statement =
            self.db.prepare("SELECT at_ms, version, body, there FROM soak ORDER BY n")?;
        let rows = statement.query_map([], |row| {
            let version: i64 = row.get(1)?;
            let (at_ms, version) = (row.get(0)?, version.cast_unsigned());
            Ok(Row { at_ms, version, body: row.get(2)?, there: row.get(3)? })
        })?;
        for row in rows {
            let row = row?;
            let signed = self.judge_one(&row)?;
            if let Some((before_row, before)) = &before {
                published.follow(clock, (before_row, before), (&row, &signed))?;
            }
            before = Some((row, signed));
        }
        Ok(published)
    }

    /// One timestamp by itself: it says what the row says, and its snapshot is there as it says.
    fn judge_one(&self, row: &Row) -> Result<Signed, SoakError> {
        let Envelope { signed } = serde_json::from_slice(&row.body)?;
        let version = row.version;
        let same = signed.version == version;
        wrong_unless(same, || format!("timestamp {version} says that it is {}", signed.version))?;
        let named = signed.snapshot()?;
        let name = format!("{}.snapshot.json", named.version);
        wrong_unless(row.there, || format!("timestamp {version} came before its {name}"))?;
        let sql = "SELECT body FROM metadata WHERE name = ?";
        let body: Option<Vec<u8>> =
            self.db.prepare_cached(sql)?.query_row([&name], |row| row.get(0)).optional()?;
        let body = body.ok_or_else(|| SoakError::Wrong(format!("{name} is gone")))?;
        let fits = named.length == body.len() as u64
            && named.hashes.get("sha256") == Some(&Hash::of(&body));
        wrong_unless(fits, || format!("timestamp {version} names another {name}"))?;
        Ok(signed)
    }
}

impl Published {
    /// One timestamp after another.
    fn follow(
        &mut self,
        clock: FastClock,
        (before_row, before): (&Row, &Signed),
        (row, signed): (&Row, &Signed),
    ) -> Result<(), SoakError> {
        let (old, new) = (before.version, signed.version);
        wrong_unless(new != old, || format!("timestamp {new} was published twice"))?;
        wrong_unless(new > old, || format!("timestamp {new} came after {old}"))?;
        let order = (before.signed_at, before.expires) <= (signed.signed_at, signed.expires);
        wrong_unless(order, || format!("timestamp {new} ends before {old}"))?;
        let (old_snapshot, snapshot) = (before.snapshot()?.version, signed.snapshot()?.version);
        wrong_unless(snapshot >= old_snapshot, || {
            format!("timestamp {new} names snapshot {snapshot}, and {old} named {old_snapshot}")
        })?;
        let came = clock.at(row.at_ms).as_second();
        let left = before.expires.as_second() - came;
        wrong_unless(left > 0, || format!("timestamp {old} expired before {new} came"))?;
        self.left_seconds_min = self.left_seconds_min.min(left);
        let pause = came - clock.at(before_row.at_ms).as_second();
        self.pause_seconds_max = self.pause_seconds_max.max(pause);
        match snapshot == old_snapshot {
            true => self.re_signs += 1,
            false => self.publications += 1,
        }
        Ok(())
    }
}

impl Signed {
    fn snapshot(&self) -> Result<&Named, SoakError> {
        let named = self.meta.get("snapshot.json");
        named.ok_or_else(|| SoakError::Wrong("a timestamp names no snapshot".to_owned()))
    }
}

fn wrong_unless(right: bool, what: impl FnOnce() -> String) -> Result<(), SoakError> {
    if right { Ok(()) } else { Err(SoakError::Wrong(what())) }
}
