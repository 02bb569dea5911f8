//! A person's bundle: what its publisher signed, and what is to be thought of one that cannot be read.

use std::path::{Path, PathBuf};

use payload_tools::bundle::{Bundle, BundleError};
use payload_tools::format::{Compatible, Manifest};
use payload_tools::trust::policy::Stream;
use payload_tools::trust::{SignedRelease, UnixTime};

use super::ask::{Found, Question, offer};
use super::{Driver, Letter, Shared};
use crate::chain;
use crate::client::{Anchor, RefreshError, Refreshed, bundle_metadata};
use crate::update::decide::Source;
use crate::update::{Checked, Then};

impl Driver {
    pub(super) fn open_bundle(&mut self, path: PathBuf) {
        let question = Question::of(&self.life, &self.seen, Then::UpdateByPerson);
        let task =
            self.spawn(
                |shared| async move { Letter::Opened(shared.open_bundle(question, path).await) },
            );
        self.overtake(task);
    }
}

impl Shared {
    /// Opens a bundle and verifies what its publisher signed.
    pub(crate) async fn open_bundle(&self, question: Question, path: PathBuf) -> Found {
        let anchor = match &self.anchor {
            Ok(anchor) => anchor,
            Err(missing) => return Checked::Device(chain(missing)).into(),
        };
        let _turn = self.refreshing.lock().await;
        match read_bundle(anchor, &path, anchor.now()) {
            Ok((refreshed, signed)) => {
                let release = signed.facts().release.clone();
                offer(anchor, &question, &refreshed, &release, Stream::ByHand, Source::Bundle(path))
            }
            Err(error) => bundle_refused(&error).into(),
        }
    }
}

fn read_bundle(
    anchor: &Anchor,
    path: &Path,
    now: UnixTime,
) -> Result<(Refreshed, SignedRelease), BundleRefused> {
    let bundle = Bundle::open(path).map_err(RefreshError::Bundle)?;
    let manifest = bundle.manifest_bytes().map_err(RefreshError::Bundle)?;
    // Unsigned yet, and enough to refuse it in words that help.
    if let Ok(Manifest { compatible, .. }) = Manifest::parse(&manifest)
        && compatible != anchor.compatible
    {
        let device = anchor.compatible.clone();
        return Err(BundleRefused::OtherDevices { compatible, device });
    }
    let refreshed = bundle_metadata(&bundle, anchor, now)?;
    let releases = refreshed.trusted.releases();
    let signed = releases.iter().find(|release| release.open(&manifest).is_ok()).cloned();
    Ok((refreshed, signed.ok_or(BundleRefused::Unnamed)?))
}

/// A bundle that is not taken.
#[derive(Debug, thiserror::Error)]
enum BundleRefused {
    #[error(transparent)]
    Metadata(#[from] RefreshError),
    #[error(
        "neither its metadata nor newer metadata that this device knows names its manifest: the release \
         was withdrawn, or the bundle must be signed again"
    )]
    Unnamed,
    #[error("the bundle is for {compatible} and this device is {device}: bring one that is for it")]
    OtherDevices { compatible: Compatible, device: Compatible },
}

/// A file that the agent cannot read says nothing about who signed it.
fn bundle_refused(error: &BundleRefused) -> Checked {
    let text = chain(error);
    match error {
        BundleRefused::Metadata(
            RefreshError::Bundle(BundleError::Io(_)) | RefreshError::Store(_),
        ) => Checked::Device(text),
        BundleRefused::OtherDevices { .. } => Checked::Withheld { detail: text },
        _ => Checked::Verification(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::MetadataStore;

    #[test]
    fn a_bundle_that_cannot_be_read_is_no_verdict_on_its_signer() {
        let folder = tempfile::tempdir().unwrap();
        let built = UnixTime::from_secs(0);
        let anchor = Anchor {
            store: MetadataStore::new(folder.path().join("metadata"), built),
            first_root: Vec::new(),
            compatible: "demo".parse().unwrap(),
        };
        let garbage = folder.path().join("garbage");
        std::fs::write(&garbage, "no tar").unwrap();
        let refused =
            |path: &Path| bundle_refused(&read_bundle(&anchor, path, built).map(drop).unwrap_err());
        let missing = refused(&folder.path().join("missing"));
        assert!(matches!(missing, Checked::Device(_)), "{missing:?}");
        let garbage = refused(&garbage);
        assert!(matches!(garbage, Checked::Verification(_)), "{garbage:?}");
    }
}
