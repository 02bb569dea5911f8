use std::future::Future;

use tracing::Instrument;

use crate::api::ApiError;

/// Does `change` to its end, also when the caller hangs up or the time for an answer is over: a
/// handler is dropped then, and what it committed must still become effective.
pub async fn carried_through<T: Send + 'static>(
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    // The log goes on naming who asked.
    let change = change.in_current_span();
    tokio::spawn(change).await.unwrap_or_else(|panicked| Err(ApiError::internal(&panicked)))
}
