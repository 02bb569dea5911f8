use std::io::Write;
use std::os::fd::AsRawFd;

use payload_tools::bundle::{Bundle, BundleError, IndexError};
use rustix::fs::{MemfdFlags, memfd_create};
use tar::{EntryType, Header};

use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(no_index, INDEX_ERRORS, IndexError, {
    IndexError::Tar(_) => "tar",
    IndexError::Kind { .. } => "kind",
    IndexError::Name { .. } => "name",
    IndexError::Twice { .. } => "twice",
    IndexError::Cut { .. } => "cut",
    IndexError::TooMany => "too many",
});
/// Of an index that holds: what became of reading the manifest by it.
const PARTS: &[&str] = &["manifest", "no manifest", "missing", "too long"];

pub(crate) const PARSER: Parser =
    Parser { name: "bundle", run, outcomes: &[INDEX_ERRORS, PARTS], never: &[], seeds };

/// Every block of 512 bytes that could be a header gets a right sum.
const MEND: u8 = 1;
/// The first entry stands for so many, numbered, that need not be in the corpus.
const MANY: u8 = 2;

/// What to do first, and the file.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let mode = input.byte();
    let mut tar = input.rest().to_vec();
    if mode & MANY != 0 {
        tar = (0..4097).flat_map(|number| entry(&format!("file-{number}"), b"")).collect();
    }
    if mode & MEND != 0 {
        tar.chunks_exact_mut(512).for_each(mend);
    }
    let file = memfd_create("bundle", MemfdFlags::CLOEXEC).expect("there is memory");
    let mut file = std::fs::File::from(file);
    file.write_all(&tar).expect("memory can be written");
    let bundle = match Bundle::open(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        Ok(bundle) => bundle,
        Err(BundleError::Index { source, .. }) => return vec![no_index(&source)],
        Err(error) => panic!("opening it fails otherwise: {error:?}"),
    };
    for name in ["facts.json", "images/5a/levels", "metadata/1.root.json"] {
        if let Ok(part) = bundle.part(name) {
            assert!(part.len() <= tar.len() as u64);
            part.bytes(tar.len() as u64).expect("a part is within its file");
        }
    }
    vec![match bundle.manifest() {
        Ok(_) => "manifest".to_owned(),
        Err(BundleError::Manifest { .. }) => "no manifest".to_owned(),
        Err(BundleError::Missing { .. }) => "missing".to_owned(),
        Err(BundleError::TooLong { .. }) => "too long".to_owned(),
        Err(error) => panic!("reading the manifest fails otherwise: {error:?}"),
    }]
}

/// The sum of a tar header is over its bytes, with spaces where the sum is.
fn mend(block: &mut [u8]) {
    if block.iter().all(|&byte| byte == 0) {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    let octal = format!("{sum:06o}\0 ");
    block[148..156].copy_from_slice(octal.as_bytes());
}

fn header(name: &str, kind: EntryType, len: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(len);
    header.set_path(name).expect("a short name");
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, EntryType::Regular, content.len() as u64);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let root = "5a".repeat(32);
    let manifest = format!(
        r#"{{"format":1,"compatible":"demo","release":"2","counter":2,
"built":"2026-11-01T00:00:00Z","images":[
{{"role":"kernel","size":4096,"salt":"","root":"{root}"}},
{{"role":"root","size":4096,"salt":"","root":"{root}"}}]}}"#
    );
    let of = |entries: &[Vec<u8>]| [&[0][..], &entries.concat(), &[0; 1024]].concat();
    let manifest = entry("manifest.json", manifest.as_bytes());
    let facts = entry("facts.json", b"{}");
    let mut damaged = of(std::slice::from_ref(&manifest));
    damaged[10] ^= 1;
    let mut mended = damaged.clone();
    mended[0] = MEND;
    let folder = header("images/", EntryType::Directory, 0);
    vec![
        of(&[folder, manifest.clone(), facts.clone(), entry("images/5a/levels", &[1; 700])]),
        of(&[entry("manifest.json", b"{}")]),
        of(std::slice::from_ref(&facts)),
        of(&[facts.clone(), facts]),
        of(&[entry("manifest.json", &[b' '; (1 << 20) + 1])]),
        of(&[header("manifest.json", EntryType::Symlink, 0)]),
        of(&[header("x".repeat(300).get(..90).unwrap_or_default(), EntryType::GNULongName, 300)]),
        of(&[entry("images/a b", b"")]),
        of(&[header("images/5a/full", EntryType::Regular, 1 << 40)]),
        vec![MANY],
        damaged,
        mended,
    ]
}
