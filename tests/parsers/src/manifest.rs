use payload_tools::format::{MANIFEST_SIZE_MAX, Manifest, ManifestError, ReleaseFacts};

use crate::input::but;
use crate::{Outcomes, Parser, names};

names!(named, ERRORS, ManifestError, {
    ManifestError::TooLong { .. } => "too long",
    ManifestError::Json(_) => "json",
    ManifestError::Format { .. } => "format",
    ManifestError::Role { .. } => "role",
    ManifestError::Size { .. } => "size",
});
const READ: &[&str] = &["manifest", "facts", "no facts"];

pub(crate) const PARSER: Parser =
    Parser { name: "manifest", run, outcomes: &[ERRORS, READ], never: &[], seeds };

/// Stands for more spaces than a manifest may have bytes, which need not be in the corpus.
const LONG: u8 = 0xff;

fn run(data: &[u8]) -> Outcomes {
    let long = vec![b' '; MANIFEST_SIZE_MAX + 1];
    let data = if data.first() == Some(&LONG) { &long } else { data };
    let manifest = match Manifest::parse(data) {
        Ok(manifest) => {
            let again = manifest.to_bytes().expect("what was read can be written");
            assert_eq!(Manifest::parse(&again).expect("and read again"), manifest);
            "manifest".to_owned()
        }
        Err(error) => named(&error),
    };
    let facts = match serde_json::from_slice::<ReleaseFacts>(data) {
        Ok(facts) => {
            let again = serde_json::to_vec(&facts).expect("what was read can be written");
            assert_eq!(serde_json::from_slice::<ReleaseFacts>(&again).expect("read again"), facts);
            "facts"
        }
        Err(_) => "no facts",
    };
    vec![manifest, facts.to_owned()]
}

const FACTS: &str = r#"{"release":"2","counter":2,"compatible":"demo","min_from":0,
"channels":["stable"],"floor":false,
"downgrade_from":{"lo":3,"hi":5,"expires":"2026-12-01T00:00:00Z"}}"#;

fn seeds() -> Vec<Vec<u8>> {
    let root = "5a".repeat(32);
    let whole = format!(
        r#"{{"format":1,"compatible":"demo","release":"2","counter":2,
"built":"2026-11-01T00:00:00Z","images":[
{{"role":"kernel","size":8192,"salt":"","root":"{root}"}},
{{"role":"root","size":4096,"salt":"00ff","root":"{root}"}}]}}"#
    );
    vec![
        but(&whole, "\"format\":1", "\"format\":2"),
        but(&whole, "\"kernel\"", "\"root\""),
        but(&whole, "8192", "8193"),
        but(&whole, "2026", "2027-"),
        vec![LONG],
        FACTS.as_bytes().to_vec(),
        whole.into_bytes(),
    ]
}
