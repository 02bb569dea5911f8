//! What must outlive the process, as transactions of the domain.
//!
//! A call that returns `Ok` is durable: committed and synced.

mod deltas;
mod error;
mod records;
mod room;
pub mod sqlite;

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;
use payload_tools::trust::Files;

pub use deltas::DeltaRecord;
pub use error::StoreError;
pub use records::{
    ChannelChange, ChannelChanged, CheckRecord, CursorError, DeviceCursor, DeviceDetail,
    DeviceEvent, DevicePage, DeviceRecord, EventKind, EventReport, EventsRecorded, Expect,
    Forgotten, LastCheck, LastEvent, Pinned, Publication, PublishOutcome, ReleaseRecord,
    Repository, Standing, TokenAdded, TokenRecord, TokenRevoked,
};
pub use room::Room;

use crate::names::{Channel, Compatible, DeviceId, Release, TokenName};
use crate::rollout::{Fleet, Policy};

/// A call to the store under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The domain transactions. Each is all or nothing.
pub trait Store: Send + Sync {
    /// All channels, pins and offered releases.
    fn policy(&self) -> Pending<'_, Policy>;

    /// The last words of devices that polled; newer ones win. Says how many devices were let go to
    /// make room.
    fn record_checks(&self, checks: Vec<CheckRecord>) -> Pending<'_, u64>;

    /// Takes what a device reports. An event id that is known already changes nothing.
    fn record_events(&self, report: EventReport, now: Timestamp) -> Pending<'_, EventsRecorded>;

    /// Creates or changes a channel.
    fn change_channel(
        &self,
        compatible: Compatible,
        channel: Channel,
        change: ChannelChange,
        now: Timestamp,
    ) -> Pending<'_, ChannelChanged>;

    /// Pins a device to a release, or lets it go.
    fn pin_device(&self, device: DeviceId, release: Option<Release>) -> Pending<'_, Pinned>;

    /// Removes a device with its events and its pin.
    fn forget_device(&self, device: DeviceId) -> Pending<'_, Forgotten>;

    /// Removes at most `limit` devices without a pin that were not heard of since, with their
    /// events; says how many.
    fn forget_unseen(&self, since: Timestamp, limit: u32) -> Pending<'_, u64>;

    /// Takes a verified publication, if the repository still stands where the
    /// publication was verified against.
    fn publish(&self, publication: Publication) -> Pending<'_, PublishOutcome>;

    /// Versions that are trusted now; `None` before the first publication.
    fn repository(&self) -> Pending<'_, Option<Repository>>;

    /// A signed file by its name.
    fn metadata(&self, name: String) -> Pending<'_, Option<Vec<u8>>>;

    /// Every signed file by its name.
    fn metadata_files(&self) -> Pending<'_, Files>;

    /// Every release that was ever published.
    fn releases(&self) -> Pending<'_, Vec<ReleaseRecord>>;

    /// At most `limit` devices, those seen last first, from `before` on.
    fn devices(&self, limit: u32, before: Option<DeviceCursor>) -> Pending<'_, DevicePage>;

    /// How many devices run which release.
    fn standing(&self) -> Pending<'_, Vec<Standing>>;

    /// What the devices heard of since then run, alike ones together.
    fn fleets(&self, since: Timestamp) -> Pending<'_, Vec<Fleet>>;

    /// Every delta that the server made by itself, or tried to.
    fn deltas(&self) -> Pending<'_, Vec<DeltaRecord>>;

    /// Keeps what is known of a delta; nothing, if nothing is.
    fn record_delta(&self, record: DeltaRecord, now: Timestamp) -> Pending<'_, ()>;

    /// One device with at most `limit` events, the last to arrive first.
    fn device(&self, device: DeviceId, limit: u32) -> Pending<'_, Option<DeviceDetail>>;

    /// The tokens that operators may use: what each is called, and its SHA-256 hash.
    fn admin_tokens(&self) -> Pending<'_, Vec<(TokenName, [u8; 32])>>;

    /// Proves that a transaction can be committed now.
    fn probe(&self, now: Timestamp) -> Pending<'_, ()>;
}
