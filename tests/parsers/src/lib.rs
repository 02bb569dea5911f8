//! Every parser of bytes that somebody else wrote, as a function of those bytes.
//!
//! The fuzzers (tests/fuzz) call them with whatever they make up; a test calls them with the seeds
//! that our own writers make and with the corpus that the fuzzers left, and asks that every way to
//! refuse an input occurs. What the parsers promise of an input that they accept is asserted here,
//! so that a fuzzer finds more than crashes. Where a checksum or a signature would stop a fuzzer, the
//! input says that it is to be mended first.
#![forbid(unsafe_code)]

mod boot_report;
mod bundle;
mod config;
mod delta_body;
mod delta_head;
mod frame;
mod gpt;
mod input;
mod ipc;
mod journal;
mod kernel;
mod levels;
mod manifest;
mod seek_table;
mod server;
mod tuf;

/// What a parser made of an input: that it holds, or by which names it was refused.
pub type Outcomes = Vec<String>;

/// A parser, and what its inputs can come to.
#[derive(Clone, Copy, Debug)]
pub struct Parser {
    /// Its name: a fuzz target's, and its corpus folder's.
    pub name: &'static str,
    /// Parses.
    ///
    /// # Panics
    /// When an accepted input breaks what the parser promises.
    pub run: fn(&[u8]) -> Outcomes,
    /// Every outcome that the types know.
    pub outcomes: &'static [&'static [&'static str]],
    /// Those among them that no input of this parser has.
    pub never: &'static [&'static str],
    /// Inputs made by our own writers, and those changed, for every outcome.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const PARSERS: [Parser; 15] = [
    boot_report::PARSER,
    bundle::PARSER,
    config::PARSER,
    delta_body::PARSER,
    delta_head::PARSER,
    frame::PARSER,
    gpt::PARSER,
    ipc::PARSER,
    journal::PARSER,
    kernel::PARSER,
    levels::PARSER,
    manifest::PARSER,
    seek_table::PARSER,
    server::PARSER,
    tuf::PARSER,
];

/// The parser of that name.
///
/// # Panics
/// When there is none.
pub fn parser(name: &str) -> Parser {
    *PARSERS.iter().find(|parser| parser.name == name).expect("one of PARSERS")
}

/// Names the variants of an error: a match that has to be complete, and the list of all names.
macro_rules! names {
    ($name:ident, $all:ident, $error:ty, { $($pattern:pat => $label:literal),+ $(,)? }) => {
        pub(crate) const $all: &[&str] = &[$($label),+];

        pub(crate) fn $name(error: &$error) -> String {
            match error { $($pattern => $label),+ }.to_owned()
        }
    };
}
pub(crate) use names;
