use super::*;
use crate::client::MetadataStore;

#[test]
fn the_devices_own_channel_is_what_a_release_is_signed_for() {
    let channel = |name: &str| name.parse::<Channel>().ok();
    for (own, answered, expected) in [
        ("stable", "", "stable"),
        ("stable", "beta", "stable"),
        ("", "stable", "stable"),
        ("", "", ""),
    ] {
        let stream = stream(channel(own).as_ref(), channel(answered));
        assert_eq!(stream, channel(expected).map(Stream::Channel), "{own} {answered}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_not_reached() {
    let problem = reach(None, None).await.unwrap_err();
    assert!(problem.contains("first root of trust"), "{problem}");
}

#[test]
fn a_grant_stands_only_for_what_is_still_admitted() {
    use payload_tools::trust::policy::{Direction, Refusal};
    let named = |counter: u64| Named { release: counter.to_string().parse().unwrap(), counter };
    let offer = |counter, admission| {
        let (named, source) = (named(counter), Source::Server);
        Checked::Offer(Box::new(Offer { named, admission, source, costs: None }))
    };
    let downgrade = Refusal::Downgrade { release: named(2).release, counter: 2, floor: 3 };
    let (since, text) = (Timestamp::UNIX_EPOCH, || "text".to_owned());
    for (checked, expected) in [
        (offer(2, Ok(Direction::Forward)), "Stands"),
        (offer(2, Err(downgrade)), "Withdrawn"),
        (offer(3, Ok(Direction::Forward)), "Withdrawn(\"release 3 is offered instead"),
        (Checked::Withheld { detail: "paused".to_owned() }, "Withdrawn(\"paused"),
        (Checked::Stale { since, error: text() }, "Expired"),
        (Checked::Behind { since, error: text() }, "Unknown(Stale"),
        (Checked::Network(text()), "Unknown(Network"),
        (Checked::Verification(text()), "Unknown(Verification"),
        (Checked::Device(text()), "Unknown(Device"),
    ] {
        let grant = format!("{:?}", grant(checked, Some(&named(2))));
        assert!(grant.starts_with(expected), "{grant}, expected {expected}");
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_kept_is_no_fault_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metadata"), "a file where a folder goes").unwrap();
    let built = UnixTime::from_secs(0);
    let store = MetadataStore::new(folder.path().join("metadata"), built);
    let error = RefreshError::from(store.load().unwrap_err());
    let compatible = "demo".parse().unwrap();
    let anchor = Anchor { store, first_root: Vec::new(), compatible };
    let checked = failed(&anchor, built, &error);
    assert!(matches!(checked, Checked::Device(_)), "{checked:?}");
}
