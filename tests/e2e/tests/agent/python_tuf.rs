use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use partition_layout::{SlotLetter, SlotState};
use seesaw_e2e::COMPATIBLE;
use seesaw_e2e::command::Failure;
use seesaw_e2e::image_file::{Kernel, REBOOT, World};
use seesaw_e2e::liar::{Files, Liar};
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

/// python-tuf with a program of that text.
fn python(program: &str) -> Command {
    let mut python = Command::new(python_tuf_venv().unwrap());
    python.args(["-c", program]).stdin(Stdio::null());
    python
}

fn run(python: &mut Command) -> Result<(), Failure> {
    let output = python.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_release_that_python_tuf_signed_is_installed() -> Result<(), Failure> {
    let mut world = World::new()?;
    let release = world.build(2)?;
    let token = fs_err::read_to_string(world.server.token_file())?;
    let mut publish = python(PUBLISH);
    publish.arg(world.path("publisher")).arg(&release);
    run(publish.args([world.server.url(), token.trim(), COMPATIBLE]))?;
    world.server.operate(&["channel", "promote", COMPATIBLE, "stable", "2"])?;

    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.running()?, "2");
    // And ours goes on from there.
    world.publish(3)?;
    assert_eq!(world.agent()?, REBOOT);
    Ok(())
}

/// Begins a repository with keys of its own, two for each role, which must both sign: roots 1 and 2,
/// targets with the one role that a device expects, a release in that, snapshot, timestamp. One signature
/// of the role that is named last is left out.
const BEGIN: &str = r#"
import datetime, hashlib, itertools, json, pathlib, sys
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
)

folder, release, compatible, kinds, short = sys.argv[1:]
folder, release = pathlib.Path(folder), pathlib.Path(release)
facts = json.loads((release / "facts.json").read_text())
facts["channels"] = ["stable"]
until = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=1)
generate = {
    "ed25519": CryptoSigner.generate_ed25519,
    "ecdsa": CryptoSigner.generate_ecdsa,
    "rsa": CryptoSigner.generate_rsa,
}
kinds = itertools.cycle(kinds.split(","))
roles = ["root", "targets", "snapshot", "timestamp", compatible]
signers = {role: [generate[next(kinds)]() for _ in range(2)] for role in roles}

def write(role, signed, count=2):
    metadata = Metadata(signed)
    for signer in signers[role][:count]:
        metadata.sign(signer, append=True)
    data = metadata.to_bytes()
    name = f"{role}.json" if role == "timestamp" else f"{signed.version}.{role}.json"
    (folder / name).write_bytes(data)
    return MetaFile(signed.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

def signatures(role):
    return 1 if role == short else 2

root = Root(expires=until, consistent_snapshot=True)
for role in roles[:4]:
    root.roles[role].threshold = 2
    for signer in signers[role]:
        root.add_key(signer.public_key, role)
write("root", root)
root.version = 2
write("root", root, signatures("root"))

delegated = DelegatedRole(compatible, [], 2, True, paths=[f"{compatible}/*"])
targets = Targets(expires=until, delegations=Delegations({}, {compatible: delegated}))
for signer in signers[compatible]:
    targets.add_key(signer.public_key, compatible)
path = f"{compatible}/{facts['release']}.json"
target = TargetFile.from_data(path, (release / "manifest.json").read_bytes(), ["sha256"])
target.unrecognized_fields["custom"] = facts
lists = {"targets": targets, compatible: Targets(expires=until, targets={path: target})}
meta = {f"{role}.json": write(role, signed, signatures(role)) for role, signed in lists.items()}
snapshot = write("snapshot", Snapshot(expires=until, meta=meta), signatures("snapshot"))
write("timestamp", Timestamp(expires=until, snapshot_meta=snapshot), signatures("timestamp"))
"#;

/// A repository that is python-tuf's alone, as its own folder.
fn begun(world: &World, release: &Path, kinds: &str, short: &str) -> Result<PathBuf, Failure> {
    let folder = world.path(&format!("python {kinds} {short}"));
    fs_err::create_dir(&folder)?;
    run(python(BEGIN).arg(&folder).arg(release).args([COMPATIBLE, kinds, short]))?;
    Ok(folder)
}

/// From now on the device's image and the server are of that repository.
fn move_to(world: &mut World, liar: &Liar, folder: &Path) -> Result<(), Failure> {
    let mut files = Files::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, fs_err::read(entry.path())?);
    }
    liar.show(files);
    world.first_root = folder.join("1.root.json");
    world.ask_at(liar.url())
}

/// A device, and a server that has the images of release 2.
fn device() -> Result<(World, Liar, PathBuf), Failure> {
    let world = World::new()?;
    world.publish(2)?;
    let (release, liar) = (world.build(2)?, Liar::before(world.server.url())?);
    Ok((world, liar, release))
}

fn follows(kinds: &str) -> Result<(), Failure> {
    let (mut world, liar, release) = device()?;
    let folder = begun(&world, &release, kinds, "")?;
    move_to(&mut world, &liar, &folder)?;
    assert_eq!(world.agent()?, REBOOT);
    world.boot(|_| Kernel::Runs)?;
    assert_eq!(world.agent()?, 0);
    assert_eq!(world.running()?, "2");
    let stored = fs_err::read(world.path("state/metadata/2.root.json"))?;
    assert_eq!(stored, fs_err::read(folder.join("2.root.json"))?);
    Ok(())
}

#[test]
fn a_repository_that_python_tuf_began_is_followed_to_a_release() -> Result<(), Failure> {
    follows("ed25519")
}

/// What we make no such keys for is verified all the same.
#[test]
fn a_repository_of_other_kinds_of_keys_is_followed_to_a_release() -> Result<(), Failure> {
    follows("ecdsa,rsa")
}

#[test]
fn a_repository_in_which_a_signature_lacks_is_refused() -> Result<(), Failure> {
    let (mut world, liar, release) = device()?;
    for short in ["root", "targets", "snapshot", "timestamp", COMPATIBLE] {
        let folder = begun(&world, &release, "ed25519,ecdsa", short)?;
        move_to(&mut world, &liar, &folder)?;
        let (code, ended) = world.updatectl(&["update"])?;
        assert_eq!((code, ended["exit"].as_str()), (9, Some("verification")), "{short}: {ended}");
        let said = ended.to_string();
        assert!(
            said.contains(short) && said.contains("1 of 2 needed keys have signed it"),
            "{said}"
        );
        assert_eq!(world.slot(SlotLetter::B)?.attributes.state(), SlotState::Empty);
        fs_err::remove_dir_all(world.path("state"))?;
    }
    // The same device takes what has both.
    let folder = begun(&world, &release, "ed25519,ecdsa", "")?;
    move_to(&mut world, &liar, &folder)?;
    assert_eq!(world.updatectl(&["update"])?.0, 4);
    Ok(())
}
