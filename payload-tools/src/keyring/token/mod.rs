//! Keys that never leave a PKCS #11 token: a smart card, a security module.

mod object;
mod uri;

use std::cell::OnceCell;
use std::path::PathBuf;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use sha2::{Digest, Sha256};

use self::object::Kind;
pub use self::uri::{TokenUri, TokenUriError};
use super::get_or_try_init;
use super::secrets::{SecretError, Secrets};
use crate::trust::{KeyError, PublicKey};

/// p11-kit's module knows the tokens of every module that the system is set up with.
const DEFAULT_MODULE: &str = "p11-kit-proxy.so";

/// Why a key on a token cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No such module, or it is none.
    #[error("the PKCS #11 module {} cannot be used; name another with --pkcs11-module", module.display())]
    Module {
        /// The module.
        module: PathBuf,
        /// The cause.
        source: Error,
    },
    /// None of the module's tokens is meant.
    #[error("no token is as the URI says; is it plugged in, and does the module know it?")]
    NoToken,
    /// Several are.
    #[error("{0} tokens are as the URI says; name one by its serial")]
    Tokens(usize),
    /// The token has no such key.
    #[error("the token has no such private key")]
    NoKey,
    /// It has several.
    #[error("the token has {0} such private keys; name one by its id")]
    Keys(usize),
    /// Without its public half, nobody could verify.
    #[error("the token does not show the public key beside the private one; store that there too")]
    NoPublic,
    /// An RSA key, or on another curve.
    #[error("the key is of another kind than Ed25519 and ECDSA P-256")]
    Kind(#[source] Option<KeyError>),
    /// A new key would be hard to tell from it.
    #[error("the token has a key of that name already; if it is meant, name it with --use")]
    Taken,
    /// It makes neither.
    #[error("the token makes neither Ed25519 nor ECDSA P-256 keys")]
    Makes,
    /// There is no PIN to be had.
    #[error(
        "the token asks for its PIN: name a file as pin-source in the URI, set SEESAW_PKCS11_PIN, or run this at a terminal"
    )]
    Pin(#[source] SecretError),
    /// What it signed is no signature.
    #[error("the token gives a signature that is none; try another module for it")]
    Signature,
    /// The PIN is wrong. It is not tried again: tokens lock themselves after a few.
    #[error("the token refuses the PIN")]
    WrongPin(#[source] Error),
    /// Anything else that the module says.
    #[error("the token refuses")]
    Refused(#[from] Error),
}

/// The tokens of a module, which is loaded once: what one was told in one session holds in all.
#[derive(Debug)]
pub(super) struct Tokens {
    module: PathBuf,
    loaded: OnceCell<Pkcs11>,
}

/// A private key on a token.
#[derive(Debug)]
pub(super) struct TokenKey {
    session: Session,
    key: ObjectHandle,
    kind: Kind,
    public: PublicKey,
}

/// Whether the session is to change the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Sign,
    Make,
}

impl Tokens {
    pub(super) fn new(module: Option<PathBuf>) -> Self {
        let module = module.unwrap_or_else(|| PathBuf::from(DEFAULT_MODULE));
        Self { module, loaded: OnceCell::new() }
    }

    /// The key that a URI names.
    pub(super) fn find(&self, uri: &TokenUri, secrets: &Secrets) -> Result<TokenKey, TokenError> {
        let session = self.log_in(uri, secrets, Access::Sign)?;
        let key = object::private(&session, uri)?.ok_or(TokenError::NoKey)?;
        let (kind, public) = object::public(&session, key)?;
        Ok(TokenKey { session, key, kind, public })
    }

    /// Makes the key that a URI names: Ed25519, or where the token cannot, ECDSA P-256.
    pub(super) fn make(&self, uri: &TokenUri, secrets: &Secrets) -> Result<TokenKey, TokenError> {
        let session = self.log_in(uri, secrets, Access::Make)?;
        if object::private(&session, uri)?.is_some() {
            return Err(TokenError::Taken);
        }
        let can = self.module()?.get_mechanism_list(slot_of(&session)?)?;
        let both = |made, signs| can.contains(&made) && can.contains(&signs);
        let kind = if both(MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA) {
            Kind::Ed25519
        } else if both(MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA) {
            Kind::P256
        } else {
            return Err(TokenError::Makes);
        };
        let key = object::make(&session, uri, kind)?;
        let (kind, public) = object::public(&session, key)?;
        Ok(TokenKey { session, key, kind, public })
    }

    fn module(&self) -> Result<&Pkcs11, TokenError> {
        let failed = |source| TokenError::Module { module: self.module.clone(), source };
        get_or_try_init(&self.loaded, || {
            let loaded = Pkcs11::new(&self.module).map_err(failed)?;
            match loaded.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(loaded),
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn log_in(
        &self,
        uri: &TokenUri,
        secrets: &Secrets,
        access: Access,
    ) -> Result<Session, TokenError> {
        let module = self.module()?;
        let (slot, token) = find_token(module, uri)?;
        let session = match access {
            Access::Sign => module.open_ro_session(slot)?,
            Access::Make => module.open_rw_session(slot)?,
        };
        let state = session.get_session_info()?.session_state();
        // Another session of this process has told the PIN already.
        let logged_in = matches!(state, SessionState::RoUser | SessionState::RwUser);
        if token.login_required() && !logged_in {
            let pin = if token.protected_authentication_path() {
                None
            } else {
                let pin = secrets.pin(token.label(), uri.pin_source().as_deref());
                Some(AuthPin::from(pin.map_err(TokenError::Pin)?.text().to_owned()))
            };
            session.login(UserType::User, pin.as_ref()).map_err(|error| match error {
                Error::Pkcs11(
                    RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid,
                    _,
                ) => TokenError::WrongPin(error),
                error => TokenError::Refused(error),
            })?;
        }
        Ok(session)
    }
}

fn slot_of(session: &Session) -> Result<Slot, Error> {
    Ok(session.get_session_info()?.slot_id())
}

/// The one token that is as the URI says.
fn find_token(module: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), TokenError> {
    let mut found = Vec::new();
    for slot in module.get_slots_with_initialized_token()? {
        let token = module.get_token_info(slot)?;
        let is = |name, value: &str| uri.get(name).is_none_or(|wanted| wanted == value.as_bytes());
        if is("token", token.label())
            && is("serial", token.serial_number())
            && is("manufacturer", token.manufacturer_id())
            && is("model", token.model())
        {
            found.push((slot, token));
        }
    }
    match found.len() {
        0 => Err(TokenError::NoToken),
        1 => Ok(found.remove(0)),
        several => Err(TokenError::Tokens(several)),
    }
}

impl TokenKey {
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature over `message`, in hex.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, TokenError> {
        match self.kind {
            Kind::Ed25519 => {
                let scheme = EddsaParams::new(EddsaSignatureScheme::Pure);
                let signature = self.session.sign(&Mechanism::Eddsa(scheme), self.key, message)?;
                Ok(hex::encode(signature))
            }
            Kind::P256 => {
                let digest = Sha256::digest(message);
                let signature = self.session.sign(&Mechanism::Ecdsa, self.key, &digest)?;
                // The token gives r and s, metadata has their DER (4.2).
                let signature = p256::ecdsa::Signature::from_slice(&signature);
                let signature = signature.map_err(|_| TokenError::Signature)?;
                Ok(hex::encode(signature.to_der().as_bytes()))
            }
        }
    }
}
