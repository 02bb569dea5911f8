use std::path::Path;

use serde::Serialize;

use super::{CliError, Output, print_json};
use crate::data_folder::{DataFolder, Initialised};

#[derive(Serialize)]
struct Made<'a> {
    timestamp_key: &'a str,
    token: &'a str,
}

pub async fn init(data: &Path, token_file: Option<&Path>, output: Output) -> Result<(), CliError> {
    let folder = DataFolder::at(data);
    let Initialised { timestamp_key, token } =
        folder.init(token_file, jiff::Timestamp::now()).await?;
    if output == Output::Programs {
        return print_json(&Made { timestamp_key: &timestamp_key, token: &token });
    }
    println!("timestamp key  {timestamp_key}");
    println!("admin token    {token}");
    eprintln!("The token is not shown again{}.", written(token_file));
    eprintln!("Next: payload init --timestamp-key {}/timestamp.pub", data.display());
    eprintln!("      update-server serve --data {}", data.display());
    Ok(())
}

fn written(token_file: Option<&Path>) -> String {
    token_file.map(|path| format!("; it is also in {}", path.display())).unwrap_or_default()
}
