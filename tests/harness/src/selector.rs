//! Builds the boot selector for UEFI.
//!
//! It has a workspace of its own and a target that a Rust installation does not bring along:
//! rustup adds it; where rustup is missing or offline, Debian's rustc-web and rust-web-src build
//! the standard library's core first. The output depends on the sources, the compiler and the
//! checkout's path (cargo mixes it into the names of symbols), not on the time, the target
//! directory or cargo's home.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, io};

use crate::packages;
use crate::programs::{checkout, target_dir};

const TARGET: &str = "x86_64-unknown-uefi";

/// Debian's compiler (package rustc-web) and its library's source (package rust-web-src).
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/core/Cargo.toml";

/// Why there is no selector.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    /// A program could not be run.
    #[error("running {} failed: is it installed?", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No compiler can make UEFI programs.
    #[error(
        "no compiler for {TARGET}: run `rustup target add {TARGET}`, or install the Debian \
         packages rustc-web and rust-web-src; rustup said: {rustup}"
    )]
    NoTarget {
        /// The end of what `rustup target add` printed.
        rustup: String,
    },
    /// Debian's compiler could not be installed.
    #[error("no compiler for {TARGET} (`rustup target add {TARGET}` brings one)")]
    Packages(#[from] packages::PackagesError),
    /// The compiler failed; what it printed follows.
    #[error("building {what} failed:\n{output}")]
    Build {
        /// What was built.
        what: &'static str,
        /// What cargo printed.
        output: String,
    },
}

/// Which compiler makes the UEFI programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// The one in use, with the target's standard library installed.
    Rustup,
    /// Debian's, which builds the library itself; the linker is the ordinary toolchain's.
    Debian {
        /// rust-lld.
        linker: PathBuf,
    },
}

impl Compiler {
    /// The first that works, after adding the target through rustup if need be.
    pub fn find() -> Result<Self, SelectorError> {
        if target_is_installed()? {
            return Ok(Self::Rustup);
        }
        let rustup = match Command::new("rustup").args(["target", "add", TARGET]).output() {
            Ok(output) if output.status.success() && target_is_installed()? => {
                return Ok(Self::Rustup);
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Self::debian()?.ok_or(SelectorError::NoTarget { rustup })
    }

    /// Debian's compiler, if it and its sources are installed.
    pub fn debian() -> Result<Option<Self>, SelectorError> {
        let linker = sysroot()?.join(format!("lib/rustlib/{}/bin/rust-lld", host()?));
        let installed = [Path::new(DEBIAN_RUSTC), Path::new(DEBIAN_LIBRARY), &linker]
            .iter()
            .all(|path| path.exists());
        Ok(installed.then_some(Self::Debian { linker }))
    }
}

/// Builds the selector, after installing Debian's compiler where no other is to be had.
pub fn prepare(progress: impl FnMut(&str)) -> Result<(), SelectorError> {
    if let Err(SelectorError::NoTarget { .. }) = Compiler::find() {
        packages::ensure(&[packages::UEFI_COMPILER], progress)?;
    }
    build_selector().map(drop)
}

/// Brings the selector up to date; where it is. Unsigned.
pub fn build_selector() -> Result<PathBuf, SelectorError> {
    build_with(&Compiler::find()?, &target_dir().join("uefi"))
}

/// The same with a given compiler and cargo target directory.
pub fn build_with(compiler: &Compiler, target_dir: &Path) -> Result<PathBuf, SelectorError> {
    cargo(compiler, target_dir, "the boot selector", &["--bin", "boot-selector"])?;
    Ok(target_dir.join(TARGET).join("release/boot-selector.efi"))
}

/// Brings the stand-in for a kernel up to date (examples/slot-probe.rs beside the selector).
pub fn build_probe() -> Result<PathBuf, SelectorError> {
    let target_dir = target_dir().join("uefi");
    cargo(&Compiler::find()?, &target_dir, "the slot probe", &["--example", "slot-probe"])?;
    Ok(target_dir.join(TARGET).join("release/examples/slot-probe.efi"))
}

fn cargo(
    compiler: &Compiler,
    target_dir: &Path,
    what: &'static str,
    selection: &[&str],
) -> Result<(), SelectorError> {
    let mut command = crate::cargo::cargo();
    let program = PathBuf::from(command.get_program());
    command
        .current_dir(checkout().join("partition-layout/boot-selector"))
        .args(["build", "--locked", "--release", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .args(selection)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags())
        .env_remove("RUSTFLAGS");
    if let Compiler::Debian { linker } = compiler {
        command
            .args(["-Zbuild-std=core,alloc,compiler_builtins"])
            .arg("-Zbuild-std-features=compiler-builtins-mem")
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_X86_64_UNKNOWN_UEFI_LINKER", linker);
    }
    let output = run(command, &program)?;
    if output.status.success() {
        Ok(())
    } else {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(SelectorError::Build { what, output })
    }
}

/// Keeps folders and times out of the program: panics name files, linkers the time.
fn rust_flags() -> String {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    [
        format!("--remap-path-prefix={}=/cargo", cargo_home.display()),
        format!("--remap-path-prefix={}=/seesaw", checkout().display()),
        "-Clink-arg=/Brepro".to_owned(),
        "-Clink-arg=/DEBUG:NONE".to_owned(),
    ]
    .join("\u{1f}")
}

fn target_is_installed() -> Result<bool, SelectorError> {
    Ok(sysroot()?.join("lib/rustlib").join(TARGET).join("lib").exists())
}

fn sysroot() -> Result<PathBuf, SelectorError> {
    rustc(&["--print", "sysroot"]).map(PathBuf::from)
}

fn host() -> Result<String, SelectorError> {
    rustc(&["--print", "host-tuple"])
}

fn rustc(args: &[&str]) -> Result<String, SelectorError> {
    let program = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let mut command = Command::new(&program);
    command.args(args);
    let output = run(command, &program)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn run(mut command: Command, program: &Path) -> Result<Output, SelectorError> {
    command.output().map_err(|source| SelectorError::Run { program: program.to_owned(), source })
}
