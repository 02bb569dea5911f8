//! Man pages and shell completions, from the command lines' own definition.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap_complete::Shell;
use fs_err as fs;
use seesaw_harness::command::run;
use seesaw_harness::image::File;

use crate::deb::{PackagingError, below};

/// Where shells look for the completions that packages bring, below /usr/share.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/vendor-completions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

/// Writes one program's pages and completions below the folder `share`.
pub fn write(mut command: clap::Command, share: &Path) -> io::Result<()> {
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(command.clone(), &pages)?;
    let name = command.get_name().to_owned();
    for (shell, folder) in COMPLETIONS {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        clap_complete::generate_to(shell, &mut command, &name, &folder)?;
    }
    Ok(())
}

/// The same of the programs with these names as files of a package: pages are compressed there.
pub(crate) fn files(names: &[&str]) -> Result<Vec<File>, PackagingError> {
    let share = tempfile::tempdir()?;
    for command in crate::program_commands() {
        if names.contains(&command.get_name()) {
            write(command, share.path())?;
        }
    }
    let pages = below(&share.path().join("man"))?;
    let pages = pages.iter().filter(|path| path.is_file());
    run("compressing man pages", Command::new("gzip").args(["-9", "--no-name"]).args(pages))?;
    let mut files = Vec::new();
    for path in below(share.path())?.iter().filter(|path| path.is_file()) {
        let inside = path.strip_prefix(share.path()).unwrap_or(path);
        let to = PathBuf::from("usr/share").join(inside);
        files.push(File::bytes(to.to_string_lossy(), fs::read(path)?));
    }
    Ok(files)
}
