use super::graph::{Edge, Graph, edge, file_of, search};
use super::world::{DAY, NOW, World};
use crate::repository::Published;
use crate::trust::metadata::{Files, Hashes, Targets, Unverified};
use crate::trust::role::Layout;
use crate::trust::{
    Client, Limits, MAX_ROLES, Malformed, Misbehaviour, Role, TrustError, UnixTime,
};

fn asked(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("1.{name}.json")).collect()
}

fn fault(error: TrustError) -> (String, Misbehaviour) {
    match error {
        TrustError::Misbehaved { role, fault, .. } => (role.to_string(), fault),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_order(table: &[(&str, Vec<Edge>, &[&str])]) {
    for (name, edges, order) in table {
        assert_eq!(Graph::new(edges).search("missing"), (None, asked(order)), "{name}");
    }
}

#[test]
fn roles_are_searched_depth_first_in_order_of_appearance() {
    check_order(&[
        ("one", vec![edge("targets", "A")], &["A"]),
        ("one level", vec![edge("targets", "A"), edge("targets", "B")], &["A", "B"]),
        (
            "two levels",
            vec![edge("targets", "A"), edge("targets", "B"), edge("B", "C")],
            &["A", "B", "C"],
        ),
        (
            "depth first",
            vec![edge("targets", "A"), edge("targets", "B"), edge("A", "C"), edge("A", "D")],
            &["A", "C", "D", "B"],
        ),
        (
            "three levels",
            vec![edge("targets", "A"), edge("targets", "B"), edge("A", "C"), edge("C", "D")],
            &["A", "C", "D", "B"],
        ),
        (
            "circle",
            vec![
                edge("targets", "A"),
                edge("targets", "B"),
                edge("B", "C"),
                edge("C", "D"),
                edge("D", "B"),
            ],
            &["A", "B", "C", "D"],
        ),
        (
            "two ways to one role",
            vec![edge("targets", "A"), edge("targets", "B"), edge("B", "C"), edge("A", "C")],
            &["A", "C", "B"],
        ),
    ]);
}

#[test]
fn terminating_roles_and_paths_narrow_the_search() {
    check_order(&[
        (
            "a terminating role ends the search on every level",
            vec![
                edge("targets", "A"),
                edge("targets", "B"),
                edge("A", "C").terminating(),
                edge("A", "D"),
            ],
            &["A", "C"],
        ),
        (
            "a terminating role may delegate",
            vec![
                edge("targets", "A"),
                edge("targets", "B"),
                edge("A", "C").terminating(),
                edge("C", "D"),
            ],
            &["A", "C", "D"],
        ),
        (
            "a terminating role for others ends nothing",
            vec![edge("targets", "A").paths(&["*.py"]).terminating(), edge("targets", "B")],
            &["B"],
        ),
        (
            "other paths below",
            vec![
                edge("targets", "A"),
                edge("targets", "B"),
                edge("A", "C").paths(&["*.py"]),
                edge("C", "D"),
            ],
            &["A", "B"],
        ),
        (
            "one way for this path",
            vec![
                edge("targets", "A"),
                edge("targets", "B"),
                edge("B", "C"),
                edge("A", "C").paths(&["*.py"]),
            ],
            &["A", "B", "C"],
        ),
    ]);
}

#[test]
fn a_target_counts_where_every_role_above_is_trusted_for_it() {
    let graph = Graph::new(&[
        edge("targets", "A").paths(&["*.doc", "*.md", "foo-?.tgz"]),
        edge("targets", "B").paths(&["releases/*/*"]),
        edge("B", "C").paths(&["releases/x/*"]),
        edge("B", "D").paths(&["releases/y/*.zip"]),
    ])
    .target("targets", "top")
    .target("A", "README.md")
    .target("A", "releases/README.md")
    .target("A", "foo-alpha.tgz")
    .target("C", "releases/x/1")
    .target("C", "other/x/1")
    .target("D", "releases/y/1.zip")
    .target("D", "releases/z/1.zip");
    for (path, by, order) in [
        ("top", Some("targets"), &[][..]),
        ("README.md", Some("A"), &["A"]),
        ("README.MD", None, &[]),
        ("releases/README.md", None, &[]),
        ("foo-alpha.tgz", None, &[]),
        ("foo-1.tgz", None, &["A"]),
        ("releases/x/1", Some("C"), &["B", "C"]),
        ("other/x/1", None, &[]),
        ("releases/y/1.zip", Some("D"), &["B", "D"]),
        ("releases/z/1.zip", None, &["B"]),
    ] {
        let (found, order_found) = graph.search(path);
        assert_eq!(order_found, asked(order), "{path}");
        let content = by.map(|role| format!("{role} says {path}"));
        let checked =
            found.zip(content.clone()).map(|(target, content)| target.check(content.as_bytes()));
        assert_eq!(checked.map(|check| check.is_ok()), content.map(|_| true), "{path}");
    }
}

#[test]
fn the_first_role_that_names_a_target_is_believed() {
    let both = || Graph::new(&[edge("targets", "A"), edge("targets", "B")]).target("B", "x");
    let (found, order) = both().target("A", "x").search("x");
    assert!(found.unwrap().check(b"A says x").is_ok());
    assert_eq!(order, asked(&["A"]));
    let (found, order) = both().search("x");
    assert!(found.unwrap().check(b"B says x").is_ok());
    assert_eq!(order, asked(&["A", "B"]));
}

/// In one client and in the next one, which begins with what the first stored.
#[test]
fn a_role_known_through_one_delegator_is_verified_again_through_another() {
    let graph = Graph::new(&[
        edge("targets", "left").paths(&["left/*"]),
        edge("targets", "right").paths(&["right/*"]),
        edge("left", "both").paths(&["left/*"]),
        edge("right", "both").paths(&["right/*"]).unsigned(),
    ])
    .target("both", "left/x")
    .target("both", "right/x");
    let files = graph.files();
    let mut client = graph.client();
    let (found, _) = search(&mut client, "left/x", &files);
    assert!(found.unwrap().is_some());
    let refused = |client: &mut Client| {
        let (by, fault) = fault(search(client, "right/x", &files).0.unwrap_err());
        assert!(matches!(fault, Misbehaviour::Threshold { valid: 0, .. }), "{fault:?}");
        assert_eq!(by, "both");
    };
    refused(&mut client);
    let mut next = graph.client_with(&client.files());
    assert_eq!(run_top(&mut next, &files), ["2.root.json", "timestamp.json"]);
    let (found, order) = search(&mut next, "left/x", &files);
    assert!(found.unwrap().is_some());
    assert!(order.is_empty(), "{order:?}");
    refused(&mut next);
}

fn run_top(client: &mut Client, files: &Files) -> Vec<String> {
    super::world::run(client, files).unwrap()
}

#[test]
fn a_role_that_cannot_be_had_ends_the_search() {
    let graph = || Graph::new(&[edge("targets", "A"), edge("targets", "B")]).target("B", "x");
    // Not named by the snapshot: not even asked for.
    let mut unnamed = graph();
    unnamed.unnamed.insert("A".to_owned());
    let mut client = unnamed.client();
    let (by, found) = fault(client.find("x").unwrap_err());
    assert!(matches!(&found, Misbehaviour::NotNamed { file } if file == "A.json"), "{found:?}");
    assert_eq!(by, "snapshot");
    // Past its date, signed by somebody else, another file, none at all.
    let mut expired = graph();
    expired.expired.insert("A".to_owned());
    let stranger = Graph::new(&[edge("targets", "A").unsigned(), edge("targets", "B")]);
    for (graph, name) in [(expired, "expired"), (stranger.target("B", "x"), "unsigned")] {
        let (by, found) = fault(search(&mut graph.client(), "x", &graph.files()).0.unwrap_err());
        assert_eq!(by, "A");
        let expected = match &found {
            Misbehaviour::Expired { .. } => "expired",
            Misbehaviour::Threshold { .. } => "unsigned",
            _ => "",
        };
        assert_eq!(expected, name, "{found:?}");
    }
    let graph = graph();
    let mut files = graph.files();
    let honest = files["1.A.json"].clone();
    files.get_mut("1.A.json").unwrap()[9] ^= 1;
    let mut client = graph.client();
    let (_, found) = fault(search(&mut client, "x", &files).0.unwrap_err());
    assert!(matches!(found, Misbehaviour::WrongHash), "{found:?}");
    files.remove("1.A.json");
    let error = search(&mut client, "x", &files).0.unwrap_err();
    assert!(matches!(&error, TrustError::Missing { file, .. } if file == "1.A.json"), "{error:?}");
    assert!(matches!(client.found(), Err(TrustError::OutOfTurn(_))));
    // The same search goes on from there with another server's file, and B is not overlooked.
    files.insert("1.A.json".to_owned(), honest);
    assert_eq!(super::world::run(&mut client, &files).unwrap(), asked(&["A", "B"]));
    assert!(client.found().unwrap().is_some());
}

/// A role after the one that fails is trusted less: it must not be asked in its stead, however often
/// the reply before it is fed.
#[test]
fn a_reply_fed_again_does_not_skip_the_role_after_it() {
    let edges = [edge("targets", "A"), edge("targets", "B"), edge("targets", "C")];
    let mut graph = Graph::new(&edges).target("C", "x");
    graph.unnamed.insert("B".to_owned());
    let (mut client, files) = (graph.client(), graph.files());
    client.find("x").unwrap();
    for _ in 0..2 {
        let (_, found) = fault(super::world::run(&mut client, &files).unwrap_err());
        assert!(matches!(&found, Misbehaviour::NotNamed { file } if file == "B.json"), "{found:?}");
        assert!(client.found().is_err());
    }
}

#[test]
fn bins_by_the_hash_of_the_path_are_found() {
    let names: Vec<_> = (0..16).map(|bin| format!("bin-{bin:x}")).collect();
    let bins = names.iter().map(|name| edge("bins", name).bin(&[&name[4..]]));
    let top = edge("targets", "bins").paths(&["*/*"]);
    let edges: Vec<_> = [top].into_iter().chain(bins).collect();
    // By `printf demo/1 | sha256sum`.
    for (path, bin) in [("demo/1", "3"), ("demo/2", "4"), ("demo/3", "2")] {
        let role = format!("bin-{bin}");
        let graph = Graph::new(&edges).target(&role, path);
        let (found, order) = graph.search(path);
        assert_eq!(order, asked(&["bins", &role]), "{path}");
        assert!(found.is_some(), "{path}");
    }
    for (prefixes, order) in [(["0", "3a665e"], &[][..]), (["0", "3a665d"], &["A"])] {
        let graph = Graph::new(&[edge("targets", "A").bin(&prefixes)]);
        assert_eq!(graph.search("demo/1"), (None, asked(order)));
    }
}

#[test]
fn a_delegation_has_patterns_or_bins() {
    let graph = Graph::new(&[edge("targets", "A").paths_and_bin(&["0"])]);
    let mut client = graph.client_with(&Files::new());
    let (by, found) = fault(super::world::run(&mut client, &graph.files()).unwrap_err());
    let Misbehaviour::Malformed(Malformed::PathsTwice(role)) = found else { panic!("{found:?}") };
    assert_eq!((by.as_str(), role.as_str()), ("targets", "A"));
}

#[test]
fn a_search_ends_after_so_many_roles() {
    let name = |n: usize| if n == 0 { "targets".to_owned() } else { format!("role-{n}") };
    let chain =
        |roles: usize| -> Vec<_> { (0..roles).map(|n| edge(&name(n), &name(n + 1))).collect() };
    let (_, order) = Graph::new(&chain(MAX_ROLES)).search("x");
    assert_eq!(order.len(), MAX_ROLES);
    let graph = Graph::new(&chain(MAX_ROLES + 1));
    let error = search(&mut graph.client(), "x", &graph.files()).0.unwrap_err();
    assert!(matches!(error, TrustError::EndlessRoles { count: MAX_ROLES, .. }), "{error:?}");
}

#[test]
fn unusual_names_are_asked_for_as_one_segment() {
    for (name, quoted) in [("?", "%3F"), ("#", "%23"), ("/a", "%2Fa"), ("../a", "..%2Fa")] {
        let graph = Graph::new(&[edge("targets", name)]);
        let mut client = graph.client();
        let (found, order) = search(&mut client, "x", &graph.files());
        assert!(found.unwrap().is_none());
        assert_eq!(order, asked(&[quoted]));
        assert!(client.files().contains_key(&format!("{quoted}.json")));
        assert!(client.files().keys().all(|name| !name.contains('/')));
    }
    let graph = Graph::new(&[edge("targets", "A")]).target("A", "a b?");
    let (found, _) = graph.search("a b?");
    let found = found.unwrap();
    let (_, name) = found.published_path().split_once('.').unwrap();
    assert_eq!(name, "a%20b%3F");
}

#[test]
fn a_delegated_role_is_not_called_like_a_top_level_one() {
    let text = String::from_utf8(World::new().targets_file()).unwrap();
    for name in ["root", "timestamp", "snapshot", "targets", "7.root", ""] {
        let changed = text.replace("\"name\":\"demo\"", &format!("\"name\":\"{name}\""));
        assert_ne!(changed, text);
        let read = Unverified::<Targets>::parse(&Role::Targets, changed.as_bytes());
        let (_, found) = fault(read.map(drop).unwrap_err());
        assert!(matches!(found, Misbehaviour::Malformed(_)), "{found:?}");
    }
}

#[test]
fn a_target_is_checked_by_every_hash_that_is_known() {
    let content = b"content";
    let short = file_of(content).hashes.sha256;
    let long = "b2d1d285b5199c85f988d03649c37e44fd3dde01e5d69c50fef90651962f48110e9340b60d49a479c4c0b53f5f07d690686dd87d2481937a512e8b85ee7c617f";
    let hashes = |value: serde_json::Value| serde_json::from_value::<Hashes>(value).unwrap();
    let long_only = hashes(serde_json::json!({ "sha512": long }));
    let wrong = format!("00{}", &long[2..]);
    for (name, hashes, good) in [
        ("SHA-256", Hashes { sha256: short, sha512: None }, true),
        ("SHA-512", long_only.clone(), true),
        ("both", Hashes { sha256: short, ..long_only.clone() }, true),
        (
            "both, one wrong",
            Hashes { sha256: short, ..hashes(serde_json::json!({ "sha512": wrong })) },
            false,
        ),
        ("one unknown beside", hashes(serde_json::json!({ "sha512": long, "md5": "00" })), true),
    ] {
        let mut graph = Graph::new(&[]);
        let file = crate::trust::metadata::TargetFile { hashes, ..file_of(content) };
        graph.targets.push(("targets".to_owned(), "x".to_owned(), file));
        let target = graph.search("x").0.unwrap();
        assert_eq!(target.check(content).is_ok(), good, "{name}");
        for other in [&b"kontent"[..], b"content ", b""] {
            assert!(matches!(target.check(other), Err(Misbehaviour::WrongHash)), "{name}");
        }
    }
    let mut graph = Graph::new(&[]);
    let unknown = hashes(serde_json::json!({ "sha1": "00" }));
    let file = crate::trust::metadata::TargetFile { hashes: unknown, ..file_of(content) };
    graph.targets.push(("targets".to_owned(), "x".to_owned(), file));
    let (by, found) = fault(graph.client().find("x").unwrap_err());
    assert!(matches!(found, Misbehaviour::Malformed(Malformed::Target { .. })), "{found:?}");
    assert_eq!(by, "targets");
    let bad = serde_json::json!({ "sha512": "../../x" });
    assert!(serde_json::from_value::<Hashes>(bad).is_err());
}

#[test]
fn a_repository_without_consistent_snapshots_has_plain_names() {
    let mut graph = Graph::new(&[edge("targets", "A").paths(&["a/*"])]).target("A", "a/x");
    graph.layout = Layout::Plain;
    let mut client = graph.client_with(&Files::new());
    let files = graph.files();
    assert_eq!(
        run_top(&mut client, &files),
        ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"]
    );
    let (found, order) = search(&mut client, "a/x", &files);
    assert_eq!(order, ["A.json"]);
    let found = found.unwrap().unwrap();
    assert_eq!((found.path(), found.published_path()), ("a/x", "a/x"));
    // Ours is never laid out so: server and publisher refuse it.
    let mut world = World::new();
    world.layout = Layout::Plain;
    let error = Published::load(&world.files(), 1).map(drop).unwrap_err();
    let (by, found) = fault(error);
    assert!(matches!(found, Misbehaviour::Malformed(Malformed::NotConsistent)), "{found:?}");
    assert_eq!(by, "root");
}

#[test]
fn a_client_without_a_goal_has_nothing_to_show() {
    let graph = Graph::new(&[]);
    let (mut client, _) =
        Client::top_level(&graph.root(), &Files::new(), NOW, Limits::default()).unwrap();
    assert!(matches!(client.find("x"), Err(TrustError::OutOfTurn(_))));
    let client = graph.client();
    assert!(matches!(client.found(), Err(TrustError::OutOfTurn(_))));
    assert!(matches!(client.finish(), Err(TrustError::OutOfTurn(_))));
    let late = UnixTime::from_secs(NOW.as_secs() + DAY);
    assert!(Client::top_level(&graph.root(), &Files::new(), late, Limits::default()).is_ok());
}
