use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payload_tools::error_chain::one_line;
use payload_tools::repository::UploadError;
use payload_tools::trust::Files;
use serde::{Deserialize, Serialize};

use crate::api::extract::JsonBody;
use crate::api::{ApiError, carried_through};
use crate::app::App;
use crate::payloads::ImageFault;
use crate::publish::PublishError;

/// The body of `POST /v1/admin/metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicationBody {
    /// Signed files by their published names, in base64.
    pub files: BTreeMap<String, String>,
}

/// The answer to `POST /v1/admin/metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationAnswer {
    /// Version of the snapshot that devices see from now on.
    pub snapshot: u64,
}

/// `POST /v1/admin/metadata`.
pub async fn publish(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody<PublicationBody>,
) -> Result<Json<PublicationAnswer>, ApiError> {
    let files = decode(body)?;
    carried_through(take(app, files)).await
}

async fn take(app: Arc<App>, files: Files) -> Result<Json<PublicationAnswer>, ApiError> {
    let published = app.publisher.publish(&*app.store, &app.payloads, &files, || app.now()).await;
    let snapshot = published.map_err(refusal)?;
    tracing::info!(snapshot, "published");
    app.refresh_policy().await?;
    Ok(Json(PublicationAnswer { snapshot }))
}

fn decode(body: PublicationBody) -> Result<Files, ApiError> {
    let decode = |(name, text): (String, String)| match STANDARD.decode(text) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => {
            let message = format!("{name:.200} is not base64: {error}");
            let hint = "encode each file in standard base64 with padding";
            Err(ApiError::refused(StatusCode::BAD_REQUEST, "bad_body", message, hint))
        }
    };
    body.files.into_iter().map(decode).collect()
}

fn refusal(error: PublishError) -> ApiError {
    let (status, code, hint) = match &error {
        PublishError::Refused(UploadError::Conflict { .. }) | PublishError::Moved => {
            let hint = "fetch the newest snapshot and sign the next version on top of it";
            (StatusCode::CONFLICT, "snapshot_moved", hint)
        }
        PublishError::Refused(_) | PublishError::Manifest(_) => {
            let hint = "check keys, dates and versions with `payload inspect`";
            (StatusCode::UNPROCESSABLE_ENTITY, "not_verified", hint)
        }
        PublishError::Image(ImageFault::Missing { .. }) => {
            let hint = "`payload publish` uploads everything in the right order";
            (StatusCode::UNPROCESSABLE_ENTITY, "missing_payload", hint)
        }
        PublishError::Image(ImageFault::Levels { .. } | ImageFault::SeekTable { .. }) => {
            let hint = "run `payload publish` again, which uploads it anew; if that does not help, \
                        `payload verify` says whether the release folder is damaged";
            (StatusCode::UNPROCESSABLE_ENTITY, "damaged_payload", hint)
        }
        PublishError::Stored(_)
        | PublishError::Keys(_)
        | PublishError::NoKey
        | PublishError::Encode(_)
        | PublishError::Store(_)
        | PublishError::Image(ImageFault::Read(_)) => return ApiError::internal(&error),
    };
    ApiError::refused(status, code, one_line(&error), hint)
}
