//! What happens to the device, and what must come of it.

use super::machine::{Machine, rests_on};
use super::{DemoError, Narrator};
use crate::command::{Failure, expect};

/// updatectl's exit statuses (agent/src/updatectl/exit.rs).
const DONE: u8 = 0;
const UPDATED: u8 = 4;
const REBOOT_PENDING: u8 = 5;
const HELD: u8 = 6;

/// Polls, stages, activates, reboots, is tried, confirms: nobody touches it.
pub(super) fn update_itself(machine: &mut Machine, narrator: &Narrator) -> Result<(), DemoError> {
    let secure_boot = "od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SecureBoot-*";
    expect("Secure Boot", machine.ask(secure_boot)?.trim(), "1")?;
    machine.show("updatectl status", narrator)?;
    narrator.note("the agent fetches release 2 and writes it to slot B while release 1 runs");
    machine.wait_for_boot(narrator)?;
    machine.wait_for_status("release 2 confirmed", rests_on("2"))?;
    machine.updatectl("status", DONE, narrator)?;
    machine.updatectl("history", DONE, narrator).map(drop)
}

pub(super) fn roll_back_and_return(
    machine: &mut Machine,
    narrator: &Narrator,
) -> Result<(), DemoError> {
    machine.updatectl("rollback", REBOOT_PENDING, narrator)?;
    machine.wait_for_boot(narrator)?;
    machine.wait_for_status("release 1 confirmed", rests_on("1"))?;
    machine.updatectl("check", HELD, narrator)?;
    machine.updatectl("status", DONE, narrator)?;

    machine.updatectl("update", UPDATED, narrator)?;
    machine.wait_for_boot(narrator)?;
    machine.wait_for_status("release 2 confirmed", rests_on("2"))?;
    let history = machine.ask("updatectl history")?;
    expect("downloads so far", history.matches("download_started").count(), 1)?;
    narrator.note("release 2 runs again; it was downloaded once");
    Ok(())
}

pub(super) fn pin(machine: &mut Machine, narrator: &Narrator) -> Result<(), DemoError> {
    machine.updatectl("pin", DONE, narrator).map(drop)
}

/// Release 3 is in the channel now.
pub(super) fn stay_pinned(machine: &mut Machine, narrator: &Narrator) -> Result<(), DemoError> {
    machine.updatectl("check", HELD, narrator)?;
    machine.updatectl("unpin", DONE, narrator).map(drop)
}

pub(super) fn return_from_a_sick_release(
    machine: &mut Machine,
    narrator: &Narrator,
) -> Result<(), DemoError> {
    machine.wait_for_boot(narrator)?;
    // The shell is up before the service is.
    let page = machine.ask(
        "page() { busybox wget -q -O - http://127.0.0.1:8080/cgi-bin/health 2>&1; }
        while page | grep -q refused; do sleep 1; done; page || true",
    )?;
    narrator.note(&format!("demo.service says: {page}"));
    machine.wait_for_boot(narrator)?;
    machine.wait_for_status("release 2 at rest", rests_on("2"))?;
    show_reason(machine, "answers 500 Internal Server Error", narrator)?;
    machine.updatectl("update", HELD, narrator).map(drop)
}

pub(super) fn fall_back_from_a_panic(
    machine: &mut Machine,
    narrator: &Narrator,
) -> Result<(), DemoError> {
    machine.wait_for_fallback(narrator)?;
    machine.wait_for_status("release 2 at rest", rests_on("2"))?;
    show_reason(machine, "every try was used up", narrator)?;
    machine.updatectl("history", DONE, narrator).map(drop)
}

/// A person asks for release 4 once more, and someone changes the target before the reboot.
pub(super) fn refuse_a_changed_kernel(
    machine: &mut Machine,
    narrator: &Narrator,
) -> Result<(), DemoError> {
    machine.ask("touch /run/seesaw/inhibit/demo")?;
    machine.updatectl("update --retry-failed", UPDATED, narrator)?;
    let change = "set -e
        uevent=$(grep -lx PARTNAME=KERNEL-A /sys/class/block/*/uevent)
        kernel=/dev/$(basename \"$(dirname \"$uevent\")\")
        byte=$(dd if=$kernel bs=1 skip=3000000 count=1 2>/dev/null | od -An -tu1)
        printf \"\\\\$(printf %o $((byte ^ 255)))\" |
            dd of=$kernel bs=1 seek=3000000 conv=notrunc,fsync 2>/dev/null
        echo \"byte 3000000 of $kernel was $byte\"";
    let changed = machine.ask(change)?;
    narrator.note(&changed);
    machine.ask("rm /run/seesaw/inhibit/demo")?;
    machine.wait_for_boot(narrator)?;
    machine.wait_for_status("release 2 at rest", rests_on("2"))?;
    show_reason(machine, "the firmware refused the image", narrator)
}

/// Shows the status, which must say why the release failed.
fn show_reason(
    machine: &mut Machine,
    reason: &'static str,
    narrator: &Narrator,
) -> Result<(), DemoError> {
    let status = machine.updatectl("status", DONE, narrator)?;
    if status.contains(reason) {
        return Ok(());
    }
    let expected = reason.to_owned();
    Err(Failure::Unexpected { what: "the reason in the status", expected, found: status })?
}
