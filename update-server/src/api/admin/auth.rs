use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::api::ApiError;
use crate::app::App;

/// A token in clear, as an operator holds it.
pub struct AdminToken(String);

impl AdminToken {
    /// A token of 256 random bits. So many need no slow hash: SHA-256 of it
    /// cannot be searched.
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        Self(format!("seesaw_{}", hex::encode(bytes)))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the server keeps.
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn refuse(message: &str) -> ApiError {
    let hint = "give --token-file FILE with one that `update-server token add` made; over HTTP it is \
                sent as `Authorization: Bearer TOKEN`";
    ApiError::refused(StatusCode::UNAUTHORIZED, "unauthorized", message, hint)
}

/// The hash of the token that the headers carry.
fn given(headers: &HeaderMap) -> Result<[u8; 32], ApiError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| hash(token.trim()))
        .ok_or_else(|| refuse("this request needs an admin token"))
}

/// Takes as long for a wrong token as for a right one.
fn check(given: [u8; 32], accepted: &[[u8; 32]]) -> Result<(), ApiError> {
    let found = accepted.iter().fold(Choice::from(0), |found, hash| found | hash.ct_eq(&given));
    if bool::from(found) { Ok(()) } else { Err(refuse("the admin token is not accepted")) }
}

/// Lets only operators through. Tokens are read from the store each time, so that one which was
/// revoked is refused at once; operators are few.
pub async fn require_token(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = given(request.headers())?;
    check(given, &app.store.admin_tokens().await?)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_as_bearer_is_accepted() {
        let token = AdminToken::from_random(&[7; 32]);
        let accepts = |headers: &HeaderMap, hashes: &[[u8; 32]]| {
            given(headers).and_then(|given| check(given, hashes)).is_ok()
        };
        let hashes = [[0; 32], token.hash()];
        let text = token.as_str();
        for (value, accepted) in [
            (format!("Bearer {text}"), true),
            (format!("bearer {text}"), true),
            (format!("Basic {text}"), false),
            (text.to_owned(), false),
            (format!("Bearer {}", &text[..text.len() - 1]), false),
            ("Bearer ".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(accepts(&headers, &hashes), accepted, "{value}");
        }
        assert!(!accepts(&HeaderMap::new(), &hashes));
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer ".parse().unwrap())]);
        assert!(!accepts(&headers, &[]));
    }
}
