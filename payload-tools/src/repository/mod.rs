//! A whole repository of metadata: what a server holds and takes, and (feature `authoring`) what a
//! publisher's folder holds and signs.

mod accept;
mod published;

pub use accept::{AcceptedUpload, UploadError, accept};
pub use published::{Published, TimestampKey};
