use std::path::Path;

use serde::Serialize;

use super::token::NewToken;
use super::{CliError, Output, print_json};
use crate::data_folder::{DataFolder, Initialised};

#[derive(Serialize)]
struct Made<'a> {
    timestamp_key: &'a str,
    #[serde(flatten)]
    token: NewToken<'a>,
}

pub async fn init(data: &Path, token_file: Option<&Path>, output: Output) -> Result<(), CliError> {
    let folder = DataFolder::at(data);
    let Initialised { timestamp_key, token } =
        folder.init(token_file, jiff::Timestamp::now()).await?;
    let token = NewToken::of(&token, token_file);
    if output == Output::Programs {
        return print_json(&Made { timestamp_key: &timestamp_key, token });
    }
    println!("timestamp key  {timestamp_key}");
    println!("admin token    {token}");
    if token_file.is_none() {
        eprintln!("The token is not shown again.");
    }
    let data = data.display();
    eprintln!("Next: payload keygen --compatible NAME      (NAME as in demo-x86_64)");
    eprintln!("      payload init --compatible NAME --timestamp-key {data}/timestamp.pub");
    eprintln!("      update-server serve --data {data}");
    Ok(())
}
