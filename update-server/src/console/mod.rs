//! One page for people: channels, releases, devices and their last word.
//! Rendered here; no script, nothing from elsewhere.

mod escape;
mod page;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};

use crate::api::ApiError;
use crate::api::admin::{ChannelView, DEVICES_SHOWN_MAX, DeviceQuery};
use crate::api::extract::UrlQuery;
use crate::app::App;

/// `GET /`.
pub async fn page(
    State(app): State<Arc<App>>,
    UrlQuery(DeviceQuery { before }): UrlQuery<DeviceQuery>,
) -> Result<impl IntoResponse, ApiError> {
    app.flush_last_seen().await?;
    let overview = page::Overview {
        channels: ChannelView::all(&app.policy()),
        releases: app.store.releases().await?,
        devices: app.store.devices(DEVICES_SHOWN_MAX, before).await?,
        standing: app.store.standing().await?,
        deltas: app.deltas.figures(),
        repository: app.store.repository().await?,
        expiries: app
            .publisher
            .expiries(&*app.store)
            .await
            .map_err(|error| ApiError::internal(&error))?,
        now: app.now(),
    };
    // Whatever a device or publisher wrote: nothing on this page runs or loads.
    let policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Html(page::render(&overview))))
}

/// `GET /console.css`.
pub async fn style() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css"), (header::CACHE_CONTROL, "max-age=60")];
    (headers, include_str!("style.css"))
}
