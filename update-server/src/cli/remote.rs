use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CliError, Output, output};
use crate::api::ErrorBody;

/// Which server, and by what right.
#[derive(Debug, Args)]
pub struct Remote {
    /// URL of the server.
    #[arg(
        long,
        value_name = "URL",
        env = "SEESAW_SERVER",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// File that holds the admin token.
    #[arg(long, value_name = "FILE", env = "SEESAW_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The admin token itself. Other users can see arguments: prefer --token-file.
    #[arg(long, value_name = "TOKEN", env = "SEESAW_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Remote {
    /// Who reads standard output.
    pub fn output(&self) -> Output {
        output(self.json)
    }

    fn token(&self) -> Result<String, CliError> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                let text =
                    text.map_err(|source| CliError::TokenFile { path: path.clone(), source });
                Ok(text?.trim().to_owned())
            }
            (None, None) => Err(CliError::NoToken),
        }
    }

    /// A GET below `/v1/admin/`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let answer = self.send(Method::GET, path, None::<&()>).await?;
        answer.json().await.map_err(|source| self.unreachable(source))
    }

    /// A PUT below `/v1/admin/`.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let answer = self.send(Method::PUT, path, Some(body)).await?;
        answer.json().await.map_err(|source| self.unreachable(source))
    }

    /// A DELETE below `/v1/admin/`.
    pub async fn delete(&self, path: &str) -> Result<(), CliError> {
        self.send(Method::DELETE, path, None::<&()>).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<reqwest::Response, CliError> {
        // Fails only when one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("{}/v1/admin/{path}", self.server.trim_end_matches('/'));
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(20))
            .timeout(Duration::from_secs(60))
            .build()
            .map_err(|source| self.unreachable(source))?;
        let mut request = client.request(method, url).bearer_auth(self.token()?);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        Err(match answer.json::<ErrorBody>().await {
            Ok(body) => CliError::Refused(body.error),
            Err(_) => self.stranger(status),
        })
    }

    fn unreachable(&self, source: reqwest::Error) -> CliError {
        CliError::Unreachable { server: self.server.clone(), source: source.without_url() }
    }

    fn stranger(&self, status: StatusCode) -> CliError {
        CliError::Stranger { server: self.server.clone(), status: status.as_u16() }
    }
}
