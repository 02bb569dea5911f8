mod seeds;
mod world;

use payload_tools::trust::{
    Client, Files, Limits, Malformed, Misbehaviour, Reply, Step, TrustError, UnixTime,
};

use self::world::{answer, first_root, root_of_version};
use crate::input::Input;
use crate::{Outcomes, Parser, names};

names!(malformed, MALFORMED, Malformed, {
    Malformed::Json(_) => "json",
    Malformed::VersionZero => "version zero",
    Malformed::Time(_) => "time",
    Malformed::SignedTwice(_) => "signed twice",
    Malformed::RoleKeys(_) => "role keys",
    Malformed::RoleName(_) => "role name",
    Malformed::PathsTwice(_) => "paths twice",
    Malformed::NotConsistent => "not consistent",
    Malformed::SameCounter(_) => "same counter",
    Malformed::Target { .. } => "target",
});
names!(misbehaved, MISBEHAVED, Misbehaviour, {
    Misbehaviour::Malformed(_) => "malformed",
    Misbehaviour::WrongRole { .. } => "wrong role",
    Misbehaviour::SpecVersion(_) => "spec version",
    Misbehaviour::Threshold { .. } => "threshold",
    Misbehaviour::Rollback { .. } => "rollback",
    Misbehaviour::Expired { .. } => "expired",
    Misbehaviour::TooLarge { .. } => "too large",
    Misbehaviour::WrongVersion { .. } => "wrong version",
    Misbehaviour::WrongHash => "wrong hash",
    Misbehaviour::NotNamed { .. } => "not named",
    Misbehaviour::WrongName { .. } => "wrong name",
    Misbehaviour::SignedTooLate { .. } => "signed too late",
});
names!(named, ERRORS, TrustError, {
    TrustError::Misbehaved { .. } => "misbehaved",
    TrustError::Missing { .. } => "missing",
    TrustError::NotDelegated { .. } => "not delegated",
    TrustError::EndlessRoles { .. } => "endless roles",
    TrustError::EndlessRoots { .. } => "endless roots",
    TrustError::OutOfTurn(_) => "out of turn",
});
const ENDS: &[&str] = &["trusted", "found", "not found"];

pub(crate) const PARSER: Parser = Parser {
    name: "tuf",
    run,
    outcomes: &[MALFORMED, MISBEHAVED, ERRORS, ENDS],
    // Times and names of roles that are none are faults of a file's JSON, and only a server asks that
    // a repository is consistent.
    never: &["time", "role name", "not consistent"],
    seeds: seeds::seeds,
};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const TARGET: &str = "demo/2.json";

// What the first byte asks for.
/// A search for a target, as in any repository, instead of a compatible's releases.
const SEARCH: u8 = 1;
/// A search before the refresh.
const EARLY: u8 = 2;

// The first byte of an entry says whether it is stored or a reply, and how it is made.
const STORED: u8 = 0x80;
const HOW: u8 = 0x07;
const RAW: u8 = 0;
/// Signed by the key of the role whose file it is.
const SIGNED: u8 = 1;
/// By that and another, as a new root is.
const SIGNED_BY_TWO: u8 = 2;
const SIGNED_TWICE: u8 = 3;
const ABSENT: u8 = 4;
/// One byte more than is asked for.
const TOO_LONG: u8 = 5;
/// The next root, whatever the entry's bytes are.
const NEXT_ROOT: u8 = 6;

/// More steps than any check takes: 64 roots, 32 roles, and the four files of the others.
const STEPS_MAX: usize = 150;

/// What is asked for, then entries: stored files with their names, and replies.
fn run(data: &[u8]) -> Outcomes {
    let mut input = Input::new(data);
    let mode = input.byte();
    let (mut stored, mut replies) = (Files::new(), Vec::new());
    while !input.is_empty() {
        let how = input.byte();
        if how & STORED == 0 {
            replies.push((how & HOW, input.piece()));
        } else {
            let name = String::from_utf8_lossy(input.piece()).into_owned();
            let bytes = answer(how & HOW, &name, input.piece());
            stored.insert(name, bytes);
        }
    }
    let (root, limits) = (first_root(), Limits::default());
    let begun = if mode & SEARCH == 0 {
        let compatible = "demo".parse().expect("a compatible");
        Client::new(&root, &stored, &compatible, NOW, limits)
    } else {
        Client::top_level(&root, &stored, NOW, limits)
    };
    let (mut client, refused) = begun.expect("the first root is good");
    let mut outcomes: Outcomes = refused.iter().flat_map(all_names).collect();
    if let Err(error) = drive(&mut client, mode, &replies) {
        outcomes.extend(all_names(&error));
        return outcomes;
    }
    let end = if mode & SEARCH == 0 {
        let trusted = client.finish().expect("it is done");
        let releases = trusted.releases();
        assert!(releases.iter().all(|release| release.facts().compatible.as_str() == "demo"));
        "trusted"
    } else {
        match client.found().expect("it is done") {
            Some(_) => "found",
            None => "not found",
        }
    };
    outcomes.push(end.to_owned());
    outcomes
}

fn drive(client: &mut Client, mode: u8, replies: &[(u8, &[u8])]) -> Result<(), TrustError> {
    if mode & EARLY != 0 {
        client.find(TARGET)?;
    }
    let mut replies = replies.iter();
    feed_all(client, &mut replies)?;
    if mode & SEARCH != 0 {
        client.find(TARGET)?;
        feed_all(client, &mut replies)?;
    }
    Ok(())
}

fn feed_all<'a>(
    client: &mut Client,
    replies: &mut impl Iterator<Item = &'a (u8, &'a [u8])>,
) -> Result<(), TrustError> {
    for _ in 0..STEPS_MAX {
        let Step::Fetch { path, max } = client.next() else { return Ok(()) };
        let reply = match replies.next() {
            None | Some((ABSENT, _)) => Reply::NotFound,
            Some((TOO_LONG, _)) => Reply::Bytes(vec![b' '; max as usize + 1]),
            Some((NEXT_ROOT, _)) => {
                let version = path.split('.').next().and_then(|text| text.parse().ok());
                Reply::Bytes(root_of_version(version.unwrap_or(1)))
            }
            Some((how, bytes)) => Reply::Bytes(answer(*how, &path, bytes)),
        };
        client.feed(reply)?;
    }
    panic!("a check of more than {STEPS_MAX} steps");
}

fn all_names(error: &TrustError) -> Outcomes {
    let mut names = vec![named(error)];
    if let TrustError::Misbehaved { fault, .. } = error {
        names.push(misbehaved(fault));
        if let Misbehaviour::Malformed(fault) = fault {
            names.push(malformed(fault));
        }
    }
    names
}
