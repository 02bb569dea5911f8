use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::JsonBody;
use crate::api::{ApiError, carried_through};
use crate::app::App;
use crate::store::EventReport;

/// Events in one report at most.
const EVENTS_MAX: usize = 256;
/// Bytes of an event's reason that are kept.
const REASON_BYTES_MAX: usize = 4096;

/// `POST /v1/events`: 204 once they are durable.
pub async fn events(
    State(app): State<Arc<App>>,
    JsonBody(mut report): JsonBody<EventReport>,
) -> Result<StatusCode, ApiError> {
    if report.events.len() > EVENTS_MAX {
        let message = format!("more than {EVENTS_MAX} events in one report");
        let hint = "send them in several reports";
        return Err(ApiError::refused(StatusCode::BAD_REQUEST, "too_many", message, hint));
    }
    for reason in report.events.iter_mut().filter_map(|event| event.reason.as_mut()) {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    }
    carried_through(record(app, report)).await
}

/// What is durable is counted and logged, also for a device that has hung up: it reports that again,
/// and then it is no news.
async fn record(app: Arc<App>, report: EventReport) -> Result<StatusCode, ApiError> {
    let device = report.device.clone();
    let recorded = app.store.record_events(report, app.now()).await?;
    app.metrics.reported(&recorded.new);
    app.metrics.let_go(recorded.let_go);
    for kind in &recorded.new {
        tracing::info!(%device, event = kind.as_str(), "reported");
    }
    Ok(StatusCode::NO_CONTENT)
}
