use clap::Args;
use serde::Serialize;

use super::token::Local;
use super::{CliError, Output, print_json};
use crate::data_folder::DataFolder;

/// Makes the key that is to sign timestamps next, and prints its public half.
///
/// For `payload key rotate timestamp`, when the present key was stolen or is to be replaced. The server,
/// which may run meanwhile, goes over to it with the first root that names it; until then the present
/// one signs. Run again before that, it prints the same key.
#[derive(Debug, Args)]
pub struct TimestampKeyArguments {
    #[command(flatten)]
    local: Local,
}

#[derive(Serialize)]
struct Made {
    timestamp_key: String,
}

impl TimestampKeyArguments {
    /// Who reads standard output.
    pub fn output(&self) -> Output {
        self.local.output()
    }
}

pub async fn run(arguments: &TimestampKeyArguments) -> Result<(), CliError> {
    let folder = arguments.local.folder();
    let timestamp_key = folder.make_next_timestamp_key().await?.to_string();
    if arguments.local.output() == Output::Programs {
        return print_json(&Made { timestamp_key });
    }
    println!("next timestamp key  {timestamp_key}");
    let public = folder.file(DataFolder::NEXT_PUBLIC_KEY);
    eprintln!("Next: payload key rotate timestamp OLD {}", public.display());
    Ok(())
}
