use std::process::Command;

use seesaw_harness::python_tuf::python_tuf_venv;

use crate::served::{COMPATIBLE, Served, succeed};

/// Downloads one target with python-tuf's client and prints the role's custom facts.
const DOWNLOAD: &str = r#"
import json, sys
from tuf.ngclient import Updater
url, first_root, folder, target = sys.argv[1:]
updater = Updater(
    metadata_dir=folder, metadata_base_url=url + "/v1/metadata/",
    target_dir=folder, target_base_url=url + "/v1/targets/",
    bootstrap=open(first_root, "rb").read(),
)
updater.refresh()
info = updater.get_targetinfo(target)
print(json.dumps({"path": updater.download_target(info, folder + "/manifest.json"), "custom": info.custom}))
"#;

/// Downloads the manifest of a release with python-tuf's client, from the first root; it and what was
/// signed about it.
fn downloaded(served: &Served, release: u64) -> (Vec<u8>, serde_json::Value) {
    let folder = served.folder.path().join(format!("python-{release}"));
    fs_err::create_dir(&folder).unwrap();
    let mut download = Command::new(python_tuf_venv().unwrap());
    download.args(["-c", DOWNLOAD, &served.url]).arg(served.first_root()).arg(&folder);
    let said = succeed(download.arg(format!("{COMPATIBLE}/{release}.json"))).stdout;
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    (fs_err::read(folder.join("manifest.json")).unwrap(), said["custom"].clone())
}

#[test]
fn pythons_client_downloads_the_manifest_that_ours_trusts() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    served.publish(&served.release(2), &["stable"]);

    both_clients_accept(&served, 2);
}

/// Ours and python-tuf's take the release's manifest, and see the same facts.
pub fn both_clients_accept(served: &Served, release: u64) {
    let trusted = served.device_sees();
    let ours = trusted.release(&release.to_string()).unwrap();
    let manifest = served.get(&format!("/v1/targets/{}", ours.consistent_path())).unwrap();
    assert_eq!(ours.open(&manifest).unwrap().counter, release);
    assert_eq!(
        downloaded(served, release),
        (manifest, serde_json::to_value(ours.facts()).unwrap())
    );
}

/// Both clients go from the first root to one with other keys and another threshold.
#[test]
fn pythons_client_follows_what_was_rotated() {
    let served = Served::new();
    served.publish(&served.release(1), &["stable"]);
    served.rotate_everything();
    served.publish(&served.release(2), &["stable"]);
    let trusted = served.device_sees();
    assert!(trusted.files_to_store().contains_key("2.root.json"));
    let facts = serde_json::to_value(trusted.release("2").unwrap().facts()).unwrap();
    assert_eq!(downloaded(&served, 2).1, facts);
}
