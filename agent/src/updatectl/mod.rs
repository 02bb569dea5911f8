//! The program of people and scripts: stdout is data, stderr is talk, and the
//! exit status says what came of it.

mod args;
mod caution;
mod exit;
mod list;
mod local;
mod render;

use std::io::{self, Write};

pub use args::Args;
pub use exit::Exit;

use crate::device::DeviceOptions;
use crate::ipc::{self, Connection, IpcError, Shown};
use crate::journal::Journal;
use crate::status::{AgentStatus, Status};
use crate::update::{Answer, Command, Objection, Phase};
use args::Verb;

/// Runs one command line.
pub fn run(args: &Args) -> Exit {
    let result = match &args.verb {
        Verb::Status => status(args),
        Verb::List => list::list(args),
        Verb::History => history(args),
        Verb::Channel { name: None, reset: false } => channel(args),
        verb => command(args, verb.command()),
    };
    result.unwrap_or_else(|failure| {
        let (error, exit) = (crate::chain(&failure), failure.exit());
        eprintln!("updatectl: {error}");
        if args.json {
            // A result that cannot be written has been told above.
            let _ = print_json(&serde_json::json!({ "exit": exit.name(), "error": error }));
        }
        exit
    })
}

/// A command line that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    #[error(transparent)]
    Boot(#[from] crate::boot_control::BootError),
    #[error(transparent)]
    Ipc(#[from] IpcError),
    #[error("cannot tell what is known of the releases")]
    Metadata(#[from] list::ListError),
    #[error("without --state nothing is remembered, and this is nothing else: give --state DIR")]
    Forgetful,
    #[error("cannot run without the daemon")]
    Runtime(#[source] io::Error),
    #[error("cannot write the result")]
    Output(#[source] io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        use crate::boot_control::BootError;
        use crate::device::DeviceError;
        match self {
            Self::Boot(BootError::Mixed(_)) => Exit::Mixed,
            Self::Device(DeviceError::Boot(BootError::EitherBooted { .. })) => Exit::Usage,
            Self::Device(DeviceError::Locked { .. }) => Exit::Busy,
            Self::Forgetful => Exit::Usage,
            Self::Metadata(list::ListError::Trust(_)) => Exit::Verification,
            _ => Exit::Failed,
        }
    }
}

/// The daemon, where one runs for this device.
fn daemon(options: &DeviceOptions) -> Result<Option<Connection>, IpcError> {
    options.run_folder().map_or(Ok(None), |run| Connection::open(&ipc::socket(&run)))
}

/// The daemon's word, or the disk's and the journal's.
fn look(options: &DeviceOptions) -> Result<Status, Failure> {
    if let Some(daemon) = daemon(options)? {
        return Ok(daemon.status()?);
    }
    let boot = options.boot_control(partition_layout::Access::ReadOnly)?;
    let mut status = Status::read(&boot)?;
    if options.disk.is_some() && options.booted.is_none() {
        // Nothing runs from an image file unless somebody says so.
        status.booted = None;
    }
    if let Some(state) = options.state_folder() {
        // The disk is shown and changed without a memory too.
        let life = Journal::peek(state.path()).unwrap_or_else(|error| {
            eprintln!("updatectl: {}", crate::chain(&error));
            None
        });
        status.agent = life.map(AgentStatus::remembered);
    }
    match (options.settings(), &mut status.agent) {
        (Err(wrong), Some(agent)) => agent.complaints.push(wrong.to_string()),
        (Err(wrong), None) => eprintln!("updatectl: {wrong}"),
        (Ok(_), _) => {}
    }
    Ok(status)
}

fn status(args: &Args) -> Result<Exit, Failure> {
    let status = look(&args.device)?;
    if args.json {
        print_json(&status)?;
    } else {
        print(&render::status(&status))?;
    }
    Ok(Exit::of_status(&status))
}

fn history(args: &Args) -> Result<Exit, Failure> {
    let status = look(&args.device)?;
    let history = status.agent.map(|agent| agent.life.memory.history).unwrap_or_default();
    if args.json {
        print_json(&history)?;
    } else {
        print(&render::history(&history))?;
    }
    Ok(Exit::Done)
}

fn channel(args: &Args) -> Result<Exit, Failure> {
    let status = look(&args.device)?;
    let chosen = status.agent.and_then(|agent| agent.life.memory.channel);
    if args.json {
        print_json(&serde_json::json!({ "channel": chosen }))?;
    } else {
        let text = chosen.map_or("as configured, or the server's default".to_owned(), String::from);
        print(&format!("{text}\n"))?;
    }
    Ok(Exit::Done)
}

fn command(args: &Args, command: Command) -> Result<Exit, Failure> {
    let daemon = daemon(&args.device)?;
    let before = look(&args.device)?;
    let caution = caution::of(&command, &before);
    let mut teller = render::Teller::new(args.json);
    let show = |shown: Shown<'_>| match shown {
        Shown::Begun => caution.iter().for_each(|caution| eprintln!("updatectl: {caution}")),
        Shown::Status(status) => teller.tell(status),
    };
    let (answer, status) = match daemon {
        Some(daemon) => daemon.command(command.clone(), show)?,
        None => local::command(&args.device, command.clone(), show)?,
    };
    teller.finish();
    let answer = status.as_ref().and_then(|status| overtaken(&command, status)).unwrap_or(answer);
    let status = status.filter(|status| answer != Answer::Begun || stands(&command, status));
    let exit = Exit::of_command(&command, &answer, status.as_ref());
    if answer == Answer::Done
        && let Some(doubt) = list::doubt(args, &command, &before)
    {
        eprintln!("updatectl: {doubt}");
    }
    conclude(args, &answer, status.as_ref(), exit)?;
    Ok(exit)
}

/// What is under way instead of the check that was joined.
fn overtaken(command: &Command, status: &Status) -> Option<Answer> {
    let phase = &status.agent.as_ref()?.life.phase;
    let refusal = Objection::Busy(phase.work());
    command.is_overtaken(phase).then_some(Answer::Refused { refusal })
}

/// Whether the outcome is the command's. A daemon that was stopped at its work has an older one.
fn stands(command: &Command, status: &Status) -> bool {
    let leaves = Exit::of_status(status) == Exit::RebootPending;
    status.agent.as_ref().is_none_or(|agent| {
        let phase = &agent.life.phase;
        leaves || command.is_over(phase) || matches!(phase, Phase::Failing { .. })
    })
}

fn conclude(
    args: &Args,
    answer: &Answer,
    status: Option<&Status>,
    exit: Exit,
) -> Result<(), Failure> {
    let outcome = status.and_then(Status::outcome).filter(|_| *answer == Answer::Begun);
    if args.json {
        return print_json(&serde_json::json!({
            "exit": exit.name(),
            "answer": answer,
            "outcome": outcome,
            "booted": status.and_then(|status| status.booted),
            "next": status.and_then(|status| status.next),
        }));
    }
    print(&render::conclusion(answer, status, outcome))
}

pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print(&format!("{text}\n"))
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::Output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::{Change, Life, Motive, Outcome, Then, Verdict, Way};
    use payload_tools::trust::{Limits, TrustError, UnixTime, verify_bundle};

    /// Up to date, says the last check; this one was cut.
    #[test]
    fn an_older_outcome_is_no_answer() {
        let mut life = Life::new("boot");
        let (at, detail) = (jiff::Timestamp::UNIX_EPOCH, "stable is at 1".to_owned());
        life.outcome = Some(Outcome { at, verdict: Verdict::UpToDate { detail } });
        let change = Change {
            to: None,
            from: None,
            slot: partition_layout::SlotLetter::B,
            way: Way::Install,
            motive: Motive::Rollback,
        };
        let reason = "it answers 500".to_owned();
        for (phase, expected) in [
            (Phase::Idle, true),
            (Phase::Checking { then: Then::UpdateByPerson }, false),
            (Phase::Staged { change: change.clone() }, false),
            (Phase::Activated { change: change.clone() }, true),
            (Phase::Rebooting { change: change.clone(), before: None }, true),
            (Phase::Failing { change, before: None, reason }, true),
        ] {
            let agent = AgentStatus::remembered(Life { phase, ..life.clone() });
            let status = Status {
                source: "disk".to_owned(),
                slots: Vec::new(),
                booted: None,
                mixed: None,
                next: None,
                agent: Some(agent),
            };
            let command = Command::Update { retry_failed: false };
            assert_eq!(stands(&command, &status), expected, "{status:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_forgery() {
        let listing = |error: list::ListError| Failure::from(error).exit();
        assert_eq!(listing(crate::client::NoAnchor::State.into()), Exit::Failed);
        let (files, now) = (Default::default(), UnixTime::from_secs(0));
        let compatible = "demo".parse().unwrap();
        let nothing = |_: &str, _: u64| Ok::<_, TrustError>(None);
        let forged = verify_bundle(b"{}", &files, nothing, &compatible, now, Limits::default());
        assert_eq!(listing(forged.unwrap_err().into()), Exit::Verification);
    }
}
