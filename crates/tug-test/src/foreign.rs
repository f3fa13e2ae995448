//! Programs of another architecture: an arm64 image, and an emulator registered with the kernel for it.
//!
//! Registering is for the whole machine (since Linux 6.7 for a user namespace, and ours is the machine's).
//! Every handler here therefore has a name of its own, and goes with its [`Handler`].

use crate::layer::Meta;
use crate::layout::{Compression, Family, Layout, Manifest};
use crate::sandbox::cache;
use serde_json::json;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the image can do besides `busybox`.
const APPLETS: &[&str] = &[
    "cat", "echo", "env", "id", "ls", "mkdir", "pwd", "rm", "sh", "sleep", "test", "touch", "true",
    "uname", "wc",
];

/// `busybox-<architecture>`: a static busybox of that architecture, which need not run here.
///
/// # Errors
/// `program` is not readable, or the layout cannot be written.
pub fn image(layout: &Layout, architecture: &str, program: &Path) -> io::Result<Manifest> {
    let binary = std::fs::read(program)?;
    let layer = layout.layer(Compression::Gzip, |tar| {
        let (dir, file) = (Meta::mode(0o755), Meta::mode(0o644));
        tar.dir("bin", dir)?;
        tar.file("bin/busybox", dir, &binary)?;
        for applet in APPLETS {
            tar.hardlink(&format!("bin/{applet}"), "bin/busybox")?;
        }
        for name in ["dev", "etc", "proc", "root", "sys"] {
            tar.dir(name, dir)?;
        }
        tar.file("etc/group", file, b"root:x:0:\n")?;
        tar.file("etc/passwd", file, b"root:x:0:0:root:/root:/bin/sh\n")?;
        tar.dir("tmp", Meta::mode(0o1777))
    })?;
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    });
    layout.image_of(Family::Oci, config.to_string().as_bytes(), &[layer])
}

/// Makes that image in an OCI layout, and as an archive beside it for `tug load`.
///
/// # Errors
/// As [`image`].
pub fn make(layout: &str, architecture: &str, program: &str) -> io::Result<()> {
    let layout = Layout::create(Path::new(layout))?;
    let image = image(&layout, architecture, Path::new(program))?;
    let name = format!("busybox-{architecture}");
    let archive = std::fs::File::create(layout.dir().with_file_name(format!("{name}.tar")))?;
    layout.oci_archive(io::BufWriter::new(archive), &[(&image, &format!("{name}:latest"))])
}

/// The program `./dev install` unpacked from a package for arm64, and the emulator for it.
fn unpacked() -> Result<(PathBuf, PathBuf), String> {
    let tools = cache().join("tools");
    let (program, emulator) =
        (tools.join("arm64/bin/busybox"), tools.join("usr/bin/qemu-aarch64-static"));
    for file in [&program, &emulator] {
        if !file.exists() {
            return Err(format!("{} is missing: ./dev install unpacks it", file.display()));
        }
    }
    Ok((program, emulator))
}

/// The arm64 image in a layout of the caller's; why not where it cannot be made.
///
/// # Errors
/// What is missing.
pub fn arm64_in(layout: &Layout) -> Result<Manifest, String> {
    let (program, _) = unpacked()?;
    image(layout, "arm64", &program).map_err(|error| error.to_string())
}

/// An emulator of arm64 that the kernel knows until this is dropped, or its owner is dead.
#[derive(Debug)]
pub struct Handler {
    /// Has the handlers mounted in a mount namespace of its own: since Linux 6.7 they go with their last
    /// mount, before it somebody must unregister them. Ends with its input.
    keeper: Child,
}

/// ELF of 64 bits, little endian, for an AArch64: the kernel's `Documentation/admin-guide/binfmt-misc.rst`
/// says how it is written.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
const MASK: &str =
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// What the keeper does. Its words are the handler's name and the line that registers it.
const KEEPER: &str = r#"set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
cd /proc/sys/fs/binfmt_misc
printf %s "$2" > register
echo registered
read -r _ || true
echo -1 > "$1"
"#;

impl Handler {
    /// Registers one as Debian does: opened once by the kernel (`F`), so that images need not hold it, and told
    /// the program's own name (`P`), which busybox goes by.
    ///
    /// # Errors
    /// Why this machine cannot.
    pub fn register() -> Result<Self, String> {
        let (_, emulator) = unpacked()?;
        let emulator = emulator.canonicalize().map_err(|error| error.to_string())?;
        let name = format!("tug-test-arm64-{}", crate::unique());
        let line = format!(":{name}:M::{MAGIC}:{MASK}:{}:OCPF", emulator.display());
        let words = ["--mount", "--propagation", "private", "sh", "-c", KEEPER, "sh", &name, &line];
        let started = Command::new("unshare")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut handler =
            Self { keeper: started.map_err(|error| format!("start unshare: {error}"))? };
        let mut said = String::new();
        if let Some(output) = handler.keeper.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut said);
        }
        if said.trim() == "registered" {
            return Ok(handler);
        }
        said.clear();
        drop(handler.keeper.stdin.take());
        if let Some(mut errors) = handler.keeper.stderr.take() {
            let _ = errors.read_to_string(&mut said);
        }
        let _ = handler.keeper.wait();
        std::mem::forget(handler);
        Err(format!("the kernel takes no emulators (binfmt_misc): {}", said.trim()))
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let ended = self.keeper.wait();
        let well = ended.is_ok_and(|status| status.success());
        assert!(well || std::thread::panicking(), "the emulator stays registered");
    }
}
