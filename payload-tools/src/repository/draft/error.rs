use std::fmt;

use super::gaps::Gap;
use super::standing::Standing;
use crate::format::{Compatible, Hash, Release};
use crate::keyring::KeyringError;
use crate::trust::{KeyId, Misbehaviour, Role, TrustError};

/// Why the publisher cannot sign, or what was signed cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A key is missing or does not open.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// None of the keys at hand is one of the role's.
    #[error(
        "no key at hand signs for {role}: {} lists {} for it; fetch one of these, or name its folder \
         with --keys",
        lister(role),
        ids(listed)
    )]
    NoKey {
        /// The role.
        role: Role,
        /// Ids of the keys that are listed.
        listed: Vec<KeyId>,
    },
    /// What is in the folder, or was just signed, does not verify.
    #[error("the publisher's metadata does not verify")]
    Trust(#[from] TrustError),
    /// A file in the folder is damaged, or does not belong there.
    #[error("{name} does not verify")]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: Misbehaviour,
    },
    /// The folder lacks metadata that `payload init` makes.
    #[error("there is no metadata of {role}; run `payload init`, or `payload pull`, first")]
    NotBegun {
        /// The role.
        role: Role,
    },
    /// The compatible has no role.
    #[error("{compatible} has no role yet; run `payload role add {compatible}` first")]
    NoRole {
        /// The compatible.
        compatible: Compatible,
    },
    /// The compatible has one.
    #[error("{compatible} has a role already; change its keys with `payload key add` and `revoke`")]
    HasRole {
        /// The compatible.
        compatible: Compatible,
    },
    /// The key is the role's already.
    #[error("key {key:.16} signs for {role} already")]
    Listed {
        /// The role.
        role: Role,
        /// The key.
        key: String,
    },
    /// The key is not the role's.
    #[error("no key {key} signs for {role}: {} lists {}", lister(role), ids(listed))]
    NotListed {
        /// The role.
        role: Role,
        /// What was named.
        key: String,
        /// Ids of the keys that are listed.
        listed: Vec<KeyId>,
    },
    /// So many signatures can never come together, or none would be needed.
    #[error("{role} would {}", out_of_reach(*threshold, *keys))]
    Threshold {
        /// The role.
        role: Role,
        /// The wanted threshold.
        threshold: u32,
        /// How many keys the role would have.
        keys: usize,
    },
    /// A server has one key.
    #[error("the server alone signs the timestamp, with one key: its threshold stays 1")]
    TimestampThreshold,
    /// The name stands for other bytes already.
    #[error(
        "release {release} is signed already, with another manifest (SHA-256 {signed}); give the new one \
         a name and a counter of its own"
    )]
    OtherContent {
        /// The release.
        release: Release,
        /// The signed manifest's hash.
        signed: Hash,
    },
    /// The counter is another release's.
    #[error("counter {counter} is release {holder}'s already; build {release} with a higher one")]
    CounterTaken {
        /// The counter.
        counter: u64,
        /// Whose it is.
        holder: Release,
        /// Who wants it.
        release: Release,
    },
    /// Facts and manifest are of different releases.
    #[error("facts.json and manifest.json name different releases; build the folder again")]
    OtherFacts,
    /// No channel may offer it.
    #[error("release {release} is for no channel; name one with --channel")]
    NoChannel {
        /// The release.
        release: Release,
    },
    /// Devices of a channel would pass a floor by.
    #[error(
        "release {} is a floor and not signed for {channel}, so that devices of {channel} would skip it on \
         the way to {}; publish it with `--channel {channel}` first, or let them skip it with \
         `--past-floor {}`",
        .0.floor, .0.release, .0.floor, channel = .0.channel
    )]
    Gap(Gap),
    /// Devices read no file of that size.
    #[error("{role} would have {length} bytes and devices read {max}; {}", fewer(role))]
    TooLarge {
        /// The role.
        role: Role,
        /// Bytes that its file would have.
        length: u64,
        /// The most allowed.
        max: u64,
    },
    /// There is no such release to withdraw.
    #[error("{compatible} lists no release {release}; `update-server release list` has the names")]
    NoRelease {
        /// The compatible.
        compatible: Compatible,
        /// The release.
        release: Release,
    },
    /// Metadata could not be written as JSON.
    #[error("{role} metadata cannot be written as JSON")]
    Json {
        /// Whose.
        role: Role,
        /// The cause.
        source: serde_json::Error,
    },
    /// Every version is used.
    #[error("no version of {role} is left")]
    Exhausted {
        /// The role.
        role: Role,
    },
    /// Nothing is to be signed or published.
    #[error("there is no draft; `payload key` and `payload role` make one")]
    NoDraft,
    /// Signatures lack.
    #[error(
        "{}; carry draft/ to who holds these keys for `payload sign`, then `payload draft merge`",
        list(.0)
    )]
    Incomplete(Vec<Standing>),
    /// Somebody published another file of that version.
    #[error(
        "the draft of {role} version {version} was overtaken by what was published meanwhile; run \
         `payload draft discard` and make the change again"
    )]
    Overtaken {
        /// The role.
        role: Role,
        /// The draft's version.
        version: u64,
    },
    /// What it goes on from is not known here.
    #[error(
        "the draft of {role} version {version} goes on from what was published and is not known here; \
         run `payload pull` first"
    )]
    Ahead {
        /// The role.
        role: Role,
        /// The draft's version.
        version: u64,
    },
    /// Another change of the same role is not published yet.
    #[error(
        "draft/ has another change of {role} that is not published; `payload publish` it, or \
         `payload draft discard` it, first"
    )]
    InTheWay {
        /// The role.
        role: Role,
    },
    /// The drafts say different things.
    #[error(
        "the two drafts of {role} differ in more than signatures; `payload draft show` each, and \
         discard one"
    )]
    Differ {
        /// The role.
        role: Role,
    },
    /// Somebody's signature is there, and is not of what is to be signed.
    #[error(
        "{role} version {version}: a signature of {} is there and is not of this content: the draft was \
         changed after it was signed, or the signature was; compare it with a clean copy, or drop it with \
         `payload draft discard` and make the change again",
        ids(keys)
    )]
    Changed {
        /// The role.
        role: Role,
        /// The draft's version.
        version: u64,
        /// The keys in whose names the signatures are.
        keys: Vec<KeyId>,
    },
    /// More than is shown to who signs it, or something else.
    #[error(
        "{name} in the draft says what `payload` does not write, and nobody can be shown; have it made \
         again"
    )]
    Foreign {
        /// The file.
        name: String,
    },
}

impl DraftError {
    /// That a file of the publisher's own does not verify: no server is to blame.
    pub(in crate::repository) fn damaged(name: String, error: TrustError) -> Self {
        match error {
            TrustError::Misbehaved { fault, .. } => Self::Damaged { name, source: fault },
            other => other.into(),
        }
    }
}

/// Who says which keys a role has.
fn lister(role: &Role) -> Role {
    match role {
        Role::Delegated(_) => Role::Targets,
        _ => Role::Root,
    }
}

fn out_of_reach(threshold: u32, keys: usize) -> String {
    match (threshold, keys) {
        (_, 0) => {
            "have no key; add another first, or put one in its place with `payload key rotate`"
                .to_owned()
        }
        (0, keys) => format!("need nobody's signature; give a threshold from 1 to {keys}"),
        _ => format!(
            "need {threshold} of {keys} keys; add keys first, or lower it with `payload role threshold`"
        ),
    }
}

fn fewer(role: &Role) -> &'static str {
    match role {
        Role::Delegated(_) => {
            "withdraw releases that no device needs any more (`payload withdraw`), then sign again"
        }
        _ => "begin another repository for more compatibles",
    }
}

/// Key ids as people compare them: their first 16 digits.
pub(super) fn ids<'a>(keys: impl IntoIterator<Item = &'a KeyId>) -> String {
    let keys: Vec<_> = keys.into_iter().map(|key| format!("{:.16}", key.to_string())).collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
}

fn list(standings: &[Standing]) -> impl fmt::Display {
    standings.iter().map(Standing::to_string).collect::<Vec<_>>().join("; ")
}
