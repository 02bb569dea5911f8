use crate::format::{Compatible, Hash, Release};
use crate::repository::keyring::KeyringError;
use crate::trust::{Role, TrustError};

/// Why the publisher cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A key is missing or does not open.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// The key of that name is another one.
    #[error(
        "the key in keys/{role}.pem ({found:.16}) is not the one that {} lists for {role} ({listed:.16}); \
         fetch that one",
        lister(role)
    )]
    OtherKey {
        /// The role.
        role: Role,
        /// Id of the key that is there.
        found: String,
        /// Id of a key that is listed.
        listed: String,
    },
    /// What is in the folder, or was just signed, does not verify.
    #[error("the publisher's metadata does not verify")]
    Trust(#[from] TrustError),
    /// The folder lacks metadata that `payload init` makes.
    #[error("there is no metadata of {role}; run `payload init` first")]
    NotBegun {
        /// The role.
        role: Role,
    },
    /// The compatible has no role.
    #[error("{compatible} has no role yet; run `payload init --compatible {compatible}` first")]
    NoRole {
        /// The compatible.
        compatible: Compatible,
    },
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
    NotListed {
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
}

/// Who says which keys a role has.
fn lister(role: &Role) -> Role {
    match role {
        Role::Delegated(_) => Role::Targets,
        _ => Role::Root,
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
