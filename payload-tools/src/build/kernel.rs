use super::Warning;
use crate::ReadAt;
use crate::format::uki::{Osrel, UkiError, read_section};
use crate::format::{Compatible, Manifest, Release, ReleaseFacts};

/// A kernel image that does not fit its release.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// It does not name its release.
    #[error("it does not name its release")]
    Uki(#[from] UkiError),
    /// No `.cmdline`: systemd-stub would then obey any command line that it is
    /// given, and the slot's root could be chosen by anyone.
    #[error("it has no .cmdline, so it would boot with anyone's command line")]
    Cmdline(#[source] UkiError),
    /// `.cmdline` is empty, which to systemd-stub is none.
    #[error("its .cmdline is empty, so it would boot with anyone's command line")]
    CmdlineEmpty,
    /// `.osrel` names another release.
    #[error("its .osrel has {key}={found}, the release has {wanted}")]
    Differs {
        /// The field.
        key: &'static str,
        /// What the image says.
        found: String,
        /// What the release says.
        wanted: String,
    },
}

/// What a kernel image has to say of its release.
struct Wanted<'a> {
    release: &'a Release,
    compatible: &'a Compatible,
    counter: u64,
}

/// Checks that a kernel image of `size` bytes has a command line of its own and
/// names the release of `facts`.
pub fn check_kernel(
    image: &dyn ReadAt,
    size: u64,
    facts: &ReleaseFacts,
) -> Result<(Osrel, Vec<Warning>), KernelError> {
    let ReleaseFacts { release, compatible, counter, .. } = facts;
    check(image, size, &Wanted { release, compatible, counter: *counter })
}

/// As [`check_kernel`], and that the time of building is the manifest's.
pub fn check_kernel_of(
    image: &dyn ReadAt,
    size: u64,
    manifest: &Manifest,
) -> Result<(Osrel, Vec<Warning>), KernelError> {
    let Manifest { release, compatible, counter, built, .. } = manifest;
    let (osrel, warnings) = check(image, size, &Wanted { release, compatible, counter: *counter })?;
    if osrel.built != *built {
        let (found, wanted) = (osrel.built.to_string(), built.to_string());
        return Err(KernelError::Differs { key: "SEESAW_BUILT", found, wanted });
    }
    Ok((osrel, warnings))
}

fn check(
    image: &dyn ReadAt,
    size: u64,
    wanted: &Wanted<'_>,
) -> Result<(Osrel, Vec<Warning>), KernelError> {
    let mut read = |buf: &mut [u8], offset| image.fill_at(buf, offset);
    let cmdline = match read_section(size, ".cmdline", &mut read) {
        Err(error @ UkiError::Sections { .. }) => return Err(KernelError::Cmdline(error)),
        other => other?,
    };
    if cmdline.trim_ascii().is_empty() {
        return Err(KernelError::CmdlineEmpty);
    }
    let osrel = Osrel::read(size, &mut read)?;
    let fields = [
        ("IMAGE_VERSION", osrel.release.to_string(), wanted.release.to_string()),
        ("SEESAW_COMPATIBLE", osrel.compatible.to_string(), wanted.compatible.to_string()),
        ("SEESAW_COUNTER", osrel.counter.to_string(), wanted.counter.to_string()),
    ];
    for (key, found, wanted) in fields {
        if found != wanted {
            return Err(KernelError::Differs { key, found, wanted });
        }
    }
    let panics = cmdline.split(u8::is_ascii_whitespace).any(|word| word.starts_with(b"panic="));
    let warnings = if panics { Vec::new() } else { vec![Warning::NoPanicReboot] };
    Ok((osrel, warnings))
}
