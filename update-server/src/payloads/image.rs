//! What the server can tell of an uploaded image without decoding it. A device finds out the same
//! and more, but every device of the fleet does, one after the other.

use std::io::{self, SeekFrom};

use payload_tools::format::delta::{FIXED_LEN, Head, HeadError};
use payload_tools::format::seekable::{SeekTable, SeekTableError, tail_len};
use payload_tools::format::{Hash, Image};
use payload_tools::tree::{Levels, Shape, TreeError};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{Incoming, PayloadFolder, Stored, StoredFile};

/// Why no device could install an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageFault {
    /// A file was never uploaded.
    #[error("{path} is not uploaded; upload manifests and images before the metadata")]
    Missing {
        /// Its path below `/v1/`.
        path: String,
    },
    /// The levels do not chain to the root that the manifest names.
    #[error("{path} does not fit the manifest")]
    Levels {
        /// Its path below `/v1/`.
        path: String,
        /// Why.
        source: TreeError,
    },
    /// The payload is none of an image of this size.
    #[error("{path} is no payload of the manifest's image")]
    SeekTable {
        /// Its path below `/v1/`.
        path: String,
        /// Why.
        source: SeekTableError,
    },
    /// The system cannot read it.
    #[error("an uploaded file cannot be read")]
    Read(#[from] io::Error),
}

/// Why an upload is not kept as the delta that its name says.
#[derive(Debug, thiserror::Error)]
pub enum DeltaFault {
    /// Its head is refused.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The system cannot read it.
    #[error("the upload cannot be read")]
    Read(#[from] io::Error),
}

impl Incoming {
    /// Checks that it is a delta from the one image to the other, as far as its head says.
    pub async fn check_delta(&mut self, from: &Hash, to: &Hash) -> Result<(), DeltaFault> {
        let (fixed, total) = self.start(FIXED_LEN as u64).await?;
        let cut = HeadError::Length { found: total, wanted: FIXED_LEN as u64 };
        let fixed = fixed.first_chunk().ok_or(cut)?;
        let (head, total) = self.start(Head::stated_len(fixed)?).await?;
        let head = Head::parse(&head, total)?;
        Ok(head.expect_roots(from, to)?)
    }
}

impl PayloadFolder {
    /// Checks the levels against the manifest, and the payload's seek table against the image's
    /// size. What is refused is not vouched for any more, so that it is uploaded again.
    pub async fn check_image(&self, image: &Image) -> Result<(), ImageFault> {
        let levels = StoredFile::Levels(image.root);
        let checked = self.check_levels(image, &levels).await;
        self.doubted(&levels, checked).await?;
        let full = StoredFile::Full(image.root);
        let checked = self.check_seek_table(image, &full).await;
        self.doubted(&full, checked).await
    }

    async fn check_levels(&self, image: &Image, file: &StoredFile) -> Result<(), ImageFault> {
        let refused = |source| ImageFault::Levels { path: file.path(), source };
        let Stored { file: mut stored, facts } = self.present(file).await?;
        let shape = Shape::of(image.size).map_err(|error| refused(error.into()))?;
        let wanted = shape.levels_size();
        if facts.size != wanted {
            let found = usize::try_from(facts.size).unwrap_or(usize::MAX);
            return Err(refused(TreeError::Length { found, wanted }));
        }
        let mut bytes = Vec::new();
        stored.read_to_end(&mut bytes).await?;
        Levels::verify(image, bytes).map(drop).map_err(refused)
    }

    async fn check_seek_table(&self, image: &Image, file: &StoredFile) -> Result<(), ImageFault> {
        let Stored { file: mut stored, facts } = self.present(file).await?;
        let length = tail_len(image.size).min(facts.size);
        stored.seek(SeekFrom::Start(facts.size - length)).await?;
        let mut tail = Vec::new();
        stored.take(length).read_to_end(&mut tail).await?;
        SeekTable::parse(&tail, image.size, facts.size)
            .map(drop)
            .map_err(|source| ImageFault::SeekTable { path: file.path(), source })
    }

    async fn present(&self, file: &StoredFile) -> Result<Stored, ImageFault> {
        let missing = || ImageFault::Missing { path: file.path() };
        self.open(file).await?.ok_or_else(missing)
    }

    async fn doubted(
        &self,
        file: &StoredFile,
        checked: Result<(), ImageFault>,
    ) -> Result<(), ImageFault> {
        if let Err(ImageFault::Levels { .. } | ImageFault::SeekTable { .. }) = &checked {
            self.doubt(file).await?;
        }
        checked
    }
}
