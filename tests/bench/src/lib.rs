//! Measurements beside peers: what a full install costs, and what the obvious
//! pipeline of other people's tools, RAUC and SWUpdate cost for the same image; the programs as they
//! are shipped; how long a kernel waits for the boot selector; and how large deltas between real
//! images are.
#![forbid(unsafe_code)]

mod binaries;
mod boot;
mod cgroup;
mod delta;
mod disk;
mod document;
mod figures;
mod install;
mod machine;
mod peers;
mod release;
mod rounds;
mod sample;
mod serve;
mod tables;
mod throttled;

use std::io;
use std::path::PathBuf;

use seesaw_harness::command::CommandError;
use seesaw_harness::venv::VenvError;

pub use binaries::{Binaries, crates};
pub use boot::Boots;
pub use cgroup::CgroupError;
pub use delta::{DeltaPrograms, Pair, install_worst_delta, measure_deltas};
pub use disk::{Loop, TestDisk};
pub use document::with_figures;
pub use figures::Figures;
pub use install::{Way, install};
pub use machine::name_machine;
pub use release::{Fill, Release, prepare};
pub use rounds::{Comparison, Contest};
pub use sample::Sample;
pub use serve::FileServer;
pub use tables::{Part, tables};
pub use throttled::Throttled;

/// A measurement that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Needs what only root may do.
    #[error("loop devices and control groups need root; run it as root")]
    NotRoot,
    /// A file or device failed.
    #[error("cannot {step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program.
        program: String,
        /// What it printed.
        output: String,
    },
    /// The machine cannot count what is to be counted.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A tool that makes trees or images failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A peer cannot be installed.
    #[error(transparent)]
    Venv(#[from] VenvError),
    /// Figures of two machines would stand in one document.
    #[error(
        "docs/benchmarks.json is of another machine ({documented}): measure all parts here, each \
         named with --only"
    )]
    OtherMachine {
        /// The machine there.
        documented: String,
    },
    /// Nothing to make an image of.
    #[error("{folder} has too few files to make an image of")]
    NoContent {
        /// Where files were looked for.
        folder: PathBuf,
    },
    /// A table cannot be filled.
    #[error("the figures lack `{key}`, or it is of another kind; measure again")]
    NoFigure {
        /// What is missing.
        key: String,
    },
    /// A table has no place, or two.
    #[error(
        "docs/benchmarks.md needs `<!-- figures:{name} -->` and, after it, `<!-- figures:end -->`, \
         once, for its table"
    )]
    NoMarkers {
        /// Of which table.
        name: &'static str,
    },
    /// A boot could not be prepared or watched.
    #[error("cannot measure a boot")]
    Boot(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The payload could not be made.
    #[error("cannot make the payload")]
    Payload(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Names the step that an I/O error came from.
fn at(step: &'static str) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::Io { step, source }
}
