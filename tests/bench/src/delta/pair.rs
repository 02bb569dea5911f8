//! Which two images a delta is between.

use super::image::FileSystem;
use super::tree::Tree;

/// How the new tree differs from the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Updates and security, with a new kernel.
    Kernel,
    /// The same without one.
    NoKernel,
    /// To the next release of Debian.
    Major,
}

/// Two images that a delta is made between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub(super) change: Change,
    pub(super) file_system: FileSystem,
}

impl Pair {
    /// In the order in which they are measured and shown.
    pub const ALL: [Pair; 7] = [
        Pair { change: Change::Kernel, file_system: FileSystem::Ext4 },
        Pair { change: Change::NoKernel, file_system: FileSystem::Ext4 },
        Pair { change: Change::Kernel, file_system: FileSystem::Erofs },
        Pair { change: Change::NoKernel, file_system: FileSystem::Erofs },
        Pair { change: Change::Kernel, file_system: FileSystem::Squashfs },
        Pair { change: Change::NoKernel, file_system: FileSystem::Squashfs },
        Pair { change: Change::Major, file_system: FileSystem::Ext4 },
    ];
    /// Whose full payload is compared with what `zstd` makes too.
    pub(super) const FIRST: Pair = Self::ALL[0];

    /// The pair that is called `name`.
    pub fn named(name: &str) -> Option<Pair> {
        Pair::ALL.into_iter().find(|pair| pair.name() == name)
    }

    /// What it is called on the command line and in keys.
    pub fn name(self) -> &'static str {
        match (self.change, self.file_system) {
            (Change::Kernel, FileSystem::Ext4) => "kernel.ext4",
            (Change::Kernel, FileSystem::Erofs) => "kernel.erofs",
            (Change::Kernel, FileSystem::Squashfs) => "kernel.squashfs",
            (Change::NoKernel, FileSystem::Ext4) => "no_kernel.ext4",
            (Change::NoKernel, FileSystem::Erofs) => "no_kernel.erofs",
            (Change::NoKernel, FileSystem::Squashfs) => "no_kernel.squashfs",
            (Change::Major, FileSystem::Ext4) => "major.ext4",
            (Change::Major, FileSystem::Erofs) => "major.erofs",
            (Change::Major, FileSystem::Squashfs) => "major.squashfs",
        }
    }

    /// The key of one of its figures.
    pub(super) fn key(self, figure: &str) -> String {
        format!("delta.{}.{figure}", self.name())
    }

    /// Where the figures of its install are; `None` if that is not measured.
    pub(super) fn apply_key(self) -> Option<&'static str> {
        match (self.change, self.file_system) {
            (Change::Kernel, FileSystem::Ext4) => Some("apply"),
            (Change::Kernel, FileSystem::Erofs) => Some("apply.erofs"),
            (Change::Kernel, FileSystem::Squashfs) => Some("apply.squashfs"),
            (Change::NoKernel | Change::Major, _) => None,
        }
    }

    /// The old tree and the new one.
    pub(super) fn trees(self) -> (Tree, Tree) {
        let new = match self.change {
            Change::Kernel => Tree::New,
            Change::NoKernel => Tree::NoKernel,
            Change::Major => Tree::Trixie,
        };
        (Tree::Old, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_a_name_of_its_own() {
        for pair in Pair::ALL {
            assert_eq!(Pair::named(pair.name()), Some(pair), "{}", pair.name());
        }
        assert_eq!(Pair::named("kernel"), None);
        assert_eq!(Pair::FIRST.key("bytes"), "delta.kernel.ext4.bytes");
    }
}
