use super::*;
use crate::status::AgentStatus;
use crate::update::{Change, Life, Motive, Phase, Then, Way};
use partition_layout::SlotLetter;
use tokio::sync::mpsc::UnboundedReceiver;

fn desk(patience: Duration) -> (Desk, UnboundedReceiver<Letter>) {
    let (mailbox, letters) = mpsc::unbounded_channel();
    let status = Status {
        source: "disk".to_owned(),
        slots: Vec::new(),
        booted: Some(SlotLetter::A),
        mixed: None,
        next: None,
        agent: None,
    };
    let (status, progress) = (watch::channel(status).1, watch::channel(None).1);
    (Desk { mailbox, status, progress, patience }, letters)
}

fn guest(places: &Arc<Semaphore>) -> Peer {
    Peer::Guest { _place: places.clone().try_acquire_owned().unwrap() }
}

/// All that the desk answers to `said`, whose end stays open.
async fn answers(said: &str, peer: Peer, patience: Duration) -> String {
    let (mut here, there) = UnixStream::pair().unwrap();
    here.write_all(said.as_bytes()).await.unwrap();
    let (desk, _letters) = desk(patience);
    let mut text = String::new();
    tokio::join!(desk.talk(there, peer), async {
        here.read_to_string(&mut text).await.unwrap();
    });
    text
}

#[tokio::test]
async fn a_guest_may_look_and_not_command() {
    let places = Arc::new(Semaphore::new(1));
    let status = answers("{\"ask\":\"status\"}\n", guest(&places), PATIENCE).await;
    assert!(status.contains("\"booted\":\"A\""), "{status}");
    let command = "{\"ask\":\"command\",\"command\":{\"verb\":\"rollback\"}}\n";
    let refused = answers(command, guest(&places), PATIENCE).await;
    assert!(refused.contains("use sudo"), "{refused}");
    let unknown = answers("hello\n", guest(&places), PATIENCE).await;
    assert!(unknown.contains("not a request"), "{unknown}");
}

#[tokio::test]
async fn who_does_not_ask_is_not_waited_for() {
    let (places, patience) = (Arc::new(Semaphore::new(1)), Duration::from_millis(1));
    assert_eq!(answers("", guest(&places), patience).await, "");
    assert_eq!(answers("{\"ask\":", Peer::Master, patience).await, "");
    assert_eq!(places.available_permits(), 1, "the place is free again");
}

#[tokio::test]
async fn a_check_does_not_wait_for_the_install_that_it_met_the_beginning_of() {
    let (desk, mut letters) = desk(PATIENCE);
    let now = |phase: Phase| {
        let agent = AgentStatus::remembered(Life { phase, ..Life::new("boot") });
        Status { agent: Some(agent), ..desk.now() }
    };
    let change = Change {
        to: None,
        from: None,
        slot: SlotLetter::B,
        way: Way::Install,
        motive: Motive::Channel { downgrade: false },
    };
    let (shown, status) = watch::channel(now(Phase::Checking { then: Then::Update }));
    let (_progress, progress) = watch::channel(None);
    let (installing, idle) = (now(Phase::Installing { change }), now(Phase::Idle));
    let (here, there) = UnixStream::pair().unwrap();
    let (read, mut write) = here.into_split();
    let mut lines = BufReader::new(read).lines();
    tokio::join!(Desk { status, progress, ..desk }.talk(there, Peer::Master), async {
        let command = b"{\"ask\":\"command\",\"command\":{\"verb\":\"check\"}}\n";
        write.write_all(command).await.unwrap();
        let Some(Letter::Said(Command::Check, asker)) = letters.recv().await else {
            panic!("it is not passed on")
        };
        asker.send(Answer::Begun).unwrap();
        let mut expect = async |word: &str| {
            let line = lines.next_line().await.unwrap();
            assert_eq!(line.is_some_and(|line| line.contains(word)), !word.is_empty(), "{word}");
        };
        expect("begun").await;
        expect("checking").await;
        shown.send_replace(installing);
        expect("installing").await;
        shown.send_replace(idle);
        expect("").await;
    });
}

#[test]
fn guests_are_few_and_masters_always_welcome() {
    let own = rustix::process::geteuid().as_raw();
    let (other, places) = (own + 1, Arc::new(Semaphore::new(1)));
    let guest = admit(other, &places);
    assert!(matches!(guest, Some(Peer::Guest { .. })));
    assert!(admit(other, &places).is_none());
    for master in [own, 0] {
        assert!(matches!(admit(master, &places), Some(Peer::Master)));
    }
    drop(guest);
    assert!(admit(other, &places).is_some());
}
