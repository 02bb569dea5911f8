use serde::Serialize;

use super::requests::{self, Delivery};
use super::{PublishError, Transfer};
use crate::admin::AdminClient;
use crate::bundle::{Bundle, delta_name, full_name, levels_name};
use crate::format::{Hash, Image, Manifest};
use crate::sign::{Submission, SubmissionError};
use crate::verify::{DamagedRelease, Decoding, check_release};

/// A file of a release's images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PayloadFile {
    /// Its name, in the release folder and on the server.
    pub file: String,
    /// The same in words.
    #[serde(skip)]
    pub what: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What the server was given of a release's images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Files that were sent.
    pub uploaded: Vec<PayloadFile>,
    /// Files that the server had, byte by byte.
    pub there_already: Vec<PayloadFile>,
}

/// Refuses a folder whose payloads devices would not take: signed, they would be offered, and
/// uploaded, take the place of good ones.
pub(super) fn check(
    release: &Bundle,
    manifest: &Manifest,
    decoding: Decoding,
    transfer: &dyn Transfer,
) -> Result<(), DamagedRelease> {
    transfer.checks(manifest.images.iter().map(|image| image.size).sum());
    let checked = check_release(release, manifest, decoding, &transfer.meter());
    transfer.ends();
    checked.map(|_whole| ())
}

/// Uploads what the server lacks of a release: its images, the deltas in its folder, its manifest.
pub(super) async fn upload(
    server: &AdminClient,
    release: &Bundle,
    submission: &Submission,
    transfer: &dyn Transfer,
) -> Result<Delivered, PublishError> {
    let mut delivered = Delivered::default();
    for image in &submission.manifest.images {
        for (file, what) in files(release, image)? {
            let part = release.part(&file).map_err(SubmissionError::from)?;
            let bytes = part.len();
            let done = requests::upload(server, &file, part, transfer).await?;
            let file = PayloadFile { file, what, bytes };
            match done {
                Delivery::Uploaded => delivered.uploaded.push(file),
                Delivery::WasThere => delivered.there_already.push(file),
            }
        }
    }
    let Manifest { compatible, release, .. } = &submission.manifest;
    let sha256 = Hash::of(&submission.manifest_bytes);
    let name = format!("targets/{compatible}/{sha256}.{release}.json");
    requests::upload_bytes(server, &name, submission.manifest_bytes.clone()).await?;
    Ok(delivered)
}

/// The files that there are of an image, and what each is.
fn files(release: &Bundle, image: &Image) -> Result<Vec<(String, String)>, SubmissionError> {
    let Image { role, root, .. } = image;
    let mut files = vec![
        (full_name(root), format!("{role} full")),
        (levels_name(root), format!("{role} levels")),
    ];
    let deltas = release.deltas(root)?.into_iter();
    files.extend(
        deltas.map(|from| (delta_name(root, &from), format!("{role} delta from {from:.16}"))),
    );
    Ok(files)
}
