use axum::http::Method;
use clap::Args;
use payload_tools::admin::{Answer, ServerArgs};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CliError, Output, output};

/// A running server, asked by an operator.
#[derive(Debug, Args)]
pub struct Remote {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Remote {
    /// Who reads standard output.
    pub fn output(&self) -> Output {
        output(self.json)
    }

    /// A GET below `/v1/admin/`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        Ok(self.ask(Method::GET, path).await?.json().await?)
    }

    /// A PUT below `/v1/admin/`.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let call = self.server.connect()?.admin(Method::PUT, path).json(body);
        Ok(call.accepted().await?.json().await?)
    }

    /// A DELETE below `/v1/admin/`.
    pub async fn delete(&self, path: &str) -> Result<(), CliError> {
        self.ask(Method::DELETE, path).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Answer, CliError> {
        Ok(self.server.connect()?.admin(method, path).accepted().await?)
    }
}
