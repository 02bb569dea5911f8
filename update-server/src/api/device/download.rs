use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::api::ApiError;
use crate::api::extract::{ManifestName, UrlPath};
use crate::api::files::{Caching, serve_json, serve_stored};
use crate::app::App;
use crate::names::{Compatible, Hash};
use crate::payloads::StoredFile;

/// `GET /v1/metadata/{file}`.
pub async fn metadata(
    State(app): State<Arc<App>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (bytes, caching) = match name.as_str() {
        "timestamp.json" => {
            (app.store.repository().await?.map(|now| now.timestamp), Caching::Revalidated)
        }
        _ => (app.store.metadata(name.clone()).await?, Caching::Immutable),
    };
    let bytes = bytes.ok_or_else(|| ApiError::not_found(format_args!("metadata {name:.200}")))?;
    let etag = format!("\"{}\"", Hash::of(&bytes));
    serve_json(&app, bytes, etag, caching, &headers)
}

/// `GET /v1/images/{root}/full`.
pub async fn full(
    State(app): State<Arc<App>>,
    UrlPath(root): UrlPath<Hash>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve_stored(&app, &StoredFile::Full(root), &headers).await
}

/// `GET /v1/images/{root}/levels`.
pub async fn levels(
    State(app): State<Arc<App>>,
    UrlPath(root): UrlPath<Hash>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve_stored(&app, &StoredFile::Levels(root), &headers).await
}

/// `GET /v1/images/{to}/delta/{from}`.
pub async fn delta(
    State(app): State<Arc<App>>,
    UrlPath((to, from)): UrlPath<(Hash, Hash)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve_stored(&app, &StoredFile::Delta { to, from }, &headers).await
}

/// `GET /v1/targets/{compatible}/{sha256}.{release}.json`.
pub async fn manifest(
    State(app): State<Arc<App>>,
    UrlPath((compatible, name)): UrlPath<(Compatible, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let ManifestName { sha256, release } = name.parse()?;
    serve_stored(&app, &StoredFile::Manifest { compatible, sha256, release }, &headers).await
}
