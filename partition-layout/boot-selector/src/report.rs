//! The EFI variable that tells the booted system what happened here (docs/formats.md).

use partition_layout::BootReport;
use uefi::runtime::{self, VariableAttributes, VariableVendor};
use uefi::{CStr16, Guid, Status, cstr16};

const NAME: &CStr16 = cstr16!("SeesawBoot");
const VENDOR: VariableVendor = VariableVendor(Guid::from_bytes(BootReport::VENDOR.to_bytes()));

/// Publishes the report for this boot. It is gone with the next reset.
pub fn publish(report: &BootReport) -> Result<(), Status> {
    // A variable of that name with other attributes, as a system with root's rights can leave in
    // NVRAM, would make the write fail. Usually there is none to delete.
    let _ = runtime::delete_variable(NAME, &VENDOR);
    let attributes = VariableAttributes::BOOTSERVICE_ACCESS | VariableAttributes::RUNTIME_ACCESS;
    runtime::set_variable(NAME, &VENDOR, attributes, &report.encode())
        .map_err(|error| error.status())
}
