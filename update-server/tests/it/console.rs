use serde_json::json;

use crate::publisher::{Wanted, server_at};
use crate::server::{DEVICE, TestServer};

#[tokio::test]
async fn the_page_shows_channels_releases_and_last_words() {
    let (server, _) = server_at(2).await;
    server.check(1, json!({ "failed": ["2"] })).await;
    let reason = "demo.service answered <script>alert(1)</script> & died";
    let event = json!({
        "id": "00".repeat(16), "at": "2026-11-01T00:00:00Z", "kind": "health_failed",
        "release": "2", "slot": "B", "from": "1", "reason": reason
    });
    let report = json!({ "device": DEVICE, "compatible": "demo-x86_64", "events": [event] });
    server.post("/v1/events", report).await.ok();
    let page = server.get("/").await.ok();
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for text in [
        "<b>stable</b>",
        "until snapshot expires: payload renew",
        "until the timestamp expires (it renews itself), snapshot 2",
        "</small></td><td>stable</td>",
        DEVICE,
        "health failed",
        "2 failed its trial on this device",
        "demo.service answered &lt;script&gt;alert(1)&lt;/script&gt; &amp; died",
        "http-equiv=\"refresh\"",
    ] {
        assert!(page.text().contains(text), "{text}\n{}", page.text());
    }
    assert!(!page.text().contains("<script"));
}

#[tokio::test]
async fn a_channel_at_a_release_that_nobody_gets_is_red() {
    let (server, mut publisher) = server_at(2).await;
    let sees = async |offer: &str, chip: &str| {
        assert_eq!(server.admin_get("channels").await.json()[0]["offer"], offer);
        let page = server.get("/").await.ok();
        assert!(page.text().contains(chip), "{chip}\n{}", page.text());
    };
    sees("offered", "<span class=\"chip good\">offered</span>").await;
    let only_beta = Wanted { channels: &["beta"], ..Wanted::release(2) };
    publisher.publish(&server, &only_beta).await.ok();
    let bad = |what: &str| format!("<span class=\"chip bad\">{what}: no device gets it</span>");
    sees("not_signed", &bad("2 is not signed for stable")).await;
    publisher.withdraw(&server, 2).await;
    sees("withdrawn", &bad("2 is withdrawn")).await;
    server.admin_put("channels/demo-x86_64/stable", json!({ "pin": "1" })).await.ok();
    sees("offered", "pinned to 1").await;
}

#[tokio::test]
async fn an_empty_server_says_what_to_do_next() {
    let server = TestServer::new().await;
    let page = server.get("/").await.ok();
    for text in ["No channel yet", "No release yet", "No device has asked yet"] {
        assert!(page.text().contains(text));
    }
    assert_eq!(server.get("/console.css").await.ok().header("content-type"), "text/css");
}
