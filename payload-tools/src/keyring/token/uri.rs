//! `pkcs11:` URIs (RFC 7512): which key on which token, and what opens it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::trust::role::percent_encoded;

const SCHEME: &str = "pkcs11:";
/// Attributes of the path that are understood: all of a token, and those that tell its keys apart.
const PATH: [&str; 7] = ["token", "serial", "manufacturer", "model", "object", "id", "type"];
const PIN_SOURCE: &str = "pin-source";

/// A `pkcs11:` URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUri {
    path: BTreeMap<&'static str, Vec<u8>>,
    query: BTreeMap<&'static str, Vec<u8>>,
}

/// Why a text is no URI of a key on a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenUriError {
    /// Another scheme, or none.
    #[error("a key on a token is named as in pkcs11:token=release;object=root")]
    Scheme,
    /// `name=value` is not said, or what is percent-encoded is not two hex digits.
    #[error("{0:?} is no attribute: NAME=VALUE is, percent-encoded")]
    Attribute(String),
    /// RFC 7512, 2.3: what is not understood may not be left out of account.
    #[error("the attribute {0:?} is not understood; name the key without it")]
    Unknown(String),
    /// Twice the same.
    #[error("the attribute {0:?} is given twice")]
    Twice(&'static str),
    /// A value that is no text.
    #[error("the attribute {0:?} is no UTF-8")]
    NotUtf8(&'static str),
    /// It would be read by whoever reads the URI.
    #[error(
        "a PIN does not belong in the URI; name a file with pin-source, or set SEESAW_PKCS11_PIN"
    )]
    PinValue,
    /// Whoever wrote the URI would have a program of his run by who signs.
    #[error("a URI names no module; name it with --pkcs11-module")]
    ModulePath,
    /// `type` is another.
    #[error("the URI is of another object than a private key; say type=private, or nothing")]
    NotPrivate,
}

impl TokenUri {
    /// An attribute of the path.
    pub(super) fn get(&self, name: &'static str) -> Option<&[u8]> {
        self.path.get(name).map(Vec::as_slice)
    }

    /// Whether a key is named, not only a token.
    pub fn names_a_key(&self) -> bool {
        self.path.contains_key("object") || self.path.contains_key("id")
    }

    /// The key of that label on the same token.
    pub fn with_object(&self, label: &str) -> Self {
        let mut uri = self.clone();
        uri.path.insert("object", label.as_bytes().to_vec());
        uri.path.insert("type", b"private".to_vec());
        uri
    }

    /// The file that holds the PIN, as a path or a `file:` URI.
    pub(in crate::keyring) fn pin_source(&self) -> Option<PathBuf> {
        let source = std::str::from_utf8(self.query.get(PIN_SOURCE)?).ok()?;
        let path = source.strip_prefix("file:").unwrap_or(source);
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)).to_owned())
    }
}

impl FromStr for TokenUri {
    type Err = TokenUriError;

    fn from_str(text: &str) -> Result<Self, TokenUriError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(TokenUriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let attributes = |text: &str, separator, known| -> Result<BTreeMap<_, _>, TokenUriError> {
            let mut found = BTreeMap::new();
            for attribute in text.split(separator).filter(|attribute| !attribute.is_empty()) {
                let (name, value) = read_attribute(attribute, known)?;
                if found.insert(name, value).is_some() {
                    return Err(TokenUriError::Twice(name));
                }
            }
            Ok(found)
        };
        let path = attributes(path, ';', &PATH)?;
        let query = attributes(query, '&', &[PIN_SOURCE])?;
        if path.is_empty() {
            return Err(TokenUriError::Scheme);
        }
        if path.get("type").is_some_and(|kind| kind != b"private") {
            return Err(TokenUriError::NotPrivate);
        }
        for (name, value) in path.iter().filter(|(name, _)| **name != "id").chain(&query) {
            std::str::from_utf8(value).map_err(|_| TokenUriError::NotUtf8(name))?;
        }
        Ok(Self { path, query })
    }
}

fn read_attribute(
    attribute: &str,
    known: &[&'static str],
) -> Result<(&'static str, Vec<u8>), TokenUriError> {
    let malformed = || TokenUriError::Attribute(attribute.to_owned());
    let (name, value) = attribute.split_once('=').ok_or_else(malformed)?;
    match name {
        "pin-value" => return Err(TokenUriError::PinValue),
        "module-path" => return Err(TokenUriError::ModulePath),
        _ => {}
    }
    let unknown = || TokenUriError::Unknown(name.to_owned());
    let name = known.iter().copied().find(|known| *known == name).ok_or_else(unknown)?;
    Ok((name, percent_decoded(value).ok_or_else(malformed)?))
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    decoded.extend(parts.next()?.bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        decoded.extend(hex::decode(digits).ok()?);
        decoded.extend(rest.bytes());
    }
    Some(decoded)
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |(name, value): (&&str, &Vec<u8>)| match std::str::from_utf8(value) {
            Ok(text) if *name != "id" => format!("{name}={}", percent_encoded(text)),
            _ => {
                let bytes: Vec<_> = value.iter().map(|byte| format!("%{byte:02X}")).collect();
                format!("{name}={}", bytes.concat())
            }
        };
        let path: Vec<_> = self.path.iter().map(encoded).collect();
        write!(f, "{SCHEME}{}", path.join(";"))?;
        if self.query.is_empty() {
            return Ok(());
        }
        let query: Vec<_> = self.query.iter().map(encoded).collect();
        write!(f, "?{}", query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_which_key_and_what_opens_it() {
        let text = "pkcs11:token=The%20Release%3b1;id=%00%ff;object=root;type=private\
                    ?pin-source=file:///run/pin\n";
        let uri: TokenUri = text.parse().unwrap();
        assert_eq!(uri.get("token"), Some(&b"The Release;1"[..]));
        assert_eq!((uri.get("id"), uri.get("object")), (Some(&[0, 255][..]), Some(&b"root"[..])));
        assert_eq!(uri.pin_source(), Some("/run/pin".into()));
        assert_eq!(uri.to_string().parse::<TokenUri>().unwrap(), uri);
        let bare: TokenUri = "pkcs11:token=t?pin-source=/run/pin".parse().unwrap();
        assert_eq!(bare.pin_source(), Some("/run/pin".into()));
        assert!(uri.names_a_key() && !bare.names_a_key());
        let named = bare.with_object("demo-x86_64");
        assert_eq!(named.get("object"), Some(&b"demo-x86_64"[..]));
        assert_eq!(
            named.to_string(),
            "pkcs11:object=demo-x86_64;token=t;type=private?pin-source=%2Frun%2Fpin"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        use TokenUriError as E;
        for (text, error) in [
            ("", E::Scheme),
            ("pkcs11:", E::Scheme),
            ("root.pem", E::Scheme),
            ("pkcs11:token", E::Attribute("token".into())),
            ("pkcs11:token=%2", E::Attribute("token=%2".into())),
            ("pkcs11:token=%zz", E::Attribute("token=%zz".into())),
            ("pkcs11:token=%é", E::Attribute("token=%é".into())),
            ("pkcs11:slot-id=1", E::Unknown("slot-id".into())),
            ("pkcs11:token=t?x-hint=1", E::Unknown("x-hint".into())),
            ("pkcs11:token=t;token=t", E::Twice("token")),
            ("pkcs11:token=%ff", E::NotUtf8("token")),
            ("pkcs11:token=t?pin-source=%ff", E::NotUtf8("pin-source")),
            ("pkcs11:token=t?module-path=/media/stick/m.so", E::ModulePath),
            ("pkcs11:token=t?pin-value=1234", E::PinValue),
            ("pkcs11:token=t;type=cert", E::NotPrivate),
        ] {
            assert_eq!(text.parse::<TokenUri>(), Err(error), "{text}");
        }
    }
}
