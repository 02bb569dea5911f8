//! OVMF, the UEFI firmware of QEMU guests, and its variable stores.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// Where the Debian package `ovmf` puts firmware images.
const OVMF: &str = "/usr/share/OVMF";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    SecureBoot,
}

/// A firmware image with a variable store of its own. The store is a file that outlives guests,
/// as NVRAM outlives boots: start two guests with the same `Firmware` and the second sees what
/// the first has stored.
#[derive(Clone, Debug)]
pub struct Firmware {
    kind: Kind,
    variables: PathBuf,
}

impl Firmware {
    /// OVMF without Secure Boot, its variables in a fresh file in `dir`.
    pub fn plain(dir: &Path) -> io::Result<Self> {
        Self::fresh(Kind::Plain, "OVMF_VARS_4M.fd", dir)
    }

    /// OVMF with Secure Boot enforced and only the test key ([`crate::secure_boot`]) enrolled,
    /// its variables in a fresh file in `dir`.
    pub fn secure_boot(dir: &Path) -> io::Result<Self> {
        Self::fresh(Kind::SecureBoot, "OVMF_VARS_4M.snakeoil.fd", dir)
    }

    fn fresh(kind: Kind, template: &str, dir: &Path) -> io::Result<Self> {
        let variables = dir.join(template);
        fs::copy(Path::new(OVMF).join(template), &variables)?;
        Ok(Self { kind, variables })
    }

    /// QEMU's flags for it.
    pub(crate) fn arguments(&self) -> Vec<(&'static str, String)> {
        let variables = self.variables.display().to_string().replace(',', ",,");
        let code = match self.kind {
            Kind::Plain => "OVMF_CODE_4M.fd",
            Kind::SecureBoot => "OVMF_CODE_4M.secboot.fd",
        };
        let mut arguments = vec![
            ("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={OVMF}/{code}")),
            ("-drive", format!("if=pflash,unit=1,format=raw,file={variables}")),
        ];
        if self.kind == Kind::SecureBoot {
            // Without it the guest's system could write the key store behind the firmware's back.
            arguments.push(("-global", "driver=cfi.pflash01,property=secure,value=on".to_owned()));
        }
        arguments
    }
}
