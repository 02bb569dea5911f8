//! Devices that were away while keys were rotated, and one that forgot everything.

use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Kernel, REBOOT, World};

/// Root's key, then the server's, then every other: three roots.
fn rotate_everything(world: &World) -> Result<(), Failure> {
    let (publisher, server) = (&world.publisher, &world.server);
    let rotate = |role: &str, old: &str, new: &str| {
        publisher.payload(&["key", "rotate", role, old, new]).map(drop)
    };
    let key_of = |name: &str| publisher.new_key(name);
    rotate("root", &key_of("root")?, &key_of("root-2")?)?;
    publisher.at_server(&["publish"], server)?;
    rotate("timestamp", &server.timestamp_key, &server.next_timestamp_key()?)?;
    publisher.at_server(&["publish"], server)?;
    for role in ["targets", "snapshot", seesaw_e2e::COMPATIBLE] {
        rotate(role, &key_of(role)?, &key_of(&format!("{role}-2"))?)?;
    }
    publisher.at_server(&["publish"], server)
}

/// The second device differs in that its STATE is gone, and begins with its image's root alone.
#[test]
fn a_device_three_roots_behind_takes_the_newest_release() -> Result<(), Failure> {
    for state_is_kept in [true, false] {
        let mut world = World::new()?;
        assert_eq!(world.agent()?, 0, "up to date");
        rotate_everything(&world)?;
        world.publish(2)?;
        if !state_is_kept {
            std::fs::remove_dir_all(world.path("state"))?;
        }
        assert_eq!(world.agent()?, REBOOT);
        world.boot(|_| Kernel::Runs)?;
        assert_eq!(world.agent()?, 0);
        assert_eq!(world.running()?, "2");
        let stored = std::fs::read_dir(world.path("state/metadata"))?;
        let roots = stored.filter(|file| {
            let name = file.as_ref().map(|file| file.file_name()).unwrap_or_default();
            name.to_string_lossy().ends_with(".root.json")
        });
        assert_eq!(roots.count(), 4);
    }
    Ok(())
}
