//! Images of trees, whose bits follow from the tree: every time stamp is the same, every file in its
//! place by its name.

use std::path::{Path, PathBuf};
use std::process::Command;

use payload_tools::build::default_salt;
use payload_tools::delta::Padded;
use payload_tools::format::{Compatible, Image, Role};
use payload_tools::tree::TreeBuilder;
use seesaw_harness::command::run;
use seesaw_harness::image::{EPOCH, Key};

use super::Store;
use super::tree::Tree;
use crate::{BenchError, at};

/// An ext4 has so many MiB, or what a larger tree needs.
const EXT4_MIB: u64 = 1024;
/// [`EPOCH`], as faketime takes it.
const EPOCH_DATE: &str = "2026-01-01 00:00:00";
const UUID: &str = "5ee5a400-0000-4000-8000-000000000002";

/// What a root image is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    Ext4,
    Erofs,
    Squashfs,
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Erofs => "erofs",
            FileSystem::Squashfs => "squashfs",
        }
    }

    /// The shell's words that make the file `image`, of `$1` MiB if that is to be said, of the folder
    /// `tree`.
    fn script(self) -> String {
        match self {
            // mke2fs takes the times of a file from the file, and cannot be told others.
            FileSystem::Ext4 => format!(
                "faketime -f '{EPOCH_DATE}' mke2fs -q -t ext4 -b 4096 -m 0 -U {UUID} \
                 -E hash_seed={UUID},root_owner=0:0 -O ^has_journal,^resize_inode -d tree image $1M
                 last=$(dumpe2fs -h image 2>/dev/null | awk '/^Inode count/ {{ all = $3 }} \
                 /^Free inodes/ {{ free = $3 }} END {{ print all - free }}')
                 for time in atime ctime mtime; do
                 seq 2 $last | sed \"s/.*/set_inode_field <&> $time @{EPOCH}/\"
                 done | faketime -f '{EPOCH_DATE}' debugfs -w -f - image >/dev/null 2>&1"
            ),
            FileSystem::Erofs => format!("mkfs.erofs -zlz4hc -T {EPOCH} -U {UUID} image tree"),
            FileSystem::Squashfs => format!(
                "mksquashfs tree image -comp zstd -all-time {EPOCH} -mkfs-time {EPOCH} \
                 -noappend -no-progress -quiet"
            ),
        }
    }

    fn key(self, tree: Tree) -> String {
        let mut key = Key::default();
        key.add(tree.key()).add(self.script()).add(EXT4_MIB.to_string());
        format!("{}-{}.{}", tree.name(), key.finish(), self.name())
    }

    /// The image of `tree`, made or found.
    pub fn image_of(self, tree: Tree, store: &Store) -> Result<PathBuf, BenchError> {
        let image = store.path(&self.key(tree));
        if !image.exists() {
            let tar = tree.obtain(store)?;
            store.note(&format!("making the {} image of the tree `{}`", self.name(), tree.name()));
            self.make(&tar, store, &image)?;
        }
        Ok(image)
    }

    fn make(self, tar: &Path, store: &Store, image: &Path) -> Result<(), BenchError> {
        let work = store.work()?;
        let tree = work.path().join("tree");
        fs_err::create_dir(&tree).map_err(at("make a folder for a tree"))?;
        let mut unpack = Command::new("tar");
        unpack.arg("-C").arg(&tree).args(["--numeric-owner", "--xattrs", "--xattrs-include=*"]);
        // Device files are of no use: /dev is mounted.
        unpack.args(["--exclude=./dev/*", "-xpf"]).arg(tar);
        run("unpacking a tree", &mut unpack)?;
        let mut du = Command::new("du");
        let size = run("looking how large a tree is", du.args(["-sm"]).arg(&tree))?;
        let mut make = Command::new("sh");
        make.args(["-ec", &self.script(), "sh", &ext4_mib(&size)?.to_string()]);
        run("making an image", make.current_dir(work.path()).env("TZ", "UTC"))?;
        fs_err::rename(work.path().join("image"), image).map_err(at("keep an image"))
    }
}

/// By what du says of the tree.
fn ext4_mib(du: &str) -> Result<u64, BenchError> {
    let mib = du.split_whitespace().next().and_then(|mib| mib.parse::<u64>().ok());
    let mib =
        mib.ok_or_else(|| BenchError::Program { program: "du".to_owned(), output: du.to_owned() })?;
    // Inodes, bitmaps and blocks that are half full.
    let needed = mib.saturating_add(mib / 32).saturating_add(16);
    Ok(needed.max(EXT4_MIB).next_multiple_of(64))
}

/// An image file, its manifest's entry and its tree.
#[derive(Debug)]
pub(super) struct ImageFile {
    pub path: PathBuf,
    pub image: Image,
    pub levels: Vec<u8>,
}

impl ImageFile {
    /// Reads the whole file, which therefore is in the page cache after it.
    pub fn open(path: PathBuf, role: Role, compatible: &Compatible) -> Result<Self, BenchError> {
        let content = Self::content(&path)?;
        let builder = TreeBuilder::new(default_salt(compatible));
        let tree = builder.build(&content, content.size(), &|_| ());
        let tree = tree.map_err(|error| BenchError::Payload(error.into()))?;
        let image = builder.image(role, content.size(), &tree);
        Ok(Self { path, image, levels: tree.levels })
    }

    /// Its bytes, with zeroes up to a whole block.
    pub fn bytes(&self) -> Result<Padded, BenchError> {
        Self::content(&self.path)
    }

    fn content(path: &Path) -> Result<Padded, BenchError> {
        fs_err::File::open(path).and_then(Padded::new).map_err(at("read an image"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn an_image_is_known_by_its_tree_and_how_it_is_made() {
        let key = FileSystem::Ext4.key(Tree::Old);
        assert_eq!(key, FileSystem::Ext4.key(Tree::Old));
        assert!(key.starts_with("old-") && key.ends_with(".ext4"), "{key}");
        let middle = |key: &str| key[..key.len() - ".ext4".len()].to_owned();
        assert_ne!(middle(&key), middle(&FileSystem::Ext4.key(Tree::New)).replace("new", "old"));
        assert_ne!(key, FileSystem::Erofs.key(Tree::Old).replace("erofs", "ext4"));
    }

    #[test]
    fn the_frozen_clock_is_the_epoch() {
        let date =
            run("trying", Command::new("date").args(["-u", "+%s", "-d", EPOCH_DATE])).unwrap();
        assert_eq!(date.trim(), EPOCH.to_string());
    }

    #[test]
    fn a_tree_that_is_larger_gets_more_room() {
        assert_eq!(ext4_mib("4\ttree\n").unwrap(), EXT4_MIB);
        assert_eq!(ext4_mib("970\ttree\n").unwrap(), EXT4_MIB);
        assert_eq!(ext4_mib("1100\ttree\n").unwrap(), 1152);
        assert!(ext4_mib("du: no\n").is_err());
    }

    /// Two folders with the same files, made at different times and in another order.
    #[test]
    fn the_same_files_give_the_same_bits() {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path().join("store"), &|_| ()).unwrap();
        let image = |folder: &str, names: [&str; 3]| {
            let tree = work.path().join(folder);
            fs_err::create_dir(&tree).unwrap();
            for name in names {
                fs_err::write(tree.join(name), name.repeat(5000)).unwrap();
            }
            // A time of its own, which the tar file keeps.
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(names[0].as_bytes()[0].into());
            fs_err::File::open(tree.join("a")).unwrap().file().set_modified(time).unwrap();
            let tar = tree.with_extension("tar");
            let mut pack = Command::new("tar");
            pack.arg("-C").arg(&tree).arg("-cf").arg(&tar).arg("./");
            run("packing", &mut pack).unwrap();
            let image = tree.with_extension("ext4");
            FileSystem::Ext4.make(&tar, &store, &image).unwrap();
            image
        };
        let images = [image("one", ["a", "b", "c"]), image("other", ["c", "b", "a"])];
        run("comparing", Command::new("cmp").args(images)).unwrap();
    }
}
