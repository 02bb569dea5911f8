//! Every route, grouped by who calls it. docs/protocol.md says what each does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::api::{ApiError, admin, device, operations};
use crate::app::App;
use crate::console;

/// Bytes of a body, uploads and publications excepted.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of a publication: metadata is small, base64 makes it a third larger.
const PUBLICATION_BYTES_MAX: usize = 16 << 20;
/// For requests that only compute or write to the store. Transfers have no
/// limit: a slow link is no error.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// The whole server as one function from request to response.
pub fn router(app: Arc<App>) -> Router {
    let quick = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER_TIME_MAX);

    let devices_ask = Router::new()
        .route("/v1/check", post(device::check))
        .route("/v1/events", post(device::events))
        .layer(quick);

    let devices_download = Router::new()
        .route("/v1/metadata/{file}", get(device::metadata))
        .route("/v1/targets/{compatible}/{name}", get(device::manifest))
        .route("/v1/images/{root}/full", get(device::full))
        .route("/v1/images/{root}/levels", get(device::levels));

    let publishers = Router::new()
        .route("/v1/admin/images/{root}/full", put(admin::upload_full))
        .route("/v1/admin/images/{root}/levels", put(admin::upload_levels))
        .route("/v1/admin/targets/{compatible}/{name}", put(admin::upload_manifest))
        .route("/v1/admin/metadata", post(admin::publish))
        .layer(DefaultBodyLimit::max(PUBLICATION_BYTES_MAX));

    let operators = Router::new()
        .route("/v1/admin/channels", get(admin::list_channels))
        .route("/v1/admin/channels/{compatible}/{channel}", put(admin::change_channel))
        .route("/v1/admin/releases", get(admin::list_releases))
        .route("/v1/admin/devices", get(admin::list_devices))
        .route("/v1/admin/devices/{id}", get(admin::show_device).delete(admin::forget_device))
        .route("/v1/admin/devices/{id}/pin", put(admin::pin_device))
        .layer(quick);

    let with_token = publishers
        .merge(operators)
        .layer(from_fn_with_state(Arc::clone(&app), admin::require_token));

    let everyone = Router::new()
        .route("/healthz", get(operations::healthz))
        .route("/metrics", get(operations::metrics))
        .route("/", get(console::page))
        .route("/console.css", get(console::style))
        .layer(quick);

    Router::new()
        .merge(devices_ask)
        .merge(devices_download)
        .merge(with_token)
        .merge(everyone)
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

async fn no_such_route(request: Request) -> ApiError {
    ApiError::not_found(format_args!("route {:.200}", request.uri().path()))
}

async fn no_such_method(method: Method) -> ApiError {
    let message = format!("{method} is not what this route takes");
    let hint = "docs/protocol.md lists every route with its methods";
    ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, hint)
}
