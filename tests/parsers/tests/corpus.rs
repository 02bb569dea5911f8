//! What the fuzzers left, and the seeds, without a fuzzer: nothing breaks, and every way to refuse an
//! input occurs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use seesaw_parsers::{PARSERS, Parser};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz")
}

fn inputs(parser: &Parser) -> Vec<Vec<u8>> {
    let mut inputs = (parser.seeds)();
    inputs.extend(committed(parser).iter().map(|file| fs_err::read(file).unwrap()));
    inputs
}

/// The files of a parser's corpus.
fn committed(parser: &Parser) -> Vec<PathBuf> {
    let corpus = fuzz().join("corpus").join(parser.name);
    if !corpus.exists() {
        return Vec::new();
    }
    let files = fs_err::read_dir(corpus).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[track_caller]
fn replay(name: &str) {
    let parser = seesaw_parsers::parser(name);
    let mut found = BTreeMap::new();
    for input in inputs(&parser) {
        for outcome in (parser.run)(&input) {
            *found.entry(outcome).or_insert(0) += 1;
        }
    }
    println!("{name}: {found:?}");
    let wanted = parser.outcomes.iter().copied().flatten().copied();
    let wanted: BTreeSet<_> = wanted.filter(|name| !parser.never.contains(name)).collect();
    let found: BTreeSet<_> = found.keys().map(String::as_str).collect();
    let lacking: Vec<_> = wanted.difference(&found).collect();
    let unnamed: Vec<_> = found.iter().filter(|name| !wanted.contains(*name)).collect();
    assert!(lacking.is_empty() && unnamed.is_empty(), "never: {lacking:?}, unnamed: {unnamed:?}");
}

macro_rules! replays {
    ($($parser:ident),+ $(,)?) => {
        $(#[test]
        fn $parser() {
            replay(stringify!($parser));
        })+

        const REPLAYED: &[&str] = &[$(stringify!($parser)),+];
    };
}

replays!(
    boot_report,
    bundle,
    config,
    delta_body,
    delta_head,
    frame,
    gpt,
    ipc,
    journal,
    kernel,
    levels,
    manifest,
    seek_table,
    server,
    tuf,
);

#[test]
fn every_parser_is_replayed_and_has_a_fuzz_target() {
    let parsers: Vec<_> = PARSERS.iter().map(|parser| parser.name).collect();
    assert_eq!(parsers, REPLAYED);
    let manifest = fs_err::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in parsers {
        assert!(fuzz().join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// The corpora are kept small: what the fuzzers find is minimised before it is committed.
#[test]
fn the_corpora_are_small() {
    let mut bytes = 0;
    for parser in PARSERS {
        for input in committed(&parser) {
            bytes += fs_err::metadata(input).unwrap().len();
        }
    }
    assert!(bytes < 1 << 20, "{bytes} bytes");
}
