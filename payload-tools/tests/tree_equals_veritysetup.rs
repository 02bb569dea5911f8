//! The tree is byte for byte the one of `veritysetup format --no-superblock`
//! (package cryptsetup-bin).

use std::process::Command;

use payload_tools::format::{BLOCK, Image, Role, Salt};
use payload_tools::tree::{Levels, TreeBuilder};

/// Root and tree as the real program makes them.
fn veritysetup(image: &[u8], salt: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (data, tree) = (folder.path().join("data"), folder.path().join("tree"));
    fs_err::write(&data, image).unwrap();
    fs_err::write(&tree, []).unwrap();
    let output = Command::new("veritysetup")
        .args(["format", "--no-superblock", "--hash=sha256", "--salt", salt])
        .args(["--data-block-size=4096", "--hash-block-size=4096"])
        .args([&data, &tree])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("veritysetup (package cryptsetup-bin) is needed");
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let root = text.lines().find_map(|line| line.strip_prefix("Root hash:"));
    let root = root.unwrap_or_else(|| panic!("veritysetup: {text}{stderr}")).trim().to_owned();
    (root, fs_err::read(&tree).unwrap())
}

fn check(blocks: usize, salt: &str) {
    let mut bytes = vec![0u8; blocks * BLOCK];
    for (index, block) in bytes.chunks_mut(BLOCK).enumerate() {
        // Every fifth block stays zero.
        if index % 5 != 0 {
            block[..8].copy_from_slice(&(index as u64).to_be_bytes());
            block[BLOCK - 1] = index as u8;
        }
    }
    let (root, tree) = veritysetup(&bytes, salt);
    let salt: Salt = salt.trim_matches('-').parse().unwrap();
    let builder = TreeBuilder::new(salt.clone());
    let ours = builder.build(&bytes, bytes.len() as u64, &|_| ()).unwrap();
    assert_eq!(ours.root.to_string(), root, "root of {blocks} blocks, salt {salt}");
    let bytes_of_tree = [ours.levels.as_slice(), &ours.leaves].concat();
    assert!(bytes_of_tree == tree, "tree of {blocks} blocks, salt {salt}");
    let size = bytes.len() as u64;
    let image = Image { role: Role::Root, size, salt, root: ours.root };
    Levels::verify(&image, ours.levels).unwrap();
}

const SALT: &str = "5eedc0de000102030405060708090a0b0c0d0e0f101112131415161718191a1b";

#[test]
fn one_block_and_one_group() {
    for blocks in [1, 2, 127, 128] {
        for salt in ["-", "00", SALT, &"a5".repeat(256)] {
            check(blocks, salt);
        }
    }
}

#[test]
fn several_groups() {
    for blocks in [129, 256, 257, 1000] {
        for salt in ["-", SALT] {
            check(blocks, salt);
        }
    }
}

#[test]
fn several_levels() {
    for blocks in [128 * 128, 128 * 128 + 1, 3 * 128 * 128 + 77] {
        check(blocks, SALT);
    }
}
