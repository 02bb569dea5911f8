//! What outlives a reboot: one JSON file on STATE, replaced atomically. The
//! agents of both slots share it, and one of them may be older: what the other
//! wrote and this one does not know is left out, and the rest is kept.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;

use crate::update::{Life, Memory, Phase};

/// The `format` that this version writes. It reads what it can of any.
const FORMAT: u32 = 1;
/// Larger files are not journals, and none is made.
const SIZE_MAX: u64 = 4 << 20;

/// The journal on STATE.
#[derive(Debug)]
pub struct Journal {
    /// `None`: a disk without STATE; what is learned is forgotten.
    path: Option<PathBuf>,
    generation: u64,
    written: Option<Life>,
}

/// A journal that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {step} the journal: check that STATE is mounted, writable and not full")]
    Io {
        /// What was tried.
        step: &'static str,
        /// What was met.
        source: io::Error,
    },
    /// It is not a journal.
    #[error("{path} is not a journal; the agent sets it aside as {path}.bad")]
    Foreign {
        /// Where it is.
        path: String,
        /// What was met.
        source: serde_json::Error,
    },
    /// It would not be read again.
    #[error("the journal would have {size} bytes and may have {SIZE_MAX}; the old one stays")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// The life could not be written as JSON.
    #[error("cannot write the journal's JSON")]
    Encode(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct Record {
    format: u32,
    generation: u64,
    life: Life,
}

/// A record by whichever version.
#[derive(Deserialize)]
struct Foreign {
    generation: u64,
    life: ForeignLife,
}

#[derive(Deserialize)]
struct ForeignLife {
    #[serde(default)]
    phase: Value,
    #[serde(default)]
    boot_id: String,
    memory: ForeignMemory,
    #[serde(default)]
    outcome: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ForeignMemory {
    failed: Vec<Value>,
    excused: Vec<Value>,
    held: Value,
    pinned: Value,
    channel: Value,
    counter_floor: u64,
    history: Vec<Value>,
}

impl ForeignLife {
    fn understood(self) -> Life {
        // The disk says what became of a change, and overrules the phase anyway.
        let phase = known("phase", self.phase).unwrap_or(Phase::Idle);
        let outcome = known("outcome", self.outcome);
        Life { phase, boot_id: self.boot_id, memory: self.memory.understood(), outcome }
    }
}

impl ForeignMemory {
    fn understood(self) -> Memory {
        Memory {
            failed: all_known("failed release", self.failed),
            excused: all_known("excused release", self.excused),
            held: known("held release", self.held),
            pinned: known("pin", self.pinned),
            channel: known("channel", self.channel),
            counter_floor: self.counter_floor,
            history: all_known("line of history", self.history),
        }
    }
}

/// What `value` says to this version; `None` also where it is null.
fn known<T: DeserializeOwned>(what: &str, value: Value) -> Option<T> {
    serde_json::from_value(value).unwrap_or_else(|error| {
        warn!("the journal's {what} is of another version of the agent and is left out: {error}");
        None
    })
}

fn all_known<T: DeserializeOwned>(what: &str, values: Vec<Value>) -> Vec<T> {
    values.into_iter().filter_map(|value| known(what, value)).collect()
}

impl Journal {
    /// Opens the journal in the folder `state`. `None`: there is none yet.
    ///
    /// # Errors
    /// [`JournalError::Foreign`] once, for a file that cannot be read as a
    /// journal: it is set aside, because a device must go on without its memory.
    pub fn open(state: &Path) -> Result<(Self, Option<Life>), JournalError> {
        let path = state.join("journal.json");
        match read(&path) {
            Ok(record) => {
                let (generation, life) = record.unzip();
                let generation = generation.unwrap_or(0);
                Ok((Self { path: Some(path), generation, written: life.clone() }, life))
            }
            Err(error @ JournalError::Foreign { .. }) => {
                fs::rename(&path, path.with_extension("json.bad"))
                    .map_err(|source| JournalError::Io { step: "set aside", source })?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the journal in the folder `state` and changes nothing.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn peek(state: &Path) -> Result<Option<Life>, JournalError> {
        Ok(read(&state.join("journal.json"))?.map(|(_, life)| life))
    }

    /// A journal that forgets: of a disk without STATE.
    pub fn forgetful() -> Self {
        Self { path: None, generation: 0, written: None }
    }

    /// Whether what is written outlives the program.
    pub fn remembers(&self) -> bool {
        self.path.is_some()
    }

    /// Makes `life` durable. Nothing is written when all that has changed is that
    /// a check began, or ended as the last one did: STATE may be flash.
    ///
    /// # Errors
    /// The old journal is then still whole.
    pub fn write(&mut self, life: &Life) -> Result<(), JournalError> {
        let Some(path) = &self.path else { return Ok(()) };
        let life = lasting(life);
        if self.written.as_ref().is_some_and(|written| same(written, &life)) {
            return Ok(());
        }
        let generation = self.generation + 1;
        let record = Record { format: FORMAT, generation, life };
        let text = serde_json::to_vec_pretty(&record).map_err(JournalError::Encode)?;
        let size = text.len() as u64;
        if size > SIZE_MAX {
            return Err(JournalError::TooLarge { size });
        }
        durable_file::write(path, &text, Readers::Everyone, Existing::Replace)
            .map_err(|source| JournalError::Io { step: "write", source })?;
        self.generation = generation;
        self.written = Some(record.life);
        Ok(())
    }

    /// How often the journal was written since it was made.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// What of a life a restart would go on with: a check is asked for anew.
fn lasting(life: &Life) -> Life {
    let phase = match &life.phase {
        Phase::Checking { .. } | Phase::Opening { .. } => Phase::Idle,
        Phase::Asking { change } => Phase::Activated { change: change.clone() },
        phase => phase.clone(),
    };
    Life { phase, ..life.clone() }
}

/// Whether both say the same, at whatever time.
fn same(written: &Life, life: &Life) -> bool {
    let timeless = |life: &Life| Life { outcome: None, ..life.clone() };
    let verdict = |life: &Life| life.outcome.as_ref().map(|outcome| outcome.verdict.clone());
    verdict(written) == verdict(life) && timeless(written) == timeless(life)
}

fn read(path: &Path) -> Result<Option<(u64, Life)>, JournalError> {
    let text = match read_bounded(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| JournalError::Io { step: "read", source })?,
    };
    let record: Foreign = serde_json::from_slice(&text)
        .map_err(|source| JournalError::Foreign { path: path.display().to_string(), source })?;
    Ok(Some((record.generation, record.life.understood())))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    fs::File::open(path)?.take(SIZE_MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::{Outcome, Then, Verdict};

    #[test]
    fn a_life_survives_and_its_generation_counts_writes_only() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, none) = Journal::open(state.path()).unwrap();
        assert!(none.is_none());
        let mut life = Life::new("boot-1");
        journal.write(&life).unwrap();
        journal.write(&life).unwrap();
        assert_eq!(journal.generation(), 1);
        life.memory.counter_floor = 7;
        journal.write(&life).unwrap();

        let (journal, read) = Journal::open(state.path()).unwrap();
        assert_eq!((journal.generation(), read), (2, Some(life)));
    }

    #[test]
    fn a_poll_that_brings_nothing_new_writes_nothing() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(state.path()).unwrap();
        let outcome = |second: i64, detail: &str| {
            let at = jiff::Timestamp::from_second(second).unwrap();
            Some(Outcome { at, verdict: Verdict::UpToDate { detail: detail.to_owned() } })
        };
        let idle = |outcome| Life { outcome, ..Life::new("boot-1") };
        let checking = |life: Life| Life { phase: Phase::Checking { then: Then::Update }, ..life };
        for (life, generation) in [
            (idle(None), 1),
            (checking(idle(None)), 1),
            (idle(outcome(1, "stable is at 1")), 2),
            (checking(idle(outcome(1, "stable is at 1"))), 2),
            (idle(outcome(2, "stable is at 1")), 2),
            (idle(outcome(3, "stable is paused")), 3),
            (Life { phase: full().phase, ..idle(outcome(3, "stable is paused")) }, 4),
        ] {
            journal.write(&life).unwrap();
            assert_eq!(journal.generation(), generation, "{life:?}");
        }
    }

    #[test]
    fn a_journal_that_would_not_be_read_again_is_not_written() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(state.path()).unwrap();
        let life = Life::new("boot-1");
        journal.write(&life).unwrap();
        let large = Life::new(&"1".repeat(5 << 20));
        assert!(matches!(journal.write(&large), Err(JournalError::TooLarge { .. })));
        assert_eq!(Journal::open(state.path()).unwrap().1, Some(life));
    }

    #[test]
    fn a_torn_replacement_leaves_the_old_journal() {
        let state = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(state.path()).unwrap();
        let life = Life::new("boot-1");
        journal.write(&life).unwrap();
        std::fs::write(state.path().join(".unfinished-1"), b"{\"format\":1,").unwrap();
        assert_eq!(Journal::open(state.path()).unwrap().1, Some(life));
    }

    /// A life in which everything is remembered.
    fn full() -> Life {
        let text = r#"{
            "phase": {"name": "fallen_back", "before": null, "reason": "x", "change": {
                "to": {"release": "3", "counter": 3}, "from": {"release": "2", "counter": 2},
                "slot": "B", "way": "install", "motive": "rollback"}},
            "boot_id": "boot-1",
            "memory": {
                "failed": [{"release": "3", "counter": 3, "reason": "x", "at": "2026-11-01T00:00:00Z"}],
                "excused": [{"release": "4", "counter": 4, "reason": "x", "trials": 1,
                             "until": "2026-11-01T00:00:00Z"}],
                "held": {"release": "5", "counter": 5, "since": "2026-11-01T00:00:00Z"},
                "pinned": "2", "channel": "beta", "counter_floor": 7,
                "history": [{"at": "2026-11-01T00:00:00Z", "kind": "fallback", "release": "3",
                             "slot": "B", "from": "2", "reason": null}]},
            "outcome": {"at": "2026-11-01T00:00:00Z", "verdict": "cancelled"}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn opened(record: &Value) -> Life {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("journal.json"), record.to_string()).unwrap();
        Journal::open(state.path()).unwrap().1.unwrap()
    }

    /// The agent of the other slot may be a newer one.
    #[test]
    fn what_another_version_wrote_costs_only_what_it_alone_knows() {
        let record = Record { format: FORMAT, generation: 1, life: full() };
        let record = serde_json::to_value(record).unwrap();
        assert_eq!(opened(&record), full());
        type Forget = fn(&mut Life);
        let forget: [(&str, Value, Forget); 11] = [
            ("/format", 2.into(), |_| ()),
            ("/life/phase/name", "resting".into(), |life| life.phase = Phase::Idle),
            ("/life/phase/change/motive", "whim".into(), |life| life.phase = Phase::Idle),
            ("/life/outcome/verdict", "blessed".into(), |life| life.outcome = None),
            ("/life/memory/history/0/kind", "sung".into(), |life| life.memory.history.clear()),
            ("/life/memory/failed/0/at", 7.into(), |life| life.memory.failed.clear()),
            ("/life/memory/excused/0/until", 7.into(), |life| life.memory.excused.clear()),
            ("/life/memory/held/since", 7.into(), |life| life.memory.held = None),
            ("/life/memory/pinned", 7.into(), |life| life.memory.pinned = None),
            ("/life/memory/channel", 7.into(), |life| life.memory.channel = None),
            ("/life/memory/held", Value::Null, |life| life.memory.held = None),
        ];
        for (place, value, forget) in forget {
            let (mut record, mut expected) = (record.clone(), full());
            *record.pointer_mut(place).unwrap() = value;
            forget(&mut expected);
            assert_eq!(opened(&record), expected, "{place}");
        }
        for place in ["", "/life", "/life/memory"] {
            let mut record = record.clone();
            record.pointer_mut(place).unwrap()["newer"] = "field".into();
            assert_eq!(opened(&record), full(), "{place}");
        }
    }

    #[test]
    fn what_is_no_journal_is_set_aside_once() {
        for text in ["", "{}", r#"{"format":2,"generation":1,"life":{}}"#, "\0\0\0\0"] {
            let state = tempfile::tempdir().unwrap();
            std::fs::write(state.path().join("journal.json"), text).unwrap();
            let error = Journal::open(state.path()).unwrap_err();
            assert!(matches!(error, JournalError::Foreign { .. }), "{text:?}: {error}");
            assert!(state.path().join("journal.json.bad").exists());
            assert!(Journal::open(state.path()).unwrap().1.is_none());
        }
    }
}
