use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tracing::Instrument;

use crate::api::ApiError;
use crate::app::App;
use crate::names::TokenName;

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

/// Whose token it is. Takes as long for a wrong token as for a right one.
fn check(given: [u8; 32], accepted: &[(TokenName, [u8; 32])]) -> Result<TokenName, ApiError> {
    let (mut found, mut place) = (Choice::from(0), 0u32);
    for (at, (_, hash)) in (0..).zip(accepted) {
        let same = hash.ct_eq(&given);
        place.conditional_assign(&at, same);
        found |= same;
    }
    match accepted.get(place as usize) {
        Some((name, _)) if bool::from(found) => Ok(name.clone()),
        _ => Err(refuse("the admin token is not accepted")),
    }
}

/// Lets only operators through. Tokens are read from the store each time, so that one which was
/// revoked is refused at once; operators are few. The log names the token of each in what it says.
pub async fn require_token(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = given(request.headers())?;
    let name = check(given, &app.store.admin_tokens().await?)?;
    let operator = tracing::info_span!("operator", token = %name);
    Ok(next.run(request).instrument(operator).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_as_bearer_is_accepted() {
        let token = AdminToken::from_random(&[7; 32]);
        let named = |name: &str, hash| (name.parse::<TokenName>().unwrap(), hash);
        let accepted = [named("bob", [0; 32]), named("ann", token.hash()), named("eve", [1; 32])];
        let name =
            |headers: &HeaderMap| given(headers).and_then(|given| check(given, &accepted)).ok();
        let text = token.as_str();
        for (value, right) in [
            (format!("Bearer {text}"), true),
            (format!("bearer {text}"), true),
            (format!("Basic {text}"), false),
            (text.to_owned(), false),
            (format!("Bearer {}", &text[..text.len() - 1]), false),
            ("Bearer ".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            let name = name(&headers);
            assert_eq!(name.as_ref().map(TokenName::as_str), right.then_some("ann"), "{value}");
        }
        assert_eq!(name(&HeaderMap::new()), None);
        assert!(check(token.hash(), &[]).is_err());
    }
}
