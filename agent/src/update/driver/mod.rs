//! Performs what the machine decides. It owns the disk, the network, the clock
//! and the journal, and decides nothing: every answer goes back as an event.

mod act;
mod ask;
mod bundle;
mod install;
mod price;
mod tell;
mod watcher;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use act::told;
use tell::news;

use super::{
    Answer, Command, Effect, Event, InstallFault, Life, Moment, Seen, SlotFault, Then, on,
};
use crate::boot_control::{BootControl, BootError};
use crate::client::{Anchor, EventQueue, NoAnchor, Tls, UpdateServer};
use crate::config::Settings;
use crate::health::{self, Complaint, Healthy};
use crate::install::{Allowance, Staged};
use crate::journal::Journal;
use crate::poison::lock;
use crate::reboot::Reboot;
use crate::status::{StageProgress, Status};

/// What reaches the driver from outside and from its own tasks.
pub enum Letter {
    /// Something happened.
    Event(Event),
    /// A person said something, and waits for the answer.
    Said(Command, oneshot::Sender<Answer>),
    /// The check for this ended. What it admitted is the leave to stage.
    Checked(Then, ask::Found),
    /// A bundle was opened, or was not; likewise.
    Opened(ask::Found),
    /// How far a stage is.
    Progress(StageProgress),
    /// A stage ended.
    Staged(Result<Staged, InstallFault>),
    /// The health checks of this moment ended.
    Probed(Moment, Result<Healthy, Vec<Complaint>>),
}

/// Whether the driver goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// A simulated reboot: the program ends.
    Reboot,
}

/// What the driver's own tasks need.
pub(crate) struct Shared {
    pub anchor: Result<Arc<Anchor>, NoAnchor>,
    pub server: Option<UpdateServer>,
    pub tls: Tls,
    pub settings: Settings,
    pub boot: Mutex<Box<dyn BootControl>>,
    pub events: Mutex<EventQueue>,
    pub progress: watch::Sender<Option<StageProgress>>,
    pub inhibit: PathBuf,
    pub standing: Vec<Complaint>,
    /// What may be fetched.
    pub allowance: Arc<Allowance>,
    /// Whether a person ends the stage that runs.
    pub stop: watch::Sender<bool>,
    /// Whose turn it is to refresh the metadata: what one stores replaces all that
    /// was stored, also what another accepted meanwhile.
    refreshing: tokio::sync::Mutex<()>,
    sending: tokio::sync::Mutex<()>,
}

/// The parts of a device that the driver works on.
pub struct Parts {
    /// Its disk.
    pub boot: Box<dyn BootControl>,
    /// What it believes.
    pub anchor: Result<Arc<Anchor>, NoAnchor>,
    /// Its update server; `None`: bundles only.
    pub server: Option<UpdateServer>,
    /// By what it believes servers to be who they say.
    pub tls: Tls,
    /// Its configuration.
    pub settings: Settings,
    /// Its journal.
    pub journal: Journal,
    /// What the journal says.
    pub life: Life,
    /// Its queue of reports.
    pub events: EventQueue,
    /// How it reboots.
    pub reboot: Box<dyn Reboot>,
    /// Who holds back reboots.
    pub inhibit: PathBuf,
    /// What may be fetched.
    pub allowance: Allowance,
    /// What is wrong with this boot of it, whatever the checks say.
    pub standing: Vec<Complaint>,
}

/// Performs what the machine decides.
pub struct Driver {
    shared: Arc<Shared>,
    journal: Journal,
    life: Life,
    seen: Seen,
    reboot: Box<dyn Reboot>,
    mailbox: mpsc::UnboundedSender<Letter>,
    status: watch::Sender<Status>,
    admitted: Option<Box<ask::Leave>>,
    staged: Option<Staged>,
    healthy: Option<Healthy>,
    asker: Option<oneshot::Sender<Answer>>,
    answer: Option<Answer>,
    waiting: Option<JoinHandle<()>>,
    asking: Option<JoinHandle<()>>,
    poll: std::time::Duration,
}

impl Driver {
    /// A driver over `parts`, its mailbox, and the status that it keeps.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn new(
        parts: Parts,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Letter>, watch::Receiver<Status>), BootError> {
        let seen = look(&*parts.boot, &parts.standing, &parts.allowance)?;
        let (status, watched) = watch::channel(Status::read(&*parts.boot)?);
        let (mailbox, letters) = mpsc::unbounded_channel();
        let poll = parts.settings.poll;
        let shared = Shared {
            anchor: parts.anchor,
            server: parts.server,
            tls: parts.tls,
            settings: parts.settings,
            boot: Mutex::new(parts.boot),
            events: Mutex::new(parts.events),
            progress: watch::channel(None).0,
            inhibit: parts.inhibit,
            standing: parts.standing,
            allowance: Arc::new(parts.allowance),
            stop: watch::Sender::new(false),
            refreshing: tokio::sync::Mutex::new(()),
            sending: tokio::sync::Mutex::new(()),
        };
        let driver = Self {
            shared: Arc::new(shared),
            journal: parts.journal,
            life: parts.life,
            seen,
            reboot: parts.reboot,
            mailbox,
            status,
            admitted: None,
            staged: None,
            healthy: None,
            asker: None,
            answer: None,
            waiting: None,
            asking: None,
            poll,
        };
        Ok((driver, letters, watched))
    }

    /// Where letters are sent.
    pub fn mailbox(&self) -> mpsc::UnboundedSender<Letter> {
        self.mailbox.clone()
    }

    /// Where the life cycle stands.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Time to the next poll, as configured or as the server last said.
    pub fn poll(&self) -> std::time::Duration {
        self.poll
    }

    /// How far a running stage is.
    pub fn progress(&self) -> watch::Receiver<Option<StageProgress>> {
        self.shared.progress.subscribe()
    }

    /// Handles one letter, and all that follows from it at once.
    pub async fn handle(&mut self, letter: Letter) -> Flow {
        let event = match letter {
            Letter::Event(event) => event,
            Letter::Said(command, asker) => {
                info!("a person says: {command}");
                self.asker = Some(asker);
                Event::Said(command)
            }
            Letter::Checked(then, found) => Event::Checked(then, self.found(found)),
            Letter::Opened(found) => Event::Opened(self.found(found)),
            Letter::Progress(progress) => {
                self.report_progress(&progress);
                return Flow::Continue;
            }
            Letter::Staged(result) => {
                self.shared.progress.send_replace(None);
                // A stage that was whole before it heard of its end is not activated either.
                let stopped = self.shared.stop.send_replace(false);
                let result = if stopped { Err(InstallFault::Cancelled) } else { result };
                Event::Installed(result.map(|staged| self.staged.insert(staged).download()))
            }
            Letter::Probed(moment, result) => {
                let probe = health::verdict(&result);
                // Nothing else vouches for a slot.
                self.healthy = result.ok().filter(|_| moment == Moment::Trial);
                Event::Probed(moment, probe)
            }
        };
        let mut events = VecDeque::from([event]);
        let mut flow = Flow::Continue;
        while let Some(event) = events.pop_front().filter(|_| flow == Flow::Continue) {
            flow = self.step(event, &mut events).await;
        }
        self.publish();
        // After the status, so that who asks next sees what became of it.
        if let Some((asker, answer)) = self.asker.take().zip(self.answer.take()) {
            // The asker may have gone away; what it asked for is done all the same.
            let _ = asker.send(answer);
        }
        self.send_reports();
        flow
    }

    /// Brings both copies of the partition table in line; a device whose table
    /// cannot be is looked at and reported, not given up.
    pub fn sync(&self) {
        if let Err(error) = self.boot().sync() {
            warn!("{}", crate::chain(&error));
        }
    }

    async fn step(&mut self, event: Event, follow: &mut VecDeque<Event>) -> Flow {
        let Shared { standing, allowance, .. } = &*self.shared;
        let seen = look(&**self.boot(), standing, allowance);
        match seen {
            Ok(seen) => self.seen = seen,
            Err(error) => warn!("{}", crate::chain(&error)),
        }
        let (life, effects) = on(self.life.clone(), event, &self.seen, Timestamp::now());
        let before = std::mem::replace(&mut self.life, life);
        self.end_overtaken();
        if let Some(news) = news(&before, &self.life) {
            info!("{news}");
        }
        let remembered = self.journal.write(&self.life);
        if let Err(error) = &remembered {
            error!("{}", crate::chain(error));
        }
        for effect in effects {
            let forgetful = remembered.is_err();
            match self.perform(effect, forgetful).await {
                Performed::Event(event) => follow.push_back(event),
                Performed::Reboot => return Flow::Reboot,
                Performed::Quietly => {}
            }
        }
        Flow::Continue
    }

    async fn perform(&mut self, effect: Effect, forgetful: bool) -> Performed {
        match effect {
            // A change that the journal does not know would be found and not understood.
            Effect::Install(_) if forgetful => {
                let fault = InstallFault::Device(SlotFault::Forgetful.to_string());
                return Performed::Event(Event::Installed(Err(fault)));
            }
            Effect::Activate(change) if forgetful && change.motive != super::Motive::Rollback => {
                return Performed::Event(Event::Activated(Err(SlotFault::Forgetful)));
            }
            Effect::Check(then) => self.check(then),
            Effect::OpenBundle(path) => self.open_bundle(path),
            Effect::AskAgain(change) => self.ask_again(change),
            Effect::Install(change) => {
                let (admitted, mailbox) = (self.admitted.take(), self.mailbox.clone());
                self.spawn(|shared| async move {
                    Letter::Staged(shared.install(change, admitted, mailbox).await)
                });
            }
            Effect::StopInstall => {
                self.shared.stop.send_replace(true);
            }
            Effect::Activate(change) => {
                if forgetful || !self.journal.remembers() {
                    // A person's way back does not depend on a memory.
                    warn!("the rollback is not remembered: the release that is left is not held");
                }
                return Performed::Event(Event::Activated(self.activate(&change)));
            }
            Effect::Cancel(change) => {
                return Performed::Event(Event::Cancelled(self.cancel(&change)));
            }
            Effect::Confirm(by) => return Performed::Event(Event::Confirmed(self.confirm(by))),
            Effect::MarkFailed(slot) => {
                let marked = told(self.boot().mark_failed(slot));
                if let Err(fault) = &marked {
                    error!("slot {slot} is not marked failed: {fault}");
                }
                return Performed::Event(Event::MarkedFailed(marked));
            }
            Effect::Probe(moment) => self.probe(moment),
            Effect::AwaitReboot => self.await_reboot(),
            Effect::Reboot => return self.order_reboot().await,
            Effect::RunHooks(moment) => {
                crate::hooks::run(&self.shared.settings.hooks, moment, &self.life).await;
            }
            Effect::Send(report) => {
                info!("{report}");
                if let Err(error) = lock(&self.shared.events).push(report) {
                    warn!("a report is lost: {error}");
                }
            }
            Effect::Answer(answer) => self.answer = Some(answer),
        }
        Performed::Quietly
    }

    fn boot(&self) -> std::sync::MutexGuard<'_, Box<dyn BootControl>> {
        lock(&self.shared.boot)
    }

    fn spawn<F>(&self, task: impl FnOnce(Arc<Shared>) -> F) -> JoinHandle<()>
    where
        F: Future<Output = Letter> + Send + 'static,
    {
        let (mailbox, task) = (self.mailbox.clone(), task(self.shared.clone()));
        tokio::spawn(async move {
            // Nobody reads letters any more when the program ends.
            let _ = mailbox.send(task.await);
        })
    }
}

/// The device as it is now. What is wrong with a boot of it stays so.
fn look(
    boot: &dyn BootControl,
    standing: &[Complaint],
    allowance: &Allowance,
) -> Result<Seen, BootError> {
    let unfit = (!standing.is_empty()).then(|| health::joined(standing));
    let over_budget = allowance.over().map(|over| over.until);
    Ok(Seen { unfit, over_budget, ..boot.seen()? })
}

enum Performed {
    Event(Event),
    Reboot,
    Quietly,
}

#[cfg(test)]
mod tests;
