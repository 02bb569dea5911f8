use std::process::Command;
use std::thread;

use seesaw_e2e::liar::{Liar, Lie};
use serde_json::Value;

use crate::served::{Served, succeed};

#[test]
fn of_two_publishers_at_once_one_is_told_to_run_again() {
    let served = Served::new();
    let other = served.folder.path().join("other-publisher");
    succeed(Command::new("cp").arg("-a").arg(served.publisher()).arg(&other));
    let releases = [1, 2].map(|counter| served.release(counter));
    let way = Liar::before(&served.url).unwrap();
    let (held, keeper) = Lie::held();
    way.lie("POST /v1/admin/metadata ", held);
    let late = thread::scope(|scope| {
        let (other, release) = (&other, &releases[1]);
        let late = scope.spawn(|| served.publish_through(way.url(), other, release, &["stable"]));
        keeper.await_request();
        served.publish(&releases[0], &["stable"]);
        keeper.let_through();
        late.join().unwrap()
    });
    assert_eq!(late.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&late.stdout).unwrap();
    let expected = ["someone published in between; run this again, it goes on from there"];
    assert_eq!(said["error"]["messages"], serde_json::json!(expected));
    assert_eq!(served.offered(), [1]);
    let again = served.publish_by(&other, &releases[1], &["stable"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(served.offered(), [1, 2]);
}
