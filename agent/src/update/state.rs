//! The machine: what happens next. No clock, no disk, no network. The phases are
//! explained in docs/architecture.md, the life of an update.

use jiff::{SignedDuration, Timestamp};

use super::decide::{Decision, decide};
use super::effect::ConfirmedBy;
use super::life::Then;
use super::memory::{EXCUSE_MAX, Excused, Held, cut};
use super::step::Step;
use super::{
    Change, Checked, Effect, Event, Grant, HookMoment, InstallFault, Kind, Life, Moment, Motive,
    Named, Phase, Probe, Seen, SlotFault, Verdict, said, started,
};
use crate::install::Download;

/// A release whose trial failed with the environment to blame waits this long,
/// doubled for each further trial up to a day.
const EXCUSE: SignedDuration = SignedDuration::from_hours(1);

/// What `event` makes of `life` on the device as `seen`, and what is to be done.
pub fn on(life: Life, event: Event, seen: &Seen, now: Timestamp) -> (Life, Vec<Effect>) {
    let mut step = Step { life, seen, now, effects: Vec::new() };
    match event {
        Event::Started => started::started(&mut step),
        Event::Said(command) => said::said(&mut step, command),
        event => advance(&mut step, event),
    }
    (step.life, step.effects)
}

fn advance(step: &mut Step<'_>, event: Event) {
    match (step.life.phase.clone(), event) {
        (Phase::Idle, Event::PollDue) => {
            started::disown(step);
            check(step, Then::Update);
        }
        (Phase::Checking { then }, Event::Checked(asked, checked)) if asked == then => {
            on_checked(step, then, checked);
        }
        (Phase::Opening { then }, Event::Opened(checked)) => on_checked(step, then, checked),
        (Phase::Installing { change }, Event::Installed(result)) => installed(step, change, result),
        (phase, Event::Granted(about, _)) if !phase.is_about(about.as_ref()) => {}
        (Phase::Staged { change }, event) => staged(step, change, event),
        (
            Phase::Activated { change } | Phase::Asking { change } | Phase::Leaving { change },
            Event::Cancelled(result),
        ) => cancelled(step, change, result),
        (Phase::Activated { change }, event) => activated(step, change, event),
        (Phase::Asking { change }, event) => asking(step, change, event),
        (Phase::Leaving { change }, event) => leaving(step, change, event),
        (Phase::Trial { change, before }, Event::Probed(Moment::Trial, probe)) => {
            tried(step, change, before, probe);
        }
        (Phase::Confirming { change, before }, event) => confirming(step, change, before, event),
        // Written or not: the reboot ends the trial, and its tries are counted.
        (Phase::Failing { .. }, Event::MarkedFailed(_)) => step.perform(Effect::Reboot),
        // It was not ordered, or is taking its time.
        (Phase::Rebooting { .. } | Phase::Failing { .. }, Event::PollDue) => {
            step.perform(Effect::Reboot);
        }
        // The mark was not written, and the next boot would try the slot again.
        (Phase::FallenBack { change, .. }, Event::PollDue)
            if started::to_come(step.seen, change.slot) =>
        {
            step.perform(Effect::MarkFailed(change.slot));
        }
        (
            Phase::FallenBack { change, before, reason },
            Event::Probed(Moment::AfterFallback, after),
        ) => {
            judge(step, &change, before.as_ref(), &reason, &after);
        }
        // Time passing in a phase that waits for an answer, or an answer that
        // something overtook.
        _ => {}
    }
}

pub(super) fn check(step: &mut Step<'_>, then: Then) {
    step.enter(Phase::Checking { then });
    step.perform(Effect::Check(then));
}

fn on_checked(step: &mut Step<'_>, then: Then, checked: Checked) {
    let offer = match checked {
        Checked::Offer(offer) => offer,
        Checked::Nothing { detail } => return step.rest(Phase::Idle, Verdict::UpToDate { detail }),
        Checked::NoChannel { detail } => {
            return step.rest(Phase::Idle, Verdict::NoChannel { detail });
        }
        Checked::Device(error) => return step.rest(Phase::Idle, Verdict::Device { error }),
        Checked::Withheld { detail } => {
            return step.rest(Phase::Idle, Verdict::Withheld { detail });
        }
        Checked::Stale { since, error } | Checked::Behind { since, error } => {
            return step.rest(Phase::Idle, Verdict::Stale { since, error });
        }
        Checked::Network(error) => return step.rest(Phase::Idle, Verdict::Network { error }),
        Checked::Verification(error) => {
            return step.rest(Phase::Idle, Verdict::Verification { error });
        }
    };
    let (named, costs) = (offer.named.clone(), offer.costs);
    match decide(&offer, then, &step.life.memory, step.seen, step.now) {
        Decision::UpToDate => {
            let detail = format!("release {} runs", named.release);
            step.rest(Phase::Idle, Verdict::UpToDate { detail });
        }
        Decision::Leave(why) => step.rest(Phase::Idle, Verdict::Refused { named, why }),
        Decision::Take(change) => {
            step.conclude(Verdict::Available { named, costs });
            match then {
                Then::Tell => step.enter(Phase::Idle),
                _ => take(step, then, change),
            }
        }
    }
}

fn take(step: &mut Step<'_>, then: Then, change: Change) {
    if let (Then::Retry, Some(to)) = (then, &change.to) {
        step.life.memory.forgive(&to.release);
    }
    if change.way == super::Way::Installed {
        return stage_done(step, change);
    }
    step.report(Kind::DownloadStarted, &change, None);
    step.enter(Phase::Installing { change: change.clone() });
    step.perform(Effect::Install(change));
}

fn installed(step: &mut Step<'_>, change: Change, result: Result<Download, InstallFault>) {
    let fault = match result {
        Ok(download) => {
            step.report_staged(&change, download);
            return stage_done(step, change);
        }
        Err(fault) => fault,
    };
    step.report(Kind::InstallFailed, &change, Some(fault.to_string()));
    let verdict = match fault {
        InstallFault::Network(error) => Verdict::Network { error },
        InstallFault::Verification(error) => Verdict::Verification { error },
        InstallFault::OverBudget { until, error } => Verdict::OverBudget { until, error },
        InstallFault::Device(error) => Verdict::Device { error },
        InstallFault::Cancelled => Verdict::Cancelled,
    };
    step.rest(Phase::Idle, verdict);
}

/// The target holds the release. A grant is asked again before it becomes next:
/// a release halted meanwhile is not booted.
pub(super) fn stage_done(step: &mut Step<'_>, change: Change) {
    step.enter(Phase::Staged { change: change.clone() });
    step.perform(match change.granted() {
        true => Effect::AskAgain(change),
        false => Effect::Activate(change),
    });
}

fn staged(step: &mut Step<'_>, change: Change, event: Event) {
    match event {
        Event::Granted(_, Grant::Stands) if unwanted(step, &change) => {
            step.rest(Phase::Idle, Verdict::Cancelled);
        }
        Event::Granted(_, Grant::Stands) => step.perform(Effect::Activate(change)),
        Event::Granted(_, Grant::Withdrawn(detail)) => {
            step.rest(Phase::Idle, Verdict::Withdrawn { detail });
        }
        // The next check offers it again, and what is written is not fetched again.
        Event::Granted(_, Grant::Expired { since, error }) => {
            step.rest(Phase::Idle, Verdict::Stale { since, error });
        }
        Event::Granted(_, Grant::Unknown(verdict)) => step.rest(Phase::Idle, verdict),
        Event::Activated(Ok(())) => {
            step.report(Kind::Activated, &change, None);
            await_reboot(step, change);
            step.perform(Effect::RunHooks(HookMoment::PostActivate));
        }
        Event::Activated(Err(fault)) => {
            let error = fault.to_string();
            step.report(Kind::InstallFailed, &change, Some(error.clone()));
            step.rest(Phase::Idle, Verdict::Device { error });
        }
        _ => {}
    }
}

pub(super) fn await_reboot(step: &mut Step<'_>, change: Change) {
    step.rest(Phase::Activated { change }, Verdict::RebootPending);
    step.perform(Effect::AwaitReboot);
}

fn activated(step: &mut Step<'_>, change: Change, event: Event) {
    let asked = offered(&change);
    match event {
        Event::RebootDue if unwanted(step, &change) => undo(step, change, Verdict::Cancelled),
        Event::RebootDue => {
            step.enter(Phase::Leaving { change: change.clone() });
            let last = Effect::Probe(Moment::BeforeReboot);
            step.perform(if asked { Effect::AskAgain(change) } else { last });
        }
        Event::PollDue => {
            if asked {
                step.perform(Effect::AskAgain(change));
            }
            step.perform(Effect::AwaitReboot);
        }
        Event::Granted(_, grant) => no_leave(step, change, grant),
        _ => {}
    }
}

/// What is activated is booted by any crash, so it stays so only as long as somebody's word for it
/// counts: a server that lies, or keeps silent, buys no more than until that has expired.
fn no_leave(step: &mut Step<'_>, change: Change, grant: Grant) {
    match grant {
        Grant::Stands => {}
        Grant::Withdrawn(detail) => undo(step, change, Verdict::Withdrawn { detail }),
        Grant::Expired { since, error } => undo(step, change, Verdict::Stale { since, error }),
        // The next poll asks again.
        Grant::Unknown(verdict) => step.rest(Phase::Activated { change }, verdict),
    }
}

fn asking(step: &mut Step<'_>, change: Change, event: Event) {
    match event {
        Event::Granted(_, Grant::Stands) => await_reboot(step, change),
        Event::Granted(_, grant) => {
            let kept = matches!(grant, Grant::Unknown(_));
            no_leave(step, change, grant);
            if kept {
                // What fell due meanwhile was not heard.
                step.perform(Effect::AwaitReboot);
            }
        }
        _ => {}
    }
}

/// Whether a server's word is behind a change, as it may be where nobody remembers.
pub(super) fn offered(change: &Change) -> bool {
    change.granted() || change.motive == Motive::Found
}

/// A pin that came after the offer was taken.
pub(super) fn unwanted(step: &Step<'_>, change: &Change) -> bool {
    let to = change.to.as_ref().map(|named| &named.release);
    offered(change) && step.life.memory.pinned.as_ref().is_some_and(|pinned| Some(pinned) != to)
}

pub(super) fn undo(step: &mut Step<'_>, change: Change, because: Verdict) {
    step.conclude(because);
    step.perform(Effect::Cancel(change));
}

fn leaving(step: &mut Step<'_>, change: Change, event: Event) {
    match event {
        Event::Granted(_, Grant::Stands) => step.perform(Effect::Probe(Moment::BeforeReboot)),
        Event::Granted(_, grant) => no_leave(step, change, grant),
        Event::Probed(Moment::BeforeReboot, probe) => {
            step.enter(Phase::Rebooting { change, before: Some(probe) });
            step.perform(Effect::RunHooks(HookMoment::PreReboot));
            step.perform(Effect::Reboot);
        }
        _ => {}
    }
}

/// Why it was to be undone is concluded already.
fn cancelled(step: &mut Step<'_>, change: Change, result: Result<(), SlotFault>) {
    match result {
        Ok(()) => step.enter(Phase::Idle),
        Err(fault) => step.rest(Phase::Activated { change }, device_fault(&fault)),
    }
}

fn device_fault(fault: &SlotFault) -> Verdict {
    Verdict::Device { error: fault.to_string() }
}

fn tried(step: &mut Step<'_>, change: Change, before: Option<Probe>, probe: Probe) {
    match probe {
        Probe::Good => {
            step.enter(Phase::Confirming { change, before });
            step.perform(Effect::Confirm(ConfirmedBy::Checks));
        }
        Probe::Bad { reason } => give_up(step, change, before, reason),
    }
}

/// Ends a trial, where there is a slot to end it for. With none confirmed behind
/// this one it is the best there is, and is looked at for as long as it runs.
pub(super) fn give_up(step: &mut Step<'_>, change: Change, before: Option<Probe>, reason: String) {
    let way_back = step.seen.slot(change.slot.other()).confirmed();
    if !way_back {
        step.conclude(Verdict::TrialFailed { reason });
        return step.perform(Effect::Probe(Moment::Trial));
    }
    step.report(Kind::HealthFailed, &change, Some(reason.clone()));
    step.conclude(Verdict::TrialFailed { reason: reason.clone() });
    let slot = change.slot;
    step.enter(Phase::Failing { change, before, reason });
    step.perform(Effect::MarkFailed(slot));
}

fn confirming(step: &mut Step<'_>, change: Change, before: Option<Probe>, event: Event) {
    match event {
        Event::Confirmed(Ok(())) => confirmed(step, &change),
        Event::Confirmed(Err(fault)) => step.conclude(device_fault(&fault)),
        // It was not written, and what vouched for it then does not now.
        Event::PollDue => {
            step.enter(Phase::Trial { change, before });
            step.perform(Effect::Probe(Moment::Trial));
        }
        _ => {}
    }
}

pub(super) fn confirmed(step: &mut Step<'_>, change: &Change) {
    if let Some(to) = &change.to {
        let memory = &mut step.life.memory;
        memory.absolve(&to.release);
        memory.counter_floor = match &change.motive {
            Motive::Channel { downgrade: true } | Motive::Bundle { downgrade: true, .. } => {
                to.counter
            }
            _ => memory.counter_floor.max(to.counter),
        };
        memory.held.take_if(|held| held.named.counter < to.counter);
    }
    let rolled_back = change.motive == Motive::Rollback;
    step.report(if rolled_back { Kind::RolledBack } else { Kind::Confirmed }, change, None);
    if rolled_back {
        hold(step, change);
    }
    step.rest(Phase::Idle, Verdict::Confirmed);
    step.perform(Effect::RunHooks(HookMoment::PostConfirm));
}

/// Not before the rollback is confirmed: the journal knows until then who wanted
/// it, and one that is cancelled or fails holds nothing.
fn hold(step: &mut Step<'_>, change: &Change) {
    let Some(left) = change.from.clone() else { return };
    let slot = change.slot.other();
    let there = Change { to: Some(left.clone()), from: None, slot, ..change.clone() };
    step.report(Kind::Held, &there, Some("a person rolled back".to_owned()));
    step.life.memory.held = Some(Held { named: left, since: step.now });
}

/// Only good, bad, good condemns a release; health that was not looked at
/// before the reboot counts as good.
fn judge(
    step: &mut Step<'_>,
    change: &Change,
    before: Option<&Probe>,
    reason: &str,
    after: &Probe,
) {
    let environment = match (before, after) {
        (Some(Probe::Bad { reason }), _) => Some(format!("before the reboot: {reason}")),
        (_, Probe::Bad { reason }) => Some(format!("after the fallback: {reason}")),
        _ => None,
    };
    let told = match &environment {
        Some(why) => {
            format!("{reason}; not the release's fault, the old slot is no better ({why})")
        }
        None => reason.to_owned(),
    };
    if let Some(named) = &change.to {
        match environment {
            Some(_) => excuse(step, named, reason),
            None => step.life.memory.condemn(named, reason, step.now),
        }
    }
    step.report(Kind::Fallback, change, Some(told.clone()));
    step.rest(Phase::Idle, Verdict::TrialFailed { reason: told });
    step.perform(Effect::RunHooks(HookMoment::PostFallback));
    started::disown(step);
}

fn excuse(step: &mut Step<'_>, named: &Named, reason: &str) {
    let excused = &mut step.life.memory.excused;
    let known = excused.iter().position(|excused| excused.named == *named);
    let trials = known.map_or(1, |at| excused.swap_remove(at).trials.saturating_add(1));
    let wait = EXCUSE.saturating_mul(1 << (trials - 1).min(5)).min(EXCUSE_MAX);
    let until = step.now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    excused.push(Excused { named: named.clone(), reason: cut(reason), trials, until });
}

#[cfg(test)]
mod tests;
