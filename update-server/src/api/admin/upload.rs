use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use payload_tools::format::{IMAGE_SIZE_MAX, MANIFEST_SIZE_MAX};
use sha2::{Digest, Sha256};

use crate::api::ApiError;
use crate::api::extract::{ManifestName, UrlPath};
use crate::app::App;
use crate::names::{Compatible, Hash};
use crate::payloads::{DeltaFault, Incoming, StoredFile};

/// Bytes of the levels of the largest image, and a little more.
const LEVELS_SIZE_MAX: u64 = 8 << 20;

/// `PUT /v1/admin/images/{root}/full`.
pub async fn upload_full(
    State(app): State<Arc<App>>,
    UrlPath(root): UrlPath<Hash>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    upload_image(&app, StoredFile::Full(root), &headers, body, IMAGE_SIZE_MAX).await
}

/// `PUT /v1/admin/images/{root}/levels`.
pub async fn upload_levels(
    State(app): State<Arc<App>>,
    UrlPath(root): UrlPath<Hash>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    upload_image(&app, StoredFile::Levels(root), &headers, body, LEVELS_SIZE_MAX).await
}

/// `PUT /v1/admin/images/{to}/delta/{from}`.
pub async fn upload_delta(
    State(app): State<Arc<App>>,
    UrlPath((to, from)): UrlPath<(Hash, Hash)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let (mut incoming, sha256) = receive(&app, &headers, body, IMAGE_SIZE_MAX).await?;
    incoming.check_delta(&from, &to).await.map_err(|fault| match fault {
        DeltaFault::Head(why) => {
            let (status, code) = (StatusCode::UNPROCESSABLE_ENTITY, "damaged_payload");
            let hint = "make it again with `payload delta`";
            ApiError::refused(status, code, format!("no such delta: {why}"), hint)
        }
        DeltaFault::Read(error) => ApiError::internal(&error),
    })?;
    keep(&app, incoming, sha256, &StoredFile::Delta { to, from }).await
}

/// Images are checked when a release with them is published: only its manifest
/// says what they have to be.
async fn upload_image(
    app: &App,
    file: StoredFile,
    headers: &HeaderMap,
    body: Body,
    bytes_max: u64,
) -> Result<StatusCode, ApiError> {
    let (incoming, sha256) = receive(app, headers, body, bytes_max).await?;
    keep(app, incoming, sha256, &file).await
}

/// `PUT /v1/admin/targets/{compatible}/{sha256}.{release}.json`.
pub async fn upload_manifest(
    State(app): State<Arc<App>>,
    UrlPath((compatible, name)): UrlPath<(Compatible, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let ManifestName { sha256, release } = name.parse()?;
    let (incoming, found) = receive(&app, &headers, body, MANIFEST_SIZE_MAX as u64).await?;
    if found != sha256 {
        let message = format!("the manifest's SHA-256 is {found}, its name says {sha256}");
        let hint = "upload the file that the name was made from";
        return Err(ApiError::refused(StatusCode::BAD_REQUEST, "wrong_hash", message, hint));
    }
    keep(&app, incoming, sha256, &StoredFile::Manifest { compatible, sha256, release }).await
}

async fn keep(
    app: &App,
    incoming: Incoming,
    sha256: Hash,
    file: &StoredFile,
) -> Result<StatusCode, ApiError> {
    app.payloads.keep(incoming, sha256, file).await?;
    tracing::info!(file = file.path(), "uploaded");
    Ok(StatusCode::NO_CONTENT)
}

/// Streams a body to a temporary file: exactly as many bytes as were announced.
async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    bytes_max: u64,
) -> Result<(Incoming, Hash), ApiError> {
    let announced = announced(headers)?;
    if announced > bytes_max {
        let message = format!("{announced} bytes are announced, {bytes_max} are the most");
        let hint = "check that this is the right file";
        return Err(ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, hint));
    }
    let mut incoming = app.payloads.receive().await?;
    let (mut received, mut hasher) = (0, Sha256::new());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| cut(received, announced))?;
        received += chunk.len() as u64;
        hasher.update(&chunk);
        incoming.write(&chunk).await?;
    }
    if received != announced {
        return Err(cut(received, announced));
    }
    Ok((incoming, Hash::from_bytes(hasher.finalize().into())))
}

fn announced(headers: &HeaderMap) -> Result<u64, ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let message = "an upload must say its size";
        let hint = "send Content-Length";
        ApiError::refused(StatusCode::LENGTH_REQUIRED, "length_required", message, hint)
    })
}

fn cut(received: u64, announced: u64) -> ApiError {
    let message =
        format!("the upload ended after {received} of {announced} bytes; nothing was kept");
    ApiError::refused(StatusCode::BAD_REQUEST, "cut_upload", message, "upload it again")
}
