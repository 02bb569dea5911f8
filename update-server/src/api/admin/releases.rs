use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use payload_tools::format::ReleaseFacts;
use serde::{Deserialize, Serialize};

use crate::api::ApiError;
use crate::app::App;
use crate::store::ReleaseRecord;

/// A release as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseView {
    /// What was signed about it.
    #[serde(flatten)]
    pub facts: ReleaseFacts,
    /// When it was first published.
    pub published_at: Timestamp,
    /// When the signed list stopped naming it.
    pub withdrawn_at: Option<Timestamp>,
}

impl From<ReleaseRecord> for ReleaseView {
    fn from(record: ReleaseRecord) -> Self {
        let ReleaseRecord { facts, published_at, withdrawn_at } = record;
        Self { facts, published_at, withdrawn_at }
    }
}

/// `GET /v1/admin/releases`.
pub async fn list_releases(
    State(app): State<Arc<App>>,
) -> Result<Json<Vec<ReleaseView>>, ApiError> {
    let releases = app.store.releases().await?;
    Ok(Json(releases.into_iter().map(ReleaseView::from).collect()))
}
