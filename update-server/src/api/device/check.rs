use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::api::ApiError;
use crate::api::extract::JsonBody;
use crate::app::App;
use crate::last_seen::Backlog;
use crate::names::{Channel, Release};
use crate::rollout::{Decision, DeviceReport, decide};
use crate::store::CheckRecord;

/// Names a device may list as failed or held.
const LISTED_MAX: usize = 256;

/// The answer to `POST /v1/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// `update` or `none`.
    pub action: String,
    /// Why.
    pub reason: String,
    /// The same for people.
    pub detail: String,
    /// The release this is about.
    pub release: Option<Release>,
    /// Its counter, with `update`.
    pub counter: Option<u64>,
    /// The channel that the device was taken to be in.
    pub channel: Option<Channel>,
    /// Names this permission in later reports, with `update`.
    pub grant: Option<String>,
    /// How long to wait before the next poll.
    pub poll_seconds: u32,
}

/// `POST /v1/check`: answered from memory, noted for later.
pub async fn check(
    State(app): State<Arc<App>>,
    JsonBody(report): JsonBody<DeviceReport>,
) -> Result<Json<CheckAnswer>, ApiError> {
    if report.failed.len() + report.held.len() > LISTED_MAX {
        let message = format!("more than {LISTED_MAX} releases are listed as failed or held");
        let hint = "list those that the signed metadata still names";
        return Err(ApiError::refused(StatusCode::BAD_REQUEST, "too_many", message, hint));
    }
    let now = app.now();
    let decision = decide(&app.policy(), &report, now);
    app.metrics.checked(decision.verdict());
    tracing::debug!(device = %report.device, detail = decision.detail(), "check");
    let answer = answer(&decision, app.poll_seconds)?;
    let check = CheckRecord::new(now, report, &decision);
    if app.last_seen.note(check) == Backlog::Full {
        app.flush_last_seen().await?;
    }
    Ok(Json(answer))
}

fn answer(decision: &Decision, poll_seconds: u32) -> Result<CheckAnswer, ApiError> {
    let verdict = decision.verdict();
    let (release, counter, grant) = match decision {
        Decision::Update { release, counter, .. } => {
            (Some(release.clone()), Some(*counter), Some(new_grant()?))
        }
        Decision::Stay { release, .. } => (release.clone(), None, None),
    };
    Ok(CheckAnswer {
        action: verdict.action().into(),
        reason: verdict.reason().into(),
        detail: decision.detail().into(),
        release,
        counter,
        channel: decision.channel().cloned(),
        grant,
        poll_seconds,
    })
}

fn new_grant() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| ApiError::internal(&error))?;
    Ok(hex::encode(bytes))
}
