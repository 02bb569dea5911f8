//! axum's extractors, with our error bodies.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::ApiError;

/// A JSON body, whatever its content type says.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.into_response().status();
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                let message = "the body is larger than this request may be";
                return ApiError::refused(status, "too_large", message, "send less at once");
            }
            ApiError::refused(status, "bad_body", "the body could not be read", "send it again")
        })?;
        serde_json::from_slice(&bytes).map(JsonBody).map_err(|error| {
            let message = format!("the body is not what this request takes: {error}");
            let hint = "docs/protocol.md shows the body of each request";
            ApiError::refused(StatusCode::BAD_REQUEST, "bad_body", message, hint)
        })
    }
}

/// The variable parts of the URL; one that does not parse names nothing.
pub struct UrlPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for UrlPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| UrlPath(value)).map_err(|rejection| {
            let message = rejection.body_text();
            let hint = "docs/protocol.md shows what names look like";
            ApiError::refused(StatusCode::NOT_FOUND, "not_found", message, hint)
        })
    }
}

/// What follows the `?` in the URL.
pub struct UrlQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| UrlQuery(value)).map_err(|rejection| {
            let message = rejection.body_text();
            let hint = "docs/protocol.md shows what may follow the ? of this route";
            ApiError::refused(StatusCode::BAD_REQUEST, "bad_query", message, hint)
        })
    }
}

/// The last part of a manifest's URL: `<sha256>.<release>.json`.
pub struct ManifestName {
    /// SHA-256 of the manifest.
    pub sha256: crate::names::Hash,
    /// The release.
    pub release: crate::names::Release,
}

impl std::str::FromStr for ManifestName {
    type Err = ApiError;

    fn from_str(name: &str) -> Result<Self, ApiError> {
        let parts = name.strip_suffix(".json").and_then(|name| name.split_once('.'));
        let parsed = parts.and_then(|(sha256, release)| {
            Some(Self { sha256: sha256.parse().ok()?, release: release.parse().ok()? })
        });
        parsed.ok_or_else(|| ApiError::not_found(format_args!("manifest named {name:.200}")))
    }
}
