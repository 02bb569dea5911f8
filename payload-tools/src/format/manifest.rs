use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BLOCK, Compatible, Hash, IMAGE_SIZE_MAX, MANIFEST_SIZE_MAX, Release, Role, Salt};

/// The `format` of the manifests that this version reads and writes.
const FORMAT: u32 = 1;

/// What a release consists of: the target that the metadata signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The devices it is for.
    pub compatible: Compatible,
    /// The release's name.
    pub release: Release,
    /// The only order of releases.
    pub counter: u64,
    /// When the images were built; raises a device's clock floor.
    pub built: Timestamp,
    /// Each role exactly once.
    pub images: Vec<Image>,
}

/// One image and the commitment to every byte of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Which partition of the slot it goes to.
    pub role: Role,
    /// Bytes, a multiple of [`BLOCK`].
    pub size: u64,
    /// Salt of the tree.
    pub salt: Salt,
    /// Root of the dm-verity tree over the image.
    pub root: Hash,
}

/// A manifest that was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than any manifest has.
    #[error("manifest has {len} bytes, more than the {MANIFEST_SIZE_MAX} allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// Not JSON, or not the fields of this format.
    #[error("manifest is not the JSON of format {FORMAT}")]
    Json(#[source] serde_json::Error),
    /// A format of another version.
    #[error("manifest has format {found}, this program reads {FORMAT}: update it first")]
    Format {
        /// The format named.
        found: u32,
    },
    /// A role has no image or several.
    #[error("manifest has {count} images for the role {role} where one is needed")]
    Role {
        /// The role.
        role: Role,
        /// Its images.
        count: usize,
    },
    /// A size that no image has.
    #[error(
        "the {role} image's size {size} is not a multiple of 4096 from 4096 to {IMAGE_SIZE_MAX}"
    )]
    Size {
        /// The image's role.
        role: Role,
        /// Bytes stated.
        size: u64,
    },
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    format: u32,
    compatible: Compatible,
    release: Release,
    counter: u64,
    built: Timestamp,
    images: Vec<Image>,
}

impl Manifest {
    /// Reads a manifest and refuses whatever docs/formats.md does not allow.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_SIZE_MAX {
            return Err(ManifestError::TooLong { len: bytes.len() });
        }
        // The format first, so that a newer one is named instead of its new keys.
        let FormatOnly { format } = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if format != FORMAT {
            return Err(ManifestError::Format { found: format });
        }
        let fields: Fields = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        check_images(&fields.images)?;
        let Fields { compatible, release, counter, built, images, .. } = fields;
        Ok(Self { compatible, release, counter, built, images })
    }

    /// The manifest's bytes: what is hashed, signed and published.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        check_images(&self.images)?;
        let fields = Fields {
            format: FORMAT,
            compatible: self.compatible.clone(),
            release: self.release.clone(),
            counter: self.counter,
            built: self.built,
            images: self.images.clone(),
        };
        let mut bytes = serde_json::to_vec_pretty(&fields).map_err(ManifestError::Json)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The image of a role; none only in a manifest that was not parsed.
    pub fn image(&self, role: Role) -> Option<&Image> {
        self.images.iter().find(|image| image.role == role)
    }
}

fn check_images(images: &[Image]) -> Result<(), ManifestError> {
    for role in Role::ALL {
        let count = images.iter().filter(|image| image.role == role).count();
        if count != 1 {
            return Err(ManifestError::Role { role, count });
        }
    }
    for &Image { role, size, .. } in images {
        if size == 0 || size > IMAGE_SIZE_MAX || size % BLOCK as u64 != 0 {
            return Err(ManifestError::Size { role, size });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> String {
        format!(
            r#"{{"format":1,"compatible":"demo-x86_64","release":"2","counter":2,
            "built":"2026-11-01T00:00:00Z","images":[
            {{"role":"kernel","size":8192,"salt":"","root":"{root}"}},
            {{"role":"root","size":4096,"salt":"00ff","root":"{root}"}}]}}"#,
            root = "5a".repeat(32)
        )
    }

    #[test]
    fn what_is_written_is_read_back() {
        let manifest = Manifest::parse(example().as_bytes()).unwrap();
        assert_eq!(manifest.image(Role::Root).unwrap().salt.as_bytes(), [0, 255]);
        let again = Manifest::parse(&manifest.to_bytes().unwrap()).unwrap();
        assert_eq!(again, manifest);
    }

    /// Each row changes one thing in a good manifest and names the refusal.
    #[test]
    fn one_wrong_thing_is_refused() {
        let refused = [
            (r#""format":1"#, r#""format":2"#, "Format { found: 2 }"),
            (r#""format":1"#, r#""format":2,"new":0"#, "Format { found: 2 }"),
            (r#""counter":2"#, r#""counter":2,"extra":0"#, "unknown field `extra`"),
            (r#""size":8192"#, r#""size":8192,"extra":0"#, "unknown field `extra`"),
            (r#""counter":2"#, r#""counter":2,"counter":3"#, "duplicate field `counter`"),
            (r#""counter":2"#, r#""counter":-1"#, "Json"),
            (r#""counter":2,"#, "", "missing field `counter`"),
            (r#""size":8192"#, r#""size":8193"#, "Size { role: Kernel, size: 8193 }"),
            (r#""size":8192"#, r#""size":0"#, "Size { role: Kernel, size: 0 }"),
            (r#""size":8192"#, r#""size":68719480832"#, "Size { role: Kernel"),
            (r#""role":"kernel""#, r#""role":"verity""#, "unknown variant `verity`"),
            (r#""role":"kernel""#, r#""role":"root""#, "Role { role: Kernel, count: 0 }"),
            (r#""2026-11-01T00:00:00Z""#, r#""yesterday""#, "Json"),
            ("demo-x86_64", "../etc", "is not a compatible"),
            ("5a5a", "5A5A", "not lower-case hex"),
        ];
        for (from, to, wanted) in refused {
            let text = example().replacen(from, to, 1);
            let error = format!("{:?}", Manifest::parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(wanted), "{to}: {error}");
        }
    }

    #[test]
    fn a_role_twice_is_refused_also_when_writing() {
        let mut manifest = Manifest::parse(example().as_bytes()).unwrap();
        manifest.images.push(manifest.images[0].clone());
        let error = manifest.to_bytes().unwrap_err();
        assert!(matches!(error, ManifestError::Role { role: Role::Kernel, count: 2 }));
    }

    #[test]
    fn length_is_bounded_before_anything_is_parsed() {
        let error = Manifest::parse(&vec![b' '; MANIFEST_SIZE_MAX + 1]).unwrap_err();
        assert!(matches!(error, ManifestError::TooLong { .. }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn a_changed_byte_never_panics(at in 0usize..400, byte: u8) {
            let mut text = example().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            let _ = Manifest::parse(&text);
        }
    }
}
