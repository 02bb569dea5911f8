//! The real program: its files, its death, its end.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::served::{Served, http, init, program, served_folder, text};
use crate::server::DEVICE;

#[test]
fn init_makes_secrets_that_only_the_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path());
    let data = folder.path().join("data");
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap().trim().to_owned();
    let (key, token) = (read(data.join("timestamp.pub")), read(folder.path().join("token")));
    assert_eq!(key.len(), 64);
    let shown = text(&output.stdout);
    let file = folder.path().join("token");
    assert!(shown.contains(&key) && shown.contains(file.to_str().unwrap()), "{shown}");
    let next = text(&output.stderr);
    let (keygen, init) = (next.find("payload keygen --compatible"), next.find("payload init"));
    assert!(keygen.is_some() && keygen < init, "the keys come first: {next}");
    assert!(next.contains("payload init --compatible NAME --timestamp-key"), "{next}");
    for shown in [shown, next] {
        assert!(!shown.contains(&token), "what goes to a file goes nowhere else: {shown}");
    }
    let store = std::fs::read(data.join("store.sqlite")).unwrap();
    assert!(!text(&store).contains(&token), "the token is in the store");
    for (path, mode) in [
        (data.clone(), 0o700),
        (data.join("timestamp.key"), 0o600),
        (folder.path().join("token"), 0o600),
    ] {
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
}

#[test]
fn without_a_file_init_shows_the_token_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut init = program();
    let output =
        init.args(["init", "--json", "--data"]).arg(folder.path().join("data")).output().unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(made["token"].as_str().unwrap().starts_with("seesaw_"), "{made}");
    assert_eq!(made.get("token_file"), None);
}

#[test]
fn init_overwrites_nothing() {
    let folder = served_folder();
    let key = folder.path().join("data/timestamp.key");
    let before = std::fs::read(&key).unwrap();
    let again = init(folder.path());
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("already holds a server"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(&key).unwrap(), before);
}

#[test]
fn a_folder_is_served_by_one_process() {
    let folder = served_folder();
    let _served = Served::start(folder.path());
    let data = folder.path().join("data");
    let second =
        program().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("is served by another process"));
}

#[test]
fn what_is_no_address_is_answered_with_one() {
    for wrong in ["8080", "localhost:8080"] {
        let serve = program().args(["serve", "--data", "x", "--listen", wrong]).output().unwrap();
        assert_eq!(serve.status.code(), Some(2));
        let said = text(&serve.stderr);
        assert!(said.contains("an IP address and a port, as in 127.0.0.1:8080"), "{said}");
        let list = ["channel", "list", "--token", "x", "--server", wrong];
        let said = text(&program().args(list).output().unwrap().stderr);
        assert!(said.contains("give one as in http://127.0.0.1:8080"), "{said}");
    }
}

/// Each download takes two files: the usual soft limit of 1024 is soon used up.
#[test]
fn a_server_may_open_as_many_files_as_its_hard_limit_allows() {
    let folder = served_folder();
    let served = Served::start_under("ulimit -S -n 64", folder.path());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: Vec<_> = files.split_whitespace().skip(3).collect();
    assert!(files[0] == files[1] && files[0] != "64", "{files:?}");
}

#[test]
fn the_journal_gives_lines_their_time() {
    let folder = served_folder();
    let log = folder.path().join("log");
    let to_log = format!("exec 2>{}", log.display());
    let journal = format!("export JOURNAL_STREAM=$(stat -c %d:%i {})", log.display());
    for (first, dated) in [(to_log.clone(), true), (format!("{to_log} && {journal}"), false)] {
        Served::start_under(&first, folder.path()).stop();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("INFO update_server::serve: serving address="), "{said}");
        let has_time = said.starts_with("20");
        assert_eq!(has_time, dated, "{said}");
    }
}

#[test]
fn a_server_may_be_stopped_as_soon_as_it_says_that_it_serves() {
    let folder = served_folder();
    for _ in 0..20 {
        assert_eq!(Served::start(folder.path()).stop().code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_writes_down_the_last_polls() {
    let folder = served_folder();
    let served = Served::start(folder.path());
    let report = json!({
        "device": DEVICE, "compatible": "demo", "slot": "A", "release": "1", "counter": 1
    });
    let answer =
        http().post(format!("{}/v1/check", served.url)).json(&report).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(served.stop().code(), Some(0));
    let log = std::fs::metadata(folder.path().join("data/store.sqlite-wal"));
    assert!(log.map_or(true, |log| log.len() == 0), "the store is not one file");
    let served = Served::start(folder.path());
    let list = served.json(&["device", "list"]);
    assert_eq!(list["devices"][0]["check"]["reason"], "no_channel");
}

#[test]
fn a_token_is_added_and_revoked_beside_the_running_server() {
    let folder = served_folder();
    let served = Served::start(folder.path());
    let (data, file) = (folder.path().join("data"), folder.path().join("ann"));
    let token = |arguments: &[&str]| {
        program().arg("token").args(arguments).arg("--data").arg(&data).output().unwrap()
    };
    let works = |file: &Path| {
        let mut list = program();
        list.args(["release", "list", "--server", &served.url, "--token-file"]).arg(file);
        list.output().unwrap().status.success()
    };
    let add = token(&["add", "ann", "--token-file", file.to_str().unwrap()]);
    assert!(add.status.success(), "{}", text(&add.stderr));
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(!text(&add.stdout).contains(secret.trim()), "{}", text(&add.stdout));
    assert!(works(&file) && works(&served.token_file));

    let again = token(&["add", "ann"]);
    assert!(text(&again.stderr).contains("there is a token ann already"));
    let list = text(&token(&["list"]).stdout);
    let names: Vec<_> = list.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["first", "ann"]);

    let revoked = token(&["revoke", "first"]);
    assert!(revoked.status.success() && revoked.stderr.is_empty(), "{revoked:?}");
    assert!(works(&file) && !works(&served.token_file));
    let gone = token(&["revoke", "first"]);
    assert!(text(&gone.stderr).contains("there is no token first"), "{}", text(&gone.stderr));
    let last = token(&["revoke", "ann"]);
    assert!(last.status.success(), "{last:?}");
    assert!(text(&last.stderr).contains("That was the last token"), "{}", text(&last.stderr));
}

#[test]
fn the_verbs_print_tables_and_say_why_not() {
    let folder = served_folder();
    let served = Served::start(folder.path());
    let list = served.run(&["channel", "list"]);
    assert_eq!(text(&list.stdout), "COMPATIBLE  CHANNEL  RELEASE  PIN  STATE  DEFAULT\n");
    let create = served.run(&["channel", "create", "demo", "stable", "1"]);
    assert_eq!(create.status.code(), Some(1));
    let expected = "error: the signed list of demo has no release 1 (unknown_release)\nhint: ";
    assert!(text(&create.stderr).starts_with(expected), "{}", text(&create.stderr));
    let create = served.run(&["channel", "create", "demo", "stable", "1", "--json"]);
    let said: Value = serde_json::from_slice(&create.stdout).unwrap();
    let messages = json!(["the signed list of demo has no release 1 (unknown_release)"]);
    assert_eq!(said["error"]["messages"], messages);
    assert!(said["error"]["hint"].is_string() && create.stderr.is_empty(), "{said}");
    let token = program().args(["token", "list", "--json", "--data", "nowhere"]).output().unwrap();
    let said: Value = serde_json::from_slice(&token.stdout).unwrap();
    assert!(said["error"]["messages"][0].as_str().unwrap().contains("nowhere"), "{said}");
    let bare = program().args(["device", "list", "--server", &served.url]).output().unwrap();
    assert!(text(&bare.stderr).contains("--token-file"), "{}", text(&bare.stderr));
    let url = served.url.clone();
    drop(served);
    let gone =
        program().args(["device", "list", "--token", "x", "--server", &url]).output().unwrap();
    assert!(text(&gone.stderr).starts_with(&format!("error: no answer from {url}")));
}
