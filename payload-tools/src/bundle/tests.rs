use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::*;
use crate::ReadAt as _;
use crate::format::{Role, Salt};
use crate::tree::TreeBuilder;

/// A release of two small images whose payloads are not looked into here.
fn release_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    let mut images = Vec::new();
    for (role, byte) in [(Role::Kernel, 1), (Role::Root, 2)] {
        let bytes = vec![byte; 3 * crate::format::GROUP];
        let builder = TreeBuilder::new(Salt::default());
        let tree = builder.build(&bytes, bytes.len() as u64, &|_| ()).unwrap();
        fs_err::create_dir_all(release.join(format!("images/{}", tree.root))).unwrap();
        fs_err::write(release.join(full_name(&tree.root)), format!("full {role}")).unwrap();
        fs_err::write(release.join(levels_name(&tree.root)), &tree.levels).unwrap();
        images.push(builder.image(role, bytes.len() as u64, &tree));
    }
    let manifest = Manifest {
        compatible: "demo-x86_64".parse().unwrap(),
        release: "2".parse().unwrap(),
        counter: 2,
        built: "2026-11-01T00:00:00Z".parse().unwrap(),
        images,
    };
    fs_err::write(release.join(MANIFEST), manifest.to_bytes().unwrap()).unwrap();
    let facts = r#"{"release":"2","counter":2,"compatible":"demo-x86_64","min_from":0,
        "channels":["stable"],"floor":false,"downgrade_from":null}"#;
    fs_err::write(release.join(FACTS), facts).unwrap();
    (folder, release)
}

#[cfg(feature = "authoring")]
fn published() -> Files {
    let names = ["1.root.json", "2.root.json", "9.targets.json", "10.targets.json"];
    let more = ["3.demo-x86_64.json", "4.other.json", "10.snapshot.json", "x.targets.json"];
    let file = |name: &str| (name.to_owned(), format!("content of {name}").into_bytes());
    names.into_iter().chain(more).map(file).collect()
}

/// Folder and bundle answer every question alike.
#[cfg(feature = "authoring")]
#[test]
fn a_bundle_is_its_folder() {
    let (folder, release) = release_folder();
    let release = Bundle::open(release).unwrap();
    let path = folder.path().join("release.bundle");
    let compatible = release.manifest().unwrap().compatible;
    let metadata = signed_metadata(&published(), &compatible).unwrap();
    pack(&release, &metadata, &path, &|_| ()).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    assert_eq!(bundle.manifest_bytes().unwrap(), release.manifest_bytes().unwrap());
    assert_eq!(bundle.facts().unwrap(), release.facts().unwrap());
    assert_eq!(bundle.metadata().unwrap(), metadata);
    assert_eq!(release.metadata().unwrap(), Files::new());
    for image in bundle.manifest().unwrap().images {
        let full = bundle.image_full(&image.root).unwrap();
        let wanted = format!("full {}", image.role);
        assert_eq!(full.bytes(100).unwrap(), wanted.as_bytes());
        assert_eq!(full.slice(5, 4).unwrap(), &wanted.as_bytes()[5..9]);
        // The next file of the archive is not this one's.
        assert!(full.fill_at(&mut [0; 2], full.len() - 1).is_err());
        assert!(full.fill_at(&mut [0; 2], u64::MAX).is_err());
        assert_eq!(bundle.levels(&image).unwrap().root(), image.root);
    }
    let again = folder.path().join("again.bundle");
    pack(&release, &metadata, &again, &|_| ()).unwrap();
    let bytes = |path| fs_err::read(path).unwrap();
    assert!(bytes(&again) == bytes(&path), "packing twice gives the same bytes");
}

#[cfg(feature = "authoring")]
#[test]
fn a_bundle_takes_every_root_and_the_newest_targets() {
    let compatible = "demo-x86_64".parse().unwrap();
    let metadata = signed_metadata(&published(), &compatible).unwrap();
    let names: Vec<_> = metadata.keys().map(String::as_str).collect();
    assert_eq!(names, ["1.root.json", "2.root.json", "demo-x86_64.json", "targets.json"]);
    assert_eq!(metadata["targets.json"], b"content of 10.targets.json");
    let unpublished = signed_metadata(&published(), &"new".parse().unwrap()).unwrap_err();
    assert!(matches!(unpublished, PackError::Metadata { role } if role == "new"));
}

#[test]
fn levels_are_checked_against_the_manifest() {
    let (_folder, release) = release_folder();
    let bundle = Bundle::open(&release).unwrap();
    let image = bundle.manifest().unwrap().images.remove(0);
    let path = release.join(levels_name(&image.root));
    let mut levels = fs_err::read(&path).unwrap();
    levels[40] ^= 1;
    fs_err::write(&path, &levels).unwrap();
    assert!(matches!(bundle.levels(&image).unwrap_err(), BundleError::Levels { .. }));
    levels.push(0);
    fs_err::write(&path, &levels).unwrap();
    let error = bundle.levels(&image).unwrap_err();
    assert!(matches!(error, BundleError::TooLong { max: 4096, .. }));
    fs_err::remove_file(&path).unwrap();
    let error = bundle.levels(&image).unwrap_err();
    assert!(matches!(error, BundleError::Missing { part, .. } if part.ends_with("levels")));
}

/// Name, kind and stated size of an entry whose content is `four`.
type TarEntry = (&'static str, EntryType, u64);

fn archive(path: &Path, entries: &[TarEntry]) {
    let mut tar = Builder::new(fs_err::File::create(path).unwrap());
    for (name, kind, size) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(*size);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &b"four"[..]).unwrap();
    }
    tar.into_inner().unwrap();
}

#[test]
fn hostile_archives_are_refused() {
    use EntryType::{Link, Regular, Symlink};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let refused: [(&[TarEntry], &str); 14] = [
        (&[("../up", Regular, 4)], "Name"),
        (&[("/etc/passwd", Regular, 4)], "Name"),
        (&[("images//full", Regular, 4)], "Name"),
        (&[("a b", Regular, 4)], "Name"),
        (&[("manifest.json", Symlink, 4)], "Kind"),
        (&[("manifest.json", Link, 4)], "Kind"),
        (&[("manifest.json", EntryType::Fifo, 4)], "Kind"),
        (&[("manifest.json", EntryType::GNUSparse, 4)], "Kind"),
        (&[("long", EntryType::GNULongName, 4)], "Kind"),
        (&[("pax", EntryType::XHeader, 4)], "Kind"),
        (&[("pax", EntryType::XGlobalHeader, 4)], "Kind"),
        (&[("a", Regular, 4), ("b", Regular, 4), ("a", Regular, 4)], "Twice"),
        (&[("manifest.json", Regular, 1 << 40)], "Cut"),
        (&[("manifest.json", Regular, u64::MAX)], "Tar"),
    ];
    for (entries, wanted) in refused {
        archive(&path, entries);
        match Bundle::open(&path).unwrap_err() {
            BundleError::Index { source, .. } => {
                let found = format!("{source:?}");
                assert!(found.starts_with(wanted), "{entries:?}: {found}");
            }
            other => panic!("{entries:?}: {other:?}"),
        }
    }
    archive(&path, &[("manifest.json", Regular, 4)]);
    let bundle = Bundle::open(&path).unwrap();
    assert_eq!(bundle.manifest_bytes().unwrap(), b"four");
    let missing = bundle.part("facts.json").unwrap_err();
    assert!(matches!(missing, BundleError::Missing { .. }));
}

#[test]
fn what_is_no_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    for bytes in [&[b'x'; 2000][..], &[0xff; 512]] {
        fs_err::write(&path, bytes).unwrap();
        assert!(matches!(Bundle::open(&path).unwrap_err(), BundleError::Index { .. }));
    }
    let absent = Bundle::open(folder.path().join("absent")).unwrap_err();
    assert!(matches!(absent, BundleError::Io(_)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    /// Whatever a damaged archive says, its files stay inside it.
    #[test]
    fn a_damaged_archive_never_panics(at in 0usize..2048, byte: u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        archive(&path, &[("manifest.json", EntryType::Regular, 4), ("facts.json", EntryType::Regular, 4)]);
        let mut bytes = fs_err::read(&path).unwrap();
        bytes[at] = byte;
        fs_err::write(&path, &bytes).unwrap();
        if let Ok(bundle) = Bundle::open(&path) {
            for name in ["manifest.json", "facts.json"] {
                if let Ok(part) = bundle.part(name) {
                    proptest::prop_assert!(part.len() <= bytes.len() as u64);
                    let _ = part.bytes(bytes.len() as u64);
                }
            }
        }
    }
}

/// What nobody asked for may be as long, and as much, as it likes.
#[test]
fn a_metadata_file_is_bounded_and_read_alone() {
    let (_folder, release) = release_folder();
    let bundle = Bundle::open(&release).unwrap();
    assert_eq!(bundle.metadata_file("targets.json", 4).unwrap(), None);
    fs_err::create_dir(release.join("metadata")).unwrap();
    fs_err::write(release.join("metadata/targets.json"), "four").unwrap();
    let long = fs_err::File::create(release.join("metadata/2.root.json")).unwrap();
    long.set_len(1 << 40).unwrap();
    assert_eq!(bundle.metadata_file("targets.json", 4).unwrap().unwrap(), b"four");
    for (name, limit) in [("targets.json", 3), ("2.root.json", 1 << 16)] {
        let error = bundle.metadata_file(name, limit).unwrap_err();
        assert!(matches!(error, BundleError::TooLong { max, .. } if max == limit), "{error:?}");
    }
}

/// A manifest that is too long is refused before it is read into memory.
#[test]
fn the_manifest_is_bounded() {
    let (_folder, release) = release_folder();
    let long = fs_err::OpenOptions::new().write(true).open(release.join(MANIFEST)).unwrap();
    long.set_len(1 << 40).unwrap();
    let error = Bundle::open(&release).unwrap().manifest().unwrap_err();
    assert!(matches!(error, BundleError::TooLong { .. }));
}
