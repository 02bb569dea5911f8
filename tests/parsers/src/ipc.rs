use agent::ipc::Request;
use agent::update::Command;

use crate::{Outcomes, Parser};

const OUTCOMES: &[&str] = &["not text", "no request", "status", "command"];

pub(crate) const PARSER: Parser =
    Parser { name: "ipc", run, outcomes: &[OUTCOMES], never: &[], seeds };

fn run(data: &[u8]) -> Outcomes {
    let Ok(line) = std::str::from_utf8(data) else { return vec!["not text".to_owned()] };
    let request = match serde_json::from_str::<Request>(line) {
        Ok(request) => request,
        Err(_) => return vec!["no request".to_owned()],
    };
    let again = serde_json::to_string(&request).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<Request>(&again).expect("and read again"), request);
    vec![match request {
        Request::Status => "status".to_owned(),
        Request::Command { command } => {
            let _words = command.to_string();
            "command".to_owned()
        }
    }]
}

fn seeds() -> Vec<Vec<u8>> {
    let commands = [
        Command::Check,
        Command::Update { retry_failed: true },
        Command::Install { path: "/tmp/x".into(), retry_failed: false },
        Command::Confirm,
        Command::Cancel,
        Command::Rollback,
        Command::Channel { channel: "beta".parse().ok() },
        Command::Pin { release: None },
        Command::Unpin,
    ];
    let commands = commands.into_iter().map(|command| Request::Command { command });
    let requests = commands.chain([Request::Status]);
    let written = requests.map(|request| serde_json::to_vec(&request).expect("is written"));
    written.chain([b"{}".to_vec(), b"\xff".to_vec()]).collect()
}
