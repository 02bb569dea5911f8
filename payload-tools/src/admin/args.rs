use std::path::PathBuf;

use clap::Args;

use super::{AdminClient, AdminError};

/// Which server, and by what right.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// URL of the server.
    #[arg(
        long,
        value_name = "URL",
        env = "SEESAW_SERVER",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// File that holds an admin token.
    #[arg(long, value_name = "FILE", env = "SEESAW_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The admin token itself, before that of a file. Other users of this machine can see
    /// arguments: prefer --token-file.
    #[arg(long, value_name = "TOKEN", env = "SEESAW_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl ServerArgs {
    /// The client that these arguments ask for.
    pub fn connect(&self) -> Result<AdminClient, AdminError> {
        AdminClient::new(&self.server, &self.token()?)
    }

    fn token(&self) -> Result<String, AdminError> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                let unreadable = |source| AdminError::TokenFile { path: path.clone(), source };
                Ok(text.map_err(unreadable)?.trim().to_owned())
            }
            (None, None) => Err(AdminError::NoToken),
        }
    }
}
