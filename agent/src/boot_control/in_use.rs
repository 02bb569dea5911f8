//! Who else uses a partition that is to be written. The disk that a system runs from is written as
//! a whole, which keeps nobody out: a partition of it is claimed by its own node.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use partition_layout::{Access, DiskFile, OpenError, Partition};

/// A partition that is not free.
#[derive(Debug, thiserror::Error)]
pub enum NotFree {
    /// Somebody uses it.
    #[error("{} {holder}", partition.display())]
    InUse {
        /// Its node.
        partition: PathBuf,
        /// Who.
        holder: Holder,
    },
    /// Whether somebody does cannot be told.
    #[error("cannot tell whether {} is in use", partition.display())]
    Unknown {
        /// Its node.
        partition: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be claimed.
    #[error("cannot claim {}", partition.display())]
    Claim {
        /// Its node.
        partition: PathBuf,
        /// Why not.
        source: OpenError,
    },
}

/// Who uses a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A file system on it is mounted.
    Mount {
        /// Where.
        at: PathBuf,
    },
    /// The kernel swaps to it.
    Swap,
    /// Another block device lies on it.
    Device {
        /// Its name, and what its maker calls it.
        name: String,
    },
    /// A program, or a mount that this one does not see.
    Somebody,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { at } => {
                let at = at.display();
                write!(f, "is mounted on {at}: `umount {at}`, then update again")
            }
            Self::Swap => write!(f, "is used as swap: `swapoff` it, then update again"),
            Self::Device { name } => {
                write!(f, "is part of device {name}: take that down, then update again")
            }
            Self::Somebody => write!(
                f,
                "is claimed by a program, or mounted where it is not seen from here: \
                 `fuser -vm` names it; end that, then update again"
            ),
        }
    }
}

/// Claims partitions of `disk` for as long as what it returns is kept. `root` is `/`. What the
/// kernel does not know as a partition, nobody can have.
///
/// # Errors
/// Somebody has one of them, or it cannot be told.
pub(super) fn claim<'p>(
    root: &Path,
    disk: &Path,
    partitions: impl IntoIterator<Item = &'p Partition>,
) -> Result<Vec<DiskFile>, NotFree> {
    let mut claims = Vec::new();
    for Partition { number, .. } in partitions {
        let unknown = |source| NotFree::Unknown { partition: disk.to_owned(), source };
        let Some(name) = name_of(root, disk, *number).map_err(unknown)? else { continue };
        let partition = Path::new("/dev").join(&name);
        let found = holder(root, disk, &name);
        let found =
            found.map_err(|source| NotFree::Unknown { partition: partition.clone(), source })?;
        if let Some(holder) = found {
            return Err(NotFree::InUse { partition, holder });
        }
        match DiskFile::open(root.join("dev").join(&name), Access::Exclusive) {
            Ok(claim) => claims.push(claim),
            Err(OpenError::InUse { .. }) => {
                return Err(NotFree::InUse { partition, holder: Holder::Somebody });
            }
            Err(source) => return Err(NotFree::Claim { partition, source }),
        }
    }
    Ok(claims)
}

fn class(root: &Path) -> PathBuf {
    root.join("sys/class/block")
}

/// What the kernel calls a partition; nothing if it knows none of that number.
fn name_of(root: &Path, disk: &Path, number: u32) -> io::Result<Option<String>> {
    for entry in fs::read_dir(class(root).join(disk.file_name().unwrap_or_default()))? {
        let entry = entry?;
        let said = match fs::read_to_string(entry.path().join("partition")) {
            Err(error) if is_no_partition(&error) => continue,
            said => said?,
        };
        if said.trim().parse() == Ok(number) {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// A disk's folder has files and other folders too.
fn is_no_partition(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn holder(root: &Path, disk: &Path, name: &str) -> io::Result<Option<Holder>> {
    let folder = class(root).join(disk.file_name().unwrap_or_default()).join(name);
    let device = fs::read_to_string(folder.join("dev"))?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo"))?;
    if let Some(at) = mount_point(&mounts, device.trim(), &format!("/dev/{name}")) {
        return Ok(Some(Holder::Mount { at }));
    }
    let swaps = fs::read_to_string(root.join("proc/swaps")).or_else(missing)?;
    if swaps.lines().any(|line| line.split_whitespace().next() == Some(&format!("/dev/{name}"))) {
        return Ok(Some(Holder::Swap));
    }
    let holders = match fs::read_dir(folder.join("holders")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let first = holders.flatten().next();
    Ok(first
        .map(|entry| Holder::Device { name: named(root, &entry.file_name().to_string_lossy()) }))
}

/// A kernel without swap has no list of them.
fn missing(error: io::Error) -> io::Result<String> {
    if error.kind() == io::ErrorKind::NotFound { Ok(String::new()) } else { Err(error) }
}

/// `dm-0` says nothing to people, whose tools have other names.
fn named(root: &Path, holder: &str) -> String {
    match fs::read_to_string(class(root).join(holder).join("dm/name")) {
        Ok(name) => format!("{holder} ({})", name.trim()),
        Err(_) => holder.to_owned(),
    }
}

/// Where a device is mounted (proc_pid_mountinfo(5)): by its number, or by its name where the file
/// system, as btrfs does, has a number of its own.
fn mount_point(mountinfo: &str, device: &str, node: &str) -> Option<PathBuf> {
    let line = mountinfo.lines().find(|line| {
        let source = line.split_once(" - ").and_then(|(_, end)| end.split(' ').nth(1));
        line.split(' ').nth(2) == Some(device) || source == Some(node)
    })?;
    line.split(' ').nth(4).map(|at| PathBuf::from(unescaped(at)))
}

/// Blanks and backslashes stand in octal in /proc's lists.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests;
