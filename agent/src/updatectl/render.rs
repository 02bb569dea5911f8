//! What people read.

use std::io::{IsTerminal, Write};

use partition_layout::SlotLetter;

use super::list::Listed;
use crate::status::{AgentStatus, Status};
use crate::strategy::RebootLeave;
use crate::update::{Answer, Memory, Outcome, Phase, Report, Verdict};

/// A table with aligned columns; the first row is the head.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

pub(super) fn status(status: &Status) -> String {
    let mut rows = vec![row(&["SLOT", "STATE", "RELEASE", "PRIORITY", "TRIES", "SUCCESSFUL", ""])];
    for slot in &status.slots {
        let release = slot.release.as_ref().map_or("-".to_owned(), ToString::to_string);
        let (priority, tries) = (slot.priority.to_string(), slot.tries.to_string());
        let successful = if slot.successful { "yes" } else { "no" };
        let roles = roles(status, slot.slot);
        let letter = slot.slot.to_string();
        rows.push(row(&[&letter, &slot.state, &release, &priority, &tries, successful, &roles]));
    }
    let about = match (&status.agent, &status.mixed) {
        (Some(known), _) => agent(known),
        (None, Some(why)) => format!("\n{}\n", blocked(why)),
        (None, None) => String::new(),
    };
    format!("{}\n\n{}{about}", status.source, table(&rows))
}

fn roles(status: &Status, slot: SlotLetter) -> String {
    let roles = [(status.booted, "booted"), (status.next, "next")];
    let of = roles.iter().filter(|(letter, _)| *letter == Some(slot)).map(|(_, role)| *role);
    of.collect::<Vec<_>>().join(", ")
}

fn agent(agent: &AgentStatus) -> String {
    let mut lines = vec![row(&["state", &phase(agent)])];
    let mut say = |key: &str, value: Option<String>| {
        lines.extend(value.map(|value| row(&[key, &value])));
    };
    for complaint in &agent.complaints {
        say("wrong", Some(complaint.clone()));
    }
    say("last", agent.life.outcome.as_ref().map(outcome));
    say("selector", agent.last_boot.clone());
    let memory = &agent.life.memory;
    say("channel", memory.channel.as_ref().map(ToString::to_string));
    say("pinned", memory.pinned.as_ref().map(ToString::to_string));
    for line in doubts(memory) {
        say("", Some(line));
    }
    let waiting = agent.reports_waiting;
    say("reports", (waiting > 0).then(|| format!("{waiting} wait for the server")));
    format!("\n{}", table(&lines))
}

fn doubts(memory: &Memory) -> Vec<String> {
    let held = memory
        .held
        .iter()
        .map(|held| format!("release {} is held since {:.0}", held.named.release, held.since));
    let failed = memory
        .failed
        .iter()
        .map(|failed| format!("release {} failed: {}", failed.named.release, failed.reason));
    let excused = memory.excused.iter().map(|excused| {
        format!(
            "release {} failed and is tried again after {:.0}: {}",
            excused.named.release, excused.until, excused.reason
        )
    });
    held.chain(failed).chain(excused).collect()
}

fn phase(agent: &AgentStatus) -> String {
    let phase = &agent.life.phase;
    let to = phase.change().and_then(|change| change.to.as_ref());
    let release = to.map_or("a release".to_owned(), |named| format!("release {}", named.release));
    match phase {
        Phase::Idle => "idle".to_owned(),
        Phase::Checking { .. } => "asking the server".to_owned(),
        Phase::Opening { .. } => "opening the bundle".to_owned(),
        Phase::Installing { .. } => match &agent.progress {
            Some(progress) => format!("installing {release}: {progress}"),
            None => format!("installing {release}"),
        },
        Phase::Staged { .. } => format!("{release} is staged"),
        Phase::Activated { .. } => {
            format!("{release} is activated, {}", leave(agent.reboot.as_ref()))
        }
        Phase::Asking { .. } => format!("asking whether {release} still stands"),
        Phase::Leaving { .. } | Phase::Rebooting { .. } => format!("rebooting to {release}"),
        Phase::Trial { .. } => format!("trying {release}: its health checks run"),
        Phase::Confirming { .. } => format!("confirming {release}"),
        Phase::Failing { reason, .. } => format!("{release} failed ({reason}), rebooting"),
        Phase::FallenBack { reason, .. } => {
            format!("fell back from {release} ({reason}): checking health")
        }
        Phase::Blocked { why } => blocked(why),
    }
}

fn blocked(why: &str) -> String {
    format!("MIXED: nothing is confirmed, staged or written: {why}")
}

fn leave(reboot: Option<&RebootLeave>) -> String {
    match reboot {
        Some(RebootLeave::Now) => "the reboot comes now".to_owned(),
        Some(RebootLeave::At { time }) => format!("the reboot comes at {time:.0}"),
        Some(RebootLeave::Inhibited { by }) => format!("the reboot waits for {}", by.join(", ")),
        Some(RebootLeave::ByHand) | None => "reboot to run it".to_owned(),
    }
}

const ENDED_EARLY: &str = "the agent ended before it was done\n";

fn outcome(outcome: &Outcome) -> String {
    format!("{} ({:.0})", outcome.verdict, outcome.at)
}

pub(super) fn conclusion(
    answer: &Answer,
    status: Option<&Status>,
    outcome: Option<&Outcome>,
) -> String {
    match (answer, outcome, status.and_then(|status| status.agent.as_ref())) {
        (Answer::Done, ..) => "done\n".to_owned(),
        (Answer::Refused { refusal }, ..) => format!("{refusal}\n"),
        (Answer::Begun, outcome, Some(agent)) => match (&agent.life.phase, outcome) {
            // That it is not confirmed is the news.
            (Phase::Confirming { .. }, Some(outcome)) => format!("{}\n", outcome.verdict),
            (under_way, _) if !under_way.rests() => format!("{}\n", phase(agent)),
            (_, Some(Outcome { verdict: Verdict::RebootPending, .. })) => {
                format!("{}\n", phase(agent))
            }
            (_, Some(outcome)) => format!("{}\n", outcome.verdict),
            (_, None) => ENDED_EARLY.to_owned(),
        },
        (Answer::Begun, ..) => ENDED_EARLY.to_owned(),
    }
}

pub(super) fn history(history: &[Report]) -> String {
    let mut rows = vec![row(&["TIME", "WHAT", "RELEASE", "SLOT", "REASON"])];
    for report in history {
        let release = report.release.as_ref().map_or("-".to_owned(), ToString::to_string);
        let slot = report.slot.map_or("-".to_owned(), |slot| slot.to_string());
        let reason = report.reason.as_deref().unwrap_or("");
        rows.push(row(&[
            &format!("{:.0}", report.at),
            report.kind.as_str(),
            &release,
            &slot,
            reason,
        ]));
    }
    table(&rows)
}

pub(super) fn releases(releases: &[Listed]) -> String {
    let mut rows = vec![row(&["RELEASE", "COUNTER", "CHANNELS", "SLOTS", ""])];
    for listed in releases {
        let slots: Vec<String> = listed.slots.iter().map(ToString::to_string).collect();
        let notes =
            [listed.booted.then_some("booted"), listed.floor.then_some("floor"), listed.note];
        let notes: Vec<&str> = notes.into_iter().flatten().collect();
        rows.push(vec![
            listed.release.to_string(),
            listed.counter.to_string(),
            listed.channels.join(", "),
            slots.join(", "),
            notes.join(", "),
        ]);
    }
    table(&rows)
}

/// Tells on stderr what the agent is doing: one line that moves on a terminal,
/// a line per change elsewhere, nothing beside JSON.
pub(super) struct Teller {
    silent: bool,
    moving: bool,
    last: String,
}

impl Teller {
    pub fn new(silent: bool) -> Self {
        Self { silent, moving: std::io::stderr().is_terminal(), last: String::new() }
    }

    pub fn tell(&mut self, status: &Status) {
        let Some(agent) =
            status.agent.as_ref().filter(|agent| !self.silent && !agent.life.phase.rests())
        else {
            return;
        };
        let line = phase(agent);
        if line == self.last {
            return;
        }
        let mut stderr = std::io::stderr();
        // Talk that nobody hears is no reason to stop.
        let _ = match self.moving {
            true => write!(stderr, "\r\x1b[K{line}"),
            false if agent.progress.is_some() => Ok(()),
            false => writeln!(stderr, "{line}"),
        };
        let _ = stderr.flush();
        self.last = line;
    }

    pub fn finish(&self) {
        if self.moving && !self.last.is_empty() {
            eprintln!();
        }
    }
}
