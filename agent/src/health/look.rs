use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::chain;
use crate::client::Tls;
use crate::config::{Check, Seconds};

/// Deadline of one look where the configuration names none.
const TIMEOUT: Seconds = Seconds::of(10);
/// As much of a command's last words as a report carries.
const LAST_WORDS_MAX: usize = 200;

/// A check that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    check: String,
    problem: String,
}

impl Complaint {
    /// A complaint of `check` about `problem`.
    pub(crate) fn new(check: &str, problem: String) -> Self {
        Self { check: check.to_owned(), problem }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.problem)
    }
}

/// Runs one check once, within its deadline.
///
/// # Errors
/// What it met.
pub async fn look(name: &str, check: &Check, tls: &Tls) -> Result<(), Complaint> {
    let timeout = timeout_of(check);
    let result = match tokio::time::timeout(timeout, ask(check, tls)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs())),
    };
    result.map_err(|problem| Complaint::new(name, problem))
}

fn timeout_of(check: &Check) -> Duration {
    let (Check::Systemd { timeout_seconds, .. }
    | Check::Command { timeout_seconds, .. }
    | Check::Http { timeout_seconds, .. }
    | Check::Tcp { timeout_seconds, .. }) = check;
    timeout_seconds.unwrap_or(TIMEOUT).duration()
}

async fn ask(check: &Check, tls: &Tls) -> Result<(), String> {
    match check {
        Check::Systemd { unit, .. } => {
            let asked = ["is-active", "--", unit].map(str::to_owned);
            let state = run("systemctl", &asked).await;
            state.map_err(|problem| format!("unit {unit} is not active: {problem}"))
        }
        Check::Command { command, .. } => match command.split_first() {
            Some((program, arguments)) => run(program, arguments).await,
            None => Err("the command is empty".to_owned()),
        },
        Check::Http { url, .. } => http(url, tls).await,
        Check::Tcp { address, .. } => {
            let connected = TcpStream::connect(address).await;
            connected.map(drop).map_err(|error| format!("{address}: {error}"))
        }
    }
}

async fn run(program: &str, arguments: &[String]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let words: String = text.trim().chars().take(LAST_WORDS_MAX).collect();
    let said = if words.is_empty() { String::new() } else { format!(", {words}") };
    Err(format!("{program}: {}{said}", output.status))
}

/// A redirect is an answer, not a pass: the page that is checked must be there.
async fn http(url: &str, tls: &Tls) -> Result<(), String> {
    let client = tls
        .client()
        .map_err(|error| chain(&error))?
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| chain(&error))?;
    let answer = client.get(url).send().await.map_err(|error| chain(&error))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("{url} answers {status}")) }
}
