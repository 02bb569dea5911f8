//! The command line: what may be said, and who does it.

mod backup;
mod channel;
mod device;
mod error;
mod init;
mod release;
mod remote;
mod table;
mod timestamp_key;
mod token;

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use error::{CliError, report};
use remote::Remote;

use crate::app::Settings;
use crate::deltas::DeltaBudget;
use crate::serve::{ServeOptions, serve};
use crate::store::Room;

/// Publishes release channels to fleets of devices.
///
/// `init`, `serve`, `backup`, `timestamp-key` and `token` work in the folder of one server. The other commands
/// steer a running server through its admin API.
#[derive(Debug, Parser)]
#[command(name = "update-server", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(InitArguments),
    Serve(ServeArguments),
    Backup(backup::BackupArguments),
    TimestampKey(timestamp_key::TimestampKeyArguments),
    /// Makes, lists and revokes admin tokens, in the server's folder.
    Token {
        #[command(subcommand)]
        verb: token::Verb,
    },
    /// Shows and changes what devices of a channel run.
    Channel {
        #[command(subcommand)]
        verb: channel::Verb,
    },
    /// Shows what was published.
    Release {
        #[command(subcommand)]
        verb: release::Verb,
    },
    /// Shows devices and holds single ones at a release.
    Device {
        #[command(subcommand)]
        verb: device::Verb,
    },
}

/// Makes a new server: store, payload folder, timestamp key, first admin token.
///
/// Prints the public half of the timestamp key, for `payload init
/// --timestamp-key`, and the token, unless that goes to a file. The token is
/// shown this once: the server keeps only its hash. A folder that holds a server already is left alone.
#[derive(Debug, Args)]
struct InitArguments {
    /// Folder for everything the server keeps. One that exists must be its owner's alone.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Write the token to a new file that only its owner can read, instead of showing it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the server until SIGTERM or SIGINT.
///
/// Requests under way are finished first. Plain HTTP: put a TLS proxy before it
/// when devices reach it over networks that you do not own. Devices are not
/// authenticated yet, and the console and the metrics are open to whoever
/// reaches the address.
#[derive(Debug, Args)]
struct ServeArguments {
    /// Folder made by `init`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// IP address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Write the bound address to this file once requests are answered.
    #[arg(long, value_name = "FILE")]
    announce: Option<PathBuf>,
    /// Seconds that devices are told to wait between polls.
    #[arg(long, value_name = "SECONDS", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..))]
    poll_seconds: u32,
    /// Devices kept at most, and 20 times as many events.
    ///
    /// Anyone who reaches the server can invent devices. When there are more than
    /// this, those that never reported an event are forgotten first, the longest
    /// unheard of before others, and then those that came last; never one with a
    /// pin. A device that was forgotten appears again with its next poll.
    #[arg(long, value_name = "NUMBER", default_value_t = Room::DEVICES_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..))]
    devices_max: u32,
    /// Cores for making deltas; 0: none are made.
    ///
    /// For what the devices of the last 30 days run, the server makes the deltas to what they go to, the
    /// most wanted first, one at a time, in a process of the lowest priority. Devices need not trust it
    /// for that: they check what a delta makes.
    #[arg(long, value_name = "NUMBER", default_value_t = DeltaBudget::THREADS_DEFAULT)]
    delta_threads: usize,
    /// MiB of memory that the process which makes a delta may have.
    ///
    /// A core takes some 250, and the index of the old image up to 600.
    #[arg(long, value_name = "MIB", default_value_t = DeltaBudget::MEMORY_MIB_DEFAULT,
          value_parser = clap::value_parser!(u64).range(16..1 << 24))]
    delta_memory_mib: u64,
    /// MiB of deltas made here that are kept: the most wanted.
    ///
    /// Beside them both images are unpacked while one is made. None is made when that would leave
    /// less than a twentieth of the disk.
    #[arg(long, value_name = "MIB", default_value_t = DeltaBudget::DISK_MIB_DEFAULT,
          value_parser = clap::value_parser!(u64).range(..1 << 40))]
    delta_disk_mib: u64,
}

impl Arguments {
    /// Who reads standard output, of what went wrong too.
    pub fn output(&self) -> Output {
        match &self.command {
            Command::Init(arguments) => output(arguments.json),
            Command::Serve(_) => Output::People,
            Command::Backup(arguments) => arguments.output(),
            Command::TimestampKey(arguments) => arguments.output(),
            Command::Token { verb } => verb.output(),
            Command::Channel { verb } => verb.remote().output(),
            Command::Release { verb } => verb.remote().output(),
            Command::Device { verb } => verb.remote().output(),
        }
    }
}

impl ServeArguments {
    fn options(self) -> ServeOptions {
        let Self { data, listen, announce, poll_seconds, devices_max, .. } = self;
        let deltas = DeltaBudget {
            threads: NonZero::new(self.delta_threads),
            memory_bytes: self.delta_memory_mib << 20,
            disk_bytes: self.delta_disk_mib << 20,
        };
        let settings = Settings { poll_seconds, room: Room { devices: devices_max }, deltas };
        ServeOptions { data, listen, announce, settings }
    }
}

/// Does what was said.
pub fn run(arguments: Arguments) -> Result<(), CliError> {
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::Runtime)?;
    runtime.block_on(async {
        match arguments.command {
            Command::Init(InitArguments { data, token_file, json }) => {
                init::init(&data, token_file.as_deref(), output(json)).await
            }
            Command::Serve(arguments) => Ok(serve(arguments.options()).await?),
            Command::Backup(arguments) => backup::run(&arguments),
            Command::TimestampKey(arguments) => timestamp_key::run(&arguments).await,
            Command::Token { verb } => token::run(verb).await,
            Command::Channel { verb } => channel::run(verb).await,
            Command::Release { verb } => release::run(verb).await,
            Command::Device { verb } => device::run(verb).await,
        }
    })
}

/// Who reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// People, at a terminal.
    People,
    /// Programs, which get JSON.
    Programs,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give an IP address and a port, as in 127.0.0.1:8080".to_owned())
}

fn output(json: bool) -> Output {
    if json { Output::Programs } else { Output::People }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(CliError::Encode)?;
    println!("{text}");
    Ok(())
}
