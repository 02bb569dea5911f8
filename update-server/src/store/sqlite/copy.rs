use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, ffi};

use super::{migrate, open_reader};
use crate::store::StoreError;

/// Copies a store, as it stands now, into a new file, and looks for damage in it. Page by page, so
/// that rows keep the order in which they came; the writer is not held up.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::of("copy it", source);
    let source = open_reader(from)?;
    // An empty file is a whole database to SQLite.
    if migrate::version(&source)? == 0 {
        return Err(StoreError::Empty { path: from.to_owned() });
    }
    let opening = |source| StoreError::of_opening(to, source);
    let mut target = Connection::open(to).map_err(opening)?;
    let all = i32::MAX;
    Backup::new(&source, &mut target)
        .and_then(|backup| backup.run_to_completion(all, Duration::from_millis(50), None))
        .map_err(failed)?;
    let found: String =
        target.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
    if found == "ok" {
        return Ok(());
    }
    let code = ffi::Error::new(ffi::SQLITE_CORRUPT);
    Err(failed(rusqlite::Error::SqliteFailure(code, Some(found))))
}
