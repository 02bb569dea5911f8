//! What a start of the agent means: the journal says what was wanted, the disk
//! and the evidence say what came of it, and the disk is right.

use partition_layout::{SlotLetter, SlotState};

use super::state::{await_reboot, confirmed};
use super::step::Step;
use super::{Change, Effect, Kind, Moment, Motive, Phase, Probe, Seen, SeenSlot, Verdict, Way};

pub(super) fn started(step: &mut Step<'_>) {
    let seen = step.seen;
    let rebooted = step.life.boot_id != seen.boot_id;
    step.life.boot_id.clone_from(&seen.boot_id);
    let (booted, other) = match seen.pair() {
        Ok(pair) => pair,
        Err(why) => {
            let why = why.to_owned();
            return step.rest(Phase::Blocked { why: why.clone() }, Verdict::Mixed { why });
        }
    };
    let phase = std::mem::replace(&mut step.life.phase, Phase::Idle);
    if !booted.successful {
        return trial(step, phase, booted, rebooted);
    }
    if let Some(named) = &booted.named {
        let floor = &mut step.life.memory.counter_floor;
        *floor = named.counter.max(*floor);
    }
    match phase.change().cloned() {
        // Confirmed while the journal could not be written, or by hand.
        Some(change) if change.slot == booted.letter => confirmed(step, &change),
        Some(change) => left_behind(step, phase, change, other, rebooted),
        None => idle(step, booted, other, rebooted),
    }
}

/// A change that someone found on the disk. Nothing says that its slot ever ran,
/// so it is never undone into a confirmed one.
pub(super) fn found(seen: &Seen, slot: &SeenSlot) -> Change {
    Change {
        to: slot.named.clone(),
        from: seen.slot(slot.letter.other()).named.clone(),
        slot: slot.letter,
        way: Way::Install,
        motive: Motive::Found,
    }
}

/// The booted slot is not confirmed, so this boot is its trial.
fn trial(step: &mut Step<'_>, phase: Phase, booted: &SeenSlot, rebooted: bool) {
    let known = phase.change().filter(|change| change.slot == booted.letter).cloned();
    let change = known.unwrap_or_else(|| found(step.seen, booted));
    let before = match phase {
        // The mark was not written, or its reboot is not yet through.
        Phase::Failing { before, reason, .. } if !rebooted => {
            step.enter(Phase::Failing { change, before, reason });
            return step.perform(Effect::MarkFailed(booted.letter));
        }
        Phase::Rebooting { before, .. }
        | Phase::Trial { before, .. }
        | Phase::Confirming { before, .. } => before,
        _ => None,
    };
    if rebooted {
        step.report(Kind::TrialStarted, &change, step.seen.last_boot.clone());
    }
    step.enter(Phase::Trial { change, before });
    step.perform(Effect::Probe(Moment::Trial));
}

/// The booted slot is confirmed and a change to the other one was under way.
fn left_behind(
    step: &mut Step<'_>,
    phase: Phase,
    change: Change,
    other: &SeenSlot,
    rebooted: bool,
) {
    // Judged already: what is still to do is the mark, not its reboot.
    let pending = !rebooted && !matches!(phase, Phase::FallenBack { .. });
    let (before, reason) = match phase {
        Phase::Installing { .. } => return idle_again(step, rebooted),
        Phase::Failing { before, reason, .. } => (before, reason),
        Phase::FallenBack { before, reason, .. } => (before, reason),
        Phase::Trial { before, .. } | Phase::Confirming { before, .. } => {
            (before, never_confirmed(step.seen))
        }
        Phase::Rebooting { before, .. } => (before, never_arrived(step.seen, other)),
        _ => (None, never_arrived(step.seen, other)),
    };
    match other.state {
        SlotState::Trial if pending => await_reboot(step, change),
        SlotState::Trial | SlotState::Failed => fall_back(step, change, before, reason, other),
        SlotState::Empty | SlotState::Confirmed | SlotState::Retired => {
            idle_again(step, rebooted);
        }
    }
}

fn fall_back(
    step: &mut Step<'_>,
    change: Change,
    before: Option<Probe>,
    reason: String,
    other: &SeenSlot,
) {
    step.enter(Phase::FallenBack { change, before, reason });
    // The selector left it for this boot only; the next would try it again.
    if other.state == SlotState::Trial {
        step.perform(Effect::MarkFailed(other.letter));
    }
    step.perform(Effect::Probe(Moment::AfterFallback));
}

fn never_confirmed(seen: &Seen) -> String {
    told(
        seen,
        "the trial started and ended without a verdict: a crash, a power cut or the trial deadline",
    )
}

fn never_arrived(seen: &Seen, other: &SeenSlot) -> String {
    let text = match other.state {
        SlotState::Failed => "every try was used up before its agent started",
        _ => "it was not started, or ended before its agent started",
    };
    told(seen, text)
}

fn told(seen: &Seen, text: &str) -> String {
    match &seen.last_boot {
        Some(selector) => format!("{text}; the selector says: {selector}"),
        None => text.to_owned(),
    }
}

fn idle_again(step: &mut Step<'_>, rebooted: bool) {
    if let Ok((booted, other)) = step.seen.pair() {
        idle(step, booted, other, rebooted);
    }
}

/// Ends a trial to come that nobody waits for and the memory speaks against:
/// its mark or its cancel was not written. Says whether there was one.
pub(super) fn disown(step: &mut Step<'_>) -> bool {
    let seen = step.seen;
    let Ok((_, other)) = seen.pair() else { return false };
    let to_come = to_come(seen, other.letter);
    let Some(named) = other.named.as_ref().filter(|_| to_come) else { return false };
    let memory = &step.life.memory;
    let failed = memory.failure_of(&named.release).is_some()
        || memory.excused.iter().any(|excused| excused.named == *named);
    let held = memory.held.as_ref().is_some_and(|held| held.named.release == named.release);
    let pinned = memory.pinned.as_ref().is_some_and(|pinned| *pinned != named.release);
    if failed {
        step.perform(Effect::MarkFailed(other.letter));
    } else if held || pinned {
        step.perform(Effect::Cancel(found(seen, other)));
    }
    failed || held || pinned
}

/// Whether the next boot tries `slot` and leaves a confirmed one for it.
pub(super) fn to_come(seen: &Seen, slot: SlotLetter) -> bool {
    seen.slot(slot).state == SlotState::Trial && seen.slot(slot.other()).confirmed()
}

/// Nothing was under way, or the memory of it is gone: then the bits remember.
fn idle(step: &mut Step<'_>, booted: &SeenSlot, other: &SeenSlot, rebooted: bool) {
    // Once for each boot: a restart of the agent is no news to the server.
    if rebooted {
        step.report_booted(Kind::Seen, step.seen.last_boot.clone());
    }
    if disown(step) {
        return;
    }
    if other.state == SlotState::Trial {
        return await_reboot(step, found(step.seen, other));
    }
    let Some(named) = other.named.as_ref().filter(|_| other.state == SlotState::Failed) else {
        return;
    };
    let memory = &mut step.life.memory;
    let known = memory.failure_of(&named.release).is_some()
        || memory.excused.iter().any(|excused| excused.named == *named);
    if !known && booted.named.as_ref() != Some(named) {
        let reason = told(step.seen, "its slot is marked failed; the journal does not say why");
        memory.condemn(named, &reason, step.now);
    }
}
