//! Files as answers: whole, in part, or not at all.

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::ApiError;
use crate::app::App;
use crate::names::Hash;
use crate::payloads::{Conditions, FileFacts, Reply, Stored, StoredFile, plan};

/// How long an answer may be kept by clients and caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// For ever: the name commits to the content.
    Immutable,
    /// As long as the server says that it is still the same: the name stands for several.
    Revalidated,
}

/// Bytes read ahead of a slow client: all the memory one download takes.
const CHUNK_BYTES: usize = 128 << 10;

/// Answers with an uploaded file.
pub async fn serve_stored(
    app: &Arc<App>,
    file: &StoredFile,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    // What the whole payload would have been.
    let full_bytes = match file {
        StoredFile::Delta { to, .. } => full_bytes(app, *to).await?,
        StoredFile::Full(_) | StoredFile::Levels(_) | StoredFile::Manifest { .. } => None,
    };
    let (content_type, caching) = match file {
        StoredFile::Manifest { .. } => ("application/json", Caching::Immutable),
        // Named by the root of the tree: the same image can be compressed, or damaged, anew.
        StoredFile::Full(_) | StoredFile::Levels(_) | StoredFile::Delta { .. } => {
            ("application/octet-stream", Caching::Revalidated)
        }
    };
    let stored = app.payloads.open(file).await.map_err(|error| ApiError::internal(&error))?;
    let Some(Stored { mut file, facts }) = stored else {
        return Err(ApiError::not_found("such file on this server"));
    };
    let reply = plan(&facts, conditions(headers));
    let body = match sent(&reply, &facts) {
        None => Body::empty(),
        Some(range) => {
            file.seek(SeekFrom::Start(range.start))
                .await
                .map_err(|error| ApiError::internal(&error))?;
            let part = file.take(range.end - range.start);
            let (app, size) = (Arc::clone(app), facts.size);
            let counted = ReaderStream::with_capacity(part, CHUNK_BYTES).inspect_ok(move |bytes| {
                app.metrics.bytes_served.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                if let Some(full_bytes) = full_bytes {
                    app.metrics.sent_of_delta(bytes.len() as u64, size, full_bytes);
                }
            });
            Body::from_stream(counted)
        }
    };
    respond(&reply, &facts, caching, content_type, body)
}

/// The size of an image's full payload, if it is there.
async fn full_bytes(app: &App, root: Hash) -> Result<Option<u64>, ApiError> {
    let stored = app.payloads.open(&StoredFile::Full(root)).await;
    let stored = stored.map_err(|error| ApiError::internal(&error))?;
    Ok(stored.map(|stored| stored.facts.size))
}

/// Answers with a small JSON file that is in memory.
pub fn serve_json(
    app: &App,
    bytes: Vec<u8>,
    etag: String,
    caching: Caching,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let facts = FileFacts { size: bytes.len() as u64, etag };
    let reply = plan(&facts, conditions(headers));
    let body = match sent(&reply, &facts) {
        None => Body::empty(),
        Some(range) => {
            // Both ends are at most the length, which is a usize.
            let part = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
            app.metrics.bytes_served.fetch_add(part.len() as u64, Ordering::Relaxed);
            Body::from(part.to_vec())
        }
    };
    respond(&reply, &facts, caching, "application/json", body)
}

fn conditions(headers: &HeaderMap) -> Conditions<'_> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Conditions {
        if_none_match: text(header::IF_NONE_MATCH),
        if_range: text(header::IF_RANGE),
        range: text(header::RANGE),
    }
}

fn sent(reply: &Reply, facts: &FileFacts) -> Option<Range<u64>> {
    match reply {
        Reply::Whole => Some(0..facts.size),
        Reply::Part(range) => Some(range.clone()),
        Reply::NotModified | Reply::Unsatisfiable => None,
    }
}

fn respond(
    reply: &Reply,
    facts: &FileFacts,
    caching: Caching,
    content_type: &str,
    body: Body,
) -> Result<Response, ApiError> {
    let size = facts.size;
    let response = Response::builder()
        .header(header::ETAG, &facts.etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(
            header::CACHE_CONTROL,
            match caching {
                Caching::Immutable => "public, max-age=31536000, immutable",
                Caching::Revalidated => "no-cache",
            },
        );
    let typed = |response: axum::http::response::Builder, length: u64| {
        response.header(header::CONTENT_TYPE, content_type).header(header::CONTENT_LENGTH, length)
    };
    let response = match reply {
        Reply::Whole => typed(response, size),
        Reply::Part(Range { start, end }) => typed(response, end - start)
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1)),
        Reply::NotModified => response.status(StatusCode::NOT_MODIFIED),
        Reply::Unsatisfiable => response
            .status(StatusCode::RANGE_NOT_SATISFIABLE)
            .header(header::CONTENT_RANGE, format!("bytes */{size}")),
    };
    response.body(body).map_err(|error| ApiError::internal(&error))
}
