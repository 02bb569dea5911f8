//! Keys: the public ones that metadata lists, and the ones that sign.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use p256::ecdsa::signature::{Signer, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::json::canonical;

/// The name of a key in metadata: 64 lower-case hex digits, for our keys the SHA-256 of the
/// canonical form of the public key object (4.2, `KEYID`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

#[derive(Clone, PartialEq, Eq)]
enum Verifying {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256 { key: p256::ecdsa::VerifyingKey, pem: String },
}

impl Verifying {
    fn p256(key: p256::ecdsa::VerifyingKey) -> Option<Self> {
        let pem = key.to_public_key_pem(LineEnding::LF).ok()?;
        Some(Self::P256 { key, pem })
    }

    fn p256_from_pem(pem: &str) -> Option<Self> {
        Self::p256(p256::ecdsa::VerifyingKey::from_public_key_pem(pem).ok()?)
    }

    fn ed25519_from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok().map(Self::Ed25519)
    }

    fn ed25519_from_pem(pem: &str) -> Option<Self> {
        ed25519_dalek::VerifyingKey::from_public_key_pem(pem).ok().map(Self::Ed25519)
    }
}

/// A public key that can check signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    verifying: Verifying,
}

impl PublicKey {
    fn new(verifying: Verifying) -> Self {
        let id = KeyId(hex::encode(Sha256::digest(canonical(&object(&verifying)))));
        Self { id, verifying }
    }

    /// The key's own name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The key as metadata lists it (4.2: `keytype`, `scheme`, `keyval`).
    pub fn to_object(&self) -> Value {
        object(&self.verifying)
    }

    /// Reads a key as metadata lists it; nothing for a kind of key that we do not support, which
    /// the specification lets a repository list and which then verifies nothing.
    pub(super) fn from_object(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let public = key.get("keyval")?.get("public")?.as_str()?;
        match (text("keytype")?, text("scheme")?) {
            ("ed25519", "ed25519") => Verifying::ed25519_from_hex(public).map(Self::new),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                Verifying::p256_from_pem(public).map(Self::new)
            }
            _ => None,
        }
    }

    /// Whether `signature` (hex) is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> Signature {
        // Upper case would give one signature two spellings, and a changed byte would go unseen.
        if signature.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Signature::Wrong;
        }
        let Ok(bytes) = hex::decode(signature) else { return Signature::Wrong };
        let verified = match &self.verifying {
            Verifying::Ed25519(key) => ed25519_dalek::Signature::from_slice(&bytes)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Verifying::P256 { key, .. } => p256::ecdsa::Signature::from_der(&bytes)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        };
        if verified { Signature::Right } else { Signature::Wrong }
    }
}

/// What became of checking one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Right,
    Wrong,
}

fn object(key: &Verifying) -> Value {
    match key {
        Verifying::Ed25519(key) => json!({
            "keytype": "ed25519", "scheme": "ed25519",
            "keyval": { "public": hex::encode(key.as_bytes()) },
        }),
        Verifying::P256 { pem, .. } => json!({
            "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256",
            "keyval": { "public": pem },
        }),
    }
}

impl fmt::Display for PublicKey {
    /// 64 hex digits for Ed25519, a PEM text for ECDSA: what [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verifying {
            Verifying::Ed25519(key) => f.write_str(&hex::encode(key.as_bytes())),
            Verifying::P256 { pem, .. } => f.write_str(pem),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

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
mod tests {
    use super::*;

    /// By `openssl genpkey -algorithm ed25519`.
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPQSMU0l0JAJzSxHucklIgc1ILFHFMUDr2i0MN+8vm6W
-----END PRIVATE KEY-----
";
    /// By `openssl ecparam -name prime256v1 -genkey`.
    const P256: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgv43JQJs9fT9Lw2Zy
kYXRNIdiqebPzdk5J7E4suaKcQuhRANCAARMBB0NieR7vznLd1W6rgAnGBbgVPSH
ZmYWvQWMujDCs/pxiJbGlT+Lpd1giecOIp9XruWPOVmHNxGmzFaBYzpl
-----END PRIVATE KEY-----
";

    #[test]
    fn keys_of_openssl_are_read_and_ours_are_written_alike() {
        for pem in [ED25519, P256] {
            let key = SigningKey::from_pem(pem).unwrap();
            assert_eq!(key.to_pem().unwrap(), pem);
            assert_eq!(&key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
            assert_eq!(&PublicKey::from_object(&key.public().to_object()).unwrap(), key.public());
        }
    }

    #[test]
    fn a_signature_has_one_key_one_message_one_spelling() {
        for (pem, other) in [(ED25519, P256), (P256, ED25519)] {
            let key = SigningKey::from_pem(pem).unwrap();
            let other = SigningKey::from_pem(other).unwrap();
            let signature = key.sign(b"message");
            assert_eq!(key.public().verifies(b"message", &signature), Signature::Right);
            assert_eq!(key.public().verifies(b"massage", &signature), Signature::Wrong);
            assert_eq!(other.public().verifies(b"message", &signature), Signature::Wrong);
            let shouted = signature.to_uppercase();
            assert_eq!(key.public().verifies(b"message", &shouted), Signature::Wrong);
            let longer = format!("{signature}00");
            assert_eq!(key.public().verifies(b"message", &longer), Signature::Wrong);
            assert_eq!(key.public().verifies(b"message", ""), Signature::Wrong);
        }
    }

    #[test]
    fn the_key_id_is_the_one_that_securesystemslib_computes() {
        // securesystemslib 1.6: SSlibKey.from_dict("", {...}) of the all-zero seed's public key.
        let key = SigningKey::from_seed(&[0; 32]);
        assert_eq!(
            key.public().to_string(),
            "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
        );
        assert_eq!(key.public().id().to_string(), KEY_ID);
    }

    const KEY_ID: &str = "4cc3f338069d638e761ed397f5c53df4129a276face46a446c202617331ca1b3";

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", &"0g".repeat(32), ED25519, "-----BEGIN PUBLIC KEY-----"] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        let rsa = serde_json::json!({ "keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": { "public": "" } });
        assert!(PublicKey::from_object(&rsa).is_none());
        assert!(KeyId::try_from("AB".repeat(32)).is_err());
    }
}
