//! Uploaded files: images by the root of their tree, manifests by their hash.

mod conditional;
mod folder;
mod image;
mod range;

pub use conditional::{Conditions, FileFacts, Reply, plan};
pub use folder::{Incoming, PayloadFolder, Stored, StoredFile, UploadError};
pub use image::{DeltaFault, ImageFault};
pub use range::{ByteRange, RangeRequest};
