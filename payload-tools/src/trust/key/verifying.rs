//! What each kind of key is made of, how metadata writes it, and how it checks a signature.

use ed25519_dalek::pkcs8::spki::der::Decode;
use ed25519_dalek::pkcs8::spki::der::asn1::{AnyRef, BitStringRef};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::spki::{
    AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef,
};
use ed25519_dalek::pkcs8::{DecodePublicKey, Document, EncodePublicKey};
use p256::ecdsa::signature::Verifier;
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

const PEM_LABEL: &str = "PUBLIC KEY";
/// `rsaEncryption` (RFC 8017).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Verifying {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256 {
        key: p256::ecdsa::VerifyingKey,
        pem: String,
    },
    /// RSASSA-PSS with SHA-256 and a salt of its length, for other people's repositories: 2048 to
    /// 8192 bits (4.2 asks for 2048).
    Rsa {
        /// The DER of `RSAPublicKey`.
        key: Vec<u8>,
        pem: String,
    },
}

impl Verifying {
    /// The key of an entry in metadata, if it is of a kind that the specification describes (4.2),
    /// or an ECDSA key with the `keytype` of before 1.0.32.
    pub(super) fn from_object(object: &Value) -> Option<Self> {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let public = object.get("keyval")?.get("public")?.as_str()?;
        match (text("keytype")?, text("scheme")?) {
            ("ed25519", "ed25519") => Self::ed25519_from_hex(public),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => Self::p256_from_pem(public),
            ("rsa", "rsassa-pss-sha256") => Self::rsa_from_pem(public),
            _ => None,
        }
    }

    pub(super) fn to_object(&self) -> Value {
        let (keytype, scheme) = match self {
            Self::Ed25519(_) => ("ed25519", "ed25519"),
            Self::P256 { .. } => ("ecdsa", "ecdsa-sha2-nistp256"),
            Self::Rsa { .. } => ("rsa", "rsassa-pss-sha256"),
        };
        json!({ "keytype": keytype, "scheme": scheme, "keyval": { "public": self.public() } })
    }

    pub(super) fn public(&self) -> String {
        match self {
            Self::Ed25519(key) => hex::encode(key.as_bytes()),
            Self::P256 { pem, .. } | Self::Rsa { pem, .. } => pem.clone(),
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::P256 { key, .. } => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Rsa { key, .. } => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key)
                .verify(message, signature)
                .is_ok(),
        }
    }

    pub(super) fn ed25519_from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok().map(Self::Ed25519)
    }

    pub(super) fn ed25519_from_pem(pem: &str) -> Option<Self> {
        ed25519_dalek::VerifyingKey::from_public_key_pem(pem).ok().map(Self::Ed25519)
    }

    pub(super) fn p256(key: p256::ecdsa::VerifyingKey) -> Option<Self> {
        let pem = key.to_public_key_pem(LineEnding::LF).ok()?;
        Some(Self::P256 { key, pem })
    }

    pub(super) fn p256_from_pem(pem: &str) -> Option<Self> {
        Self::p256(p256::ecdsa::VerifyingKey::from_public_key_pem(pem).ok()?)
    }

    fn rsa_from_pem(pem: &str) -> Option<Self> {
        let (label, document) = Document::from_pem(pem).ok()?;
        let info = SubjectPublicKeyInfoRef::from_der(document.as_bytes()).ok()?;
        if label != PEM_LABEL || info.algorithm.oid != RSA {
            return None;
        }
        // Written again in one form: the same key is not another one because its lines are broken
        // elsewhere or the algorithm's NULL is left out.
        let key = info.subject_public_key.as_bytes()?;
        let info = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) },
            subject_public_key: BitStringRef::from_bytes(key).ok()?,
        };
        let pem = Document::try_from(info).ok()?.to_pem(PEM_LABEL, LineEnding::LF).ok()?;
        Some(Self::Rsa { key: key.to_vec(), pem })
    }
}
