//! Lines for people, on whatever console the firmware has.

use core::fmt::{Arguments, Write};

use uefi::{system, table};

/// Prints a line. `uefi::println!` would panic on a machine without a console, or with one that
/// fails, and so keep it from booting.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::console::say(core::format_args!($($arg)*)) };
}

pub fn say(line: Arguments<'_>) {
    let Some(table) = table::system_table_raw() else { return };
    // SAFETY: the firmware's table outlives every program that it starts, and this one reads a
    // pointer of it while nothing else runs.
    if unsafe { table.as_ref() }.stdout.is_null() {
        return;
    }
    // A console that fails has nobody to tell.
    let _ = system::with_stdout(|console| writeln!(console, "seesaw: {line}"));
}
