//! A whole repository of metadata: what a server holds and takes, and (feature `authoring`) what a
//! publisher's folder holds and signs.

mod accept;
#[cfg(feature = "authoring")]
mod draft;
#[cfg(feature = "authoring")]
mod folder;
mod published;
#[cfg(feature = "authoring")]
mod removals;
#[cfg(feature = "authoring")]
mod report;
mod state;

#[cfg(feature = "authoring")]
pub use crate::keyring::{Keyring, KeyringError, Made, Signer};
pub use accept::{AcceptedUpload, UploadError, accept};
#[cfg(feature = "authoring")]
pub use draft::{
    Birth, Draft, DraftError, Gap, KeyChange, Paper, RoleSeed, Signing, Standing, Statement,
    lifetime_days,
};
#[cfg(feature = "authoring")]
pub(crate) use folder::write_files;
#[cfg(feature = "authoring")]
pub use folder::{FolderError, PublisherFolder};
#[cfg(feature = "authoring")]
pub(crate) use published::published_name;
pub use published::{Published, TimestampKey};
#[cfg(feature = "authoring")]
pub use removals::Removal;
#[cfg(feature = "authoring")]
pub use report::{KeyReport, ReleaseReport, RepositoryReport, RoleReport};
#[cfg(feature = "authoring")]
pub use state::State;

#[cfg(all(test, feature = "authoring"))]
mod tests;
