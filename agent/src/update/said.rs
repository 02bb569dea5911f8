//! What a person says, in every phase.

use payload_tools::format::Release;

use super::effect::ConfirmedBy;
use super::life::Then;
use super::started::found;
use super::state::{check, give_up, offered, stage_done, undo, unwanted};
use super::step::Step;
use super::{Answer, Change, Command, Effect, Kind, Motive, Objection, Phase, Verdict, Way};

pub(super) fn said(step: &mut Step<'_>, command: Command) {
    let result = match command {
        Command::Channel { channel } => {
            step.life.memory.channel = channel;
            Ok(Answer::Done)
        }
        Command::Pin { release } => pin(step, release),
        Command::Unpin => {
            step.life.memory.pinned = None;
            step.report_booted(Kind::Unpinned, None);
            Ok(Answer::Done)
        }
        Command::Check => ask(step),
        Command::Update { retry_failed } => update(step, wish(retry_failed)),
        Command::Install { path, retry_failed } => at_rest(step).map(|()| {
            step.enter(Phase::Opening { then: wish(retry_failed) });
            step.perform(Effect::OpenBundle(path));
            Answer::Begun
        }),
        Command::Confirm => confirm(step),
        Command::Cancel => cancel(step),
        Command::Rollback => rollback(step),
    };
    let answer = result.unwrap_or_else(|refusal| Answer::Refused { refusal });
    step.effects.insert(0, Effect::Answer(answer));
}

/// New work begins only where nothing is under way but a check that changes nothing: the
/// agent's own, which comes again, or one that tells. Its answer is dropped.
fn at_rest(step: &Step<'_>) -> Result<(), Objection> {
    match &step.life.phase {
        Phase::Idle | Phase::Checking { then: Then::Update | Then::Tell } => Ok(()),
        Phase::Activated { .. }
        | Phase::Asking { .. }
        | Phase::Leaving { .. }
        | Phase::Rebooting { .. } => Err(Objection::RebootPending),
        Phase::Blocked { why } => Err(Objection::Mixed(why.clone())),
        phase => Err(Objection::Busy(phase.work())),
    }
}

/// Whatever a check under way is for, its answer is the one that is wanted. Of what waits for its
/// reboot there is one thing to ask: whether it still stands.
fn ask(step: &mut Step<'_>) -> Result<Answer, Objection> {
    match step.life.phase.clone() {
        Phase::Checking { .. } | Phase::Asking { .. } => {}
        Phase::Activated { change } if offered(&change) => {
            step.enter(Phase::Asking { change: change.clone() });
            step.perform(Effect::AskAgain(change));
        }
        _ => {
            at_rest(step)?;
            check(step, Then::Tell);
        }
    }
    Ok(Answer::Begun)
}

/// A check for less is begun anew. What the server granted is what it would find:
/// the grant is asked again before anything is activated.
fn update(step: &mut Step<'_>, wish: Then) -> Result<Answer, Objection> {
    match &step.life.phase {
        Phase::Checking { then } if *then == wish || *then == Then::Retry => {}
        Phase::Checking { .. } => check(step, wish),
        Phase::Installing { change } | Phase::Staged { change } if change.granted() => {}
        _ => {
            at_rest(step)?;
            check(step, wish);
        }
    }
    step.life.memory.held = None;
    Ok(Answer::Begun)
}

fn wish(retry_failed: bool) -> Then {
    if retry_failed { Then::Retry } else { Then::UpdateByPerson }
}

fn pin(step: &mut Step<'_>, release: Option<Release>) -> Result<Answer, Objection> {
    let booted = step.seen.pair().ok().and_then(|(booted, _)| booted.named.clone());
    let release = release.or(booted.map(|named| named.release)).ok_or(Objection::Nameless)?;
    step.report_booted(Kind::Pinned, Some(format!("to release {release}")));
    step.life.memory.pinned = Some(release);
    if let Phase::Activated { change } | Phase::Asking { change } | Phase::Leaving { change } =
        step.life.phase.clone()
        && unwanted(step, &change)
    {
        undo(step, change, Verdict::Cancelled);
    }
    Ok(Answer::Done)
}

fn confirm(step: &mut Step<'_>) -> Result<Answer, Objection> {
    let (booted, _) = step.seen.pair().map_err(|why| Objection::Mixed(why.to_owned()))?;
    // Not by the successful bit alone: a retired slot has it, and is never started again.
    if booted.confirmed() {
        return Err(Objection::NothingToConfirm);
    }
    let (change, before) = match step.life.phase.clone() {
        Phase::Trial { change, before } | Phase::Confirming { change, before } => (change, before),
        Phase::Idle | Phase::Checking { then: Then::Update | Then::Tell } => {
            (found(step.seen, booted), None)
        }
        phase => return Err(Objection::Busy(phase.work())),
    };
    step.enter(Phase::Confirming { change, before });
    step.perform(Effect::Confirm(ConfirmedBy::Person));
    Ok(Answer::Begun)
}

fn cancel(step: &mut Step<'_>) -> Result<Answer, Objection> {
    match step.life.phase.clone() {
        Phase::Activated { change } | Phase::Asking { change } | Phase::Leaving { change } => {
            undo(step, change, Verdict::Cancelled);
            Ok(Answer::Begun)
        }
        Phase::Installing { .. } => {
            step.perform(Effect::StopInstall);
            Ok(Answer::Begun)
        }
        // Nothing boots what is only staged, and the late answer of a grant or a check is dropped.
        Phase::Staged { .. } | Phase::Checking { then: Then::Tell } => {
            step.rest(Phase::Idle, Verdict::Cancelled);
            Ok(Answer::Begun)
        }
        Phase::Blocked { why } => Err(Objection::Mixed(why)),
        _ => Err(Objection::NothingToCancel),
    }
}

fn rollback(step: &mut Step<'_>) -> Result<Answer, Objection> {
    if let Phase::Trial { change, before } = step.life.phase.clone() {
        let way_back = step.seen.slot(change.slot.other());
        if !way_back.confirmed() {
            return Err(Objection::NothingToRollBackTo(way_back.letter.to_string()));
        }
        give_up(step, change, before, "a person rolled back during the trial".to_owned());
        return Ok(Answer::Begun);
    }
    at_rest(step)?;
    let (booted, other) = step.seen.pair().map_err(|why| Objection::Mixed(why.to_owned()))?;
    if !other.confirmed() {
        return Err(Objection::NothingToRollBackTo(other.letter.to_string()));
    }
    let change = Change {
        to: other.named.clone(),
        from: booted.named.clone(),
        slot: other.letter,
        way: Way::Installed,
        motive: Motive::Rollback,
    };
    stage_done(step, change);
    Ok(Answer::Begun)
}
