//! docs/protocol.md is what others write against: it must know everything here.

use update_server::rollout::Verdict;
use update_server::store::EventKind;

use crate::publisher::server_at;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");
const ROUTER: &str = include_str!("../../src/router.rs");

#[track_caller]
fn documented(word: &str) {
    assert!(PROTOCOL.contains(word), "docs/protocol.md does not have {word}");
}

#[test]
fn every_route_is_documented_with_its_method() {
    let routes = ROUTER.split(".route(\"").skip(1);
    let mut count = 0;
    for route in routes {
        let (path, rest) = route.split_once("\", ").unwrap();
        let handlers = rest.lines().next().unwrap();
        for method in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                documented(&format!("`{} {path}`", method.to_uppercase()));
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count} routes were found in router.rs");
}

#[test]
fn every_word_of_an_answer_or_event_is_documented() {
    for verdict in Verdict::all() {
        documented(&format!("`{}`", verdict.reason()));
    }
    for kind in EventKind::ALL {
        documented(&format!("`{}`", kind.as_str()));
    }
}

#[tokio::test]
async fn every_metric_is_documented() {
    let (server, _) = server_at(1).await;
    let metrics = server.get("/metrics").await;
    for line in metrics.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        documented(&format!("`{}", line.split(' ').next().unwrap()));
    }
}
