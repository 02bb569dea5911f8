//! What the `payload` program tells of costs: of a delta by files, of an update by ways.

mod program;

use std::process::{Command, Stdio};

use payload_tools::testing::{noise, osrel, uki};
use program::Workshop;
use serde_json::{Value, json};

impl Workshop {
    /// With releases 1 and 2, each of an ext4 file system and a kernel image.
    fn new() -> Self {
        let workshop = Self::empty();
        for (release, counter, seed) in [("1", 1, 1), ("2", 2, 2)] {
            let text = osrel("demo-x86_64", release, counter);
            let sections: [(&str, &[u8]); 3] = [
                (".osrel", text.as_bytes()),
                (".cmdline", b"quiet panic=10"),
                (".linux", &noise(7, 60_000)),
            ];
            fs_err::write(workshop.path("os.efi"), uki(&sections)).unwrap();
            let root = format!("{release}.ext4");
            workshop.put("usr/bin/same", &[&b"\x7FELF"[..], &noise(9, 700_000)].concat());
            workshop.put("usr/lib/modules/6.1/net.ko", &noise(seed, 100_000));
            workshop.put("etc/release", release.as_bytes());
            workshop.mke2fs(&root);
            let build = ["build", "--compatible=demo-x86_64", "--kernel=os.efi"];
            let of = ["--release", release, "--counter", release, "--root", &root];
            let out = format!("--out=release-{release}");
            workshop.json(&[&build[..], &of, &[&out]].concat(), 0);
        }
        workshop
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.path("tree").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// The tree as it is now.
    fn mke2fs(&self, name: &str) {
        let mut command = Command::new("mke2fs");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).current_dir(self.folder.path());
        let options = "-q -F -t ext4 -b 4096 -m 0 -O ^has_journal -d tree";
        command.args(options.split(' ')).args([name, "6144k"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("this test needs mke2fs (package e2fsprogs)");
        assert!(status.success(), "{command:?}");
    }

    fn refused(&self, arguments: &[&str], code: i32) -> String {
        self.json(arguments, code)["error"]["messages"].to_string()
    }

    /// The delta of the root, made in release 2.
    fn delta(&self) -> String {
        let made = self.json(&["delta", "release-1", "release-2"], 0);
        let deltas = made["deltas"].as_array().unwrap();
        let root = deltas.iter().find(|delta| delta["role"] == "root").unwrap();
        root["file"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_delta_is_told_by_files_to_who_has_the_new_image() {
    let workshop = Workshop::new();
    let delta = workshop.delta();
    let found = workshop.json(&["inspect", &delta, "--image=release-2", "--old=release-1"], 0);
    let spent = &found["spent"];
    assert_eq!(spent["files"][0]["path"], "usr/lib/modules/6.1/net.ko");
    assert_eq!(spent["files"][0]["class"], "kernel_module");
    let classes = spent["classes"].as_object().unwrap();
    let sum: u64 = classes.values().map(|class| class["bytes"].as_u64().unwrap()).sum();
    assert_eq!(found["size"], sum + spent["head"].as_u64().unwrap(), "{found}");
    // An image is as good as the release with it.
    let of_image = workshop.json(&["inspect", &delta, "--image=2.ext4", "--old=1.ext4"], 0);
    assert_eq!(&of_image["spent"], spent);
    let one = ["inspect", &delta, "--image=2.ext4", "--top=1"];
    let said = workshop.words(&one);
    assert!(said.contains("for the delta's own head\n"), "{said}");
    assert!(said.contains("kernel modules\n"), "{said}");
    let of = spent["files_count"].as_u64().unwrap();
    assert!(said.contains(&format!("the most expensive files, 1 of {of}:\n")), "{said}");
    assert_eq!(said.matches("net.ko").count(), 1, "{said}");
    assert!(!said.contains("usr/bin/same"), "{said}");
    // Nothing of this without an image.
    assert_eq!(workshop.json(&["inspect", &delta], 0).get("spent"), None);
}

#[test]
fn a_delta_is_not_told_by_files_of_another_image() {
    let workshop = Workshop::new();
    let delta = workshop.delta();
    let inspect =
        |arguments: &[&str], code| workshop.refused(&[&["inspect"], arguments].concat(), code);
    let said = inspect(&[&delta, "--image=release-1"], 3);
    assert!(said.contains("release-1 has no image with the tree root"), "{said}");
    let said = inspect(&[&delta, "--image=2.ext4", "--old=2.ext4"], 3);
    assert!(said.contains("is made of other content than the old image has there"), "{said}");
    let said = inspect(&[&delta, "--image=1.ext4", "--old=1.ext4"], 3);
    assert!(said.contains("makes other bytes than the new image has"), "{said}");
    let said = inspect(&[&delta, "--image=os.efi"], 3);
    assert!(said.contains("and the delta is for one of 6291456"), "{said}");
    let said = inspect(&["release-2", "--image=2.ext4"], 2);
    assert!(said.contains("release-2 is no delta, and --image tells of deltas only"), "{said}");
    assert!(inspect(&[&delta, "--image=absent"], 1).contains("there is no absent"));
    assert_eq!(workshop.payload(&["inspect", &delta, "--old=1.ext4"]).status.code(), Some(2));
}

#[test]
fn an_update_is_told_by_ways() {
    let workshop = Workshop::new();
    let fleet = ["--devices=1000", "--rate=8", "--uplink=100"];
    let simulate = [&["simulate", "release-1", "release-2"][..], &fleet].concat();
    let found = workshop.json(&simulate, 0);
    let update = &found["updates"][0];
    let ways = |of: &Value| -> Vec<(String, u64)> {
        let ways = of["ways"].as_array().unwrap().iter();
        let way = |way: &Value| (way["way"].to_string(), way["device_bytes"].as_u64().unwrap());
        ways.map(way).collect()
    };
    let of = ways(update);
    let names: Vec<_> = of.iter().map(|(name, _)| name.trim_matches('"')).collect();
    assert_eq!(names, ["full", "block_hashes", "booted", "delta", "cheapest"]);
    let bytes: Vec<_> = of.iter().map(|(_, bytes)| *bytes).collect();
    let [full, block_hashes, booted, delta, cheapest] = bytes[..] else { panic!("{of:?}") };
    assert!(cheapest <= booted && cheapest <= delta && booted <= full, "{of:?}");
    // What is new is 100 kB of noise; a hash is for each of 1,500 blocks.
    assert!((100_000..115_000).contains(&delta), "{of:?}");
    assert!((150_000..165_000).contains(&block_hashes), "{of:?}");
    assert!(full > 800_000, "{of:?}");
    // Of both images: what the trees and the payloads that were built say.
    let images = update["images"].as_array().unwrap();
    let sum: u64 = images.iter().map(|image| ways(image)[0].1).sum();
    assert_eq!(sum, full);
    assert_eq!(update["ways"][0]["fleet_bytes"], full * 1000);
    let takes = |what: &str, seconds: f64| {
        let found = update["ways"][0][what].as_f64().unwrap();
        assert!((found - seconds).abs() < 1e-6, "{what}: {found}, not {seconds}");
    };
    takes("device_seconds", full as f64 / 1e6);
    takes("fleet_seconds", full as f64 * 1000.0 / 12.5e6);
    assert_eq!(found["total"], Value::Null);
    // The deltas of the release are taken as they are.
    workshop.delta();
    assert_eq!(workshop.json(&simulate, 0), found);
    let said = workshop.words(&simulate);
    assert!(
        said.starts_with("release-1 to release-2: images of 6.1 MiB, 1000 devices\n"),
        "{said}"
    );
    assert!(said.contains("bytes a device"), "{said}");
    assert!(said.contains("through 100 Mbit/s"), "{said}");
    assert!(said.contains(" 100.0 %"), "{said}");
    let plain = workshop.words(&["simulate", "release-1", "release-2"]);
    assert!(!plain.contains("fleet") && !plain.contains("Mbit/s"), "{plain}");
}

#[test]
fn images_alone_cost_what_they_do_in_releases() {
    let workshop = Workshop::new();
    let releases = workshop.json(&["simulate", "release-1", "release-2"], 0);
    let images = workshop.json(&["simulate", "1.ext4", "2.ext4"], 0);
    let of_releases = releases["updates"][0]["images"].as_array().unwrap();
    let root = of_releases.iter().find(|image| image["role"] == "root").unwrap();
    assert_eq!(images["updates"][0]["images"][0]["ways"], root["ways"]);
}

#[test]
fn a_chain_is_taken_in_steps_or_at_once_and_drawn() {
    let workshop = Workshop::new();
    workshop.put("usr/lib/modules/6.1/net.ko", &noise(3, 100_000));
    workshop.mke2fs("3.ext4");
    let chain = ["simulate", "1.ext4", "2.ext4", "3.ext4"];
    let steps = workshop.json(&[&chain[..], &["--devices=10,20", "--svg=steps.svg"]].concat(), 0);
    let way = |of: &Value, index: usize| of[index]["device_bytes"].as_u64();
    let updates = steps["updates"].as_array().unwrap();
    let named: Vec<_> = updates.iter().map(|update| (&update["from"], &update["to"])).collect();
    assert_eq!(named, [(&json!("1.ext4"), &json!("2.ext4")), (&json!("2.ext4"), &json!("3.ext4"))]);
    let [first, second] = [0, 1].map(|update| way(&updates[update]["ways"], 3).unwrap());
    assert_eq!(way(&steps["total"], 3), Some(first + second));
    assert_eq!(steps["total"][3]["fleet_bytes"], first * 10 + second * 20);
    let svg = fs_err::read_to_string(workshop.path("steps.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains(">2.ext4 to 3.ext4: "), "{svg}");
    assert_eq!(svg.matches("fill=\"#3f7fb5\"").count(), 3, "{svg}");
    let again = workshop.json(&[&chain[..3], &["--svg=steps.svg"]].concat(), 2);
    assert_eq!(again["error"]["hint"], "remove it, or name another with --svg");

    let last = workshop.json(&[&chain[..], &["--to-last", "--devices=10,20"]].concat(), 0);
    let updates = last["updates"].as_array().unwrap();
    assert_eq!((&updates[0]["from"], &updates[0]["to"]), (&json!("1.ext4"), &json!("3.ext4")));
    assert_eq!(way(&updates[1]["ways"], 3), Some(second));
    assert_eq!(way(&last["total"], 3), None, "no device takes both");
    let first = way(&updates[0]["ways"], 3).unwrap();
    assert_eq!(last["total"][3]["fleet_bytes"], first * 10 + second * 20);
    let nobody = workshop.json(&[&chain[..], &["--to-last"]].concat(), 0);
    assert_eq!(nobody["total"], Value::Null);
}

/// No file system that is read, sizes that are no whole blocks, and what cannot be.
#[test]
fn odd_images_are_taken_and_nonsense_is_refused() {
    let workshop = Workshop::new();
    let simulate =
        |arguments: &[&str], code| workshop.json(&[&["simulate"], arguments].concat(), code);
    let refused = |arguments: &[&str], code| simulate(arguments, code)["error"].to_string();
    fs_err::write(workshop.path("odd"), noise(1, 10_001)).unwrap();
    fs_err::write(workshop.path("other"), noise(2, 5000)).unwrap();
    fs_err::write(workshop.path("empty"), b"").unwrap();
    let found = simulate(&["odd", "other"], 0);
    assert_eq!(found["updates"][0]["images"][0]["size"], 8192);
    for (arguments, code, said) in [
        (&["odd", "odd"][..], 2, "odd and odd are the same: there is nothing to fetch"),
        (&["release-2", "release-2"], 2, "release-2 and release-2 are the same"),
        (&["odd", "absent"], 1, "there is no absent"),
        (&["odd", "release-2"], 2, "odd is an image and release-2 is a release"),
        (&["release-2", "odd"], 2, "odd is an image and release-2 is a release"),
        (&["odd", "empty"], 3, "cannot make the tree of empty"),
        (&["odd", "tree"], 3, "tree has no manifest.json"),
        (&["odd", "other", "--devices=1,2"], 2, "--devices has 2 numbers for 1 updates"),
    ] {
        let error = refused(arguments, code);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    for arguments in [&["odd"][..], &["odd", "other", "--rate=0"], &["odd", "other", "--uplink=1"]]
    {
        let status = workshop.payload(&[&["simulate"], arguments].concat()).status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
