//! What each package holds.

use seesaw_harness::image::File;
use seesaw_harness::programs::{Programs, checkout};

use crate::deb::{DebPackage, PackagingError};
use crate::{licences, man};

/// The three packages of the programs given.
pub fn all(programs: &Programs) -> Result<[DebPackage; 3], PackagingError> {
    Ok([agent(programs)?, server(programs)?, tools(programs)?])
}

/// The device's. What an image has of Seesaw is this package, its first root of trust and its
/// configuration.
pub fn agent(programs: &Programs) -> Result<DebPackage, PackagingError> {
    let mut files = device_files(programs);
    files.extend(initramfs_files());
    files.extend(man::files(&["update-agent", "updatectl"])?);
    files.push(copyright("seesaw-agent", "seesaw-agent")?);
    Ok(DebPackage {
        name: "seesaw-agent",
        summary: "A/B update agent of image-based systems",
        description: "update-agent keeps a device with two slots at the release that its channel offers: it\n\
                      verifies and installs into the slot that is not running, reboots, checks health,\n\
                      and confirms or falls back. updatectl looks at and steers it.\n\
                      For images: on a root whose os-release names no SEESAW_COMPATIBLE the initrd stays\n\
                      as it is, and the agent does not start.",
        // The initrd's scripts need udev, busybox and e2fsprogs.
        depends: &["busybox", "e2fsprogs", "initramfs-tools", "systemd", "udev"],
        recommends: &["ca-certificates"],
        files,
        control: vec![
            ("postinst", unit_script(include_str!("scripts/postinst"), "update-agent", "")),
            ("prerm", unit_script(include_str!("scripts/prerm"), "update-agent", "")),
            ("postrm", unit_script(include_str!("scripts/postrm"), "update-agent", "")),
            ("triggers", "activate-noawait update-initramfs\n".to_owned()),
        ],
    })
}

fn server(programs: &Programs) -> Result<DebPackage, PackagingError> {
    let dist = checkout().join("update-server/dist");
    let mut files = vec![
        File::program("usr/bin/update-server", &programs.update_server),
        unit(&dist, "update-server.service"),
        File::copy("usr/lib/sysusers.d/update-server.conf", dist.join("sysusers.conf")),
        File::copy("usr/lib/tmpfiles.d/update-server.conf", dist.join("tmpfiles.conf")),
    ];
    files.extend(man::files(&["update-server"])?);
    files.push(copyright("seesaw-server", "seesaw-update-server")?);
    let sysusers = "systemd-sysusers update-server.conf\n";
    Ok(DebPackage {
        name: "seesaw-server",
        summary: "update server for fleets of Seesaw devices",
        description: "update-server keeps releases, channels and what devices report, and decides when a\n\
                      device is offered what its publisher signed. It serves /var/lib/seesaw-server once\n\
                      `update-server init` has made a server there.",
        depends: &["systemd"],
        recommends: &[],
        files,
        control: vec![
            ("postinst", unit_script(include_str!("scripts/postinst"), "update-server", sysusers)),
            ("prerm", unit_script(include_str!("scripts/prerm"), "update-server", "")),
            ("postrm", unit_script(include_str!("scripts/postrm"), "update-server", "")),
        ],
    })
}

fn tools(programs: &Programs) -> Result<DebPackage, PackagingError> {
    let mut files = vec![File::program("usr/bin/payload", &programs.payload)];
    files.extend(man::files(&["payload"])?);
    files.push(copyright("seesaw-tools", "payload-tools")?);
    Ok(DebPackage {
        name: "seesaw-tools",
        summary: "makes, signs and publishes releases for Seesaw devices",
        description: "payload builds releases from a kernel image and a root file system, signs, checks,\n\
                      bundles and publishes them, and makes disk images.",
        // `payload disk create` makes STATE with mke2fs.
        depends: &["e2fsprogs"],
        recommends: &[],
        files,
        control: Vec::new(),
    })
}

fn device_files(programs: &Programs) -> Vec<File> {
    let dist = checkout().join("agent/dist");
    let config = |name| {
        File::copy(format!("usr/lib/seesaw/config.d/{name}"), dist.join("config.d").join(name))
    };
    vec![
        File::program("usr/bin/update-agent", &programs.update_agent),
        File::program("usr/bin/updatectl", &programs.updatectl),
        unit(&dist, "update-agent.service"),
        File::copy("usr/lib/tmpfiles.d/update-agent.conf", dist.join("tmpfiles.conf")),
        config("00-defaults.toml"),
        config("10-boot-complete.toml"),
        File::copy("usr/lib/seesaw/hooks/README", dist.join("hooks/README")),
        File::copy(
            "usr/share/doc/seesaw-agent/examples/20-health.toml",
            dist.join("examples/20-health.toml"),
        ),
    ]
}

/// What the initrd of a device is made with.
pub fn initramfs_files() -> Vec<File> {
    let dist = checkout().join("agent/dist/initramfs");
    let script = |to: &str, from| File { mode: 0o755, ..File::copy(to, dist.join(from)) };
    vec![
        script("usr/share/initramfs-tools/hooks/seesaw", "hooks/seesaw"),
        script("usr/share/initramfs-tools/scripts/local-top/seesaw", "scripts/local-top/seesaw"),
        script(
            "usr/share/initramfs-tools/scripts/local-bottom/seesaw",
            "scripts/local-bottom/seesaw",
        ),
        script("usr/share/seesaw/initramfs/trial-deadline", "trial-deadline"),
    ]
}

fn unit(dist: &std::path::Path, name: &str) -> File {
    File::copy(format!("usr/lib/systemd/system/{name}"), dist.join(name))
}

/// The copyright file of a package whose programs are those of `crates`.
fn copyright(package: &str, crates: &str) -> Result<File, PackagingError> {
    let ours = concat!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n",
        "Source: ",
        env!("CARGO_PKG_REPOSITORY"),
        "\nComment: The programs contain Rust's standard library (MIT or Apache-2.0) and the crates\n",
        " named below, whose sources are not in this package.\n",
        "\nFiles: *\nCopyright: the Seesaw contributors\nLicense: MIT or Apache-2.0\n",
        " The Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0; the MIT License:\n",
    );
    let mit = licences::indented(include_str!("../../../LICENSE-MIT"));
    let text = [ours, &mit, &licences::of_crates(crates)?].concat();
    Ok(File::text(format!("usr/share/doc/{package}/copyright"), text))
}

/// A maintainer script of the package whose one unit has that name, as have its tmpfiles.
fn unit_script(text: &str, unit: &str, first: &str) -> String {
    text.replace("#FIRST#\n", first).replace("#UNIT#", unit)
}
