//! Every route, grouped by who calls it. docs/protocol.md says what each does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
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
    let quick = from_fn_with_state(ANSWER_TIME_MAX, in_time);

    let devices_ask = Router::new()
        .route("/v1/check", post(device::check))
        .route("/v1/events", post(device::events))
        .layer(quick.clone());

    let devices_download = Router::new()
        .route("/v1/metadata/{file}", get(device::metadata))
        .route("/v1/targets/{compatible}/{name}", get(device::manifest))
        .route("/v1/images/{root}/full", get(device::full))
        .route("/v1/images/{root}/levels", get(device::levels))
        .route("/v1/images/{root}/delta/{from}", get(device::delta));

    let publishers = Router::new()
        .route("/v1/admin/images/{root}/full", put(admin::upload_full))
        .route("/v1/admin/images/{root}/levels", put(admin::upload_levels))
        .route("/v1/admin/images/{root}/delta/{from}", put(admin::upload_delta))
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
        .layer(quick.clone());

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

async fn in_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let overdue = |_| {
        let message = format!("there was no answer within {} seconds", limit.as_secs());
        let hint = "try again later; whether a change was made, reading it back will show";
        ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, hint)
    };
    tokio::time::timeout(limit, next.run(request)).await.map_err(overdue)
}

async fn no_such_route(request: Request) -> ApiError {
    ApiError::not_found(format_args!("route {:.200}", request.uri().path()))
}

async fn no_such_method(method: Method) -> ApiError {
    let message = format!("{method} is not what this route takes");
    let hint = "docs/protocol.md lists every route with its methods";
    ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, hint)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use payload_tools::admin::ErrorBody;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn who_waits_in_vain_is_told_in_json() {
        let quick = from_fn_with_state(Duration::from_millis(1), in_time);
        let app = Router::new().route("/", get(std::future::pending::<()>)).layer(quick);
        let answer = app.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: ErrorBody = serde_json::from_slice(&body).unwrap();
        assert_eq!(body.error.code, "unavailable");
    }
}
