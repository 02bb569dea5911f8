use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use payload_tools::admin::{ErrorBody, ErrorInfo};
use payload_tools::error_chain::one_line;

use crate::payloads::UploadError;
use crate::store::StoreError;

/// A request that is answered with an error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
}

impl ApiError {
    /// An answer in the 4xx range.
    pub fn refused(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), hint: hint.into() }
    }

    /// 404 for something that could exist.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        let message = format!("there is no {what}");
        Self::refused(StatusCode::NOT_FOUND, "not_found", message, "check the name")
    }

    /// A failure of the server's own. The cause goes to the log, not to the caller.
    pub fn internal(error: &dyn Error) -> Self {
        tracing::error!(error = one_line(error), "request failed");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            message: error.to_string(),
            hint: "try again later; the server's log has the cause".into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let info = ErrorInfo { code: self.code.into(), message: self.message, hint: self.hint };
        let mut response = (self.status, Json(ErrorBody { error: info })).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        if !error.is_no_room() {
            return Self::internal(&error);
        }
        tracing::error!(error = one_line(&error), "no room for an upload");
        let message = "the server has no room for this upload";
        let hint = "free space in the server's data folder, then upload it again";
        Self::refused(StatusCode::INSUFFICIENT_STORAGE, "no_space", message, hint)
    }
}
