//! What a device does with clocks that are wrong: its time is the later of the system's and of a
//! floor that only signed facts raise.

use super::world::{DAY, Device, NOW, ROLES, World, facts, key, run};
use crate::format::DowngradeRange;
use crate::trust::policy::{DeviceFacts, Refusal, Stream, admit};
use crate::trust::{ClockFloor, Misbehaviour, TrustError, Trusted, UnixTime};

const IN_1970: UnixTime = UnixTime::from_secs(60);
const IN_2099: UnixTime = UnixTime::from_secs(4_070_908_800);

fn at(days: i64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() + days * DAY)
}

const IMAGE: ClockFloor = ClockFloor::image_built(UnixTime::from_secs(NOW.as_secs() - 30 * DAY));

/// A device whose image was built a month ago.
struct Clocked {
    device: Device,
    floor: ClockFloor,
}

impl Clocked {
    fn new() -> Self {
        Self { device: Device::new(), floor: IMAGE }
    }

    /// A check while the system's clock says `clock`, as the agent does one.
    fn check(&mut self, clock: UnixTime, world: &World) -> Result<Trusted, TrustError> {
        self.device.now = self.floor.time(clock);
        let mut client = self.device.client();
        let walked = run(&mut client, &world.files());
        self.device.stored = client.files();
        if client.timestamp_rotated() {
            self.floor = IMAGE;
        }
        walked?;
        let trusted = client.finish()?;
        if let Some(signed_at) = trusted.timestamp_signed_at() {
            self.floor = self.floor.raised_to(signed_at);
        }
        Ok(trusted)
    }
}

/// What a server shows so many days from now: signed then, each role good for as long as it is.
fn world(day: i64) -> World {
    let mut world = World::new();
    world.signed_at = Some(at(day));
    for role in ROLES {
        let lasts = if role == "timestamp" { 2 } else { 90 };
        world.set(role).expires = at(day + lasts);
    }
    let version = 1000 + u64::try_from(day).unwrap();
    for role in ["timestamp", "snapshot"] {
        world.set(role).version = version;
    }
    world.set("root").expires = at(700);
    world
}

fn clocked() -> Clocked {
    let mut clocked = Clocked::new();
    clocked.device.first_root = world(0).root();
    clocked
}

fn expired(result: Result<Trusted, TrustError>) -> bool {
    let Err(TrustError::Misbehaved { fault, .. }) = result else { return false };
    matches!(fault, Misbehaviour::Expired { .. })
}

fn rolled_back(result: Result<Trusted, TrustError>) -> bool {
    let Err(TrustError::Misbehaved { fault, .. }) = result else { return false };
    matches!(fault, Misbehaviour::Rollback { .. })
}

#[test]
fn without_a_clock_signed_facts_are_one() {
    let mut device = clocked();
    for day in [0, 1, 40, 80] {
        // Each boot begins in 1970 again.
        device.check(IN_1970, &world(day)).unwrap();
        assert_eq!(device.floor.time(IN_1970), at(day));
    }
    assert!(rolled_back(device.check(IN_1970, &world(40))), "older than what was seen");
    // What expired since the floor is not noticed: nothing says that it is later.
    device.check(IN_1970, &world(80)).unwrap();
    device.check(IN_1970, &world(83)).unwrap();
    assert_eq!(device.floor.time(IN_1970), at(83));
}

#[test]
fn a_jump_to_2099_opens_nothing_and_leaves_nothing_behind() {
    let mut device = clocked();
    device.check(at(0), &world(0)).unwrap();
    for _ in 0..3 {
        assert!(expired(device.check(IN_2099, &world(1))));
        assert_eq!(device.floor.time(IN_1970), at(0), "the system's clock is not stored");
    }
    device.check(at(1), &world(1)).unwrap();
}

#[test]
fn a_clock_that_is_held_back_is_overruled_by_what_was_signed() {
    let mut device = clocked();
    device.check(at(80), &world(80)).unwrap();
    for clock in [at(-30), at(0), at(79)] {
        assert_eq!(device.floor.time(clock), at(80), "{clock}");
        assert!(rolled_back(device.check(clock, &world(40))), "{clock}");
        device.check(clock, &world(80)).unwrap();
    }
    device.check(at(0), &world(81)).unwrap();
    assert_eq!(device.floor.time(at(0)), at(81));
}

#[test]
fn a_clock_that_is_ahead_ends_freshness_the_earlier() {
    let mut device = clocked();
    device.check(UnixTime::from_secs(at(2).as_secs() - 1), &world(0)).unwrap();
    assert_eq!(device.floor.time(IN_1970), at(0), "ahead, and not stored");
    assert!(expired(device.check(at(2), &world(0))));
    device.check(at(2), &world(1)).unwrap();
}

/// A thief of the server's key moves a device's clock no further than the publisher's snapshot lasts,
/// and so past nothing that people sign for longer.
#[test]
fn a_stolen_timestamp_key_does_not_move_the_clock_past_the_snapshot() {
    let mut device = clocked();
    let words = [(at(10 * 365), false), (at(90), false), (at(89), true)];
    for (version, (signed_at, taken)) in (2000..).zip(words) {
        let mut stolen = world(0);
        stolen.set("timestamp").version = version;
        stolen.signed_at = Some(signed_at);
        stolen.set("timestamp").expires = at(20 * 365);
        assert_eq!(device.check(at(0), &stolen).is_ok(), taken, "{signed_at}");
    }
    assert_eq!(device.floor.time(at(0)), at(89));
}

/// Nothing that the server signs lasts until the day to which the thief moved the clock. A new key for
/// it takes his word back: the check that learns of the key goes by his time still, the next does not.
#[test]
fn a_new_timestamp_key_takes_back_what_the_stolen_one_said_of_the_time() {
    let mut device = clocked();
    let mut stolen = world(0);
    stolen.signed_at = Some(at(89));
    stolen.set("timestamp").expires = at(20 * 365);
    device.check(at(0), &stolen).unwrap();
    let mut honest = world(1);
    honest.set("timestamp").version = 3000;
    assert!(expired(device.check(at(1), &honest)));
    assert_eq!(device.floor.time(at(1)), at(89));
    // A root that gives it no other key takes nothing back.
    honest.next_root(|world| world.set("targets").keys = vec![key(80)]);
    assert!(expired(device.check(at(1), &honest)));
    assert_eq!(device.floor.time(at(1)), at(89));
    honest.next_root(|world| world.set("timestamp").keys = vec![key(81)]);
    honest.set("timestamp").version = 1;
    assert!(expired(device.check(at(1), &honest)));
    assert_eq!(device.floor.time(at(1)), at(1));
    device.check(at(1), &honest).unwrap();
    assert_eq!(device.floor.time(IN_1970), at(1));
}

#[test]
fn a_permission_to_go_back_ends_by_the_same_time() {
    let mut device = clocked();
    let mut world = world(10);
    let mut back = facts(2);
    let expires = jiff::Timestamp::from_second(at(20).as_secs()).unwrap();
    back.downgrade_from = Some(DowngradeRange { lo: 3, hi: 3, expires });
    world.facts = vec![("demo/2.json".to_owned(), back)];
    let newer = DeviceFacts {
        compatible: super::world::compatible(),
        stream: Stream::ByHand,
        booted: 3,
        floor: 3,
    };
    let trusted = device.check(at(10), &world).unwrap();
    let asked = |floor: ClockFloor, clock| {
        admit(&trusted, &"2".parse().unwrap(), &newer, floor.time(clock)).map(drop)
    };
    assert_eq!(asked(device.floor, at(19)), Ok(()));
    assert!(matches!(asked(device.floor, at(20)), Err(Refusal::Downgrade { .. })));
    let later = device.floor.raised_to(at(20));
    for clock in [IN_1970, at(0), at(20), IN_2099] {
        assert!(matches!(asked(later, clock), Err(Refusal::Downgrade { .. })), "{clock}");
    }
}
