//! The store as one SQLite file: a writer thread, and readers beside it.

mod channels;
mod checks;
mod copy;
mod deltas;
mod devices;
mod events;
mod migrate;
mod policy;
mod publish;
mod room;
mod rows;
mod tokens;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::*;
use crate::names::TokenName;
use writer::Writer;

/// The default store.
pub struct SqliteStore {
    path: PathBuf,
    room: Room,
    writer: Writer,
    /// Idle read-only connections.
    readers: Arc<Mutex<Vec<Connection>>>,
}

/// Readers beyond this are closed after use.
const IDLE_READERS_MAX: usize = 4;

impl SqliteStore {
    /// Opens the file and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE);
        let failed = |source| StoreError::of_opening(path, source);
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        // Everything that a server was told is gone: it must not begin anew as if nothing had been.
        if migrate::version(&connection)? == 0 {
            return Err(StoreError::Empty { path: path.to_owned() });
        }
        Self::start(path, connection)
    }

    /// Opens the file, or makes it, and brings its schema up to date.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::of_opening(path, source);
        Self::start(path, Connection::open(path).map_err(failed)?)
    }

    fn start(path: &Path, mut connection: Connection) -> Result<Self, StoreError> {
        let failed = |source| StoreError::of_opening(path, source);
        // FULL: a commit is on the medium when it returns, in WAL mode too.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                 PRAGMA busy_timeout = 5000;",
            )
            .map_err(failed)?;
        migrate::migrate(&mut connection)?;
        let writer = Writer::start(connection);
        let (path, room) = (path.to_owned(), Room::default());
        Ok(Self { path, room, writer, readers: Arc::default() })
    }

    /// Moves what the write-ahead log of the store at `path` holds into the file: after an orderly
    /// end, one file is the store. Nobody may be at work on it.
    pub fn fold(path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::of("write out the log of the store", source);
        let flags = OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE);
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }

    /// Copies the store at `from`, which may be in use, into the new file `to`.
    pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
        copy::copy(from, to)
    }

    /// The same, which keeps no more than there is room for.
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Allows a first token, given by its hash, in place of those that nobody was shown.
    pub async fn set_first_token(&self, hash: [u8; 32], now: Timestamp) -> Result<(), StoreError> {
        self.write("set the first admin token", move |tx| tokens::set_first(tx, hash, now)).await
    }

    /// Allows one more token, given by its hash.
    pub async fn add_token(
        &self,
        name: TokenName,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<TokenAdded, StoreError> {
        self.write("add an admin token", move |tx| tokens::add(tx, &name, hash, now)).await
    }

    /// Allows the token of that name no more.
    pub async fn revoke_token(&self, name: TokenName) -> Result<TokenRevoked, StoreError> {
        self.write("revoke an admin token", move |tx| tokens::revoke(tx, &name)).await
    }

    /// Every token, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read("list the admin tokens", tokens::list).await
    }

    fn write<T, F>(&self, doing: &'static str, job: F) -> Pending<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
    {
        Box::pin(self.writer.run(doing, job))
    }

    fn read<T, F>(&self, doing: &'static str, job: F) -> Pending<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
    {
        let (readers, path) = (Arc::clone(&self.readers), self.path.clone());
        let work = move || {
            let idle = readers.lock().ok().and_then(|mut idle| idle.pop());
            let connection = idle.map_or_else(|| open_reader(&path), Ok)?;
            let answer = job(&connection).map_err(|error| error.while_doing(doing));
            if let Ok(mut idle) = readers.lock()
                && idle.len() < IDLE_READERS_MAX
            {
                idle.push(connection);
            }
            answer
        };
        Box::pin(
            async move { tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)? },
        )
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|source| StoreError::of_opening(path, source))
}

/// Why one transaction among a group failed.
#[derive(Debug)]
enum JobError {
    Sql(rusqlite::Error),
    Corrupt { column: &'static str, value: String },
}

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> Self {
        JobError::Sql(error)
    }
}

impl JobError {
    fn while_doing(self, doing: &'static str) -> StoreError {
        match self {
            JobError::Sql(source) => StoreError::of(doing, source),
            JobError::Corrupt { column, value } => StoreError::Corrupt { column, value },
        }
    }
}

impl Store for SqliteStore {
    fn policy(&self) -> Pending<'_, Policy> {
        self.read("read the policy", policy::policy)
    }

    fn record_checks(&self, checks: Vec<CheckRecord>) -> Pending<'_, u64> {
        let room = self.room;
        self.write("record checks", move |tx| checks::record(tx, &checks, room))
    }

    fn record_events(&self, report: EventReport, now: Timestamp) -> Pending<'_, EventsRecorded> {
        let room = self.room;
        self.write("record events", move |tx| events::record(tx, &report, now, room))
    }

    fn change_channel(
        &self,
        compatible: Compatible,
        channel: Channel,
        change: ChannelChange,
        now: Timestamp,
    ) -> Pending<'_, ChannelChanged> {
        self.write("change a channel", move |tx| {
            channels::change(tx, &compatible, &channel, &change, now)
        })
    }

    fn pin_device(&self, device: DeviceId, release: Option<Release>) -> Pending<'_, Pinned> {
        self.write("pin a device", move |tx| devices::pin(tx, &device, release.as_ref()))
    }

    fn forget_device(&self, device: DeviceId) -> Pending<'_, Forgotten> {
        self.write("forget a device", move |tx| devices::forget(tx, &device))
    }

    fn forget_unseen(&self, since: Timestamp, limit: u32) -> Pending<'_, u64> {
        self.write("forget devices", move |tx| devices::forget_unseen(tx, since, limit))
    }

    fn publish(&self, publication: Publication) -> Pending<'_, PublishOutcome> {
        self.write("publish", move |tx| publish::publish(tx, &publication))
    }

    fn repository(&self) -> Pending<'_, Option<Repository>> {
        self.read("read what is trusted", publish::repository)
    }

    fn metadata(&self, name: String) -> Pending<'_, Option<Vec<u8>>> {
        self.read("read metadata", move |db| publish::metadata(db, &name))
    }

    fn metadata_files(&self) -> Pending<'_, Files> {
        self.read("read all metadata", publish::metadata_files)
    }

    fn releases(&self) -> Pending<'_, Vec<ReleaseRecord>> {
        self.read("list releases", policy::releases)
    }

    fn devices(&self, limit: u32, before: Option<DeviceCursor>) -> Pending<'_, DevicePage> {
        self.read("list devices", move |db| devices::list(db, limit, before.as_ref()))
    }

    fn standing(&self) -> Pending<'_, Vec<Standing>> {
        self.read("count devices", devices::standing)
    }

    fn fleets(&self, since: Timestamp) -> Pending<'_, Vec<Fleet>> {
        self.read("read what devices run", move |db| deltas::fleets(db, since))
    }

    fn deltas(&self) -> Pending<'_, Vec<DeltaRecord>> {
        self.read("list deltas", deltas::list)
    }

    fn record_delta(&self, record: DeltaRecord, now: Timestamp) -> Pending<'_, ()> {
        self.write("record a delta", move |tx| deltas::record(tx, &record, now))
    }

    fn device(&self, device: DeviceId, limit: u32) -> Pending<'_, Option<DeviceDetail>> {
        self.read("read a device", move |db| devices::detail(db, &device, limit))
    }

    fn admin_tokens(&self) -> Pending<'_, Vec<(TokenName, [u8; 32])>> {
        self.read("read the admin tokens", tokens::hashes)
    }

    fn probe(&self, now: Timestamp) -> Pending<'_, ()> {
        self.write("commit", move |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO probe (only_row, at) VALUES (1, ?)",
                [now.as_second()],
            )?;
            Ok(())
        })
    }
}
