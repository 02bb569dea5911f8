use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{CliError, Output, output, print_json, table};
use crate::data_folder::DataFolder;
use crate::names::TokenName;
use crate::store::{TokenRecord, TokenRevoked};

/// What can be done with admin tokens. The server may run or not; it heeds a change at once.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Makes a token, which is shown this once: the server keeps only its hash.
    Add {
        /// What it is called from now on: the person or program that gets it.
        name: TokenName,
        /// Write the token to a new file that only its owner can read, instead of showing it.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        #[command(flatten)]
        local: Local,
    },
    /// Lists the tokens by name; the one that `init` made is called `first`.
    List {
        #[command(flatten)]
        local: Local,
    },
    /// Takes a token's right away: the next request with it is refused.
    Revoke {
        /// The token's name.
        name: TokenName,
        #[command(flatten)]
        local: Local,
    },
}

impl Verb {
    /// Who reads standard output.
    pub fn output(&self) -> Output {
        let (Self::Add { local, .. } | Self::List { local } | Self::Revoke { local, .. }) = self;
        local.output()
    }
}

/// The folder, which whoever owns the machine may change.
#[derive(Debug, Args)]
pub struct Local {
    /// Folder made by `init`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON instead of words.
    #[arg(long)]
    json: bool,
}

impl Local {
    /// Who reads standard output.
    pub fn output(&self) -> Output {
        output(self.json)
    }

    /// The folder.
    pub fn folder(&self) -> DataFolder {
        DataFolder::at(&self.data)
    }
}

/// A token just made: shown, or where it was written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NewToken<'a> {
    /// The token itself.
    Token(&'a str),
    /// The file that has it.
    TokenFile(&'a Path),
}

impl<'a> NewToken<'a> {
    /// What may be shown of a token that was written to `file`, if to any.
    pub fn of(token: &'a str, file: Option<&'a Path>) -> Self {
        file.map_or(NewToken::Token(token), NewToken::TokenFile)
    }
}

impl fmt::Display for NewToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NewToken::Token(token) => f.write_str(token),
            NewToken::TokenFile(path) => write!(f, "in {}", path.display()),
        }
    }
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a TokenName,
    #[serde(flatten)]
    token: NewToken<'a>,
}

#[derive(Serialize)]
struct Listed {
    name: TokenName,
    created_at: Timestamp,
}

pub async fn run(verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Add { name, token_file, local } => add(&name, token_file.as_deref(), &local).await,
        Verb::List { local } => list(&local).await,
        Verb::Revoke { name, local } => revoke(&name, &local).await,
    }
}

async fn add(name: &TokenName, file: Option<&Path>, local: &Local) -> Result<(), CliError> {
    let token = local.folder().add_token(name, file, Timestamp::now()).await?;
    let token = NewToken::of(&token, file);
    if local.output() == Output::Programs {
        return print_json(&Named { name, token });
    }
    println!("admin token    {token}");
    Ok(())
}

async fn list(local: &Local) -> Result<(), CliError> {
    let tokens = local.folder().open_store()?.tokens().await?;
    let tokens = tokens.into_iter().map(|TokenRecord { name, created_at }| (name, created_at));
    if local.output() == Output::Programs {
        let listed = tokens.map(|(name, created_at)| Listed { name, created_at });
        return print_json(&listed.collect::<Vec<_>>());
    }
    let rows: Vec<_> = tokens.map(|(name, at)| [name.to_string(), at.to_string()]).collect();
    table::print(["NAME", "CREATED"], &rows);
    Ok(())
}

async fn revoke(name: &TokenName, local: &Local) -> Result<(), CliError> {
    let folder = local.folder();
    let store = folder.open_store()?;
    match store.revoke_token(name.clone()).await? {
        TokenRevoked::NoSuchName => return Err(CliError::NoSuchToken(name.clone())),
        TokenRevoked::Done => {}
    }
    if store.tokens().await?.is_empty() {
        eprintln!(
            "That was the last token: nobody can publish or steer until `token add` makes one."
        );
    }
    if local.output() == Output::Programs {
        return print_json(&serde_json::json!({ "revoked": name }));
    }
    println!("{name} is revoked");
    Ok(())
}
