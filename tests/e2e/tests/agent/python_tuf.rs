use std::process::{Command, Stdio};

use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Kernel, REBOOT, World};
use seesaw_harness::python_tuf::python_tuf_venv;

/// A publisher that is not ours: takes over the repository's keys, signs a release and the next snapshot
/// with python-tuf, and uploads everything.
const PUBLISH: &str = r#"
import base64, datetime, json, pathlib, sys, urllib.request
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, TargetFile

publisher, release, url, token, compatible = sys.argv[1:]
publisher, release = pathlib.Path(publisher), pathlib.Path(release)
facts = json.loads((release / "facts.json").read_text())
facts["channels"] = ["stable"]
manifest = (release / "manifest.json").read_bytes()

def newest(role):
    files = (publisher / "metadata").glob(f"*.{role}.json")
    newest = max(files, key=lambda file: int(file.name.split(".")[0]))
    return Metadata.from_bytes(newest.read_bytes())

def sign(role, metadata):
    metadata.signed.version += 1
    metadata.signed.expires = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=30)
    pem = (publisher / "keys" / f"{role}.pem").read_bytes()
    metadata.sign(CryptoSigner(load_pem_private_key(pem, None)))
    return f"{metadata.signed.version}.{role}.json", metadata.to_bytes()

def send(method, path, body):
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    request = urllib.request.Request(url + "/v1/admin/" + path, body, headers, method=method)
    urllib.request.urlopen(request).read()

path = f"{compatible}/{facts['release']}.json"
target = TargetFile.from_data(path, manifest, ["sha256"])
target.unrecognized_fields["custom"] = facts
role = newest(compatible)
role.signed.targets[path] = target
files = dict([sign(compatible, role)])
snapshot = newest("snapshot")
snapshot.signed.meta[f"{compatible}.json"] = MetaFile(role.signed.version)
files.update([sign("snapshot", snapshot)])

for image in json.loads(manifest)["images"]:
    for part in ["full", "levels"]:
        name = f"images/{image['root']}/{part}"
        send("PUT", name, (release / name).read_bytes())
sha256 = target.hashes["sha256"]
send("PUT", f"targets/{compatible}/{sha256}.{facts['release']}.json", manifest)
encoded = {name: base64.b64encode(bytes).decode() for name, bytes in files.items()}
send("POST", "metadata", json.dumps({"files": encoded}).encode())
"#;

#[test]
fn a_release_that_python_tuf_signed_is_installed() -> Result<(), Failure> {
    let mut world = World::new()?;
    let release = world.build(2)?;
    let token = fs_err::read_to_string(world.server.token_file())?;
    let mut python = Command::new(python_tuf_venv().unwrap());
    python.args(["-c", PUBLISH]).arg(world.path("publisher")).arg(&release);
    python.args([world.server.url(), token.trim(), seesaw_e2e::COMPATIBLE]);
    let output = python.stdin(Stdio::null()).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.server.operate(&["channel", "promote", seesaw_e2e::COMPATIBLE, "stable", "2"])?;

    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.running()?, "2");
    // And ours goes on from there.
    world.publish(3)?;
    assert_eq!(world.agent()?, REBOOT);
    Ok(())
}
