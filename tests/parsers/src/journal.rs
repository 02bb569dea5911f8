use std::io::ErrorKind;

use agent::journal::{Journal, JournalError};
use tempfile::TempDir;

use crate::{Outcomes, Parser};

const OUTCOMES: &[&str] = &["life", "life with losses", "foreign"];

pub(crate) const PARSER: Parser =
    Parser { name: "journal", run, outcomes: &[OUTCOMES], never: &[], seeds };

thread_local! {
    static STATE: TempDir = TempDir::new_in("/dev/shm").expect("there is memory");
}

/// What is read is written and read again, and is the same then.
fn run(data: &[u8]) -> Outcomes {
    STATE.with(|state| {
        let path = state.path().join("journal.json");
        fs_err::write(&path, data).expect("memory can be written");
        let (mut journal, life) = match Journal::open(state.path()) {
            Ok((journal, life)) => (journal, life.expect("a journal is there")),
            Err(JournalError::Foreign { .. }) => {
                let gone = fs_err::metadata(&path).expect_err("it is set aside");
                assert_eq!(gone.kind(), ErrorKind::NotFound);
                return vec!["foreign".to_owned()];
            }
            Err(error) => panic!("reading it fails otherwise: {error:?}"),
        };
        let mut changed = life.clone();
        changed.boot_id.push('x');
        journal.write(&changed).expect("what was read can be written");
        journal.write(&life).expect("what was read can be written");
        let again = Journal::peek(state.path()).expect("and read").expect("again");
        let whole = again == life;
        let named = if whole { "life" } else { "life with losses" };
        let third = {
            journal.write(&changed).expect("written");
            journal.write(&again).expect("written");
            Journal::peek(state.path()).expect("read").expect("again")
        };
        assert_eq!(third, again);
        vec![named.to_owned()]
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = r#"{"format":1,"generation":1,"life":{
"phase":{"name":"fallen_back","before":null,"reason":"x","change":{
"to":{"release":"3","counter":3},"from":{"release":"2","counter":2},
"slot":"B","way":"install","motive":"rollback"}},
"boot_id":"boot-1","memory":{
"failed":[{"release":"3","counter":3,"reason":"x","at":"2026-11-01T00:00:00Z"}],
"excused":[{"release":"4","counter":4,"reason":"x","trials":1,"until":"2026-11-01T00:00:00Z"}],
"held":{"release":"5","counter":5,"since":"2026-11-01T00:00:00Z"},
"pinned":"2","channel":"beta","counter_floor":7,
"history":[{"at":"2026-11-01T00:00:00Z","kind":"fallback","release":"3","slot":"B","from":"2",
"reason":null}]},
"outcome":{"at":"2026-11-01T00:00:00Z","verdict":"cancelled"}}}"#;
    let checking = whole
        .replace("\"phase\":", "\"phase\":{\"name\":\"checking\",\"then\":\"update\"},\"was\":");
    vec![
        whole.as_bytes().to_vec(),
        whole.replace("fallen_back", "resting").into_bytes(),
        checking.into_bytes(),
        br#"{"format":2,"generation":1,"life":{}}"#.to_vec(),
        Vec::new(),
    ]
}
