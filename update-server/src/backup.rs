//! A copy of a data folder that can be served in its place. The server may run meanwhile.

use std::io;
use std::path::Path;

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};

use crate::data_folder::{DataFolder, DataFolderError, while_doing};
use crate::payloads::PayloadFolder;
use crate::store::sqlite::SqliteStore;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Uploaded files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies everything that a folder holds into the new folder `out`, which appears whole or not at
/// all.
pub fn back_up(folder: &DataFolder, out: &Path) -> Result<BackedUp, DataFolderError> {
    folder.refuse_if_empty()?;
    if fs::symlink_metadata(out).is_ok() {
        return Err(DataFolderError::Exists(out.to_owned()));
    }
    let begun = durable_file::begin_folder(out, Readers::Owner);
    let begun = begun.map_err(while_doing("make the backup's folder"))?;
    let copy = DataFolder::at(begun.path());
    // The store comes first: what it says was published had been uploaded before.
    SqliteStore::copy(&folder.store(), &copy.store())?;
    // The next key before the present one, whose place it may take meanwhile.
    for name in [DataFolder::NEXT_KEY, DataFolder::NEXT_PUBLIC_KEY] {
        match copy_file(&folder.file(name), &copy.file(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => _ = copied.map_err(while_doing("copy the keys"))?,
        }
    }
    for name in [DataFolder::KEY, DataFolder::PUBLIC_KEY] {
        copy_file(&folder.file(name), &copy.file(name)).map_err(while_doing("copy the keys"))?;
    }
    let copied = copy_payloads(&folder.payloads(), &copy.payloads());
    let copied = copied.map_err(while_doing("copy the uploaded files"))?;
    durable_file::finish_folder(begun, out).map_err(while_doing("name the backup"))?;
    Ok(copied)
}

/// Copies what was uploaded. Vouchers stay: they name files, which the copies are not.
fn copy_payloads(from: &Path, to: &Path) -> io::Result<BackedUp> {
    durable_file::make_folder(to, Readers::Owner)?;
    let mut copied = BackedUp::default();
    for path in PayloadFolder::at(from.to_owned()).files()? {
        copied.bytes += copy_file(&from.join(&path), &to.join(&path))?;
        copied.files += 1;
    }
    Ok(copied)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<u64> {
    let folder = durable_file::folder_of(to);
    durable_file::make_folder(folder, Readers::Owner)?;
    let mut file = durable_file::begin(folder, Readers::Owner)?;
    let bytes = io::copy(&mut fs::File::open(from)?.file(), file.as_file_mut())?;
    durable_file::finish(file, to, Existing::Refuse)?;
    Ok(bytes)
}
