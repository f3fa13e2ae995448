//! An engine of a test's own: data root, exec root, home, and a host network in a namespace that
//! vanishes with the test.
//!
//! Dropping a [`Sandbox`] resets it with tug's own command and then looks from outside whether
//! anything is left: processes, mounts, links, nftables, cgroups, files. What is left fails the test.

use crate::layer::LayerTar;
use crate::layout::{Compression, Family, Layout, Manifest};
use crate::leaks::{Leaks, Network};
use crate::output::Output;
use crate::process::{self, Running};
use crate::terminal::Terminal;
use crate::wait::until_some;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

/// Address of the sandbox' own uplink, and of the router behind it that nobody is.
pub const UPLINK: &str = "192.0.2.2";

/// MTU of the sandbox' uplink: not Ethernet's, as on many clouds.
pub const UPLINK_MTU: u32 = 1400;

/// A test's own engine.
pub struct Sandbox {
    dir: TempDir,
    env: Vec<(String, String)>,
    network: Network,
    /// Full ids seen in any output; their cgroups must be gone at the end.
    ids: Mutex<BTreeSet<String>>,
}

impl Sandbox {
    /// An empty engine on a host network of its own: `lo`, and `eth0` with a default route into
    /// nowhere.
    pub fn empty() -> Self {
        let network = Network::private();
        for step in [
            "link set lo up".to_owned(),
            format!("link add eth0 mtu {UPLINK_MTU} type veth peer name router mtu {UPLINK_MTU}"),
            format!("address add {UPLINK}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            "link set router up".to_owned(),
            "route add default via 192.0.2.1".to_owned(),
        ] {
            process::run("ip", &step.split(' ').collect::<Vec<_>>()).ok();
        }
        Self::on(network)
    }

    /// An empty engine on the machine's real network. Its test belongs into the serial group `host`.
    pub fn on_host() -> Self {
        Self::on(Network::host())
    }

    /// [`Sandbox::empty`] with the image `busybox` loaded.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.load("busybox");
        sandbox
    }

    fn on(network: Network) -> Self {
        assert!(rustix::process::geteuid().is_root(), "end-to-end tests need root");
        // A short path: unix socket names end at 108 bytes, a container's id takes 64 of them.
        let base = std::env::var_os("TUG_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::Builder::new().prefix("tug-").tempdir_in(base);
        let dir = dir.unwrap_or_else(|error| panic!("no directory for a sandbox: {error}"));
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let env = vec![
            (
                "PATH".to_owned(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
            ("HOME".to_owned(), path("home")),
            ("TERM".to_owned(), "xterm".to_owned()),
            ("TUG_DATA_ROOT".to_owned(), path("data")),
            ("TUG_EXEC_ROOT".to_owned(), path("exec")),
        ];
        // As /var/lib is: a container's other users pass through.
        let open = std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755));
        assert!(open.is_ok(), "sandbox: {open:?}");
        for name in ["home", "data", "exec"] {
            let made = std::fs::create_dir(dir.path().join(name));
            assert!(made.is_ok(), "sandbox: {made:?}");
        }
        Self { dir, env, network, ids: Mutex::default() }
    }

    /// Its directory; tests may put files of their own there.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path below [`Sandbox::dir`] as text.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// `TUG_DATA_ROOT`.
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `TUG_EXEC_ROOT`.
    pub fn exec_root(&self) -> PathBuf {
        self.dir.path().join("exec")
    }

    /// Sets a variable for every command from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(key, _)| key != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Has docker.io served by the registry at `address`.
    pub fn mirror(&mut self, address: &str) {
        self.set_env("TUG_MIRROR", &format!("http://{address}"));
    }

    /// Any program in the sandbox' environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.current_dir(self.dir.path());
        command
    }

    fn tug_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&binary().to_string_lossy());
        command.args(arguments);
        command
    }

    /// Runs tug to its end, without input.
    pub fn tug(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_in(self)
    }

    /// Runs tug to its end with this input.
    pub fn tug_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut started = self.start(arguments);
        started.0.write(input);
        started.wait_in(self)
    }

    /// Starts tug, its standard input a pipe kept open.
    pub fn start(&self, arguments: &[&str]) -> Started {
        Started(Running::start(self.tug_command(arguments)))
    }

    /// Starts tug on a terminal of 24 rows and 80 columns.
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        Terminal::start(self.tug_command(arguments), 24, 80)
    }

    /// A shell script of the host in the sandbox' environment, `$TUG` being the binary.
    pub fn shell(&self, script: &str) -> Output {
        let mut command = self.command("bash");
        command.arg("-c").arg(script).env("TUG", binary());
        Started(Running::start(command)).wait_in(self)
    }

    /// Loads one of the base images.
    pub fn load(&self, name: &str) {
        let archive = cache().join(format!("images/{name}.tar"));
        assert!(archive.exists(), "{} is missing: ./dev images makes it", archive.display());
        self.tug(&["load", "-q", "-i", &archive.to_string_lossy()]).ok();
    }

    /// Loads an image made of busybox and one more layer. `config` is its configuration (`Cmd`, …).
    pub fn image(
        &self,
        name: &str,
        config: &Value,
        fill: impl FnOnce(&mut LayerTar<&mut dyn Write>) -> io::Result<()>,
    ) {
        let archive = self.dir.path().join(format!("image-{}.tar", crate::unique()));
        let made = (|| {
            let dir = tempfile::tempdir()?;
            let (layout, base) = busybox_in(dir.path())?;
            let mut layers = layout.layers_of(&base)?;
            layers.push(layout.layer(Compression::Gzip, fill)?);
            let image = layout.image(Family::Oci, config, &layers)?;
            layout.oci_archive(File::create(&archive)?, &[(&image, name)])
        })();
        assert!(made.is_ok(), "fixture image {name}: {made:?}");
        self.tug(&["load", "-q", "-i", &archive.to_string_lossy()]).ok();
    }

    /// `tug run --rm FLAGS busybox COMMAND`.
    pub fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        self.tug(&[&["run", "--rm"], flags, &["busybox"], command].concat())
    }

    /// `tug run --rm FLAGS busybox sh -c SCRIPT`.
    pub fn sh(&self, flags: &[&str], script: &str) -> Output {
        self.run(flags, &["sh", "-c", script])
    }

    /// `tug run -d FLAGS busybox COMMAND`; the full id.
    pub fn detached(&self, flags: &[&str], command: &[&str]) -> String {
        let run = self.tug(&[&["run", "-d"], flags, &["busybox"], command].concat());
        let id = run.ok().to_owned();
        let hex = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(id.len() == 64 && hex, "run -d prints the full id and nothing else: {run}");
        id
    }

    /// Waits until the log of a container holds `text`.
    pub fn wait_for_log(&self, name: &str, text: &str) {
        until_some(&format!("{text:?} in the log of {name}"), || {
            let logs = self.tug(&["logs", name]);
            (logs.stdout.contains(text) || logs.stderr.contains(text)).then_some(())
        });
    }

    /// Waits until a container has the status.
    pub fn wait_for_status(&self, name: &str, status: &str) {
        until_some(&format!("{name} to be {status}"), || {
            (self.status(name) == status).then_some(())
        });
    }

    /// `tug inspect` of one object.
    pub fn inspect(&self, name: &str) -> Value {
        let json = self.tug(&["inspect", name]);
        let list: Value = serde_json::from_str(json.ok()).unwrap_or_else(|e| panic!("{e}: {json}"));
        list[0].clone()
    }

    /// `tug inspect --format`.
    pub fn format(&self, name: &str, template: &str) -> String {
        self.tug(&["inspect", "--format", template, name]).ok().to_owned()
    }

    /// `running`, `exited`, …
    pub fn status(&self, name: &str) -> String {
        self.format(name, "{{.State.Status}}")
    }

    /// The container's process and its monitor, in the host's numbering, of a running container.
    pub fn pids(&self, id: &str) -> (u32, u32) {
        let file = self.exec_root().join("containers").join(id).join("state.json");
        until_some(&format!("{}", file.display()), || {
            let state: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            let pid = |key: &str| state[key].as_u64().and_then(|pid| u32::try_from(pid).ok());
            Some((pid("pid")?, pid("monitor_pid")?))
        })
    }

    /// Directories of containers in data and exec root: full ids.
    pub fn container_dirs(&self) -> BTreeSet<String> {
        let names = |root: PathBuf| {
            let entries = std::fs::read_dir(root.join("containers")).into_iter().flatten();
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        names(self.data_root()).chain(names(self.exec_root())).collect()
    }

    fn remember(&self, output: &Output) {
        let mut ids = self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let words = output.stdout.split(|c: char| !c.is_ascii_hexdigit());
        ids.extend(words.filter(|word| word.len() == 64).map(str::to_owned));
        ids.extend(self.container_dirs());
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// A tug that runs in a sandbox.
pub struct Started(pub Running);

impl Started {
    /// Waits for its end.
    pub fn wait_in(self, sandbox: &Sandbox) -> Output {
        let output = self.0.wait();
        sandbox.remember(&output);
        output
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let ids: BTreeSet<String> = {
            let known = self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.iter().cloned().chain(self.container_dirs()).collect()
        };
        let reset = self.tug(&["system", "reset", "-f"]);
        let mut leaks = Leaks::after(self.dir.path(), &ids, &self.network);
        if reset.code != 0 {
            leaks.0.push(format!("tug system reset failed: {reset}"));
        }
        let text = leaks.0.join("\n  ");
        if std::thread::panicking() {
            if !text.is_empty() {
                eprintln!("left behind by the failed test:\n  {text}");
            }
        } else {
            assert!(text.is_empty(), "left behind:\n  {text}");
        }
    }
}

/// The binary under test: `TUG_TEST_BINARY`, else what `./dev build` leaves.
pub fn binary() -> PathBuf {
    let binary = std::env::var_os("TUG_TEST_BINARY")
        .map_or_else(|| project().join("target/tug"), PathBuf::from);
    assert!(binary.exists(), "{} is missing: ./dev build makes it", binary.display());
    binary
}

/// `./dev`'s own static tool, which tests also run inside of containers.
pub fn devtool() -> PathBuf {
    let tool = binary().with_file_name("tug-dev");
    assert!(tool.exists(), "{} is missing: ./dev build makes it", tool.display());
    tool
}

/// A layout in `dir` that holds busybox.
///
/// # Errors
/// The base images are missing, or writing failed.
pub fn busybox_in(dir: &Path) -> io::Result<(Layout, Manifest)> {
    let base = Layout::create(&cache().join("images/oci"))?;
    let image = base.find("busybox:latest")?;
    let layout = Layout::create(dir)?;
    for digest in [&image.digest, &image.config] {
        std::fs::copy(base.blob(digest), layout.blob(digest))?;
    }
    for layer in base.layers_of(&image)? {
        std::fs::copy(base.blob(&layer.digest), layout.blob(&layer.digest))?;
    }
    Ok((layout, image))
}

/// Where `./dev images` leaves the base images.
pub fn cache() -> PathBuf {
    std::env::var_os("TUG_CACHE").map_or_else(|| project().join(".cache"), PathBuf::from)
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
