//! For whoever keeps the server running.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::ApiError;
use crate::app::App;

/// `GET /healthz`: 200 when a transaction can be committed now.
pub async fn healthz(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    app.store.probe(app.now()).await?;
    Ok("ok\n")
}

/// `GET /metrics`.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    app.flush_last_seen().await?;
    let standing = app.store.standing().await?;
    let repository = app.store.repository().await?;
    let expiries = app.publisher.expiries(&*app.store).await;
    let expiries = expiries.map_err(|error| ApiError::internal(&error))?;
    let text = app.metrics.render(
        &app.deltas.figures(),
        &standing,
        repository.as_ref(),
        &expiries,
        app.now(),
    );
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
