use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::field::display;

use crate::api::extract::{JsonBody, UrlPath};
use crate::api::{ApiError, carried_through};
use crate::app::App;
use crate::names::{Channel, Compatible, Release};
use crate::rollout::{Flow, Offer, Policy};
use crate::store::{ChannelChange, ChannelChanged};

/// A channel as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelView {
    /// What its releases are for.
    pub compatible: Compatible,
    /// Its name.
    pub channel: Channel,
    /// The release it was promoted to.
    pub release: Release,
    /// The release it is pinned to.
    pub pin: Option<Release>,
    /// Whether the signed list has what it wants.
    pub offer: Offer,
    /// Whether an operator stopped it.
    pub paused: bool,
    /// Whether devices without a channel are in it.
    pub default: bool,
}

impl ChannelView {
    /// All channels of a policy.
    pub fn all(policy: &Policy) -> Vec<Self> {
        let mut views = Vec::new();
        for (compatible, known) in &policy.compatibles {
            views.extend(known.channels.iter().map(|(name, channel)| Self {
                compatible: compatible.clone(),
                channel: name.clone(),
                release: channel.release.clone(),
                pin: channel.pin.clone(),
                offer: known.offer(name, channel),
                paused: channel.flow == Flow::Paused,
                default: known.default_channel.as_ref() == Some(name),
            }));
        }
        views
    }

    /// Why no device gets what the channel wants, if that is so.
    pub fn trouble(&self) -> Option<String> {
        let wanted = self.pin.as_ref().unwrap_or(&self.release);
        match self.offer {
            Offer::Offered => None,
            Offer::Withdrawn => Some(format!("{wanted} is withdrawn: no device gets it")),
            Offer::NotSigned => {
                Some(format!("{wanted} is not signed for {}: no device gets it", self.channel))
            }
        }
    }
}

/// `GET /v1/admin/channels`.
pub async fn list_channels(State(app): State<Arc<App>>) -> Json<Vec<ChannelView>> {
    Json(ChannelView::all(&app.policy()))
}

/// `PUT /v1/admin/channels/{compatible}/{channel}`.
pub async fn change_channel(
    State(app): State<Arc<App>>,
    UrlPath((compatible, channel)): UrlPath<(Compatible, Channel)>,
    JsonBody(change): JsonBody<ChannelChange>,
) -> Result<Json<ChannelView>, ApiError> {
    carried_through(change_and_heed(app, compatible, channel, change)).await
}

async fn change_and_heed(
    app: Arc<App>,
    compatible: Compatible,
    channel: Channel,
    change: ChannelChange,
) -> Result<Json<ChannelView>, ApiError> {
    let refuse = |status, code, message: String, hint: &str| {
        Err(ApiError::refused(status, code, message, hint))
    };
    if change.default == Some(false) {
        let message = "a default channel is not switched off".into();
        let hint = "make another channel the default";
        return refuse(StatusCode::BAD_REQUEST, "bad_body", message, hint);
    }
    let asked = (compatible.clone(), channel.clone(), change.clone());
    let changed = app.store.change_channel(asked.0, asked.1, asked.2, app.now()).await?;
    match changed {
        ChannelChanged::Done => {}
        ChannelChanged::Missing => {
            let message = format!("{compatible} has no channel {channel}");
            let hint = "`update-server channel list` shows those there are, and `update-server \
                        channel create` makes one at a release";
            return refuse(StatusCode::NOT_FOUND, "no_channel", message, hint);
        }
        ChannelChanged::Exists(release) => {
            let message = format!("{compatible} has a channel {channel}, which is at {release}");
            let hint = "move it with `update-server channel promote`";
            return refuse(StatusCode::CONFLICT, "channel_exists", message, hint);
        }
        ChannelChanged::UnknownRelease(release) => {
            let message = format!("the signed list of {compatible} has no release {release}");
            let hint = "publish it first; `update-server release list` shows what is offered";
            return refuse(StatusCode::NOT_FOUND, "unknown_release", message, hint);
        }
        ChannelChanged::NotSignedFor(release) => {
            let message = format!("{release} is not signed for channel {channel}");
            let hint = format!(
                "`payload publish` its folder with --channel {channel}, which keeps the others; or \
                 promote a channel that it is signed for"
            );
            return refuse(StatusCode::CONFLICT, "not_signed_for_channel", message, &hint);
        }
    }
    let pin = change.pin.as_ref().map(|pin| pin.as_ref().map_or("lifted", |name| name.as_str()));
    let release = change.release.as_ref().map(display);
    let ChannelChange { paused, default, .. } = change;
    tracing::info!(%compatible, %channel, release, pin, paused, default, "channel changed");
    app.refresh_policy().await?;
    let view = ChannelView::all(&app.policy())
        .into_iter()
        .find(|view| view.compatible == compatible && view.channel == channel);
    view.map(Json).ok_or_else(|| ApiError::not_found(format_args!("channel {channel}")))
}
