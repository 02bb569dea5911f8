//! Keys: the public ones that metadata lists, and the ones that sign.

mod verifying;

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use p256::ecdsa::signature::Signer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::verifying::Verifying;
use super::json::canonical;

/// The name of a key in metadata: the SHA-256 of the canonical form of the public key object, in
/// 64 lower-case hex digits (4.2, `KEYID`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(String);

impl KeyId {
    fn of(object: &Value) -> Self {
        Self(hex::encode(Sha256::digest(canonical(object))))
    }
}

impl fmt::Display for KeyId {
    /// `{:.16}` is what people compare.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Self(text))
        } else {
            Err(KeyError::Id(text))
        }
    }
}

/// Why something is not a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor 64 hex digits.
    #[error(
        "this is no public key: give 64 hex digits (Ed25519) or a PEM file (Ed25519, ECDSA P-256)"
    )]
    Public,
    /// Not a PKCS #8 PEM of a supported kind.
    #[error(
        "this is no private key of a supported kind: give a PKCS #8 PEM file (Ed25519, ECDSA P-256)"
    )]
    Private,
    /// A key id of another form.
    #[error("{0:?} is no key id: 64 lower-case hex digits are")]
    Id(String),
}

/// A public key that can check signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    verifying: Verifying,
}

impl PublicKey {
    fn new(verifying: Verifying) -> Self {
        Self { id: KeyId::of(&verifying.to_object()), verifying }
    }

    /// The key's own name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The key as metadata lists it (4.2: `keytype`, `scheme`, `keyval`).
    pub fn to_object(&self) -> Value {
        self.verifying.to_object()
    }

    /// Reads a key as metadata lists it: nothing if the id is not the object's (4.3, `KEYID`), nor
    /// for a kind of key that we do not support. Either may be listed, and then verifies nothing.
    ///
    /// Fields that we do not know are part of the id in the list and not of [`Self::id`], so that
    /// one key has one id here whatever is written beside it.
    pub(super) fn listed(id: &KeyId, object: &Value) -> Option<Self> {
        let verifying = Verifying::from_object(object)?;
        (KeyId::of(object) == *id).then(|| Self::new(verifying))
    }

    /// Whether this is how we list a key that verifies, and under its own id.
    pub(crate) fn is_written_as(id: &KeyId, object: &Value) -> bool {
        Self::listed(id, object).is_some_and(|key| key.id == *id && key.to_object() == *object)
    }

    /// Whether `signature` (hex) is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> Signature {
        // Upper case would give one signature two spellings, and a changed byte would go unseen.
        if signature.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Signature::Wrong;
        }
        let Ok(bytes) = hex::decode(signature) else { return Signature::Wrong };
        let verified = self.verifying.verifies(message, &bytes);
        if verified { Signature::Right } else { Signature::Wrong }
    }
}

/// What became of checking one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Right,
    Wrong,
}

impl fmt::Display for PublicKey {
    /// `keyval.public` in metadata: 64 hex digits for Ed25519, a PEM text for the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verifying.public())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads a key of a kind that this program signs with, so no RSA key.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let verifying = Verifying::ed25519_from_hex(text)
            .or_else(|| Verifying::ed25519_from_pem(text))
            .or_else(|| Verifying::p256_from_pem(text));
        verifying.map(Self::new).ok_or(KeyError::Public)
    }
}

enum Signing {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

/// A private key. Wiped from memory when dropped; never printed.
pub struct SigningKey {
    signing: Signing,
    public: PublicKey,
}

impl SigningKey {
    /// The Ed25519 key of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::ed25519(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS #8 PEM text, as `payload keygen` and `openssl genpkey` write it.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(text) {
            return Ok(Self::ed25519(key));
        }
        let key = p256::ecdsa::SigningKey::from_pkcs8_pem(text).map_err(|_| KeyError::Private)?;
        let verifying = Verifying::p256(*key.verifying_key()).ok_or(KeyError::Private)?;
        Ok(Self { signing: Signing::P256(key), public: PublicKey::new(verifying) })
    }

    fn ed25519(key: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::new(Verifying::Ed25519(key.verifying_key()));
        Self { signing: Signing::Ed25519(key), public }
    }

    /// The key as a PKCS #8 PEM text, not encrypted: keep it in a file of mode 0600.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pem = match &self.signing {
            Signing::Ed25519(key) => {
                // Version 1, without the public half: OpenSSL reads no other.
                let secret_key = key.to_bytes();
                KeypairBytes { secret_key, public_key: None }.to_pkcs8_pem(LineEnding::LF)
            }
            Signing::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.map(|pem| pem.to_string()).map_err(|_| KeyError::Private)
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature over `message`, in hex.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        match &self.signing {
            Signing::Ed25519(key) => hex::encode(key.sign(message).to_bytes()),
            Signing::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                hex::encode(signature.to_der().as_bytes())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}

#[cfg(test)]
mod tests;
