//! What `payload publish` and its kin do at a real server.

use std::cell::RefCell;
use std::num::NonZero;

use payload_tools::admin::{AdminClient, AdminError};
use payload_tools::build::{BuildPlan, Encoding, build, default_salt};
use payload_tools::bundle::Bundle;
use payload_tools::format::Channel;
use payload_tools::keyring::Keeping;
use payload_tools::publish::{PublishError, Publisher, Transfer};
use payload_tools::repository::{Birth, Draft, PublisherFolder, RoleSeed, Statement};
use payload_tools::sign::Wishes;
use payload_tools::testing::{osrel, uki};
use payload_tools::trust::{PublicKey, Role};
use payload_tools::verify::Decoding;
use serde_json::json;
use tempfile::TempDir;

use crate::publisher::{Wanted, compatible, now};
use crate::served::{Served, served_folder};

/// Nobody watches the uploads.
struct Unseen;

impl Transfer for Unseen {
    fn checks(&self, _bytes: u64) {}

    fn uploads(&self, _bytes: u64) {}

    fn meter(&self) -> Box<dyn Fn(u64) + Send + Sync> {
        Box::new(|_| ())
    }

    fn ends(&self) {}
}

/// A server with a publisher's folder beside its own.
struct Team {
    served: Served,
    folder: TempDir,
    publisher: PublisherFolder,
}

impl Team {
    fn begun() -> Self {
        let folder = served_folder();
        let publisher = PublisherFolder::at(folder.path());
        let mut keyring = publisher.keyring().unwrap();
        let mut seed = |role: Role| {
            keyring.make(&role.to_string(), &Keeping::Plain).unwrap();
            RoleSeed::from(keyring.public(&role).unwrap().clone())
        };
        let key = std::fs::read_to_string(folder.path().join("data/timestamp.pub")).unwrap();
        let key: PublicKey = key.trim().parse().unwrap();
        let birth = Birth {
            root: seed(Role::Root),
            targets: seed(Role::Targets),
            snapshot: seed(Role::Snapshot),
            timestamp: key,
            compatibles: [(compatible(), seed(Role::from(&compatible())))].into(),
        };
        let mut draft = Draft::begin(&birth, now()).unwrap();
        draft.sign(&keyring).unwrap();
        publisher.keep(&draft).unwrap();
        Self { served: Served::start(folder.path()), folder, publisher }
    }

    fn client(&self, token: &str) -> AdminClient {
        AdminClient::new(&self.served.url, token).unwrap()
    }

    /// A release folder, as `payload build` leaves it; made once.
    fn release(&self, counter: u64) -> Bundle {
        let facts = Wanted { channels: &["stable"], ..Wanted::release(counter) }.facts();
        let path = |name: &str| self.folder.path().join(format!("{name}-{counter}"));
        let (out, kernel, root) = (path("release"), path("kernel"), path("root"));
        if !out.exists() {
            let text = osrel(facts.compatible.as_str(), facts.release.as_str(), counter);
            let sections: [(&str, &[u8]); 2] =
                [(".osrel", text.as_bytes()), (".cmdline", b"panic=10")];
            std::fs::write(&kernel, uki(&sections)).unwrap();
            std::fs::write(&root, format!("root of {counter}")).unwrap();
            let (salt, threads) = (default_salt(&facts.compatible), NonZero::<usize>::MIN);
            let encoding = Encoding { level: 1, salt, threads };
            let plan = BuildPlan { facts, kernel, root, encoding };
            build(&plan, &out, &|_| ()).unwrap();
        }
        Bundle::open(out).unwrap()
    }

    /// Publishes a release in one channel; what was to be signed, in words.
    async fn publish(&self, release: &Bundle, channel: &str) -> Result<String, PublishError> {
        let client = self.client(&self.served.token());
        let channels: [Channel; 1] = [channel.parse().unwrap()];
        let publisher = Publisher::begin(&self.publisher, &client).await?;
        let said = RefCell::new(String::new());
        let ask = |statement: &Statement| {
            said.replace(statement.to_string());
            Ok(())
        };
        let wishes = Wishes { channels: &channels, ..Wishes::default() };
        let publisher = publisher.decoding(Decoding::Here);
        publisher.release(release, wishes, now(), &ask, &Unseen).await?;
        Ok(said.into_inner())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_from_channel_to_channel_and_is_withdrawn_from_all() {
    let team = Team::begun();
    for counter in [1, 2] {
        team.publish(&team.release(counter), "stable").await.unwrap();
    }
    let said = team.publish(&team.release(2), "beta").await.unwrap();
    assert!(said.contains("channels   stable, beta"), "{said}");
    let signed = team.served.json(&["release", "list"]);
    assert_eq!(signed[0]["channels"], json!(["stable", "beta"]));
    for channel in team.served.json(&["channel", "list"]).as_array().unwrap() {
        assert_eq!((&channel["release"], &channel["offer"]), (&json!("2"), &json!("offered")));
    }
    let withdraw = async |release: &str| {
        let client = team.client(&team.served.token());
        let publisher = Publisher::begin(&team.publisher, &client).await.unwrap();
        let releases = [release.parse().unwrap()];
        publisher.withdraw(&compatible(), &releases, now(), &|_| Ok(())).await.unwrap()
    };
    let stranded = withdraw("2").await.stranded;
    assert_eq!(stranded.iter().map(Channel::as_str).collect::<Vec<_>>(), ["beta", "stable"]);
    assert!(withdraw("1").await.stranded.is_empty());
}

/// Somebody moves the channel while a person reads what is to be signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_moved_meanwhile_does_not_go_back() {
    let team = Team::begun();
    for counter in [1, 2] {
        team.publish(&team.release(counter), "stable").await.unwrap();
    }
    let (client, compatible) = (team.client(&team.served.token()), compatible());
    let move_to =
        |release| team.served.json(&["channel", "promote", compatible.as_str(), "stable", release]);
    move_to("1");
    let channels: [Channel; 1] = ["stable".parse().unwrap()];
    let publisher = Publisher::begin(&team.publisher, &client).await.unwrap();
    let publisher = publisher.decoding(Decoding::Here);
    let ask = |_: &Statement| {
        move_to("2");
        Ok(())
    };
    let wishes = Wishes { channels: &channels, ..Wishes::default() };
    let refused = publisher.release(&team.release(1), wishes, now(), &ask, &Unseen).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("channel stable goes back from 2 to 1"), "{refused}");
    assert_eq!(team.served.json(&["channel", "list"])[0]["release"], "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_found_before_anything_is_signed() {
    let team = Team::begun();
    let client = team.client("wrong");
    let error = Publisher::begin(&team.publisher, &client).await.err().unwrap();
    let PublishError::Server(AdminError::Refused { info, .. }) = error else { panic!("{error:?}") };
    assert_eq!(info.code, "unauthorized");
}
