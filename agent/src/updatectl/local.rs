//! A command without the daemon: the same driver over the same device, in this
//! program and under the lock. It never reboots by itself.

use crate::config::Strategy;
use crate::device::DeviceOptions;
use crate::ipc::Shown;
use crate::reboot::SimulatedReboot;
use crate::status::Status;
use crate::update::driver::{Driver, Flow, Letter};
use crate::update::{Answer, Command, Event, Objection, Phase};

use super::Failure;

/// Performs `command` until the device is at rest.
pub(super) fn command(
    options: &DeviceOptions,
    command: Command,
    show: impl FnMut(Shown<'_>),
) -> Result<(Answer, Option<Status>), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::Runtime)?;
    let result = runtime.block_on(perform(options, command, show));
    // A check of health that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn perform(
    options: &DeviceOptions,
    command: Command,
    mut show: impl FnMut(Shown<'_>),
) -> Result<(Answer, Option<Status>), Failure> {
    let forgetful = options.state_folder().is_none();
    if forgetful && command.only_remembers() {
        return Err(Failure::Forgetful);
    }
    let _lock = options.lock()?;
    if forgetful {
        eprintln!("updatectl: without --state nothing is remembered: no hold, no pin, no history");
    }
    let mut parts = options.open()?;
    parts.settings.strategy = Strategy::Manual;
    parts.reboot = Box::new(SimulatedReboot);
    let (mut driver, mut letters, status) = Driver::new(parts)?;
    let mut flow = driver.handle(Letter::Event(Event::Started)).await;
    // A trial rests until its checks say something; a person may say it first.
    while flow == Flow::Continue && !settled(&driver) {
        let Some(letter) = letters.recv().await else { break };
        flow = driver.handle(letter).await;
    }
    let (asker, mut answered) = tokio::sync::oneshot::channel();
    if flow == Flow::Continue {
        flow = driver.handle(Letter::Said(command.clone(), asker)).await;
    }
    let ending = || Answer::Refused { refusal: Objection::Busy(driver.life().phase.work()) };
    let answer = answered.try_recv().unwrap_or_else(|_| ending());
    if answer == Answer::Begun {
        show(Shown::Begun);
    }
    let over = |driver: &Driver| answer != Answer::Begun || command.is_over(&driver.life().phase);
    while flow == Flow::Continue && !over(&driver) {
        let Some(letter) = letters.recv().await else { break };
        flow = driver.handle(letter).await;
        show(Shown::Status(&status.borrow()));
    }
    if flow == Flow::Reboot {
        eprintln!("updatectl: reboot now to go on");
    }
    let status = status.borrow().clone();
    Ok((answer, Some(status)))
}

fn settled(driver: &Driver) -> bool {
    driver.life().phase.rests() || matches!(driver.life().phase, Phase::Trial { .. })
}
