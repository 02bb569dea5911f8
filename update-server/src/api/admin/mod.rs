//! What operators and publishers call, with a bearer token.

mod auth;
mod channels;
mod devices;
mod publish;
mod releases;
mod upload;

pub use auth::{AdminToken, require_token};
pub use channels::{ChannelView, change_channel, list_channels};
pub use devices::{
    CheckView, DEVICES_SHOWN_MAX, DeviceDetailView, DeviceListView, DeviceQuery, DeviceView,
    EventView, PinDevice, forget_device, list_devices, pin_device, show_device,
};
pub use publish::{PublicationAnswer, PublicationBody, publish};
pub use releases::{ReleaseView, list_releases};
pub use upload::{upload_delta, upload_full, upload_levels, upload_manifest};
