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

/// The tokens that are accepted, by their hashes.
pub struct AdminAuth {
    hashes: Vec<[u8; 32]>,
}

impl AdminAuth {
    /// Accepts the tokens with these hashes; none: nobody.
    pub fn new(hashes: Vec<[u8; 32]>) -> Self {
        Self { hashes }
    }

    /// Whether the `Authorization` header has an accepted token. Takes as long
    /// for a wrong token as for a right one.
    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let refuse = |message: &str| {
            let hint = "send `Authorization: Bearer TOKEN`; `update-server init` printed the token";
            ApiError::refused(StatusCode::UNAUTHORIZED, "unauthorized", message, hint)
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| hash(token.trim()))
            .ok_or_else(|| refuse("this request needs an admin token"))?;
        let found =
            self.hashes.iter().fold(Choice::from(0), |found, hash| found | hash.ct_eq(&given));
        if bool::from(found) { Ok(()) } else { Err(refuse("the admin token is not accepted")) }
    }
}

/// Lets only operators through.
pub async fn require_token(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    app.admin.check(request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_as_bearer_is_accepted() {
        let token = AdminToken::from_random(&[7; 32]);
        let auth = AdminAuth::new(vec![[0; 32], token.hash()]);
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
            assert_eq!(auth.check(&headers).is_ok(), accepted, "{value}");
        }
        assert!(auth.check(&HeaderMap::new()).is_err());
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer ".parse().unwrap())]);
        assert!(AdminAuth::new(Vec::new()).check(&headers).is_err());
    }
}
