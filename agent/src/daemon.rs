//! The daemon: waits for letters, polls and signals, and tells the service
//! manager that it lives.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::boot_control::BootError;
use crate::device::{DeviceError, DeviceOptions};
use crate::ipc;
use crate::status::Status;
use crate::strategy::RebootLeave;
use crate::update::driver::{Driver, Flow, Letter};
use crate::update::{Event, Phase, Verdict};

/// The first poll comes this soon after a start at the latest. Devices that had
/// one power cut start together.
const FIRST_POLL_MAX: Duration = Duration::from_secs(60);

/// Keep this device at the release that its channel offers
///
/// Ends with status 10 where an image file (--disk) would reboot.
#[derive(Debug, clap::Parser)]
#[command(name = "update-agent", version)]
pub struct Args {
    /// Which device.
    #[command(flatten)]
    pub device: DeviceOptions,
    /// Do what is pending, check once, and end
    #[arg(long)]
    pub once: bool,
}

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, or had nothing more to do.
    Orderly,
    /// By the simulated reboot of an image file.
    SimulatedReboot,
}

/// How long the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Until it is told to end.
    Forever,
    /// Until what is pending is done and one check is answered.
    Once,
}

/// A daemon that could not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The disk could not be read.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Signals or the socket.
    #[error("cannot listen for commands and signals")]
    Listen(#[source] io::Error),
}

/// Runs the daemon on the device that `options` name.
///
/// # Errors
/// It could not start.
pub async fn run(options: &DeviceOptions, runs: Runs) -> Result<Ended, DaemonError> {
    let _lock = options.lock()?;
    let (mut driver, mut letters, status) = Driver::new(options.open()?)?;
    driver.sync();
    if let Some(run) = options.run_folder() {
        ipc::serve(&ipc::socket(&run), driver.mailbox(), status.clone(), driver.progress())
            .map_err(DaemonError::Listen)?;
    }
    let started = driver.handle(Letter::Event(Event::Started)).await;
    if started == Flow::Reboot {
        return Ok(Ended::SimulatedReboot);
    }
    notify(&[NotifyState::Ready, NotifyState::Status(driver.life().phase.name())]);
    info!("watching {}", status.borrow().source);
    serve(&mut driver, &mut letters, status, runs).await
}

async fn serve(
    driver: &mut Driver,
    letters: &mut mpsc::UnboundedReceiver<Letter>,
    status: watch::Receiver<Status>,
    runs: Runs,
) -> Result<Ended, DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Listen)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Listen)?;
    let mut watchdog = tokio::time::interval(watchdog_interval());
    let mut poll = Instant::now() + first_poll(runs, driver.poll(), chance());
    let mut checked = false;
    loop {
        let letter = tokio::select! {
            Some(letter) = letters.recv() => letter,
            () = due(poll, &driver.life().phase) => {
                poll = Instant::now() + jittered(driver.poll(), chance());
                checked |= driver.life().phase == Phase::Idle;
                Letter::Event(Event::PollDue)
            }
            _ = watchdog.tick() => {
                notify(&[NotifyState::Watchdog]);
                continue;
            }
            _ = terminate.recv() => return Ok(Ended::Orderly),
            _ = interrupt.recv() => return Ok(Ended::Orderly),
        };
        if driver.handle(letter).await == Flow::Reboot {
            return Ok(Ended::SimulatedReboot);
        }
        notify(&[NotifyState::Status(driver.life().phase.name())]);
        // An answer may have named a shorter interval than the one under way.
        poll = poll.min(Instant::now() + jittered(driver.poll(), chance()));
        if runs == Runs::Once && at_rest(&status.borrow()) {
            if checked || driver.life().phase != Phase::Idle {
                return Ok(Ended::Orderly);
            }
            poll = Instant::now();
        }
    }
}

/// Waits for the time of the next poll, and for the phase to end that puts it off, which another
/// letter does.
async fn due(poll: Instant, phase: &Phase) {
    match phase.puts_off_polls() {
        true => std::future::pending().await,
        false => sleep_until(poll).await,
    }
}

/// Nothing moves, and no reboot is about to come: it may, or it was tried and got no leave.
fn at_rest(status: &Status) -> bool {
    let Some(agent) = &status.agent else { return false };
    let verdict = agent.life.outcome.as_ref().map(|outcome| &outcome.verdict);
    let comes = agent.reboot == Some(RebootLeave::Now) && verdict == Some(&Verdict::RebootPending);
    agent.life.phase.rests() && !comes
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell.
    if let Err(error) = sd_notify::notify(false, states) {
        warn!("cannot notify the service manager: {error}");
    }
}

/// Half the service manager's patience, or once a minute where it has none.
fn watchdog_interval() -> Duration {
    let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
    micros.map_or(Duration::from_secs(60), |micros: u64| Duration::from_micros((micros / 2).max(1)))
}

/// Somewhere before the first interval is over, so that a fleet spreads.
fn first_poll(runs: Runs, interval: Duration, chance: f64) -> Duration {
    match runs {
        Runs::Once => Duration::ZERO,
        Runs::Forever => interval.min(FIRST_POLL_MAX).mul_f64(chance),
    }
}

/// Within a tenth around `interval`, so that devices that start together do not
/// poll together.
fn jittered(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * chance)
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bits = [0; 2];
    // Without randomness polls come on time, which is no harm.
    let part = getrandom::fill(&mut bits).map_or(0x8000, |()| u16::from_le_bytes(bits));
    f64::from(part) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::Then;

    #[tokio::test]
    async fn a_poll_waits_for_what_a_person_asked_for_and_is_not_lost() {
        let due = |phase: Phase| async move {
            let poll = due(Instant::now(), &phase);
            tokio::time::timeout(Duration::from_millis(50), poll).await.is_ok()
        };
        assert!(!due(Phase::Checking { then: Then::Tell }).await);
        assert!(!due(Phase::Opening { then: Then::UpdateByPerson }).await);
        for then in [Then::Update, Then::UpdateByPerson, Then::Retry] {
            assert!(due(Phase::Checking { then }).await, "it would find the same: {then:?}");
        }
        assert!(due(Phase::Idle).await);
    }

    #[test]
    fn first_polls_are_spread_over_a_minute_or_a_shorter_interval() {
        for (interval, chance, expected) in
            [(300, 0.0, 0.0), (300, 0.5, 30.0), (300, 1.0, 60.0), (10, 0.5, 5.0), (10, 1.0, 10.0)]
        {
            let first = first_poll(Runs::Forever, Duration::from_secs(interval), chance);
            assert_eq!(first, Duration::from_secs_f64(expected), "{interval} {chance}");
            assert_eq!(first_poll(Runs::Once, Duration::from_secs(interval), chance).as_secs(), 0);
        }
        let polls = [0.0, 0.5, 1.0].map(|chance| jittered(Duration::from_secs(100), chance));
        assert_eq!(polls, [90, 100, 110].map(Duration::from_secs));
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }
}
