//! `tuf-client`: payload-tools' metadata client behind the command line that the conformance suite
//! of The Update Framework drives (CLIENT-CLI.md there; docs/architecture.md says how to run it).
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use payload_tools::error_chain;
use payload_tools::trust::{Client, Files, Limits, Reply, Step, Target, UnixTime};
use reqwest::StatusCode;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Debug, Parser)]
struct Args {
    /// Folder of the metadata that is trusted.
    #[arg(long)]
    metadata_dir: PathBuf,
    #[arg(long, default_value = "")]
    metadata_url: String,
    /// Path of a target; may be given again.
    #[arg(long)]
    target_name: Vec<String>,
    #[arg(long, default_value = "")]
    target_base_url: String,
    #[arg(long, default_value = ".")]
    target_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trust this root.
    Init { trusted_root: PathBuf },
    /// Bring the top-level metadata up to date.
    Refresh,
    /// Bring it up to date and get the targets.
    Download,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error_chain::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Outcome<()> {
    let targets = match &args.command {
        Command::Init { trusted_root } => {
            fs_err::copy(trusted_root, args.metadata_dir.join("root.json"))?;
            return Ok(());
        }
        Command::Refresh => &[][..],
        Command::Download => &args.target_name,
    };
    // Fails only where there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let stored = read_folder(&args.metadata_dir)?;
    let root = stored.get("root.json").ok_or("there is no root.json; run `init` first")?;
    let now = UnixTime::of_system_clock();
    let (mut client, refused) = Client::top_level(root, &stored, now, Limits::default())?;
    for error in refused {
        eprintln!("stored metadata is left out: {}", error_chain::one_line(&error));
    }
    walk(args, &http, &mut client).await?;
    for path in targets {
        client.find(path)?;
        walk(args, &http, &mut client).await?;
        let found = client.found()?.ok_or_else(|| format!("no role names {path:?}"))?;
        download(args, &http, found).await?;
    }
    Ok(())
}

async fn walk(args: &Args, http: &reqwest::Client, client: &mut Client) -> Outcome<()> {
    let mut outcome = Ok(());
    while let (Ok(()), Step::Fetch { path, max }) = (&outcome, client.next()) {
        let reply = get(http, &args.metadata_url, &path, max).await?;
        outcome = client.feed(reply);
        // Kept whatever becomes of the rest: a newer root or timestamp is not forgotten.
        write_folder(&args.metadata_dir, &client.files())?;
    }
    Ok(outcome?)
}

async fn download(args: &Args, http: &reqwest::Client, target: &Target) -> Outcome<()> {
    let file = args.target_dir.join(target.path().replace('%', "%25").replace('/', "%2F"));
    if fs_err::read(&file).is_ok_and(|bytes| target.check(&bytes).is_ok()) {
        return Ok(());
    }
    let path = target.published_path();
    match get(http, &args.target_base_url, path, target.length()).await? {
        Reply::Bytes(bytes) => {
            target.check(&bytes)?;
            Ok(fs_err::write(&file, bytes)?)
        }
        Reply::NotFound => Err(format!("there is no target {path}").into()),
    }
}

/// The file, or its first `max + 1` bytes.
async fn get(http: &reqwest::Client, base: &str, path: &str, max: u64) -> Outcome<Reply> {
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let mut answer = http.get(url).send().await?;
    // What an object store says where there is nothing to be listed.
    if matches!(answer.status(), StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) {
        return Ok(Reply::NotFound);
    }
    answer.error_for_status_ref()?;
    let mut bytes = Vec::new();
    while bytes.len() as u64 <= max
        && let Some(chunk) = answer.chunk().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Reply::Bytes(bytes))
}

fn read_folder(folder: &Path) -> Outcome<Files> {
    let mut files = Files::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs_err::read(entry.path())?);
    }
    Ok(files)
}

/// Makes the folder hold what is trusted and nothing else. Of the roots that is the newest, by
/// which the next check begins (5.3.8).
fn write_folder(folder: &Path, trusted: &Files) -> Outcome<()> {
    let version = |name: &str| name.strip_suffix(".root.json")?.parse::<u64>().ok();
    let newest = trusted.iter().max_by_key(|(name, _)| version(name));
    let others = trusted.iter().filter(|(name, _)| version(name).is_none());
    let mut files: Files = others.map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    files.extend(newest.map(|(_, bytes)| ("root.json".to_owned(), bytes.clone())));
    for gone in read_folder(folder)?.into_keys().filter(|name| !files.contains_key(name)) {
        fs_err::remove_file(folder.join(gone))?;
    }
    Ok(files.iter().try_for_each(|(name, bytes)| fs_err::write(folder.join(name), bytes))?)
}
