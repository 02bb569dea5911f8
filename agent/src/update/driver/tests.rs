use std::time::Duration;

use super::*;
use crate::device::tests::device_with;
use crate::update::Checked;

/// A driver over an image file, with nothing under way.
fn driver(folder: &std::path::Path) -> (Driver, mpsc::UnboundedReceiver<Letter>) {
    let parts = device_with(folder, "state/unused", "").open().unwrap();
    let (driver, letters, _) = Driver::new(parts).unwrap();
    (driver, letters)
}

#[tokio::test]
async fn a_server_that_fails_is_not_asked_more_often_than_it_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, _letters) = driver(folder.path());
    let checked = || Checked::Network("no route".to_owned());
    for (said, expected) in [(None, 300), (Some(3600), 3600), (None, 3600), (Some(60), 60)] {
        let poll = said.map(Duration::from_secs);
        let found = ask::Found { checked: checked(), admitted: None, poll };
        assert_eq!(driver.handle(Letter::Checked(found)).await, Flow::Continue);
        assert_eq!(driver.poll().as_secs(), expected, "{said:?}");
    }
}
