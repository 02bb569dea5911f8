//! The EFI system partition: a FAT volume with the boot selector and nothing else.
//!
//! No update ever writes it, so it is made once, here. The same selector and size give the same
//! bytes: serial number and time stamps are fixed.

use std::io::{self, Cursor, Write};

use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

/// The file that firmware starts from a disk without being told (UEFI 2.10, 3.5.1.1).
pub const SELECTOR_PATH: [&str; 3] = ["EFI", "BOOT", "BOOTX64.EFI"];

/// The smallest volume made: a selector is about 100 KiB, and every firmware reads a FAT of 1 MiB.
pub const SIZE_MIN: u64 = 1 << 20;

/// The largest volume made. It is built in memory, and holds one small file.
pub const SIZE_MAX: u64 = 1 << 30;

/// `SEES`. Fixed, so that a volume is reproducible; nothing reads it.
const SERIAL_NUMBER: u32 = 0x5345_4553;

/// Why no volume was made.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// The size is out of range or not whole sectors.
    #[error(
        "an EFI system partition of {size} bytes is not possible: give a multiple of 512 from \
         {SIZE_MIN} to {SIZE_MAX}"
    )]
    Size {
        /// What was asked for, in bytes.
        size: u64,
    },
    /// The volume could not be formatted.
    #[error("formatting an EFI system partition of {size} bytes failed")]
    Format {
        /// Its size in bytes.
        size: u64,
        /// What the formatter said.
        source: io::Error,
    },
    /// The selector does not fit, most likely.
    #[error(
        "writing the boot selector ({selector} bytes) into an EFI system partition of {size} \
         bytes failed; is it large enough?"
    )]
    Write {
        /// Size of the selector in bytes.
        selector: u64,
        /// Size of the volume in bytes.
        size: u64,
        /// What the file system said.
        source: io::Error,
    },
}

/// The bytes of an EFI system partition of `size` bytes which starts `selector`.
pub fn esp_image(size: u64, selector: &[u8]) -> Result<Vec<u8>, EspError> {
    if !(SIZE_MIN..=SIZE_MAX).contains(&size) || !size.is_multiple_of(512) {
        return Err(EspError::Size { size });
    }
    let length = usize::try_from(size).map_err(|_| EspError::Size { size })?;
    let mut volume = vec![0; length];
    let format = FormatVolumeOptions::new().volume_id(SERIAL_NUMBER).volume_label(*b"ESP        ");
    fatfs::format_volume(Cursor::new(&mut volume), format)
        .map_err(|source| EspError::Format { size, source })?;
    write_selector(&mut volume, selector).map_err(|source| EspError::Write {
        selector: selector.len() as u64,
        size,
        source,
    })?;
    Ok(volume)
}

fn write_selector(volume: &mut [u8], selector: &[u8]) -> io::Result<()> {
    let options = FsOptions::new().time_provider(&BEGIN_OF_FAT_TIME);
    let file_system = FileSystem::new(Cursor::new(volume), options)?;
    {
        let [top, folder, name] = SELECTOR_PATH;
        let folder = file_system.root_dir().create_dir(top)?.create_dir(folder)?;
        let mut file = folder.create_file(name)?;
        file.write_all(selector)?;
        file.flush()?;
    }
    file_system.unmount()
}

/// A clock that stands still.
#[derive(Debug)]
struct FixedTime;

static BEGIN_OF_FAT_TIME: FixedTime = FixedTime;

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        let time = Time { hour: 0, min: 0, sec: 0, millis: 0 };
        DateTime { date: self.get_current_date(), time }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn read_back(volume: &mut [u8]) -> Vec<u8> {
        let file_system = FileSystem::new(Cursor::new(volume), FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        file_system
            .root_dir()
            .open_file(&SELECTOR_PATH.join("/"))
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn the_selector_is_where_firmware_looks_for_it() {
        let selector: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        for size in [SIZE_MIN, 8 << 20, 64 << 20, 512 << 20] {
            let mut volume = esp_image(size, &selector).unwrap();
            assert_eq!(volume.len() as u64, size);
            assert!(read_back(&mut volume) == selector, "{size}");
        }
    }

    #[test]
    fn the_same_selector_gives_the_same_bytes() {
        let image = |selector: &[u8]| esp_image(4 << 20, selector).unwrap();
        assert!(image(b"one") == image(b"one"));
        assert!(image(b"one") != image(b"two"));
    }

    #[test]
    fn sizes_and_selectors_that_do_not_fit_are_refused() {
        for size in [0, SIZE_MIN - 512, SIZE_MIN + 1, SIZE_MAX + 512, u64::MAX] {
            assert!(matches!(esp_image(size, b""), Err(EspError::Size { .. })), "{size}");
        }
        let large = vec![1; SIZE_MIN as usize];
        assert!(matches!(esp_image(SIZE_MIN, &large), Err(EspError::Write { .. })));
    }
}
