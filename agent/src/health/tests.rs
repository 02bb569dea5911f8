use super::*;
use crate::config::Check;
use axum::http::StatusCode;
use axum::routing::get;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// By the certificate authorities of this machine.
async fn probe<F, S>(
    settings: &HealthSettings,
    standing: &[Complaint],
    looks: Looks,
    server: F,
) -> Result<Healthy, Vec<Complaint>>
where
    F: Fn() -> S,
    S: Future<Output = Result<(), String>>,
{
    super::probe(settings, standing, looks, &Tls::of_system(None), server).await
}

async fn serve() -> SocketAddr {
    let router = axum::Router::new()
        .route("/good", get(|| async { "fine" }))
        .route("/bad", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [("location", "/good")]) }))
        .route("/hangs", get(std::future::pending::<()>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn http(address: SocketAddr, path: &str) -> Check {
    let url = format!("http://{address}/{path}");
    Check::Http { url, timeout_seconds: Some(crate::config::Seconds::of(1)) }
}

fn command(words: &[&str]) -> Check {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    Check::Command { command, timeout_seconds: Some(crate::config::Seconds::of(1)) }
}

fn tcp(address: String) -> Check {
    Check::Tcp { address, timeout_seconds: None }
}

#[tokio::test]
async fn each_kind_passes_and_complains() {
    let (address, tls) = (serve().await, Tls::of_system(None));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (check, expected) in [
        (http(address, "good"), None),
        (http(address, "bad"), Some("answers 500")),
        (http(address, "moved"), Some("answers 302")),
        (http(address, "missing"), Some("answers 404")),
        (http(address, "hangs"), Some("no answer within 1 s")),
        (tcp(address.to_string()), None),
        (tcp(free.to_string()), Some("refused")),
        (command(&["true"]), None),
        (command(&["sh", "-c", "echo out of paper >&2; exit 3"]), Some("out of paper")),
        (command(&["sleep", "600"]), Some("no answer within 1 s")),
        (command(&["/no/such/program"]), Some("/no/such/program")),
        (command(&[]), Some("empty")),
    ] {
        match (look("name", &check, &tls).await, expected) {
            (Ok(()), None) => {}
            (Err(complaint), Some(words)) => {
                let text = complaint.to_string();
                assert!(text.starts_with("name: ") && text.contains(words), "{text}");
            }
            (found, _) => panic!("{check:?}: {found:?}"),
        }
    }
}

fn settings(checks: &[(&str, Check)], update_server: bool, deadline: u64) -> HealthSettings {
    let checks: BTreeMap<_, _> =
        checks.iter().map(|(name, check)| ((*name).to_owned(), check.clone())).collect();
    HealthSettings { deadline: Duration::from_secs(deadline), update_server, checks }
}

#[tokio::test]
async fn one_complaint_is_enough_and_all_are_told() {
    let checks =
        [("a", command(&["true"])), ("b", command(&["false"])), ("c", command(&["false"]))];
    let settings = settings(&checks, true, 1);
    let server = || async { Err("the timestamp has expired".to_owned()) };
    let result = probe(&settings, &[], Looks::UntilDeadline, server).await;
    let Probe::Bad { reason } = verdict(&result) else { panic!("it is good") };
    assert!(reason.starts_with("b: ") && reason.contains("; c: "), "{reason}");
    assert!(reason.ends_with("update-server: the timestamp has expired"), "{reason}");
}

#[tokio::test]
async fn the_update_server_is_part_of_health_unless_switched_off() {
    let server = || async { Err("gone".to_owned()) };
    assert!(probe(&settings(&[], true, 1), &[], Looks::Once, server).await.is_err());
    assert!(probe(&settings(&[], false, 1), &[], Looks::Once, server).await.is_ok());
}

#[tokio::test]
async fn a_slot_that_comes_up_late_is_healthy_only_to_the_patient() {
    for (looks_for, healthy) in [(Looks::Once, false), (Looks::UntilDeadline, true)] {
        let looks = Cell::new(0);
        let server = || {
            looks.set(looks.get() + 1);
            let late = looks.get() > 1;
            async move { if late { Ok(()) } else { Err("not yet".to_owned()) } }
        };
        let result = probe(&settings(&[], true, 60), &[], looks_for, server).await;
        assert_eq!(result.is_ok(), healthy);
    }
}

#[tokio::test]
async fn a_standing_complaint_is_told_without_waiting_for_a_cure_and_not_hot() {
    let volatile = [Complaint::new("state", "lost".to_owned())];
    let looks = Cell::new(0);
    let server = || {
        looks.set(looks.get() + 1);
        async { Ok(()) }
    };
    let settings = settings(&[], true, u64::from(u32::MAX));
    let (began, lost) = (Instant::now(), Probe::Bad { reason: "state: lost".to_owned() });
    let result = probe(&settings, &volatile, Looks::UntilDeadline, server).await;
    assert_eq!((verdict(&result), looks.get()), (lost.clone(), 1));
    assert!(began.elapsed() >= PAUSE, "a trial with no way back is asked for ever");
    let result = probe(&settings, &volatile, Looks::Once, server).await;
    assert_eq!((verdict(&result), looks.get()), (lost, 2));
}
