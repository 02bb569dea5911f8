//! What a payload can do that takes over the process which makes a delta, as if a decoder had a hole.

use std::fs::{File, OpenOptions, read_dir, remove_file};
use std::io::{PipeReader, PipeWriter, Write as _};
use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use payload_tools::format::{Hash, Image, Role, Salt};
use payload_tools::testing::taken_over;

use super::super::child::step_back;
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

/// What the process has when it is taken over.
struct Has {
    folder: PathBuf,
    victim: i32,
    /// As it has one from the server, and one to it.
    pipe: (PipeReader, PipeWriter),
    /// To unpack an image in.
    room: File,
    stack: usize,
}

fn act(act: &str, has: Has) -> bool {
    let Has { folder, victim, pipe: (reader, mut writer), room, stack } = has;
    let Job { payloads, scratch, from, .. } = job(&folder);
    let payload = payloads.join(full_name(&from.root));
    let write = |path: &Path| OpenOptions::new().write(true).open(path).is_ok();
    match act {
        "read a payload" => std::fs::read(payload).is_ok(),
        "unpack" => room.set_len(1 << 20).is_ok() && room.write_all_at(b"image", 4096).is_ok(),
        "start a thread" => std::thread::Builder::new().spawn(|| ()).unwrap().join().is_ok(),
        "abort" => std::process::abort(),
        "read the key" => File::open(folder.join("timestamp.key")).is_ok(),
        "read another payload" => {
            File::open(payloads.join(full_name(&Hash::from_bytes([3; 32])))).is_ok()
        }
        "write a payload" => write(&payload),
        "empty a payload" => {
            OpenOptions::new().read(true).custom_flags(libc::O_TRUNC).open(payload).is_ok()
        }
        "remove a payload" => remove_file(payload).is_ok(),
        "write an upload" => write(&payloads.join("incoming/upload")),
        "make a file" => File::create(payloads.join("incoming/new")).is_ok(),
        "make more room" => tempfile::tempfile_in(scratch).is_ok(),
        "take shared memory" => taken_over::map(1 << 20, libc::MAP_SHARED),
        "take memory that grows" => {
            taken_over::map(1 << 20, libc::MAP_PRIVATE | libc::MAP_GROWSDOWN)
        }
        // Four times what the job may have.
        "take memory" => taken_over::map(4 << 30, libc::MAP_PRIVATE),
        "take memory as a stack" => taken_over::grow(stack, 4 << 30),
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
    let job = job(&folder);
    let room = tempfile::tempfile_in(&job.scratch).unwrap();
    let (pipe, stack) = (std::io::pipe().unwrap(), taken_over::stack().unwrap());
    step_back(&job).unwrap();
    enter(&job).unwrap();
    let has = Has { folder, victim, pipe, room, stack };
    std::process::exit(if act(&what, has) { DONE } else { REFUSED })
}

#[test]
fn what_takes_over_the_process_has_two_payloads_and_its_files() {
    let rows = [
        ("read a payload", End::Done),
        ("unpack", End::Done),
        ("start a thread", End::Done),
        ("read the key", End::Refused),
        ("read another payload", End::Refused),
        ("list files", End::Refused),
        ("take memory", End::Refused),
        ("take memory as a stack", End::Refused),
        ("take memory that grows", End::Killed),
        ("take shared memory", End::Killed),
        ("write a payload", End::Killed),
        ("empty a payload", End::Killed),
        ("remove a payload", End::Killed),
        ("write an upload", End::Killed),
        ("make a file", End::Killed),
        ("make more room", End::Killed),
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
