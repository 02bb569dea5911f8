//! What a payload can do that takes over the process which makes a delta, as if a decoder had a hole.

use std::fs::{File, OpenOptions, read_dir, remove_file};
use std::io::{PipeReader, PipeWriter, Write as _};
use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use payload_tools::format::{Hash, Image, Role, Salt};
use payload_tools::testing::taken_over;

use super::*;

/// What the process is to do, and where.
const ACT: &str = "SEESAW_TAKEN_OVER_TO";
const FOLDER: &str = "SEESAW_TAKEN_OVER_IN";
/// A process of the same user.
const VICTIM: &str = "SEESAW_TAKEN_OVER_BESIDE";
const DONE: i32 = 10;
const REFUSED: i32 = 11;

/// How an act ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is what the process is there for.
    Done,
    /// The system refuses it.
    Refused,
    /// The process is ended for it.
    Killed,
}

fn job(folder: &Path) -> Job {
    let image = |name: u8| Image {
        role: Role::Root,
        size: 4096,
        salt: Salt::default(),
        root: Hash::from_bytes([name; 32]),
    };
    Job {
        payloads: folder.join("payloads"),
        out: folder.join("payloads/incoming/out"),
        scratch: folder.join("payloads/incoming/scratch"),
        from: image(1),
        to: image(2),
        threads: NonZero::<usize>::MIN,
        memory_bytes: 1 << 30,
    }
}

/// A data folder with what a server has in it.
fn data_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path());
    std::fs::create_dir_all(&job.scratch).unwrap();
    let files = [&job.from.root, &job.to.root, &Hash::from_bytes([3; 32])]
        .map(|root| [full_name(root), levels_name(root)].map(|name| job.payloads.join(name)));
    let beside = [folder.path().join("timestamp.key"), job.payloads.join("incoming/upload")];
    for file in files.into_iter().flatten().chain(beside) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "content").unwrap();
    }
    folder
}

/// The pipe stands for those that the server and its maker have between them.
fn act(
    act: &str,
    folder: &Path,
    victim: i32,
    (reader, mut writer): (PipeReader, PipeWriter),
) -> bool {
    let Job { payloads, scratch, from, .. } = job(folder);
    let payload = payloads.join(full_name(&from.root));
    let write = |path: &Path| OpenOptions::new().write(true).open(path).is_ok();
    match act {
        "read a payload" => std::fs::read(payload).is_ok(),
        "unpack" => tempfile::tempfile_in(scratch).is_ok_and(|file| file.set_len(1 << 20).is_ok()),
        "start a thread" => std::thread::Builder::new().spawn(|| ()).unwrap().join().is_ok(),
        "abort" => std::process::abort(),
        "read the key" => File::open(folder.join("timestamp.key")).is_ok(),
        "read another payload" => {
            File::open(payloads.join(full_name(&Hash::from_bytes([3; 32])))).is_ok()
        }
        "write a payload" => write(&payload),
        "remove a payload" => remove_file(payload).is_ok(),
        "write an upload" => write(&payloads.join("incoming/upload")),
        "make a file" => File::create(payloads.join("incoming/new")).is_ok(),
        "list files" => read_dir(payloads).is_ok(),
        "link" => std::fs::hard_link(payload, scratch.join("link")).is_ok(),
        "rename" => std::fs::rename(payload, scratch.join("mine")).is_ok(),
        "socket" => std::net::TcpStream::connect("127.0.0.1:9").is_ok(),
        "exec" => Command::new("/bin/true").exec().raw_os_error().is_none(),
        "fork" => Command::new("/bin/true").spawn().is_ok(),
        "kill" => rustix::process::test_kill_process(rustix::process::Pid::INIT).is_ok(),
        "signal by a descriptor" => {
            taken_over::signal_by(reader.as_fd(), victim) && writer.write_all(b"now").is_ok()
        }
        other => panic!("{other}"),
    }
}

/// The process of the test below, which is this program started again.
#[test]
fn a_process_that_is_taken_over_if_asked() {
    let (Ok(what), Ok(folder)) = (std::env::var(ACT), std::env::var(FOLDER)) else { return };
    let folder = PathBuf::from(folder);
    let victim = std::env::var(VICTIM).unwrap().parse().unwrap();
    let pipe = std::io::pipe().unwrap();
    enter(&job(&folder)).unwrap();
    std::process::exit(if act(&what, &folder, victim, pipe) { DONE } else { REFUSED })
}

#[test]
fn what_takes_over_the_process_has_two_payloads_and_its_folder() {
    let rows = [
        ("read a payload", End::Done),
        ("unpack", End::Done),
        ("start a thread", End::Done),
        ("read the key", End::Refused),
        ("read another payload", End::Refused),
        ("write a payload", End::Refused),
        ("remove a payload", End::Refused),
        ("write an upload", End::Refused),
        ("make a file", End::Refused),
        ("list files", End::Refused),
        ("link", End::Killed),
        ("rename", End::Killed),
        ("socket", End::Killed),
        ("exec", End::Killed),
        ("fork", End::Killed),
        ("kill", End::Killed),
        ("signal by a descriptor", End::Killed),
    ];
    // It ends with its standard input.
    let mut victim = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let beside = victim.id().to_string();
    let name = "deltas::jail::tests::a_process_that_is_taken_over_if_asked";
    let run = |act| {
        let folder = data_folder();
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "--nocapture", name]).env(ACT, act);
        process.env(FOLDER, folder.path()).env(VICTIM, &beside).output().unwrap()
    };
    let mut wrong = Vec::new();
    for (act, end) in rows {
        let output = run(act);
        let found = match (output.status.code(), output.status.signal()) {
            (Some(DONE), _) => Some(End::Done),
            (Some(REFUSED), _) => Some(End::Refused),
            (_, Some(libc::SIGSYS)) => Some(End::Killed),
            _ => None,
        };
        if found != Some(end) {
            wrong.push((act, found, output));
        }
    }
    drop(victim.stdin.take());
    assert!(victim.wait().unwrap().success(), "nobody signals it");
    assert!(wrong.is_empty(), "{wrong:#?}");
    // An end for want of memory is told as one.
    assert_eq!(run("abort").status.signal(), Some(libc::SIGABRT));
}

/// What confines the service must let it confine.
#[test]
fn the_service_leaves_the_calls_that_confine() {
    let unit = include_str!("../../../dist/update-server.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=@"));
    let left: Vec<&str> = lines.flat_map(|line| line.split(' ')).collect();
    for call in
        ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"]
    {
        assert!(left.contains(&call), "{call}: {left:?}");
    }
}
