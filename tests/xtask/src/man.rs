//! `cargo xtask man`: man pages and shell completions, from the command lines' own definition.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use fs_err as fs;

/// Write man pages and shell completions of the four programs.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder to write to, laid out like /usr/share.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Where shells look for the completions that packages bring, below /usr/share.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/vendor-completions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

/// Runs the subcommand.
pub fn run(args: &ManArgs) -> Result<(), Box<dyn Error>> {
    for command in crate::program_commands() {
        write(command, &args.out)?;
    }
    println!("{}", args.out.display());
    Ok(())
}

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
