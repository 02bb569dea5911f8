use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Header, Metadata, Signers, Verified};
use crate::trust::error::{Malformed, Misbehaviour, TrustError};
use crate::trust::json;
use crate::trust::key::{KeyId, PublicKey, Signature, SigningKey};
use crate::trust::role::Role;
#[cfg(feature = "authoring")]
use crate::trust::time::UnixTime;

#[derive(Deserialize)]
struct Envelope {
    signatures: Vec<Signed>,
    signed: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Signed {
    keyid: KeyId,
    sig: String,
}

/// A file of metadata that reads well and that nobody has vouched for yet.
#[derive(Clone, Debug)]
pub(crate) struct Unverified<T> {
    role: Role,
    header: Header,
    body: T,
    #[cfg(feature = "authoring")]
    signed: Value,
    canonical: Vec<u8>,
    signatures: Vec<Signed>,
}

impl<T: Metadata> Unverified<T> {
    /// Reads the file of a role. The version is in the errors as soon as it is known.
    pub(crate) fn parse(role: &Role, bytes: &[u8]) -> Result<Self, TrustError> {
        let refuse = |version: Option<u64>, fault: Misbehaviour| TrustError::Misbehaved {
            role: role.clone(),
            version,
            fault,
        };
        let malformed = |error| refuse(None, Malformed::Json(error).into());
        let envelope: Envelope =
            json::parse(bytes).and_then(serde_json::from_value).map_err(malformed)?;
        let header = Header::deserialize(&envelope.signed).map_err(malformed)?;
        let refuse = |fault| refuse(Some(header.version), fault);
        check_header::<T>(&header).map_err(refuse)?;
        let Envelope { signatures, signed } = envelope;
        let canonical = json::canonical(&signed);
        let body =
            T::deserialize(&signed).map_err(|error| refuse(Malformed::Json(error).into()))?;
        body.check().map_err(refuse)?;
        check_signed_once(&signatures).map_err(|fault| refuse(fault.into()))?;
        Ok(Self {
            role: role.clone(),
            header,
            body,
            #[cfg(feature = "authoring")]
            signed,
            canonical,
            signatures,
        })
    }

    /// A file that nobody has signed yet.
    #[cfg(feature = "authoring")]
    pub(crate) fn draft(role: &Role, header: Header, body: T) -> Result<Self, serde_json::Error> {
        let signed = serde_json::to_value(ToSign { header: &header, body: &body })?;
        let (role, canonical) = (role.clone(), json::canonical(&signed));
        Ok(Self { role, header, body, signed, canonical, signatures: Vec::new() })
    }

    /// What the file says of itself, before anybody vouches for it: for a root, whose own keys
    /// must have signed it as well.
    pub(crate) fn claims(&self) -> &T {
        &self.body
    }

    pub(crate) fn version(&self) -> u64 {
        self.header.version
    }

    /// Refuses another version than the one that belongs here.
    pub(crate) fn expect_version(self, expected: u64) -> Result<Self, TrustError> {
        if self.header.version == expected {
            Ok(self)
        } else {
            Err(self.refuse(Misbehaviour::WrongVersion { expected }))
        }
    }

    /// Counts the signers (4.2, 5.3.4 and its likes): distinct keys of the role, not key ids, so
    /// that one key under two names counts once.
    pub(crate) fn count(&self, signers: Signers<'_>) -> Result<(), TrustError> {
        let Tally { valid, wrong, unknown } = self.tally(signers);
        let (valid, needed) = (valid.len() as u32, signers.role.threshold);
        if valid >= needed {
            Ok(())
        } else {
            Err(self.refuse(Misbehaviour::Threshold { valid, needed, wrong, unknown }))
        }
    }

    fn tally(&self, signers: Signers<'_>) -> Tally {
        let mut tally = Tally::default();
        for Signed { keyid, sig } in &self.signatures {
            let listed = signers.role.keyids.contains(keyid);
            let object = signers.keys.get(keyid).filter(|_| listed);
            let key = object.and_then(|object| PublicKey::listed(keyid, object));
            match key.map(|key| (key.verifies(&self.canonical, sig), key)) {
                Some((Signature::Right, key)) => _ = tally.valid.insert(key.id().clone()),
                Some((Signature::Wrong, _)) => tally.wrong += 1,
                None => tally.unknown += 1,
            }
        }
        tally
    }

    /// The content, if enough of the signers have signed it.
    pub(crate) fn verify(self, signers: Signers<'_>) -> Result<Verified<T>, TrustError> {
        self.count(signers)?;
        Ok(Verified { role: self.role, header: self.header, body: self.body })
    }

    pub(crate) fn refuse(&self, fault: Misbehaviour) -> TrustError {
        TrustError::Misbehaved {
            role: self.role.clone(),
            version: Some(self.header.version),
            fault,
        }
    }
}

/// What became of a file's signatures.
#[derive(Default)]
struct Tally {
    valid: BTreeSet<KeyId>,
    wrong: u32,
    unknown: u32,
}

#[cfg(feature = "authoring")]
impl<T: Metadata> Unverified<T> {
    pub(crate) fn expires(&self) -> UnixTime {
        self.header.expires
    }

    /// Whether it says nothing but what [`Self::claims`] shows.
    pub(crate) fn is_understood(&self) -> bool {
        let written = serde_json::to_value(ToSign { header: &self.header, body: &self.body });
        written.is_ok_and(|written| json::canonical(&written) == self.canonical)
    }

    /// The keys of the role that have signed it.
    pub(crate) fn signed_by(&self, signers: Signers<'_>) -> BTreeSet<KeyId> {
        self.tally(signers).valid
    }

    /// The keys of the role in whose names there is a signature that is none of this content.
    pub(crate) fn misattributed_to(&self, signers: Signers<'_>) -> BTreeSet<KeyId> {
        let valid = self.signed_by(signers);
        let is_key = |id: &KeyId| {
            let object = signers.keys.get(id).filter(|_| signers.role.keyids.contains(id));
            object.is_some_and(|object| PublicKey::listed(id, object).is_some())
        };
        let ids = self.signatures.iter().map(|signature| &signature.keyid);
        ids.filter(|id| is_key(id) && !valid.contains(*id)).cloned().collect()
    }

    /// What a signature is made over.
    pub(crate) fn message(&self) -> &[u8] {
        &self.canonical
    }

    /// Adds a signature; a key's later one replaces its earlier one.
    pub(crate) fn add(&mut self, keyid: KeyId, sig: String) {
        self.signatures.retain(|signature| signature.keyid != keyid);
        self.signatures.push(Signed { keyid, sig });
    }

    /// Adds the signatures that are in another copy of the same content.
    pub(crate) fn unite(&mut self, copy: Self) -> Copies {
        if copy.canonical != self.canonical {
            return Copies::Differ;
        }
        for Signed { keyid, sig } in copy.signatures {
            if self.signatures.iter().all(|own| own.keyid != keyid) {
                self.signatures.push(Signed { keyid, sig });
            }
        }
        Copies::United
    }

    /// Leaves out every signature that counts for none of these: wrong ones, and those of keys that
    /// are not listed, which would be ballast on every device.
    pub(crate) fn keep_valid(&mut self, all: &[Signers<'_>]) {
        let valid: BTreeSet<_> =
            all.iter().flat_map(|signers| self.tally(*signers).valid).collect();
        self.signatures.retain(|signature| valid.contains(&signature.keyid));
    }

    /// The file: one line of JSON without spaces, in which every byte matters.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        json!({ "signatures": self.signatures, "signed": self.signed }).to_string().into_bytes()
    }
}

/// What became of [`Unverified::unite`].
#[cfg(feature = "authoring")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// The signatures of both are in one.
    United,
    /// Their contents are not the same, and nothing was done.
    Differ,
}

/// Whether two files say the same, whoever has signed them: the bytes that are signed are the same.
#[cfg(feature = "authoring")]
pub(crate) fn same_content(one: &[u8], other: &[u8]) -> bool {
    let content = |bytes| {
        let envelope: Envelope = json::parse(bytes).and_then(serde_json::from_value).ok()?;
        Some(json::canonical(&envelope.signed))
    };
    content(one).is_some_and(|one| content(other) == Some(one))
}

fn check_header<T: Metadata>(header: &Header) -> Result<(), Misbehaviour> {
    if header.kind != T::TYPE {
        return Err(Misbehaviour::WrongRole { found: header.kind.clone() });
    }
    // 4.3: MAJOR.MINOR.PATCH; MAJOR.MINOR alone was valid before 1.0.
    let mut numbers = header.spec_version.split('.').map(str::parse::<u32>);
    let major = numbers.next();
    let rest: Vec<_> = numbers.collect();
    if major != Some(Ok(1)) || !matches!(rest.len(), 1 | 2) || rest.iter().any(Result::is_err) {
        return Err(Misbehaviour::SpecVersion(header.spec_version.clone()));
    }
    if header.version == 0 {
        return Err(Malformed::VersionZero.into());
    }
    Ok(())
}

fn check_signed_once(signatures: &[Signed]) -> Result<(), Malformed> {
    let mut seen = BTreeSet::new();
    match signatures.iter().find(|signature| !seen.insert(&signature.keyid)) {
        Some(twice) => Err(Malformed::SignedTwice(twice.keyid.clone())),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct ToSign<'a, T> {
    #[serde(flatten)]
    header: &'a Header,
    #[serde(flatten)]
    body: &'a T,
}

/// The file of a role, signed by each of the keys: one line of JSON without spaces, in which
/// every byte matters.
pub(crate) fn sign<T: Metadata>(
    header: &Header,
    body: &T,
    keys: &[&SigningKey],
) -> Result<Vec<u8>, serde_json::Error> {
    let signed = serde_json::to_value(ToSign { header, body })?;
    let message = json::canonical(&signed);
    let signatures: Vec<_> = keys
        .iter()
        .map(|key| Signed { keyid: key.public().id().clone(), sig: key.sign(&message) })
        .collect();
    serde_json::to_vec(&json!({ "signatures": signatures, "signed": signed }))
}
