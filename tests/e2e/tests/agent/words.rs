//! What people are told when others are at work, or something is in the way.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::command::{Failure, output, succeed};
use seesaw_e2e::image_file::{Kernel, REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};

#[test]
fn an_update_that_somebody_else_cancels_did_not_succeed() -> Result<(), Failure> {
    let world = World::new()?;
    let liar = Liar::before(world.server.url())?;
    world.ask_at(liar.url())?;
    world.publish(2)?;
    // The install would wait for hours, were it not told of its end.
    std::fs::write(world.path("config/20-patient.toml"), "[server]\ntimeout_seconds = 36000\n")?;
    liar.lie("levels", Lie::Silence);
    let _daemon = world.daemon()?;
    let (updated, cancelled) = std::thread::scope(|scope| {
        let update = scope.spawn(|| world.ask_daemon(&["update"]).unwrap());
        world.daemon_in("installing").unwrap();
        let cancelled = world.ask_daemon(&["cancel"]).unwrap();
        (update.join().unwrap(), cancelled)
    });
    assert_eq!((updated.0, updated.1["exit"].as_str()), (15, Some("cancelled")), "{updated:?}");
    assert_eq!((cancelled.0, cancelled.1["exit"].as_str()), (0, Some("done")), "{cancelled:?}");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
    Ok(())
}

/// Its own check is what the person's joined; the bundle is one that takes its time to be opened.
#[test]
fn a_check_that_an_install_overtakes_says_so() -> Result<(), Failure> {
    let world = World::new()?;
    let liar = Liar::before(world.server.url())?;
    world.ask_at(liar.url())?;
    std::fs::write(world.path("config/20-poll.toml"), "[updates]\npoll_seconds = 1\n")?;
    liar.lie("timestamp.json", Lie::Silence);
    let bundle = world.path("bundle");
    succeed(Command::new("mkfifo").arg(&bundle))?;
    let _daemon = world.daemon()?;
    world.daemon_in("checking")?;
    let mut check = world.line_to_daemon(&["check"]).stderr(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let mut talk = BufReader::new(check.stderr.take().unwrap());
    talk.read_line(&mut said)?;
    assert_eq!(said, "asking the server\n");
    let path = bundle.display().to_string();
    let mut install = world.line_to_daemon(&["install", &path]).stdout(Stdio::null()).spawn()?;
    assert_eq!(check.wait()?.code(), Some(11), "{}", {
        talk.read_to_string(&mut said)?;
        said
    });
    // Nothing is in it.
    drop(std::fs::OpenOptions::new().write(true).open(&bundle)?);
    install.wait()?;
    Ok(())
}

/// A disk of which the system takes no byte behind the first.
#[test]
fn a_confirmation_that_cannot_be_written_ends_and_says_so() -> Result<(), Failure> {
    let mut world = World::new()?;
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    let line = world.line(&["confirm"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; exec prlimit --fsize=1048576 \"$@\"", "sh"]);
    limited.arg(line.get_program()).args(line.get_args()).env("RUST_LOG", "off");
    let told = output(&mut limited)?;
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(1), "{words}");
    assert!(words.starts_with("failed: cannot confirm the booted slot"), "{words}");
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Trial);
    let (code, confirmed) = world.updatectl(&["confirm"])?;
    assert_eq!((code, confirmed["exit"].as_str()), (0, Some("done")), "{confirmed}");
    Ok(())
}

#[test]
fn what_is_wrong_is_said_in_one_line_and_once() -> Result<(), Failure> {
    let world = World::new()?;
    assert_eq!(world.updatectl(&["check"])?.0, 0);
    std::fs::write(world.path("config/20-typo.toml"), "[server]\nurll = \"x\"\n")?;
    let told = world.told(&["status"])?;
    let wrong = "20-typo.toml: line 2, `urll = \"x\"`: unknown field `urll`, expected `url` or \
                 `timeout_seconds`";
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("20-typo")).collect();
    assert!(matches!(lines[..], [line] if line.ends_with(wrong)), "{told}");
    std::fs::remove_file(world.path("config/20-typo.toml"))?;

    let journal = world.path("state/journal.json");
    std::fs::remove_file(&journal)?;
    std::fs::create_dir(&journal)?;
    let told = output(world.line(&["pin", "77"]).env("RUST_LOG", "off"))?;
    let talk = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(talk.matches("cannot read the journal").count(), 1, "{talk}");
    assert!(talk.contains("names no release 77"), "{talk}");
    Ok(())
}
