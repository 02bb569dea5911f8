//! Private keys in files that a passphrase opens: PKCS #8 `EncryptedPrivateKeyInfo` (docs/formats.md),
//! which OpenSSL reads and writes too.

use pkcs8::der::zeroize::Zeroizing;
use pkcs8::pkcs5::{self, pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument};

use crate::trust::{KeyError, SigningKey};

const PLAIN_LABEL: &str = "PRIVATE KEY";
const LABEL: &str = "ENCRYPTED PRIVATE KEY";
const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// N = 2^14, r = 8, p = 5: as dear to guess as N = 2^17 with p = 1, and within the 32 MiB that
/// OpenSSL gives scrypt.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

/// Why a key was not opened.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// By this passphrase.
    Passphrase,
    /// By none.
    NoKey(KeyError),
}

/// Random bytes for one encryption.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    pub salt: [u8; 16],
    pub iv: [u8; 16],
}

pub(super) fn is_encrypted(pem: &str) -> bool {
    pem.trim_start().starts_with(BEGIN)
}

/// Encrypts a PKCS #8 PEM text.
pub(super) fn encrypt(pem: &str, passphrase: &str, nonces: &Nonces) -> Result<String, KeyError> {
    let encrypt = || -> pkcs8::Result<Zeroizing<String>> {
        let (_, plain) = SecretDocument::from_pem(pem)?;
        let length = scrypt::Params::RECOMMENDED_LEN;
        let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, length)
            .map_err(|_| pkcs8::Error::ParametersMalformed)?;
        let scheme = pbes2::Parameters::scrypt_aes256cbc(cost, &nonces.salt, &nonces.iv)?;
        let encrypted =
            PrivateKeyInfo::try_from(plain.as_bytes())?.encrypt_with_params(scheme, passphrase)?;
        Ok(encrypted.to_pem(LABEL, LineEnding::LF)?)
    };
    encrypt().map(|pem| pem.to_string()).map_err(|_| KeyError::Private)
}

/// Opens what [`encrypt`] made, or another program with scrypt or PBKDF2.
pub(super) fn decrypt(pem: &str, passphrase: &str) -> Result<SigningKey, NotOpened> {
    let no_key = || NotOpened::NoKey(KeyError::Private);
    let (_, document) = SecretDocument::from_pem(pem).map_err(|_| no_key())?;
    let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| no_key())?;
    let plain = info.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::AlgorithmParametersInvalid { .. },
        ) => no_key(),
        // The padding is wrong or, by chance right, of what is no key.
        _ => NotOpened::Passphrase,
    })?;
    let plain = plain.to_pem(PLAIN_LABEL, LineEnding::LF).map_err(|_| no_key())?;
    SigningKey::from_pem(&plain).map_err(NotOpened::NoKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `openssl genpkey -algorithm ed25519 -aes256 -pass pass:correct`, with PBKDF2.
    const BY_OPENSSL: &str = include_str!("fixtures/ed25519-pbkdf2.pem");
    /// By `openssl pkcs8 -topk8 -scrypt -passout pass:correct`, of a P-256 key.
    const BY_OPENSSL_SCRYPT: &str = include_str!("fixtures/p256-scrypt.pem");

    #[test]
    fn only_its_passphrase_opens_a_key() {
        let key = SigningKey::from_seed(&[3; 32]);
        let nonces = Nonces { salt: [1; 16], iv: [2; 16] };
        let pem = encrypt(&key.to_pem().unwrap(), "correct", &nonces).unwrap();
        assert!(is_encrypted(&pem) && !is_encrypted(&key.to_pem().unwrap()));
        assert_eq!(decrypt(&pem, "correct").unwrap().public(), key.public());
        for wrong in ["", "Correct", "correct\n"] {
            assert!(matches!(decrypt(&pem, wrong), Err(NotOpened::Passphrase)), "{wrong:?}");
        }
    }

    #[test]
    fn keys_that_openssl_encrypted_are_opened() {
        for pem in [BY_OPENSSL, BY_OPENSSL_SCRYPT] {
            assert!(is_encrypted(pem));
            decrypt(pem, "correct").unwrap();
            assert!(matches!(decrypt(pem, "wrong"), Err(NotOpened::Passphrase)));
        }
    }

    #[test]
    fn what_is_no_encrypted_key_is_opened_by_no_passphrase() {
        let cut = BY_OPENSSL.replacen("MIG", "MIH", 1);
        for pem in [BEGIN, &cut, &SigningKey::from_seed(&[3; 32]).to_pem().unwrap()] {
            assert!(matches!(decrypt(pem, "correct"), Err(NotOpened::NoKey(_))), "{pem}");
        }
    }
}
