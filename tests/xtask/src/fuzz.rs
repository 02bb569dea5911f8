//! `cargo xtask fuzz`: libFuzzer on every parser, with the ordinary toolchain.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use rustix::process::{Pid, Signal, kill_process};
use seesaw_harness::cargo::cargo;
use seesaw_harness::programs::{checkout, target_dir};
use seesaw_parsers::{PARSERS, Parser, parser};

/// Fuzz the parsers with libFuzzer, and print what each run covered. Needs a C++ compiler.
///
/// What is found that breaks a parser stays in target/fuzz/artifacts. A run begins with the committed
/// corpus and the seeds of our own writers; what it finds is in target/fuzz/found.
#[derive(Debug, clap::Args)]
pub struct FuzzArgs {
    /// The parser; without one, each in turn.
    #[arg(value_parser = PossibleValuesParser::new(PARSERS.map(|parser| parser.name)))]
    target: Option<String>,
    /// CPU minutes for each.
    #[arg(long, value_name = "N", default_value = "10")]
    minutes: u32,
    /// Write few inputs that cover as much into the corpus that is committed, in place of it.
    #[arg(long)]
    minimise: bool,
    /// Instead, see that a fault is found in so many minutes in a parser that has one on purpose.
    #[arg(long, conflicts_with_all = ["target", "minimise"])]
    planted: bool,
}

/// What the compiler is told: counters and comparisons for libFuzzer, and checks for us. The flags are
/// those of cargo-fuzz without a sanitizer. What the decoders of payloads call in zstd is C code, which is
/// neither counted nor sanitized by them.
const FLAGS: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];
/// Also of build scripts' and macros' target: with a target named, those are built without the flags.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// A parser may keep that much; the server's store is in memory too.
const RSS_MIB: u32 = 1024;
/// One input may take so long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The target that has a fault on purpose.
const PLANTED: &str = "planted";
/// Bytes of the corpus of one parser at most, as it is committed.
const CORPUS_BYTES: u64 = 64 << 10;

/// Runs the subcommand.
pub fn run(args: &FuzzArgs) -> Result<(), Box<dyn Error>> {
    let time = Duration::from_secs(u64::from(args.minutes) * 60);
    if args.planted {
        return find_planted(time);
    }
    let chosen = args.target.as_deref().map(|name| vec![parser(name)]);
    let chosen = chosen.unwrap_or_else(|| PARSERS.to_vec());
    let binaries = build(&chosen.iter().map(|parser| parser.name).collect::<Vec<_>>())?;
    let mut broken = Vec::new();
    for parser in &chosen {
        let fuzzer = Fuzzer::new(parser.name, parser, &binaries)?;
        if args.minutes > 0 {
            let run = fuzzer.run(time)?;
            println!("{run}");
            if !run.found.is_empty() {
                broken.push(run);
            }
        }
        if args.minimise {
            fuzzer.minimise()?;
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        broken => Err(broken.iter().map(|run| run.found.join("\n")).collect::<String>().into()),
    }
}

/// Fuzzes a parser that has a fault on purpose, from the corpus of the one without it.
fn find_planted(time: Duration) -> Result<(), Box<dyn Error>> {
    let binaries = build(&[PLANTED])?;
    let fuzzer = Fuzzer::new(PLANTED, &parser("seek_table"), &binaries)?;
    // What found it before must not help.
    fs_err::remove_dir_all(&fuzzer.found)?;
    fs_err::create_dir(&fuzzer.found)?;
    let run = fuzzer.run(time)?;
    println!("{run}");
    if !run.found.iter().any(|found| found.contains("panicked at")) {
        return Err("the planted fault was not found: the fuzzers do not work".into());
    }
    println!("the planted fault was found");
    Ok(())
}

/// Builds the targets; the folder that they are in.
fn build(targets: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
    eprintln!("building the fuzz targets");
    let target = target_dir().join("fuzz");
    let mut build = cargo();
    build.args(["build", "--release", "--quiet", "--manifest-path", "tests/fuzz/Cargo.toml"]);
    build.args(["--target", TRIPLE, "--target-dir"]).arg(&target);
    for name in targets {
        build.args(["--bin", name]);
    }
    if !build.env("RUSTFLAGS", FLAGS.join(" ")).status()?.success() {
        return Err("cargo build of the fuzz targets failed; is a C++ compiler installed?".into());
    }
    Ok(target.join(TRIPLE).join("release"))
}

/// One parser's target and its folders.
struct Fuzzer {
    name: &'static str,
    program: PathBuf,
    /// Inputs found so far, on this machine.
    found: PathBuf,
    /// Of our own writers.
    seeds: PathBuf,
    committed: PathBuf,
    artifacts: PathBuf,
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    name: &'static str,
    cpu: Duration,
    /// libFuzzer's last line: covered edges, features, corpus, speed.
    coverage: String,
    /// What broke the parser, with the file that does.
    found: Vec<String>,
}

impl Fuzzer {
    /// With the seeds and the corpus of a parser.
    fn new(name: &'static str, parser: &Parser, binaries: &Path) -> io::Result<Self> {
        let folder = |of: &str| target_dir().join("fuzz").join(of).join(name);
        let fuzzer = Self {
            name,
            program: binaries.join(name),
            found: folder("found"),
            seeds: folder("seeds"),
            committed: checkout().join("tests/fuzz/corpus").join(parser.name),
            artifacts: folder("artifacts"),
        };
        for folder in [&fuzzer.found, &fuzzer.seeds, &fuzzer.committed, &fuzzer.artifacts] {
            fs_err::create_dir_all(folder)?;
        }
        for (number, seed) in (parser.seeds)().into_iter().enumerate() {
            fs_err::write(fuzzer.seeds.join(number.to_string()), seed)?;
        }
        Ok(fuzzer)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("-rss_limit_mb={RSS_MIB}"));
        command.arg(format!("-timeout={}", TIMEOUT.as_secs()));
        command.arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        command.stdin(Stdio::null());
        command
    }

    /// Fuzzes for so much time of a processor, or until something breaks.
    fn run(&self, cpu: Duration) -> Result<Run, Box<dyn Error>> {
        let log = self.artifacts.join("log");
        let mut command = self.command();
        // Not to be found in one piece: long inputs are slow, and seeds are kept whole.
        command.args(["-max_len=16384", "-print_final_stats=1"]);
        command.args([&self.found, &self.committed, &self.seeds]);
        let output = fs_err::File::create(&log)?.into_file();
        let mut child = command.stdout(Stdio::null()).stderr(output).spawn()?;
        let (used, ended) = wait(&mut child, cpu)?;
        let said = fs_err::read(&log)?;
        let said = String::from_utf8_lossy(&said);
        let is_coverage = |line: &&str| line.starts_with('#') && line.contains(" cov: ");
        let coverage = said.lines().rfind(is_coverage).unwrap_or("nothing").to_owned();
        let is_broken = |line: &&str| {
            line.contains("panicked at")
                || line.contains("ERROR: ")
                || line.contains("Test unit written")
        };
        let named = |line: &str| format!("{}: {line}", self.name);
        let mut found: Vec<_> = said.lines().filter(is_broken).map(named).collect();
        if let Some(status) = ended.filter(|_| found.is_empty()) {
            found.push(named(&format!("ended by itself ({status}); see {}", log.display())));
        }
        Ok(Run { name: self.name, cpu: used, coverage, found })
    }

    /// Merges everything there is into the committed corpus: few inputs that reach every edge that any
    /// reaches, the smallest first, as far as there is room.
    fn minimise(&self) -> Result<(), Box<dyn Error>> {
        let merged = tempfile::tempdir_in(target_dir().join("fuzz"))?;
        let mut command = self.command();
        command.args(["-set_cover_merge=1", "-use_counters=0"]).arg(merged.path());
        command.args([&self.committed, &self.found, &self.seeds]);
        let log = fs_err::File::create(self.artifacts.join("merge-log"))?.into_file();
        if !command.stdout(Stdio::null()).stderr(log).status()?.success() {
            return Err(format!("merging the corpora of {} failed", self.name).into());
        }
        let mut files = Vec::new();
        for entry in fs_err::read_dir(merged.path())? {
            let entry = entry?;
            files.push((entry.metadata()?.len(), entry.path()));
        }
        files.sort();
        fs_err::remove_dir_all(&self.committed)?;
        fs_err::create_dir_all(&self.committed)?;
        let (mut room, mut kept) = (CORPUS_BYTES, 0);
        for (size, path) in &files {
            let Some(left) = room.checked_sub(*size) else { break };
            let name = path.file_name().unwrap_or_default();
            fs_err::copy(path, self.committed.join(name))?;
            (room, kept) = (left, kept + 1);
        }
        println!("{}: {kept} of {} inputs kept", self.name, files.len());
        Ok(())
    }
}

/// Waits for a fuzzer, and interrupts it when it has had its time of a processor: how much it had, and
/// how it ended, if by itself.
fn wait(
    child: &mut Child,
    cpu: Duration,
) -> Result<(Duration, Option<ExitStatus>), Box<dyn Error>> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("a process has an id")?;
    let (mut used, mut interrupted) = (Duration::ZERO, None::<Instant>);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((used, interrupted.is_none().then_some(status)));
        }
        used = cpu_time(pid).unwrap_or(used);
        match interrupted {
            None if used >= cpu => {
                kill_process(pid, Signal::INT)?;
                interrupted = Some(Instant::now());
            }
            Some(since) if since.elapsed() > 3 * TIMEOUT => child.kill()?,
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// User and system time of a process, in ticks of a hundredth of a second (proc(5), `stat`).
fn cpu_time(pid: Pid) -> Option<Duration> {
    let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} CPU seconds, {}", self.name, self.cpu.as_secs(), self.coverage)
    }
}
