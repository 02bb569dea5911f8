use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::extract::{JsonBody, UrlPath, UrlQuery};
use crate::api::{ApiError, carried_through};
use crate::app::App;
use crate::names::{Channel, Compatible, DeviceId, EventWord, Release};
use crate::rollout::Slot;
use crate::store::{
    DeviceCursor, DeviceDetail, DeviceEvent, DevicePage, DeviceRecord, Forgotten, LastCheck,
    LastEvent, Pinned,
};

/// Devices in one list at most.
pub const DEVICES_SHOWN_MAX: u32 = 1000;
/// Events shown of one device.
const EVENTS_SHOWN: u32 = 200;

/// A device and its last word, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Who.
    pub device: DeviceId,
    /// What releases it can run.
    pub compatible: Compatible,
    /// When it was heard of first.
    pub first_seen: Timestamp,
    /// When it was heard of last.
    pub last_seen: Timestamp,
    /// Held at this release by an operator.
    pub pin: Option<Release>,
    /// Its last poll and the answer.
    pub check: Option<CheckView>,
    /// The event that arrived last.
    pub event: Option<EventView>,
}

/// A poll and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// The booted release, if it said.
    pub release: Option<Release>,
    /// Its counter.
    pub counter: u64,
    /// The booted slot.
    pub slot: Slot,
    /// The channel it was taken to be in.
    pub channel: Option<Channel>,
    /// `update` or `none`.
    pub action: String,
    /// Why.
    pub reason: String,
    /// The same for people.
    pub detail: String,
}

/// The event that arrived last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// When, by the device's clock.
    pub at: Timestamp,
    /// What.
    pub kind: EventWord,
    /// The release it is about.
    pub release: Option<Release>,
    /// Why, for failures.
    pub reason: Option<String>,
}

/// A device with its history, the last to arrive first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDetailView {
    /// Its last word.
    #[serde(flatten)]
    pub device: DeviceView,
    /// What it reported.
    pub events: Vec<DeviceEvent>,
}

/// The body of `PUT /v1/admin/devices/{id}/pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinDevice {
    /// The release, or `null` to let go. Must be there: an empty body lifts nothing.
    #[serde(deserialize_with = "Option::deserialize")]
    pub release: Option<Release>,
}

/// What may be asked of a list of devices.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceQuery {
    /// Go on from there.
    #[serde(default)]
    pub before: Option<DeviceCursor>,
}

/// Devices, those seen last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceListView {
    /// At most [`DEVICES_SHOWN_MAX`].
    pub devices: Vec<DeviceView>,
    /// How many there are.
    pub total: u64,
    /// Where to go on; `None`: these are the last.
    pub before: Option<DeviceCursor>,
}

/// `GET /v1/admin/devices`.
pub async fn list_devices(
    State(app): State<Arc<App>>,
    UrlQuery(DeviceQuery { before }): UrlQuery<DeviceQuery>,
) -> Result<Json<DeviceListView>, ApiError> {
    app.flush_last_seen().await?;
    let DevicePage { devices, total, next } = app.store.devices(DEVICES_SHOWN_MAX, before).await?;
    let devices = devices.into_iter().map(DeviceView::from).collect();
    Ok(Json(DeviceListView { devices, total, before: next }))
}

/// `GET /v1/admin/devices/{id}`.
pub async fn show_device(
    State(app): State<Arc<App>>,
    UrlPath(device): UrlPath<DeviceId>,
) -> Result<Json<DeviceDetailView>, ApiError> {
    app.flush_last_seen().await?;
    let found = app.store.device(device.clone(), EVENTS_SHOWN).await?;
    let Some(DeviceDetail { device, events }) = found else { return Err(unknown(&device)) };
    Ok(Json(DeviceDetailView { device: device.into(), events }))
}

/// `PUT /v1/admin/devices/{id}/pin`.
pub async fn pin_device(
    State(app): State<Arc<App>>,
    UrlPath(device): UrlPath<DeviceId>,
    JsonBody(PinDevice { release }): JsonBody<PinDevice>,
) -> Result<Json<DeviceView>, ApiError> {
    carried_through(pin_and_heed(app, device, release)).await
}

async fn pin_and_heed(
    app: Arc<App>,
    device: DeviceId,
    release: Option<Release>,
) -> Result<Json<DeviceView>, ApiError> {
    app.flush_last_seen().await?;
    match app.store.pin_device(device.clone(), release.clone()).await? {
        Pinned::Done => {}
        Pinned::UnknownDevice => return Err(unknown(&device)),
        Pinned::UnknownRelease => {
            let message = "the signed list of the device's compatible has no such release";
            let hint = "publish it first; `update-server release list` shows what is offered";
            return Err(ApiError::refused(StatusCode::NOT_FOUND, "unknown_release", message, hint));
        }
    }
    let pin = release.as_ref().map_or("lifted", |name| name.as_str());
    tracing::info!(%device, pin, "device pin changed");
    app.refresh_policy().await?;
    let found = app.store.device(device.clone(), 0).await?;
    let found = found.ok_or_else(|| unknown(&device))?;
    Ok(Json(found.device.into()))
}

/// `DELETE /v1/admin/devices/{id}`.
pub async fn forget_device(
    State(app): State<Arc<App>>,
    UrlPath(device): UrlPath<DeviceId>,
) -> Result<StatusCode, ApiError> {
    carried_through(forget_and_heed(app, device)).await
}

async fn forget_and_heed(app: Arc<App>, device: DeviceId) -> Result<StatusCode, ApiError> {
    // What it said a moment ago must not bring it back.
    app.flush_last_seen().await?;
    match app.store.forget_device(device.clone()).await? {
        Forgotten::UnknownDevice => return Err(unknown(&device)),
        Forgotten::Done => {}
    }
    tracing::info!(%device, "device forgotten");
    app.refresh_policy().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(device: &DeviceId) -> ApiError {
    let message = format!("no device {device} was ever seen");
    let hint = "`update-server device list` shows those that were; a device appears with its first \
                poll";
    ApiError::refused(StatusCode::NOT_FOUND, "unknown_device", message, hint)
}

impl From<DeviceRecord> for DeviceView {
    fn from(record: DeviceRecord) -> Self {
        Self {
            device: record.device,
            compatible: record.compatible,
            first_seen: record.first_seen,
            last_seen: record.last_seen,
            pin: record.pin,
            check: record.check.map(CheckView::from),
            event: record.event.map(EventView::from),
        }
    }
}

impl From<LastCheck> for CheckView {
    fn from(check: LastCheck) -> Self {
        Self {
            release: check.release,
            counter: check.counter,
            slot: check.slot,
            channel: check.channel,
            action: check.verdict.action().into(),
            reason: check.verdict.reason().into(),
            detail: check.detail,
        }
    }
}

impl From<LastEvent> for EventView {
    fn from(event: LastEvent) -> Self {
        Self { at: event.at, kind: event.kind, release: event.release, reason: event.reason }
    }
}
