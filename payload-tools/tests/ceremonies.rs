//! Several people sign what a publisher changes, each with a key of his own, and what goes wrong then.

mod program;

use program::Workshop;
use serde_json::Value;

const TIMESTAMP: &str =
    "--timestamp-key=3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

/// A repository that two of Ann, Bob and Eve have begun.
fn begun() -> Workshop {
    let desk = Workshop::empty();
    for name in ["ann", "bob", "eve", "dan"] {
        desk.json(&["keygen", "--publisher", name, "--name", name], 0);
    }
    let own = ["--name=targets", "--name=snapshot", "--compatible=demo"];
    desk.json(&[&["keygen", "--publisher=publisher"], &own[..]].concat(), 0);
    let keys = ["ann", "bob", "eve"].map(|name| format!("--key=root={name}/keys/{name}.pub"));
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let begins = ["init", "--publisher=publisher", "--compatible=demo", "--threshold=root=2"];
    desk.json(&[&begins[..], &[TIMESTAMP], &keys].concat(), 0);
    for name in ["ann", "bob"] {
        desk.signs(name, "publisher", 0);
    }
    assert!(desk.path("publisher/metadata/1.root.json").exists());
    desk
}

impl Workshop {
    fn signs(&self, name: &str, folder: &str, code: i32) -> Value {
        self.json(&["sign", "--publisher", folder, "--keys", &format!("{name}/keys")], code)
    }

    /// A change of who signs for root, as it is before anybody has signed it.
    fn rotates(&self, old: &str, new: &str) -> Value {
        let [old, new] = [old, new].map(|name| format!("{name}/keys/{name}.pub"));
        self.json(&["key", "rotate", "root", &old, &new, "--publisher=publisher"], 0)
    }

    /// Makes the draft what a server would have taken.
    fn publishes(&self) {
        let draft = self.path("publisher/draft");
        for entry in fs_err::read_dir(&draft).unwrap() {
            let entry = entry.unwrap();
            let to = self.path("publisher/metadata").join(entry.file_name());
            fs_err::rename(entry.path(), to).unwrap();
        }
        fs_err::remove_dir(draft).unwrap();
    }

    fn id(&self, name: &str) -> String {
        let kept = self.json(&["keygen", "--publisher", name, "--name", name], 0);
        kept["keys"][0]["id"].as_str().unwrap()[..16].to_owned()
    }

    fn refusal(&self, arguments: &[&str], code: i32) -> String {
        self.json(arguments, code)["error"].to_string()
    }
}

/// Root 2 has Dan in Eve's place.
fn without_eve() -> Workshop {
    let desk = begun();
    desk.rotates("eve", "dan");
    for name in ["ann", "bob"] {
        desk.signs(name, "publisher", 0);
    }
    desk.publishes();
    desk
}

#[test]
fn who_signs_nothing_is_told_why() {
    let desk = without_eve();
    desk.json(&["role", "threshold", "root", "3", "--publisher=publisher"], 0);
    let draft = || fs_err::read(desk.path("publisher/draft/3.root.json")).unwrap();
    let unsigned = draft();
    let (eve, ann) = (desk.id("eve"), desk.id("ann"));
    fs_err::create_dir(desk.path("empty")).unwrap();
    let refused = |keys: &str| desk.refusal(&["sign", "--publisher=publisher", "--keys", keys], 1);
    let said = refused("nosuch");
    assert!(said.contains("no key in nosuch: there is no such folder"), "{said}");
    assert!(said.contains(&ann), "whose keys are wanted: {said}");
    let said = refused("empty");
    assert!(said.contains("no key in empty"), "{said}");
    let said = refused("eve/keys");
    let wanted = format!(
        "the keys in eve/keys ({eve}) sign nothing of this draft: {eve} was taken out of root in version 2"
    );
    assert!(said.contains(&wanted), "{said}");
    let said = refused("publisher/keys");
    assert!(said.contains("sign nothing of this draft\""), "{said}");
    assert_eq!(draft(), unsigned);
    // Who has signed may say so again.
    desk.signs("ann", "publisher", 0);
    desk.signs("ann", "publisher", 0);
}

#[test]
fn a_key_that_was_taken_out_does_not_come_back_unnoticed() {
    let desk = without_eve();
    let eve = desk.id("eve");
    let wanted = format!("in       key {eve}, which was taken out of root in version 2");
    let lines = desk.rotates("bob", "eve")["papers"][0]["lines"].to_string();
    assert!(lines.contains(&wanted), "{lines}");
    let shown = ["sign", "--publisher=publisher", "--keys=ann/keys", "--dry-run"];
    assert!(desk.words(&shown).contains(&wanted));
    // In another role, too.
    desk.json(&["draft", "discard", "--publisher=publisher"], 0);
    let add = ["key", "add", "demo", "eve/keys/eve.pub", "--publisher=publisher"];
    let output = desk.payload(&add);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains(&wanted));
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.contains(&format!("warning: key {eve} was taken out of root")), "{warned}");
}

/// Who signs for a compatible, targets says; of its older versions those that are still there are asked.
#[test]
fn old_targets_tell_of_keys_that_were_taken_out() {
    let desk = begun();
    let key = |verb: &str, key: &str| {
        let done = desk.json(&["key", verb, "demo", key, "--publisher=publisher"], 0);
        desk.json(&["sign", "--publisher=publisher"], 0);
        done["papers"][0]["lines"].to_string()
    };
    key("add", "dan/keys/dan.pub");
    desk.publishes();
    key("revoke", "dan/keys/dan.pub");
    desk.publishes();
    let again = key("add", "dan/keys/dan.pub");
    assert!(again.contains("which was taken out of demo in targets version 3"), "{again}");
    // A file that nobody of the repository has signed tells nothing.
    let second = desk.path("publisher/metadata/2.targets.json");
    let text = fs_err::read_to_string(&second).unwrap();
    fs_err::write(&second, text.replacen("\"sig\":\"", "\"sig\":\"00", 1)).unwrap();
    let shown = desk.words(&["draft", "show", "--publisher=publisher"]);
    assert!(shown.contains("in       key") && !shown.contains("taken out"), "{shown}");
}

#[test]
fn a_draft_that_was_changed_after_it_was_signed_is_refused() {
    let desk = begun();
    desk.rotates("eve", "dan");
    let ann = desk.id("ann");
    desk.signs("ann", "publisher", 0);
    let path = desk.path("publisher/draft/2.root.json");
    let signed = fs_err::read_to_string(&path).unwrap();
    // Of root, the only role that two must sign.
    let changed = signed.replacen("\"threshold\":2", "\"threshold\":1", 1);
    assert_ne!(changed, signed);
    fs_err::write(&path, &changed).unwrap();
    let wanted = format!("a signature of {ann} is there and is not of this content");
    for verb in [&["sign", "--keys=bob/keys"][..], &["draft", "show"]] {
        let said = desk.refusal(&[verb, &["--publisher=publisher"]].concat(), 3);
        assert!(said.contains(&wanted), "{said}");
    }
    assert_eq!(fs_err::read_to_string(&path).unwrap(), changed);
    // It is not taken over from a stick either; where the draft itself is at hand, it goes on.
    fs_err::create_dir_all(desk.path("stick/draft")).unwrap();
    fs_err::rename(&path, desk.path("stick/draft/2.root.json")).unwrap();
    let merge = ["draft", "merge", "stick", "--publisher=publisher"];
    assert!(desk.refusal(&merge, 3).contains(&wanted));
    fs_err::write(&path, &signed).unwrap();
    assert!(desk.refusal(&merge, 3).contains(&wanted));
    assert_eq!(desk.signs("bob", "publisher", 0)["complete"], true);
    // A verb that changes it makes a draft that nobody has signed, and says so.
    let lower = ["role", "threshold", "root", "1", "--publisher=publisher"];
    let warned = String::from_utf8(desk.payload(&lower).stderr).unwrap();
    assert!(warned.contains("root version 2 is not signed any more by ") && warned.contains(&ann));
    let shown = desk.json(&["draft", "show", "--publisher=publisher"], 0);
    assert_eq!(shown["papers"][0]["signed"], serde_json::json!([]));
}

#[test]
fn a_folder_without_a_draft_is_not_merged() {
    let desk = begun();
    desk.rotates("eve", "dan");
    fs_err::create_dir(desk.path("stick")).unwrap();
    let said = desk.refusal(&["draft", "merge", "stick", "--publisher=publisher"], 1);
    assert!(said.contains("stick has no draft in it"), "{said}");
}

/// No server is to blame for a file of the folder's own.
#[test]
fn a_damaged_file_is_named_with_what_repairs_it() {
    let desk = without_eve();
    desk.rotates("bob", "eve");
    let pull = ["pull", "--publisher=publisher", "--server=http://127.0.0.1:9", "--token=none"];
    let show = ["draft", "show", "--publisher=publisher"];
    let damaged = |file: &str, arguments: &[&str], next: &str| {
        let path = desk.path("publisher").join(file);
        let whole = fs_err::read(&path).unwrap();
        fs_err::write(&path, "<html>").unwrap();
        let said = desk.refusal(arguments, 3);
        assert!(said.contains(&format!("publisher/{file} does not verify; {next}")), "{said}");
        assert!(!said.contains("server"), "{said}");
        fs_err::write(&path, whole).unwrap();
    };
    let again = "remove it, and `payload pull` fetches it again";
    for arguments in [&pull[..], &show] {
        damaged("metadata/2.root.json", arguments, again);
        damaged("metadata/1.root.json", arguments, "copy it anew");
    }
    damaged("metadata/1.targets.json", &show, again);
    damaged("metadata/1.demo.json", &show, again);
    damaged("draft/3.root.json", &show, "have it carried here again, or drop it");
    desk.json(&show, 0);
}

#[test]
fn what_is_wrong_with_a_command_is_named() {
    let desk = begun();
    let publisher = "--publisher=publisher";
    let said = desk.refusal(&["key", "rotate", "root", "nosuch.pub", "bob.pub", publisher], 2);
    assert!(
        said.contains("nosuch.pub is no public key, and there is no file of that name"),
        "{said}"
    );
    fs_err::write(desk.path("text"), "no key").unwrap();
    let said = desk.refusal(&["key", "add", "root", "text", publisher], 1);
    assert!(said.contains("text holds no public key"), "{said}");
    for verb in [&["publish", "--server=http://127.0.0.1:9", "--token=none"][..], &["sign"]] {
        let said = desk.refusal(&[verb, &["--publisher=nosuch"]].concat(), 1);
        assert!(said.contains("there is no nosuch") && !said.contains("init"), "{said}");
        let said = desk.refusal(&[verb, &["--publisher=ann"]].concat(), 1);
        assert!(said.contains("ann is no publisher's folder"), "{said}");
    }
    let said = desk.refusal(&["role", "threshold", "root", "0", publisher], 1);
    assert!(said.contains("need nobody's signature; give a threshold from 1 to 3"), "{said}");
    let said = desk.refusal(&["key", "revoke", "demo", "publisher/keys/demo.pub", publisher], 1);
    assert!(said.contains("demo would have no key"), "{said}");
}

/// Of two of three, one may be lost; of two of two, none.
#[test]
fn who_revokes_the_spare_key_of_root_is_warned() {
    let desk = begun();
    let warned = |arguments: &[&str]| {
        let output = desk.payload(&[arguments, &["--publisher=publisher"]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap().contains("lose one, and no root can follow")
    };
    assert!(!warned(&["key", "rotate", "root", "eve/keys/eve.pub", "dan/keys/dan.pub"]));
    assert!(warned(&["key", "revoke", "root", "dan/keys/dan.pub"]));
    assert!(!warned(&["key", "add", "root", "dan/keys/dan.pub"]));
    assert!(!warned(&["key", "revoke", "root", "dan/keys/dan.pub", "--threshold=1"]));
}

#[test]
fn more_signatures_than_are_needed_are_counted_right() {
    let desk = without_eve();
    desk.json(&["key", "add", "root", "eve/keys/eve.pub", "--publisher=publisher"], 0);
    // Bob signs a copy of it, while Ann and Dan sign the draft.
    for folder in ["metadata", "draft"] {
        fs_err::create_dir_all(desk.path("stick").join(folder)).unwrap();
        for entry in fs_err::read_dir(desk.path("publisher").join(folder)).unwrap() {
            let entry = entry.unwrap();
            let to = desk.path("stick").join(folder).join(entry.file_name());
            fs_err::copy(entry.path(), to).unwrap();
        }
    }
    desk.signs("bob", "stick", 0);
    desk.signs("ann", "publisher", 0);
    desk.signs("dan", "publisher", 0);
    desk.json(&["draft", "merge", "stick", "--publisher=publisher"], 0);
    let said = desk.words(&["draft", "show", "--publisher=publisher"]);
    assert!(said.contains("root version 3 is signed by 3 keys of root 2"), "{said}");
    assert!(said.contains("), and 2 are enough"), "{said}");
}
