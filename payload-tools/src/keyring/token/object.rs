//! The objects on a token: private keys, and the public ones beside them.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use p256::pkcs8::{EncodePublicKey, LineEnding};

use super::{TokenError, TokenUri};
use crate::trust::PublicKey;

/// DER of the object identifiers of the curves (RFC 8410, RFC 5480).
const ED25519: [u8; 5] = [6, 3, 43, 101, 112];
const P256: [u8; 10] = [6, 8, 42, 134, 72, 206, 61, 3, 1, 7];

/// Tag and length of the DER octet string in which a point is written (PKCS #11 v3.1, 6.3.3).
const ED25519_POINT: [u8; 2] = [4, 32];
const P256_POINT: [u8; 2] = [4, 65];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ed25519,
    P256,
}

/// The private key that the URI names; nothing if there is none.
pub(super) fn private(
    session: &Session,
    uri: &TokenUri,
) -> Result<Option<ObjectHandle>, TokenError> {
    let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
    wanted.extend(uri.get("object").map(|label| Attribute::Label(label.to_vec())));
    wanted.extend(uri.get("id").map(|id| Attribute::Id(id.to_vec())));
    match session.find_objects(&wanted)?.as_slice() {
        [] => Ok(None),
        [key] => Ok(Some(*key)),
        several => Err(TokenError::Keys(several.len())),
    }
}

/// The public half of a private key: of its kind, id and label. A module may show its point on the
/// private one as well; none has to.
pub(super) fn public(
    session: &Session,
    private: ObjectHandle,
) -> Result<(Kind, PublicKey), TokenError> {
    let names = [AttributeType::KeyType, AttributeType::Id, AttributeType::Label];
    let mut wanted = session.get_attributes(private, &names)?;
    let kind = wanted.iter().find_map(|attribute| match attribute {
        Attribute::KeyType(KeyType::EC_EDWARDS) => Some(Kind::Ed25519),
        Attribute::KeyType(KeyType::EC) => Some(Kind::P256),
        _ => None,
    });
    let kind = kind.ok_or(TokenError::Kind(None))?;
    wanted.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
    let found = session.find_objects(&wanted)?;
    let [public] = found.as_slice() else { return Err(TokenError::NoPublic) };
    let point = session.get_attributes(*public, &[AttributeType::EcPoint])?;
    let Some(Attribute::EcPoint(point)) = point.first() else { return Err(TokenError::NoPublic) };
    Ok((kind, read_point(kind, point)?))
}

/// A public key as its object has it; some modules leave the octet string's frame out.
fn read_point(kind: Kind, point: &[u8]) -> Result<PublicKey, TokenError> {
    let frame = if kind == Kind::Ed25519 { ED25519_POINT } else { P256_POINT };
    let framed = point.len() == frame.len() + usize::from(frame[1]);
    let bare = point.strip_prefix(&frame).filter(|_| framed).unwrap_or(point);
    let text = match kind {
        Kind::Ed25519 => Some(hex::encode(bare)),
        Kind::P256 => p256::PublicKey::from_sec1_bytes(bare)
            .ok()
            .and_then(|key| key.to_public_key_pem(LineEnding::LF).ok()),
    };
    let text = text.ok_or(TokenError::Kind(None))?;
    text.parse().map_err(|error| TokenError::Kind(Some(error)))
}

/// Makes a pair of keys by the URI's label and id, of which the private one cannot be read.
pub(super) fn make(session: &Session, uri: &TokenUri, kind: Kind) -> Result<ObjectHandle, Error> {
    let (mechanism, curve) = match kind {
        Kind::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, ED25519.to_vec()),
        Kind::P256 => (Mechanism::EccKeyPairGen, P256.to_vec()),
    };
    let label = uri.get("object").unwrap_or_default().to_vec();
    // Software finds a pair's halves by their id.
    let id = uri.get("id").unwrap_or(&label).to_vec();
    let both = [Attribute::Token(true), Attribute::Label(label), Attribute::Id(id)];
    let public = [&both[..], &[Attribute::Verify(true), Attribute::EcParams(curve)]].concat();
    let secret = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    let private = [&both[..], &secret].concat();
    Ok(session.generate_key_pair(&mechanism, &public, &private)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SigningKey;

    #[test]
    fn a_point_is_read_with_and_without_its_frame() {
        let key = SigningKey::from_seed(&[3; 32]);
        let bare = hex::decode(key.public().to_string()).unwrap();
        let framed = [&ED25519_POINT[..], &bare].concat();
        for point in [&bare, &framed] {
            assert_eq!(&read_point(Kind::Ed25519, point).unwrap(), key.public());
        }
        let secret = p256::SecretKey::from_slice(&[3; 32]).unwrap();
        let bare = p256::EncodedPoint::from(secret.public_key()).to_bytes();
        let framed = [&P256_POINT[..], &bare].concat();
        for point in [&bare[..], &framed] {
            let pem = read_point(Kind::P256, point).unwrap().to_string();
            assert_eq!(pem, secret.public_key().to_public_key_pem(LineEnding::LF).unwrap());
        }
        for (kind, point) in
            [(Kind::Ed25519, &bare[..]), (Kind::P256, &bare[..64]), (Kind::P256, &[4; 67])]
        {
            assert!(matches!(read_point(kind, point), Err(TokenError::Kind(_))));
        }
    }
}
