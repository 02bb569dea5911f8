use std::path::{Path, PathBuf};
use std::process::Command;

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::command::{Failure, succeed};
use seesaw_e2e::image_file::{Kernel, REBOOT, World};

/// A file system of its own under STATE, which keeps what was in it.
struct Mounted(PathBuf);

impl Mounted {
    fn at(state: &Path) -> Result<Self, Failure> {
        let saved = state.with_extension("saved");
        succeed(Command::new("cp").arg("-a").arg(state).arg(&saved))?;
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2M", "tmpfs"]).arg(state))?;
        let mounted = Self(state.to_owned());
        succeed(Command::new("cp").arg("-aT").arg(&saved).arg(state))?;
        Ok(mounted)
    }

    fn make_read_only(&self) -> Result<(), Failure> {
        succeed(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0)).map(drop)
    }

    fn fill(&self) -> Result<(), Failure> {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("other-peoples-data"))?;
        while file.write_all(&[0; 512]).is_ok() {}
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn runs(_: &str) -> Kernel {
    Kernel::Runs
}

/// A device that runs release 2 in slot B and could go back to 1 in slot A; 3 is offered.
fn device() -> Result<World, Failure> {
    let mut world = World::new()?;
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(runs)?;
    assert_eq!(world.agent()?, 0);
    world.publish(3)?;
    Ok(world)
}

fn nothing_is_taken(world: &World) -> Result<(), Failure> {
    let target = world.fingerprint(SlotLetter::A)?;
    let (code, refused) = world.updatectl(&["update"])?;
    assert_eq!((code, refused["exit"].as_str()), (1, Some("failed")), "{refused}");
    assert_eq!(world.fingerprint(SlotLetter::A)?, target);
    assert_eq!(world.slot(SlotLetter::A)?.attributes.state(), SlotState::Confirmed);
    Ok(())
}

/// Back to release 1, which a person confirms.
fn back_by_hand(world: &mut World) -> Result<(), Failure> {
    let (code, rolled) = world.updatectl(&["rollback"])?;
    assert_eq!((code, rolled["next"].as_str()), (5, Some("A")), "{rolled}");
    world.boot(runs)?;
    assert_eq!(world.running()?, "1");
    assert_eq!(world.slot(SlotLetter::A)?.attributes.state(), SlotState::Trial);
    let (code, confirmed) = world.updatectl(&["confirm"])?;
    assert_eq!((code, confirmed["exit"].as_str()), (0, Some("done")), "{confirmed}");
    assert_eq!(world.slot(SlotLetter::A)?.attributes.state(), SlotState::Confirmed);
    assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Confirmed);
    Ok(())
}

/// These tests mount, and so run as root.
#[test]
fn a_state_that_takes_no_write_holds_up_no_person() -> Result<(), Failure> {
    for damage in [Mounted::make_read_only, Mounted::fill] {
        let mut world = device()?;
        assert_eq!(world.updatectl(&["rollback"])?.0, 5, "while it is well");
        let state = Mounted::at(&world.path("state"))?;
        damage(&state)?;
        let (code, cancelled) = world.updatectl(&["cancel"])?;
        assert_eq!((code, cancelled["next"].as_str()), (0, Some("B")), "{cancelled}");
        nothing_is_taken(&world)?;
        back_by_hand(&mut world)?;
    }
    Ok(())
}

#[test]
fn a_state_that_is_lost_holds_up_no_person() -> Result<(), Failure> {
    let mut world = device()?;
    std::fs::remove_dir_all(world.path("state"))?;
    back_by_hand(&mut world)?;

    // And between the stage and the reboot nobody is needed, well or sick.
    let mut world = World::new()?;
    world.publish(2)?;
    assert_eq!(world.agent()?, REBOOT);
    std::fs::remove_dir_all(world.path("state"))?;
    world.boot(runs)?;
    assert_eq!((world.agent()?, world.running()?.as_str()), (0, "2"));
    world.publish(3)?;
    assert_eq!(world.agent()?, REBOOT);
    std::fs::remove_dir_all(world.path("state"))?;
    world.boot(runs)?;
    world.turn(seesaw_e2e::image_file::Health::Sick)?;
    assert_eq!(world.agent()?, REBOOT);
    world.turn(seesaw_e2e::image_file::Health::Well)?;
    world.boot(runs)?;
    assert_eq!((world.agent()?, world.running()?.as_str()), (0, "2"));
    assert_eq!(world.updatectl(&["update"])?.0, 6, "release 3 failed");
    Ok(())
}
