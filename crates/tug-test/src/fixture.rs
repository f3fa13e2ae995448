//! The base images every test and demonstration runs on.

use crate::layer::Meta;
use crate::layout::{Compression, Family, Layer, Layout, Manifest};
use serde_json::json;
use std::io;
use std::path::Path;
use std::process::Command;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A layer holding a static busybox, a hard link for each of its applets, and the few files and
/// directories a root filesystem needs. The same bytes on every machine with the same busybox.
///
/// # Errors
/// `program` is not readable or does not list its applets.
pub fn busybox_layer(layout: &Layout, program: &Path) -> io::Result<Layer> {
    let binary = std::fs::read(program)?;
    let listed = Command::new(program).arg("--list").output()?;
    let applets = String::from_utf8_lossy(&listed.stdout).into_owned();
    if !listed.status.success() || !applets.contains("sh\n") {
        return Err(io::Error::other(format!("{}: no applets", program.display())));
    }
    layout.layer(Compression::Gzip, |tar| {
        let (dir, file) = (Meta::mode(0o755), Meta::mode(0o644));
        tar.dir("bin", dir)?;
        tar.file("bin/busybox", dir, &binary)?;
        for applet in applets.lines().filter(|name| *name != "busybox") {
            tar.hardlink(&format!("bin/{applet}"), "bin/busybox")?;
        }
        for name in ["dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var"] {
            tar.dir(name, dir)?;
        }
        tar.file("etc/group", file, GROUP.as_bytes())?;
        tar.file("etc/passwd", file, PASSWD.as_bytes())?;
        tar.file("etc/shadow", Meta::mode(0o640), b"root:*::0:::::\n")?;
        tar.dir("root", Meta::mode(0o700))?;
        tar.dir("tmp", Meta::mode(0o1777))?;
        tar.symlink("usr/bin/env", "../../bin/env")?;
        tar.dir("var/www", dir)
    })
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
tester:x:1000:1001:tester:/home:/bin/sh
nobody:x:65534:65534:nobody:/home:/bin/false
";
const GROUP: &str = "root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
staff:x:50:tester
www-data:x:33:
testers:x:1001:
extra:x:2000:tester
nogroup:x:65534:
";

/// `busybox`: runs a shell.
///
/// # Errors
/// As [`busybox_layer`].
pub fn busybox(layout: &Layout, program: &Path) -> io::Result<Manifest> {
    let layer = busybox_layer(layout, program)?;
    layout.image(Family::Oci, &json!({"Cmd": ["sh"], "Env": [PATH]}), &[layer])
}

/// `debian`: one layer of a tree made by debootstrap.
///
/// # Errors
/// The tree is not readable.
pub fn debian(layout: &Layout, tree: &Path) -> io::Result<Manifest> {
    let layer = layout.layer(Compression::Gzip, |tar| tar.tree(tree))?;
    layout.image(Family::Oci, &json!({"Cmd": ["bash"], "Env": [PATH]}), &[layer])
}

/// `node`: `base` with an overlay's upper directory, in which Node and npm were installed, on top.
///
/// # Errors
/// The directory is not readable.
pub fn node(layout: &Layout, base: &Manifest, upper: &Path) -> io::Result<Manifest> {
    let mut layers = layout.layers_of(base)?;
    layers.push(layout.layer(Compression::Gzip, |tar| tar.tree(upper))?);
    layout.image(Family::Oci, &json!({"Cmd": ["node"], "Env": [PATH]}), &layers)
}

/// `nginx`: `base` with an overlay's upper directory, in which nginx was installed, on top.
///
/// # Errors
/// The directory is not readable.
pub fn nginx(layout: &Layout, base: &Manifest, upper: &Path) -> io::Result<Manifest> {
    let mut layers = layout.layers_of(base)?;
    layers.push(layout.layer(Compression::Gzip, |tar| tar.tree(upper))?);
    let config = json!({
        "Cmd": ["nginx", "-g", "daemon off;"], "Env": [PATH],
        "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
    });
    layout.image(Family::Oci, &config, &layers)
}
