//! The process around the router: address, background work, end.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use payload_tools::durable_file::{self, Existing, Readers};
use payload_tools::error_chain::one_line;
use payload_tools::journal;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::{App, Settings};
use crate::connections::{ConnectionLimits, LimitedListener};
use crate::data_folder::{DataFolder, DataFolderError};
use crate::deltas;
use crate::payloads::PayloadFolder;
use crate::publish::{PublishError, Renewed};
use crate::router::router;
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;
use crate::timestamp_keys::TimestampKeys;

/// What `serve` is told.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder made by `init`.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Gets the bound address.
    pub announce: Option<PathBuf>,
    /// How the server is run.
    pub settings: Settings,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataFolderError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The address.
    #[error("cannot listen on {address}; give another --listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something else of the system's.
    #[error("cannot {step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn while_doing(step: &'static str) -> impl Fn(io::Error) -> ServeError {
    move |source| ServeError::Io { step, source }
}

/// Polls are written down, and the policy is read again, this often.
const KEEP_UP_PERIOD: Duration = Duration::from_secs(2);
/// The timestamp is signed again this often; it is good for 48 hours.
const RENEW_PERIOD: Duration = Duration::from_secs(3600);
/// Devices that are gone are forgotten this often.
const TIDY_PERIOD: Duration = Duration::from_secs(3600);
/// After a signal, how long requests may take to end.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
    start_log();
    let folder = DataFolder::at(&options.data);
    let _lock = folder.lock()?;
    let app = Arc::new(open(&folder, options.settings).await?);
    let address = options.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let bound = listener.local_addr().map_err(while_doing("read the bound address"))?;
    let listener = LimitedListener::new(listener, ConnectionLimits::of_process());

    let background = [
        tokio::spawn(keep_up(Arc::clone(&app))),
        tokio::spawn(renew_regularly(Arc::clone(&app))),
        tokio::spawn(tidy_regularly(Arc::clone(&app))),
        tokio::spawn(deltas::keep_making(Arc::clone(&app))),
    ];
    // Before anybody is told that it serves: who knows that may stop it.
    let stop = StopSignals::listen()?;
    tracing::info!(address = %bound, data = %options.data.display(), "serving");
    println!("listening on http://{bound}");
    if let Some(path) = &options.announce {
        announce(path, bound).map_err(while_doing("announce the address"))?;
    }
    run(listener, &app, stop).await?;
    for task in background {
        task.abort();
    }
    app.flush_last_seen().await?;
    if let Err(error) = SqliteStore::fold(&folder.store()) {
        tracing::warn!(error = one_line(&error), "the store's log stays beside it");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens everything that a data folder holds.
pub async fn open(folder: &DataFolder, settings: Settings) -> Result<App, ServeError> {
    let store = SqliteStore::open(&folder.store())?.with_room(settings.room);
    let payloads = PayloadFolder::at(folder.payloads());
    // A folder that cannot be written can still be served from.
    if let Err(error) = payloads.sweep().await {
        tracing::warn!(%error, "what cut uploads left behind was not removed");
    }
    let keys = TimestampKeys::of(folder.clone())?;
    Ok(App::new(Arc::new(store), payloads, keys, settings).await?)
}

/// The signals that end the server in order.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on they do not end the process at once.
    fn listen() -> Result<Self, ServeError> {
        let terminate = signal(SignalKind::terminate()).map_err(while_doing("await SIGTERM"))?;
        let interrupt = signal(SignalKind::interrupt()).map_err(while_doing("await SIGINT"))?;
        Ok(Self { terminate, interrupt })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn run(
    listener: LimitedListener,
    app: &Arc<App>,
    signals: StopSignals,
) -> Result<(), ServeError> {
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut drained = stopped.clone();
    let server =
        axum::serve(listener, router(Arc::clone(app))).with_graceful_shutdown(async move {
            signals.wait().await;
            tracing::info!("stopping: requests under way are finished");
            let _ = stop.send(());
        });
    let overdue = async {
        // An error means that the server ended first.
        if drained.changed().await.is_ok() {
            tokio::time::sleep(DRAIN_TIME_MAX).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = server => ended.map_err(while_doing("serve")),
        () = overdue => {
            tracing::warn!("some requests did not end and are cut");
            Ok(())
        }
    }
}

/// Writes polls down and reads the policy again, for ever: what an operator committed is heeded
/// soon, even if it could not be read right after.
pub async fn keep_up(app: Arc<App>) {
    let mut ticks = interval(KEEP_UP_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = app.flush_last_seen().await {
            tracing::error!(%error, "polls were not written down");
        }
        if let Err(error) = app.refresh_policy().await {
            tracing::error!(%error, "the policy was not read again; the older one holds on");
        }
    }
}

async fn renew_regularly(app: Arc<App>) {
    let mut ticks = interval(RENEW_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match app.publisher.renew(&*app.store, || app.now()).await {
            Ok(Renewed::Until(expires)) => tracing::info!(%expires, "timestamp signed again"),
            Ok(Renewed::ByAnother | Renewed::NothingPublished) => {}
            Err(error) => tracing::error!(%error, "the timestamp was not signed again"),
        }
        // A fresh timestamp over an expired snapshot looks well and moves no device.
        match app.publisher.expiries(&*app.store).await {
            Ok(expiries) => expiries.iter().for_each(|expiry| expiry.warn(app.now())),
            Err(error) => tracing::error!(%error, "nobody knows when metadata expires"),
        }
    }
}

async fn tidy_regularly(app: Arc<App>) {
    let mut ticks = interval(TIDY_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut let_go_before = 0;
    loop {
        ticks.tick().await;
        let let_go = app.metrics.devices_let_go();
        if let_go > let_go_before {
            let devices = let_go - let_go_before;
            tracing::warn!(
                devices,
                "there were too many devices; --devices-max is how many are kept"
            );
            let_go_before = let_go;
        }
        match app.forget_unseen(app.now()).await {
            Ok(0) => {}
            Ok(devices) => tracing::info!(devices, "forgot devices that were not seen for long"),
            Err(error) => tracing::error!(%error, "devices that are gone were not forgotten"),
        }
    }
}

/// Writes the address whole: whoever waits for the file never reads half of it.
fn announce(path: &Path, address: SocketAddr) -> io::Result<()> {
    let text = format!("{address}\n");
    durable_file::write(path, text.as_bytes(), Readers::Owner, Existing::Replace)
}

fn start_log() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Fails when a log is set up already, as in tests: that one is used.
    let _ = if journal::has_stderr() { log.without_time().try_init() } else { log.try_init() };
}
