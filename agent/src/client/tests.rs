use super::*;
use crate::config::ServerUrl;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use partition_layout::SlotLetter;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

use payload_tools::trust::Files;

use crate::update::{Kind, Report};

/// What a server was told, and whether it acknowledges.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Value>>>);

impl Heard {
    fn said(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn url(address: SocketAddr) -> ServerUrl {
    format!("http://{address}/").try_into().unwrap()
}

fn http(address: SocketAddr) -> Http {
    Http::new(&url(address), Duration::from_secs(5), Tls::of_system(None)).unwrap()
}

fn server(address: SocketAddr, state: &std::path::Path) -> UpdateServer {
    let anchor = Anchor {
        store: MetadataStore::new(state.join("metadata"), UnixTime::from_secs(0)),
        first_root: b"{}".to_vec(),
        compatible: "demo".parse().unwrap(),
    };
    UpdateServer::new(http(address), Arc::new(anchor), DeviceId::of(state).unwrap())
}

fn report(kind: Kind) -> Report {
    Report {
        at: jiff::Timestamp::UNIX_EPOCH,
        kind,
        release: Some("2".parse().unwrap()),
        slot: Some(SlotLetter::B),
        from: None,
        reason: None,
        download: None,
    }
}

#[tokio::test]
async fn answers_are_bounded_and_errors_tell_the_servers_words() {
    let error = || async {
        let body = json!({ "error": { "code": "x", "message": "come later", "hint": "" } });
        (StatusCode::SERVICE_UNAVAILABLE, body.to_string())
    };
    let router = Router::new()
        .route("/ten", get(|| async { "0123456789" }))
        .route("/busy", get(error))
        .route("/hangs", get(std::future::pending::<()>));
    let http = http(serve(router).await);
    assert_eq!(http.get("ten", 10).await.unwrap(), b"0123456789");
    assert_eq!(http.get("ten", 4).await.unwrap(), b"01234", "one more shows it");
    assert_eq!(http.find("ten", 4).await.unwrap().unwrap(), b"01234");
    assert_eq!(http.find("none", 9).await.unwrap(), None);
    assert!(http.get("busy", 9).await.unwrap_err().to_string().contains("come later"));
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_http_is_not_spoken_where_https_is_said() {
    let again = || async { (StatusCode::FOUND, [(header::LOCATION, "/again")]).into_response() };
    let to = || async { (StatusCode::FOUND, [(header::LOCATION, "/ten")]).into_response() };
    let router = Router::new()
        .route("/ten", get(|| async { "0123456789" }))
        .route("/to", get(to))
        .route("/again", get(again));
    let address = serve(router).await;
    assert_eq!(http(address).get("to", 10).await.unwrap().len(), 10);
    let endless = http(address).get("again", 10).await.unwrap_err();
    assert!(endless.refused_redirect(), "{endless:?}");

    let secure: ServerUrl = "https://updates.example".to_owned().try_into().unwrap();
    let http = Http::new(&secure, Duration::from_secs(5), Tls::of_system(None)).unwrap();
    let client = http.unhurried().unwrap().build().unwrap();
    let refused = client.get(format!("http://{address}/ten")).send().await;
    assert!(refused.is_err(), "a client for https speaks http");
}

#[tokio::test]
async fn a_check_says_what_the_protocol_says() {
    let heard = Heard::default();
    let answer = |State(heard): State<Heard>, body: String| async move {
        heard.0.lock().unwrap().push(serde_json::from_str(&body).unwrap());
        r#"{"action":"update","release":"2","counter":2,"reason":"channel","channel":"stable",
            "detail":"stable is at 2","grant":"g","poll_seconds":300,"later":"fields"}"#
    };
    let router = Router::new().route("/v1/check", post(answer)).with_state(heard.clone());
    let state = tempfile::tempdir().unwrap();
    let server = server(serve(router).await, state.path());
    let request = CheckRequest {
        channel: None,
        slot: SlotLetter::A,
        release: Some("1".parse().unwrap()),
        counter: 1,
        failed: vec!["3".parse().unwrap()],
        held: vec![],
        staged: None,
        manual: true,
    };
    let answer = server.check(&request).await.unwrap();
    assert_eq!((answer.action, answer.reason), (Action::Update, ServerReason::Other));
    let mut said = heard.said().remove(0);
    assert_eq!(said["device"].take().as_str().unwrap().len(), 32);
    let expected = json!({
        "device": null, "compatible": "demo", "channel": null, "slot": "A", "release": "1",
        "counter": 1, "failed": ["3"], "held": [], "staged": null, "manual": true,
    });
    assert_eq!(said, expected);
}

#[tokio::test]
async fn what_is_no_answer_is_told_from_a_portals_page() {
    let router = Router::new()
        .route("/v1/check", post(|| async { "welcome" }))
        .route("/v1/events", post(|| async { "\n <!DOCTYPE html>" }));
    let state = tempfile::tempdir().unwrap();
    let address = serve(router).await;
    let server = server(address, state.path());
    let page = http(address).post("v1/events", &json!({})).await;
    assert!(matches!(page, Err(HttpError::WebPage { .. })), "{page:?}");
    let request = CheckRequest {
        channel: None,
        slot: SlotLetter::A,
        release: None,
        counter: 0,
        failed: vec![],
        held: vec![],
        staged: None,
        manual: false,
    };
    assert!(matches!(server.check(&request).await, Err(AskError::Protocol { .. })));
}

#[tokio::test]
async fn reports_wait_on_state_until_they_are_acknowledged() {
    let state = tempfile::tempdir().unwrap();
    let mut queue = EventQueue::open(state.path()).unwrap();
    for kind in [Kind::Staged, Kind::Activated] {
        queue.push(report(kind)).unwrap();
    }
    let queue = Mutex::new(queue);
    let deaf = Router::new().route("/v1/events", post(|| async { StatusCode::BAD_GATEWAY }));
    let refused = server(serve(deaf).await, state.path()).send(&queue).await;
    assert!(matches!(refused, Err(SendError::Http(_))));

    let queue = Mutex::new(EventQueue::open(state.path()).unwrap());
    assert_eq!(queue.lock().unwrap().waiting(), 2, "they survive the program");
    let heard = Heard::default();
    let hear = |State(heard): State<Heard>, body: String| async move {
        heard.0.lock().unwrap().push(serde_json::from_str(&body).unwrap());
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/v1/events", post(hear)).with_state(heard.clone());
    server(serve(router).await, state.path()).send(&queue).await.unwrap();
    assert_eq!(EventQueue::open(state.path()).unwrap().waiting(), 0);
    let said = heard.said().remove(0);
    assert_eq!(said["events"][1]["kind"], "activated");
    assert_eq!(said["events"][1]["slot"], "B");
    assert_ne!(said["events"][0]["id"], said["events"][1]["id"]);
}

#[tokio::test]
async fn fewer_reports_are_sent_to_a_server_that_takes_no_more() {
    let state = tempfile::tempdir().unwrap();
    let mut queue = EventQueue::open(state.path()).unwrap();
    for _ in 0..20 {
        queue.push(report(Kind::Staged)).unwrap();
    }
    queue.push(Report { reason: Some("x".repeat(5000)), ..report(Kind::Fallback) }).unwrap();
    queue.push(report(Kind::Seen)).unwrap();
    let heard = Heard::default();
    let hear = |State(heard): State<Heard>, body: String| async move {
        heard.0.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    };
    let router = Router::new()
        .route("/v1/events", post(hear))
        .layer(axum::extract::DefaultBodyLimit::max(2000))
        .with_state(heard.clone());
    let queue = Mutex::new(queue);
    server(serve(router).await, state.path()).send(&queue).await.unwrap();
    assert_eq!(queue.lock().unwrap().waiting(), 0);
    let kinds: Vec<Value> = heard
        .said()
        .iter()
        .flat_map(|said| said["events"].as_array().unwrap().clone())
        .map(|mut event| event["kind"].take())
        .collect();
    assert_eq!(kinds.len(), 21, "all but the one that is too large alone");
    assert_eq!(kinds[20], "seen");
}

#[tokio::test]
async fn reports_that_the_server_calls_bad_hold_up_no_others() {
    let state = tempfile::tempdir().unwrap();
    let mut queue = EventQueue::open(state.path()).unwrap();
    for _ in 0..events::BATCH_MAX {
        queue.push(report(Kind::Held)).unwrap();
    }
    queue.push(report(Kind::Seen)).unwrap();
    let heard = Heard::default();
    let hear = |State(heard): State<Heard>, body: String| async move {
        if body.contains("held") {
            return (StatusCode::BAD_REQUEST, r#"{"error":{"message":"no such kind"}}"#);
        }
        heard.0.lock().unwrap().push(serde_json::from_str(&body).unwrap());
        (StatusCode::NO_CONTENT, "")
    };
    let router = Router::new().route("/v1/events", post(hear)).with_state(heard.clone());
    let queue = Mutex::new(queue);
    server(serve(router).await, state.path()).send(&queue).await.unwrap();
    assert_eq!(queue.lock().unwrap().waiting(), 0);
    assert_eq!(heard.said().remove(0)["events"][0]["kind"], "seen");
}

#[test]
fn the_queue_forgets_the_oldest_and_survives_garbage() {
    let state = tempfile::tempdir().unwrap();
    let events: Vec<Value> = (0..EVENTS_MAX)
        .map(|id| {
            let mut event = serde_json::to_value(report(Kind::Seen)).unwrap();
            event["id"] = json!(id.to_string());
            event
        })
        .collect();
    let file = state.path().join("events.json");
    std::fs::write(&file, serde_json::to_vec(&events).unwrap()).unwrap();
    let mut queue = EventQueue::open(state.path()).unwrap();
    queue.push(report(Kind::Confirmed)).unwrap();
    assert_eq!(queue.waiting(), EVENTS_MAX);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("\"id\":\"0\""));

    let newer = text.replace("\"kind\":\"confirmed\"", "\"kind\":\"sung\"");
    std::fs::write(&file, newer).unwrap();
    assert_eq!(EventQueue::open(state.path()).unwrap().waiting(), EVENTS_MAX - 1);

    std::fs::write(&file, "[{").unwrap();
    assert_eq!(EventQueue::open(state.path()).unwrap().waiting(), 0);
}

#[test]
fn the_store_keeps_files_and_a_floor_that_rises_until_it_is_forgotten() {
    let state = tempfile::tempdir().unwrap();
    let at = UnixTime::from_secs;
    let store = MetadataStore::new(state.path().join("metadata"), at(1000));
    assert_eq!(store.floor().time(at(0)), at(1000), "never before the image was built");
    let file = |name: &str| (name.to_owned(), name.as_bytes().to_vec());
    store.save(&[file("1.root.json"), file("timestamp.json")].into()).unwrap();
    store.save(&[file("timestamp.json"), file("demo.json")].into()).unwrap();
    let names: Vec<String> = store.load().unwrap().into_keys().collect();
    assert_eq!(names, ["demo.json", "timestamp.json"]);

    store.note_freshness(Some(at(5000)), at(9000)).unwrap();
    store.note_freshness(Some(at(4000)), at(8000)).unwrap();
    assert_eq!(store.floor().time(at(0)), at(5000));
    assert_eq!(store.fresh_until(), Some(at(8000)));
    assert!(!store.load().unwrap().contains_key("freshness.json"));
    store.forget_freshness().unwrap();
    assert_eq!(store.floor().time(at(0)), at(1000));
    assert_eq!(store.fresh_until(), None);
}

/// A power cut between the two would leave a thief's word under the root that takes it back.
#[test]
fn what_a_new_root_may_take_back_goes_before_the_root_comes() {
    let state = tempfile::tempdir().unwrap();
    let store = MetadataStore::new(state.path().to_owned(), UnixTime::from_secs(0));
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let old = ["1.root.json", "demo.json", "snapshot.json", "timestamp.json"];
    store.save(&old.map(|name| file(name, "old")).into()).unwrap();
    let new = |root: &str| {
        let old = [file("1.root.json", "old"), file("demo.json", "old")];
        let files = old.into_iter().chain([file(root, "new"), file("timestamp.json", "new")]);
        files.collect::<Files>()
    };
    // Below a folder that is not there, so that it cannot be written.
    store.save(&new("0/2.root.json")).unwrap_err();
    let names: Vec<String> = store.load().unwrap().into_keys().collect();
    assert_eq!(names, ["1.root.json", "demo.json"]);
    store.save(&new("2.root.json")).unwrap();
    assert_eq!(store.load().unwrap(), new("2.root.json"));
}

#[test]
fn what_has_expired_is_stale_and_another_fault_is_not() {
    use payload_tools::trust::{Misbehaviour, Role, TrustError};
    let state = tempfile::tempdir().unwrap();
    let at = UnixTime::from_secs;
    let store = MetadataStore::new(state.path().to_owned(), at(0));
    let misbehaved =
        |role, fault| RefreshError::Trust(TrustError::Misbehaved { role, version: Some(3), fault });
    let expired = || Misbehaviour::Expired { expires: at(100), now: at(500) };
    for role in [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets] {
        let stale = misbehaved(role, expired());
        assert_eq!(stale.stale_since(&store, at(500)), Some(at(100)), "{stale}");
    }
    let forged = misbehaved(Role::Timestamp, Misbehaviour::WrongHash);
    assert_eq!(forged.stale_since(&store, at(500)), None);

    let offers = |of: &str| {
        let (of, trusted, offered) = (of.to_owned(), 5, 4);
        misbehaved(Role::Timestamp, Misbehaviour::Rollback { of, trusted, offered })
    };
    let behind = |of| refresh::behind(offers(of), &store);
    assert!(matches!(behind("timestamp"), RefreshError::Behind { trusted: 5, offered: 4, .. }));
    assert!(
        matches!(behind("snapshot"), RefreshError::Trust(_)),
        "a newer word about older things"
    );

    store.note_freshness(None, at(400)).unwrap();
    assert_eq!(forged.stale_since(&store, at(399)), None, "what is known is still fresh");
    assert_eq!(forged.stale_since(&store, at(400)), Some(at(400)));
}
