use std::io;
use std::path::Path;

use fs_err as fs;

/// Who holds back reboots: the names of the files in `folder`
/// (/run/seesaw/inhibit). Gone with the runtime folder, so none outlives a boot.
///
/// # Errors
/// The folder exists and cannot be read.
pub fn inhibitors(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
