//! One of several servers on one data folder: the router, the store and the signing of
//! `update-server serve`, by a fast clock and without the lock that keeps a second server out. It signs
//! the timestamp again and again instead of hourly.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use payload_tools::durable_file::{self, Existing, Readers};
use rusqlite::ErrorCode;
use seesaw_e2e::soak::FastClock;
use tokio::net::TcpListener;
use update_server::app::{App, Settings};
use update_server::data_folder::DataFolder;
use update_server::payloads::PayloadFolder;
use update_server::publish::PublishError;
use update_server::router::router;
use update_server::store::StoreError;
use update_server::timestamp_keys::TimestampKeys;

/// Serves a data folder beside others, and signs without a pause to speak of.
#[derive(Parser)]
struct Args {
    /// Folder made by `update-server init`.
    #[arg(long)]
    data: PathBuf,
    /// Gets the bound address.
    #[arg(long)]
    announce: PathBuf,
    /// The clock to go by.
    #[arg(long)]
    clock: FastClock,
}

/// Lets the other processes have the store: without it a publication would never come through.
const PAUSE: Duration = Duration::from_millis(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let folder = DataFolder::at(&args.data);
    let store = Arc::new(folder.open_store()?);
    let payloads = PayloadFolder::at(folder.payloads());
    let keys = TimestampKeys::of(folder.clone())?;
    let app = App::new(store, payloads, keys, Settings::default()).await?;
    let app = Arc::new(app.with_clock(Box::new(move || args.clock.now())));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("{}\n", listener.local_addr()?);
    durable_file::write(&args.announce, address.as_bytes(), Readers::Owner, Existing::Replace)?;
    let served = axum::serve(listener, router(Arc::clone(&app)));
    tokio::select! {
        ended = served => Ok(ended?),
        failed = sign_for_ever(&app) => Err(failed.into()),
    }
}

/// Ends with an error that no other try would mend.
async fn sign_for_ever(app: &App) -> PublishError {
    loop {
        match app.publisher.renew(&*app.store, || app.now()).await {
            Err(PublishError::Store(error)) if is_held(&error) => {}
            Ok(_) => {}
            Err(error) => return error,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the store was held by another process for too long, as one does that was stopped.
fn is_held(error: &StoreError) -> bool {
    let code = match error {
        StoreError::Refused { source, .. } => source.sqlite_error_code(),
        StoreError::Commit(source) => source.sqlite_error_code(),
        _ => None,
    };
    code == Some(ErrorCode::DatabaseBusy)
}
