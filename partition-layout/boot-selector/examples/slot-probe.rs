//! Stands in for a kernel in tests and benchmarks: says how far the processor's counter had come,
//! where it was loaded from and what the selector reported, then does what the marker in its own image says. The marker is changed in the file, so that
//! one build serves every test.

#![no_main]
#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::hint::black_box;
use core::panic::PanicInfo;

use uefi::boot::{
    self, EventType, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol, Tpl,
};
use uefi::proto::ProtocolPointer;
use uefi::proto::device_path::DevicePath;
use uefi::proto::device_path::media::{HardDrive, PartitionSignature};
use uefi::proto::loaded_image::LoadedImage;
use uefi::runtime::{self, ResetType, VariableVendor};
use uefi::{Handle, Status, cstr16, entry, guid, println};

/// The last four bytes say what to do.
static MARKER: [u8; 16] = *b"seesaw-probe:off";

const VENDOR: VariableVendor = VariableVendor(guid!("7d6c2d0e-6a4d-4e0e-9d2b-3a7c5f1b9a10"));

#[entry]
fn main() -> Status {
    // SAFETY: reads a register that every x86-64 processor has; firmware lets its programs.
    let counter = unsafe { core::arch::x86_64::_rdtsc() };
    println!("probe: counter {counter}");
    match loaded_from() {
        Ok(partition) => println!("probe: loaded from {partition}"),
        Err(error) => println!("probe: loaded from no partition: {}", error.status()),
    }
    match runtime::get_variable_boxed(cstr16!("SeesawBoot"), &VENDOR) {
        Ok((bytes, attributes)) => {
            println!("probe: report {:02x?} attributes {:#x}", &*bytes, attributes.bits());
        }
        Err(error) => println!("probe: no report: {}", error.status()),
    }
    // The value in the image, not the one that the compiler saw.
    match &black_box(&MARKER)[12..] {
        b":off" => runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None),
        b":rst" => runtime::reset(ResetType::COLD, Status::SUCCESS, None),
        b":ret" => Status::NOT_READY,
        b":hng" => hang(),
        _ => Status::INVALID_PARAMETER,
    }
}

/// The PARTUUID of the partition that firmware says this image came from, as systemd-stub finds
/// it: the last node of the path of the image's device.
fn loaded_from() -> uefi::Result<String> {
    let image = open::<LoadedImage>(boot::image_handle())?;
    let path = open::<DevicePath>(image.device().ok_or(Status::NOT_FOUND)?)?;
    let last = path.node_iter().last().ok_or(Status::NOT_FOUND)?;
    let partition = <&HardDrive>::try_from(last).map_err(|_| Status::UNSUPPORTED)?;
    match partition.partition_signature() {
        PartitionSignature::Guid(guid) => Ok(format!("PARTUUID={guid}")),
        _ => Err(Status::UNSUPPORTED.into()),
    }
}

fn open<P: ProtocolPointer + ?Sized>(handle: Handle) -> uefi::Result<ScopedProtocol<P>> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: nothing else runs while this program holds the protocol.
    unsafe { boot::open_protocol::<P>(params, OpenProtocolAttributes::GetProtocol) }
}

/// Idles for ever, as a loader that waits for a device would.
fn hang() -> ! {
    loop {
        // SAFETY: a timer event without a callback runs no code.
        let event = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) };
        if let Ok(event) = event {
            let _ = boot::wait_for_event(&[event]);
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("probe: {info}");
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
