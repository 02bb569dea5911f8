//! Checks: what is signed, what the server wants, and whether a grant still stands.

use std::time::Duration;

use jiff::Timestamp;
use payload_tools::format::{Channel, Release};
use payload_tools::trust::policy::{Admitted, DeviceFacts, Stream, admit};
use payload_tools::trust::{SignedRelease, TrustError, UnixTime};
use tokio::task::JoinHandle;

use super::{Driver, Letter, Shared};
use crate::chain;
use crate::client::{
    Action, Anchor, AskError, CheckAnswer, CheckRequest, RefreshError, Refreshed, ServerReason,
    UpdateServer,
};
use crate::health::joined;
use crate::update::decide::{Offer, Source};
use crate::update::{
    Change, Checked, Event, Grant, Life, Memory, Motive, Named, Phase, Seen, Then, Verdict,
};

/// The shortest and longest time between polls that a server may ask for.
const POLL_SECONDS: std::ops::RangeInclusive<u32> = 5..=86_400;

const NO_SERVER: &str = "no update server is configured: set server.url in a fragment in \
    /etc/seesaw/config.d (with --disk: in a folder given by --config)";

/// What a check found.
pub struct Found {
    /// For the machine.
    pub checked: Checked,
    /// The leave to stage the offered release.
    pub admitted: Option<Box<Leave>>,
    /// When the server wants to be asked again.
    pub poll: Option<Duration>,
}

/// The leave to stage a release.
pub struct Leave {
    /// That it may be staged.
    pub admitted: Admitted,
    /// The release that runs, where the metadata names it too: deltas begin there.
    pub base: Option<SignedRelease>,
}

/// What a check is about, taken from the device when it begins.
pub(crate) struct Question {
    memory: Memory,
    booted: Option<(partition_layout::SlotLetter, Option<Named>)>,
    pending: Option<Release>,
    then: Then,
}

impl From<Checked> for Found {
    fn from(checked: Checked) -> Self {
        Self { checked, admitted: None, poll: None }
    }
}

impl Question {
    pub fn of(life: &Life, seen: &Seen, then: Then) -> Self {
        let booted = seen.pair().ok().map(|(booted, _)| (booted.letter, booted.named.clone()));
        let to = life.phase.change().and_then(|change| change.to.as_ref());
        Self {
            memory: life.memory.clone(),
            booted,
            pending: to.map(|named| named.release.clone()),
            then,
        }
    }

    fn counter(&self) -> u64 {
        let named = self.booted.as_ref().and_then(|(_, named)| named.as_ref());
        named.map_or(0, |named| named.counter)
    }

    /// What is not to be offered because it failed; not listed, it is offered again.
    fn failed(&self) -> Vec<Release> {
        let failed = self.memory.failed.iter().filter(|_| self.then != Then::Retry);
        failed.map(|failed| failed.named.release.clone()).collect()
    }

    fn facts(&self, anchor: &Anchor, stream: Stream) -> DeviceFacts {
        DeviceFacts {
            compatible: anchor.compatible.clone(),
            stream,
            booted: self.counter(),
            floor: self.memory.counter_floor,
        }
    }
}

impl Driver {
    pub(super) fn check(&mut self, then: Then) {
        let question = Question::of(&self.life, &self.seen, then);
        let task = self.spawn(|shared| async move {
            let target = question.booted.as_ref().map(|(booted, _)| booted.other());
            let found = shared.check(question).await;
            let found = match (then, target) {
                (Then::Tell, Some(target)) => shared.priced(found, target).await,
                _ => found,
            };
            Letter::Checked(then, found)
        });
        self.overtake(task);
    }

    /// A server that takes its time with a check holds up none that comes after it.
    pub(super) fn overtake(&mut self, task: JoinHandle<()>) {
        if let Some(before) = self.asking.replace(task) {
            before.abort();
        }
    }

    /// Nobody waits for the answer to a check any more that something else took the place of.
    pub(super) fn end_overtaken(&mut self) {
        if !matches!(self.life.phase, Phase::Checking { .. } | Phase::Opening { .. })
            && let Some(task) = self.asking.take()
        {
            task.abort();
        }
    }

    pub(super) fn ask_again(&self, change: Change) {
        let question = Question::of(&self.life, &self.seen, Then::Update);
        self.spawn(|shared| async move {
            let grant = shared.ask_again(question, &change).await;
            Letter::Event(Event::Granted(change.to, grant))
        });
    }

    pub(super) fn found(&mut self, found: Found) -> Checked {
        self.admitted = found.admitted;
        // A server that fails is not asked more often than it wanted.
        self.poll = found.poll.unwrap_or(self.poll);
        found.checked
    }
}

impl Shared {
    pub(crate) async fn check(&self, question: Question) -> Found {
        match self.refresh().await {
            Ok(refreshed) => self.ask(&question, &refreshed).await,
            Err(checked) => checked.into(),
        }
    }

    async fn refresh(&self) -> Result<Refreshed, Checked> {
        let (Some(server), Ok(anchor)) = (&self.server, &self.anchor) else {
            return Err(self.no_server());
        };
        let _turn = self.refreshing.lock().await;
        let now = anchor.now();
        server.refresh(now).await.map_err(|error| failed(anchor, now, &error))
    }

    async fn ask(&self, question: &Question, refreshed: &Refreshed) -> Found {
        let (Some(server), Ok(anchor), Some(request)) =
            (&self.server, &self.anchor, self.request(question))
        else {
            return self.no_server().into();
        };
        match server.check(&request).await {
            Ok(answer) => found(anchor, question, refreshed, request.channel.as_ref(), answer),
            Err(error) => ask_failed(&error).into(),
        }
    }

    fn no_server(&self) -> Checked {
        match (&self.standing[..], &self.settings.server, &self.anchor) {
            ([], Some(_), Err(missing)) => Checked::Device(chain(missing)),
            ([], ..) => Checked::Network(NO_SERVER.to_owned()),
            (wrong, ..) => {
                Checked::Device(format!("this boot cannot ask a server: {}", joined(wrong)))
            }
        }
    }

    fn request(&self, question: &Question) -> Option<CheckRequest> {
        let (slot, named) = question.booted.clone()?;
        let memory = &question.memory;
        Some(CheckRequest {
            channel: memory.channel.clone().or_else(|| self.settings.channel.clone()),
            slot,
            counter: question.counter(),
            release: named.map(|named| named.release),
            failed: question.failed(),
            held: memory.held.iter().map(|held| held.named.release.clone()).collect(),
            staged: question.pending.clone(),
            manual: matches!(question.then, Then::UpdateByPerson | Then::Retry),
        })
    }

    /// Whether the server and the signed metadata still stand by a change.
    pub(crate) async fn ask_again(&self, question: Question, change: &Change) -> Grant {
        // Found on a device that no server was ever set for: a person brought it.
        let serverless = self.server.is_none() && self.standing.is_empty();
        if serverless && change.motive == Motive::Found {
            return Grant::Stands;
        }
        let wanted = change.to.as_ref();
        let refreshed = match self.refresh().await {
            Ok(refreshed) => refreshed,
            Err(checked) => return self.old_word(checked, wanted),
        };
        // The publisher's word needs no server's: whatever this one answers, it ends here.
        if let Some(named) = wanted.filter(|named| !lists(&refreshed, named)) {
            let detail = format!("release {} is no longer listed by its publisher", named.release);
            return Grant::Withdrawn(detail);
        }
        grant(self.ask(&question, &refreshed).await.checked, wanted)
    }

    /// Without fresh metadata a grant counts until the newest that was seen expires. Where none is
    /// remembered, as on a STATE that was wiped, it does not: what was written stays in the slot,
    /// so that an offer to come costs no second download.
    fn old_word(&self, checked: Checked, wanted: Option<&Named>) -> Grant {
        let store = self.anchor.as_ref().ok().map(|anchor| &anchor.store);
        match (grant(checked, wanted), store.filter(|store| store.fresh_until().is_none())) {
            (Grant::Unknown(verdict), Some(store)) => {
                let since = timestamp(store.floor().time(UnixTime::from_secs(0)));
                let error = format!("no signed metadata is remembered here, and {verdict}");
                Grant::Expired { since, error }
            }
            (grant, _) => grant,
        }
    }

    /// The built-in health check: the server is reached and what it says verifies.
    pub(crate) async fn reach_server(&self) -> Result<(), String> {
        let _turn = self.refreshing.lock().await;
        reach(self.server.as_ref(), self.anchor.as_deref().ok()).await
    }
}

fn lists(refreshed: &Refreshed, named: &Named) -> bool {
    let signed = refreshed.trusted.release(named.release.as_str());
    signed.is_some_and(|signed| signed.facts().counter == named.counter)
}

/// What a check says about the release that was offered before.
fn grant(checked: Checked, wanted: Option<&Named>) -> Grant {
    match checked {
        Checked::Offer(offer) if Some(&offer.named) == wanted => match offer.admission {
            Ok(_) => Grant::Stands,
            Err(refusal) => Grant::Withdrawn(refusal.to_string()),
        },
        Checked::Offer(offer) => {
            Grant::Withdrawn(format!("release {} is offered instead", offer.named.release))
        }
        Checked::Nothing { detail }
        | Checked::NoChannel { detail }
        | Checked::Withheld { detail } => Grant::Withdrawn(detail),
        Checked::Stale { since, error } => Grant::Expired { since, error },
        Checked::Behind { since, error } => Grant::Unknown(Verdict::Stale { since, error }),
        Checked::Network(error) => Grant::Unknown(Verdict::Network { error }),
        Checked::Verification(error) => Grant::Unknown(Verdict::Verification { error }),
        Checked::Device(error) => Grant::Unknown(Verdict::Device { error }),
    }
}

/// Only a device with a configured server is asked for it: that there is none to
/// speak to is no reason to pass.
async fn reach(server: Option<&UpdateServer>, anchor: Option<&Anchor>) -> Result<(), String> {
    let (Some(server), Some(anchor)) = (server, anchor) else {
        let missing = "STATE, a first root of trust and an image that says which devices it is for";
        return Err(format!("the configured server cannot be verified without {missing}"));
    };
    server.refresh(anchor.now()).await.map(drop).map_err(|error| chain(&error))
}

fn found(
    anchor: &Anchor,
    question: &Question,
    refreshed: &Refreshed,
    own: Option<&Channel>,
    answer: CheckAnswer,
) -> Found {
    let poll = answer.poll_seconds.map(|seconds| {
        Duration::from_secs(seconds.clamp(*POLL_SECONDS.start(), *POLL_SECONDS.end()).into())
    });
    let (Action::Update, Some(release)) = (answer.action, answer.release) else {
        let detail = answer.detail;
        let checked = match answer.reason {
            ServerReason::UpToDate => Checked::Nothing { detail },
            ServerReason::NoChannel => Checked::NoChannel { detail },
            ServerReason::Other => Checked::Withheld { detail },
        };
        return Found { poll, ..checked.into() };
    };
    let Some(stream) = stream(own, answer.channel) else {
        let error = format!("the server offers release {release} and no channel that it is for");
        return Found { poll, ..Checked::Verification(error).into() };
    };
    Found { poll, ..offer(anchor, question, refreshed, &release, stream, Source::Server) }
}

/// The channel that a release has to be signed for: the device's own, and only
/// where it has none the server's default.
fn stream(own: Option<&Channel>, answered: Option<Channel>) -> Option<Stream> {
    own.cloned().or(answered).map(Stream::Channel)
}

pub(super) fn offer(
    anchor: &Anchor,
    question: &Question,
    refreshed: &Refreshed,
    release: &Release,
    stream: Stream,
    source: Source,
) -> Found {
    let Some(signed) = refreshed.trusted.release(release.as_str()) else {
        let error = format!("the server offers release {release}, which no signed metadata names");
        return Checked::Verification(error).into();
    };
    let named = Named { release: release.clone(), counter: signed.facts().counter };
    let admitted =
        admit(&refreshed.trusted, release, &question.facts(anchor, stream), refreshed.at);
    let admission = admitted.as_ref().map(Admitted::direction).map_err(Clone::clone);
    let checked = Checked::Offer(Box::new(Offer { named, admission, source, costs: None }));
    let runs = question.booted.as_ref().and_then(|(_, named)| named.as_ref());
    let base = runs.and_then(|named| refreshed.trusted.release(named.release.as_str())).cloned();
    let admitted = admitted.ok().map(|admitted| Box::new(Leave { admitted, base }));
    Found { checked, admitted, poll: None }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_second(time.as_secs()).unwrap_or(Timestamp::MAX)
}

fn failed(anchor: &Anchor, now: UnixTime, error: &RefreshError) -> Checked {
    let text = chain(error);
    if let Some(since) = error.stale_since(&anchor.store, now) {
        return Checked::Stale { since: timestamp(since), error: text };
    }
    match error {
        RefreshError::Behind { known_since, .. } => {
            Checked::Behind { since: timestamp(*known_since), error: text }
        }
        RefreshError::Http(error) if error.refused_redirect() => Checked::Verification(text),
        RefreshError::Http(_) => Checked::Network(text),
        RefreshError::Store(_) => Checked::Device(text),
        RefreshError::Trust(TrustError::Missing { .. }) => Checked::Network(text),
        RefreshError::Trust(_) | RefreshError::Bundle(_) => Checked::Verification(text),
    }
}

fn ask_failed(error: &AskError) -> Checked {
    match error {
        AskError::Http(_) | AskError::Protocol { .. } => Checked::Network(chain(error)),
        AskError::Target(_) => Checked::Verification(chain(error)),
    }
}

#[cfg(test)]
mod tests;
