use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::device::tests::device_with;
use crate::update::decide::{Offer, Source};
use crate::update::{Change, Checked, Grant, Motive, Named, Phase, Then, Verdict, Way};

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
        assert_eq!(driver.handle(Letter::Checked(Then::Update, found)).await, Flow::Continue);
        assert_eq!(driver.poll().as_secs(), expected, "{said:?}");
    }
}

#[test]
fn the_log_says_what_came_of_it() {
    let phase = |phase| Life { phase, ..Life::new("boot") };
    let at = |second| Timestamp::from_second(second).unwrap();
    let ended = |second, life| {
        let verdict = Verdict::Network { error: "no route".to_owned() };
        Life { outcome: Some(crate::update::Outcome { at: at(second), verdict }), ..life }
    };
    let checking = || phase(Phase::Checking { then: Then::Update });
    let unreached = "not known, the server was not reached: no route";
    for (before, after, expected) in [
        (phase(Phase::Idle), phase(Phase::Idle), None),
        (phase(Phase::Idle), checking(), Some("idle -> checking".to_owned())),
        (checking(), ended(1, phase(Phase::Idle)), Some(format!("checking -> idle: {unreached}"))),
        (ended(1, phase(Phase::Idle)), ended(1, phase(Phase::Idle)), None),
        (ended(1, checking()), ended(2, checking()), Some(format!("checking: {unreached}"))),
    ] {
        assert_eq!(news(&before, &after), expected);
    }
    let release = Some("2".parse().unwrap());
    let slot = Some(partition_layout::SlotLetter::B);
    let kind = super::super::Kind::DownloadStarted;
    let report = super::super::Report {
        at: at(0),
        kind,
        release,
        slot,
        from: None,
        reason: None,
        download: None,
    };
    assert_eq!(report.to_string(), "download_started release 2 slot B");
    let update = Command::Update { retry_failed: true };
    assert_eq!(update.to_string(), "update --retry-failed");
}

fn installing() -> Phase {
    let motive = Motive::Channel { downgrade: false };
    let slot = partition_layout::SlotLetter::B;
    Phase::Installing { change: Change { to: None, from: None, slot, way: Way::Install, motive } }
}

/// Also one that was whole before it heard of it.
#[tokio::test]
async fn a_stage_that_a_person_ends_is_cancelled_however_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, _letters) = driver(folder.path());
    driver.life.phase = installing();
    let (asker, mut answer) = oneshot::channel();
    driver.handle(Letter::Said(Command::Cancel, asker)).await;
    assert_eq!(answer.try_recv().unwrap(), Answer::Begun);
    assert!(*driver.shared.stop.borrow(), "the stage is told");
    let late = InstallFault::Network("it took its time".to_owned());
    driver.handle(Letter::Staged(Err(late))).await;
    let verdict = driver.life.outcome.as_ref().map(|outcome| &outcome.verdict);
    assert_eq!((&driver.life.phase, verdict), (&Phase::Idle, Some(&Verdict::Cancelled)));
    assert!(!*driver.shared.stop.borrow(), "the next one is not");
}

/// For the server alone; how far it was before is no news.
#[tokio::test]
async fn how_far_an_install_is_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, _letters) = driver(folder.path());
    let progress = |bytes_done| {
        Letter::Progress(StageProgress {
            step: "writing".to_owned(),
            bytes_done,
            bytes_total: 100,
            bytes_fetched: 0,
            bytes_per_second: None,
            seconds_left: None,
        })
    };
    driver.handle(progress(10)).await;
    assert_eq!(lock(&driver.shared.events).waiting(), 0, "nothing is being installed");
    driver.life.phase = installing();
    driver.handle(progress(20)).await;
    driver.handle(progress(30)).await;
    let state = folder.path().join("state/events.json");
    let waiting = std::fs::read_to_string(state).unwrap();
    assert_eq!(lock(&driver.shared.events).waiting(), 1, "{waiting}");
    assert!(waiting.contains("progress") && waiting.contains("writing 30 %"), "{waiting}");
    assert!(driver.life.memory.history.is_empty());
}

/// A change that is found after the reboot and that nobody remembers would be taken for
/// somebody's; a person who goes back is told so and goes back.
#[tokio::test]
async fn a_state_that_takes_nothing_lets_a_person_back_and_nothing_new_in() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, _letters) = driver(folder.path());
    driver.handle(Letter::Event(Event::Started)).await;
    // In the way of every write.
    let journal = folder.path().join("state/journal.json");
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(journal).unwrap();
    let named = |counter: u64| Named { release: counter.to_string().parse().unwrap(), counter };
    let slot = partition_layout::SlotLetter::B;
    let installed = Change {
        to: Some(named(1)),
        from: None,
        slot,
        way: Way::Installed,
        motive: Motive::Channel { downgrade: true },
    };
    let admission = Ok(payload_tools::trust::policy::Direction::Forward);
    let offer = Offer { named: named(3), admission, source: Source::Server, costs: None };
    for (phase, event) in [
        (Phase::Staged { change: installed }, Event::Granted(Some(named(1)), Grant::Stands)),
        (
            Phase::Checking { then: Then::Update },
            Event::Checked(Then::Update, Checked::Offer(Box::new(offer))),
        ),
    ] {
        driver.life.phase = phase;
        driver.handle(Letter::Event(event)).await;
        let verdict = driver.life.outcome.as_ref().map(|outcome| &outcome.verdict);
        assert!(matches!(verdict, Some(Verdict::Device { .. })), "{verdict:?}");
        assert_eq!(driver.life.phase, Phase::Idle);
        assert_eq!(driver.boot().predict().unwrap(), Some(slot.other()));
    }
    let (asker, mut answer) = oneshot::channel();
    driver.handle(Letter::Said(Command::Rollback, asker)).await;
    assert_eq!(answer.try_recv().unwrap(), Answer::Begun);
    assert_eq!(driver.boot().predict().unwrap(), Some(slot));
}

/// The device has no root of trust that verifies, so each ends as soon as it has its turn.
#[tokio::test]
async fn metadata_is_refreshed_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (driver, _letters) = driver(folder.path());
    let shared = driver.shared.clone();
    let question = || ask::Question::of(&driver.life, &driver.seen, Then::Tell);
    let refreshes: [Pin<Box<dyn Future<Output = ()>>>; 3] = [
        Box::pin(async { drop(shared.check(question()).await) }),
        Box::pin(async { drop(shared.open_bundle(question(), "missing".into()).await) }),
        Box::pin(async { drop(shared.reach_server().await) }),
    ];
    for mut refresh in refreshes {
        let turn = shared.refreshing.lock().await;
        let ended = std::future::poll_fn(|cx| Poll::Ready(refresh.as_mut().poll(cx))).await;
        assert!(ended.is_pending(), "it does not wait for its turn");
        drop(turn);
        refresh.await;
    }
}

#[tokio::test]
async fn a_persons_update_overtakes_the_agents_own_check() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, mut letters) = driver(folder.path());
    driver.life.phase = Phase::Checking { then: Then::Update };
    let (alive, ended) = oneshot::channel::<()>();
    driver.asking = Some(tokio::spawn(async move {
        let _alive = alive;
        std::future::pending().await
    }));
    let (asker, mut answer) = oneshot::channel();
    driver.handle(Letter::Said(Command::Update { retry_failed: false }, asker)).await;
    assert_eq!(answer.try_recv().unwrap(), Answer::Begun);
    assert!(ended.await.is_err(), "it is not waited for");

    let detail = "the answer to it that was under way already".to_owned();
    let late = ask::Found::from(Checked::Nothing { detail });
    driver.handle(Letter::Checked(Then::Update, late)).await;
    assert_eq!(driver.life.phase, Phase::Checking { then: Then::UpdateByPerson });
    let own = letters.recv().await.unwrap();
    driver.handle(own).await;
    let verdict = driver.life.outcome.as_ref().map(|outcome| &outcome.verdict);
    assert_eq!(driver.life.phase, Phase::Idle);
    assert!(matches!(verdict, Some(Verdict::Verification { .. })), "{verdict:?}");
}

/// Its survey reads whole slots, which a person's rollback does not wait for.
#[tokio::test]
async fn a_check_that_tells_ends_when_a_person_wants_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, _letters) = driver(folder.path());
    driver.life.phase = Phase::Checking { then: Then::Tell };
    let (alive, ended) = oneshot::channel::<()>();
    driver.asking = Some(tokio::spawn(async move {
        let _alive = alive;
        std::future::pending().await
    }));
    driver.handle(Letter::Said(Command::Unpin, oneshot::channel().0)).await;
    assert!(driver.asking.is_some(), "it goes on while it is wanted");
    let (asker, mut answer) = oneshot::channel();
    driver.handle(Letter::Said(Command::Cancel, asker)).await;
    assert_eq!(answer.try_recv().unwrap(), Answer::Begun);
    assert!(ended.await.is_err(), "it is not waited for");
    let verdict = driver.life.outcome.as_ref().map(|outcome| &outcome.verdict);
    assert_eq!((&driver.life.phase, verdict), (&Phase::Idle, Some(&Verdict::Cancelled)));
}
