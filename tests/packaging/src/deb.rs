//! Debian packages, made by dpkg-deb, which sorts the names. The same files give the same bytes:
//! every time is the one that is given, every owner is root, and nothing else of this machine is in.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use seesaw_harness::command::{CommandError, run};
use seesaw_harness::image::{File, FileContent, ImageError};

/// The one that the programs are built for; the boot selector is, too.
const ARCHITECTURE: &str = "amd64";

/// Whom Debian's tools name; reports go to the repository (Homepage).
const MAINTAINER: &str = "the Seesaw contributors <seesaw-update@users.noreply.github.com>";

/// A Debian package.
#[derive(Clone, Debug)]
pub struct DebPackage {
    pub(crate) name: &'static str,
    /// What it is, in half a line, and in a few.
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    /// What it needs besides the libraries of its programs, which are looked up in those.
    pub(crate) depends: &'static [&'static str],
    pub(crate) recommends: &'static [&'static str],
    pub(crate) files: Vec<File>,
    /// Maintainer scripts and triggers: name and text.
    pub(crate) control: Vec<(&'static str, String)>,
}

/// Why a package could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PackagingError {
    /// A file or folder.
    #[error("a file of the package could not be read or written")]
    Io(#[from] io::Error),
    /// A file of the package could not be laid out.
    #[error(transparent)]
    File(#[from] ImageError),
    /// A program of others was of no use.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A crate does not say on which terms it may be passed on.
    #[error("{name} has no licence that could go into a package; is its source complete?")]
    Licence {
        /// The crate and its version.
        name: String,
    },
    /// A program needs a library that no package is known for.
    #[error("{program} needs {library}; say in tests/packaging which package has it")]
    Library {
        /// The program.
        program: String,
        /// The library's name.
        library: String,
    },
}

impl DebPackage {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Writes it into the folder `out` and says where. `epoch`, in seconds, is the time of all that
    /// is in it.
    pub fn build(&self, epoch: u64, out: &Path) -> Result<PathBuf, PackagingError> {
        let work = tempfile::tempdir_in(out)?;
        let tree = work.path().join("tree");
        for file in &self.files {
            file.lay(&tree)?;
        }
        let libraries = self.libraries(&tree)?;
        let (sums, size) = (md5sums(&tree)?, installed_size(&tree)?);
        let control = tree.join("DEBIAN");
        fs::create_dir(&control)?;
        fs::write(control.join("md5sums"), sums)?;
        fs::write(control.join("control"), self.control(&libraries, size))?;
        for (name, text) in &self.control {
            fs::write(control.join(name), text)?;
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(control.join(name), PermissionsExt::from_mode(mode))?;
        }
        settle(&tree, SystemTime::UNIX_EPOCH + Duration::from_secs(epoch))?;
        let name = format!("{}_{}_{ARCHITECTURE}.deb", self.name, env!("CARGO_PKG_VERSION"));
        let unfinished = work.path().join(&name);
        let mut pack = Command::new("dpkg-deb");
        // More threads would cut the archive into more blocks. Level 6 takes 2.5 times as long and
        // saves a tenth (24 MiB of programs: 10.8 s, 6.3 MB; 4.3 s, 7.0 MB).
        pack.args(["--build", "--root-owner-group", "-Zxz", "-z2", "--threads-max=1"]);
        pack.arg(&tree).arg(&unfinished).env("SOURCE_DATE_EPOCH", epoch.to_string());
        run("packing a package", &mut pack)?;
        let finished = out.join(name);
        fs::rename(unfinished, &finished)?;
        Ok(finished)
    }

    fn control(&self, libraries: &BTreeSet<String>, installed_size: u64) -> String {
        let libraries = libraries.iter().map(String::as_str);
        let depends: BTreeSet<_> = libraries.chain(self.depends.iter().copied()).collect();
        let list = |name: &str, packages: Vec<&str>| match packages[..] {
            [] => String::new(),
            _ => format!("{name}: {}\n", packages.join(", ")),
        };
        let lines = self.description.lines().map(|line| format!(" {}\n", line.trim()));
        [
            format!("Package: {}\nVersion: {}\n", self.name, env!("CARGO_PKG_VERSION")),
            format!("Architecture: {ARCHITECTURE}\nSection: admin\nPriority: optional\n"),
            format!("Maintainer: {MAINTAINER}\n"),
            format!("Homepage: {}\n", env!("CARGO_PKG_REPOSITORY")),
            format!("Installed-Size: {installed_size}\n"),
            list("Depends", depends.into_iter().collect()),
            list("Recommends", self.recommends.to_vec()),
            format!("Description: {}\n", self.summary),
            lines.collect(),
        ]
        .concat()
    }

    /// The packages of the libraries that the programs laid out in `tree` need.
    fn libraries(&self, tree: &Path) -> Result<BTreeSet<String>, PackagingError> {
        let programs = self.files.iter().filter(|f| matches!(f.content, FileContent::Program(_)));
        let mut packages = BTreeSet::new();
        let mut libc = None;
        for program in programs {
            let mut objdump = Command::new("objdump");
            let text =
                run("looking at a program", objdump.arg("-p").arg(tree.join(&program.path)))?;
            for library in needed(&text) {
                match library {
                    "libc.so.6" | "libm.so.6" | "ld-linux-x86-64.so.2" => {}
                    "libgcc_s.so.1" => drop(packages.insert("libgcc-s1".to_owned())),
                    other => {
                        let (program, library) = (program.path.clone(), other.to_owned());
                        return Err(PackagingError::Library { program, library });
                    }
                }
            }
            libc = libc.max(glibc(&text));
        }
        packages.extend(libc.map(|(major, minor)| format!("libc6 (>= {major}.{minor})")));
        Ok(packages)
    }
}

/// The libraries that `objdump -p` names.
fn needed(objdump: &str) -> impl Iterator<Item = &str> {
    objdump.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")).map(str::trim)
}

/// The newest version of glibc whose symbols `objdump -p` names.
fn glibc(objdump: &str) -> Option<(u32, u32)> {
    let versions = objdump.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
    let numbers = versions.filter_map(|version| {
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    numbers.max()
}

/// What is below `folder`, sorted.
pub(crate) fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            found.extend(below(&path)?);
        }
        found.push(path);
    }
    found.sort();
    Ok(found)
}

/// What `dpkg --verify` compares with.
fn md5sums(tree: &Path) -> Result<String, PackagingError> {
    let files = below(tree)?.into_iter().filter(|path| path.is_file());
    let inside = files.map(|path| path.strip_prefix(tree).map(Path::to_owned).unwrap_or(path));
    Ok(run("summing up files", Command::new("md5sum").args(inside).current_dir(tree))?)
}

/// In KiB, as Debian's policy counts (5.6.20): files rounded up, 1 for anything else.
fn installed_size(tree: &Path) -> io::Result<u64> {
    below(tree)?.iter().try_fold(0, |size, path| {
        let metadata = fs::symlink_metadata(path)?;
        Ok(size + if metadata.is_file() { metadata.len().div_ceil(1024) } else { 1 })
    })
}

/// Folders as everyone may enter them, and the same time for all.
fn settle(tree: &Path, time: SystemTime) -> io::Result<()> {
    for path in below(tree)?.iter().chain([&tree.to_owned()]) {
        if path.is_dir() {
            fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
        }
        fs::File::open(path)?.file().set_modified(time)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_newest_symbols_are_found() {
        let text = "Dynamic Section:\n  NEEDED               libc.so.6\n  NEEDED     libgcc_s.so.1\n\
                    Version References:\n  required from libc.so.6:\n\
                    \x20   0x0d696910 0x00 03 GLIBC_2.9\n    0x06969196 0x00 02 GLIBC_2.36\n\
                    \x20   0x09691a75 0x00 04 GLIBC_2.2.5\n    0x09691a75 0x00 05 GLIBC_PRIVATE\n";
        assert_eq!(needed(text).collect::<Vec<_>>(), ["libc.so.6", "libgcc_s.so.1"]);
        assert_eq!(glibc(text), Some((2, 36)));
        assert_eq!(glibc("statically linked"), None);
    }
}
