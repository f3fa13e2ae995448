//! A container in directories of its own, and the proof that nothing of it is left.

use crate::cast;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tug_monitor::log::{Begin, Item, Reader, Stream};
use tug_monitor::{Error, LogConfig, MonitorSpec, Remains, RunState, Started};
use tug_runtime::{ContainerSpec, Rootfs, Seccomp};
use tug_types::ContainerId;

const BUSYBOX: &str = "/bin/busybox";
pub(crate) const CGROUP_PARENT: &str = "tug-monitor-test";

/// What these tests need of the machine.
pub(crate) fn usable() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".into());
    }
    std::fs::metadata(BUSYBOX).map_err(|error| format!("{BUSYBOX} (busybox-static): {error}"))?;
    Ok(())
}

/// A tree with busybox and its names, made once.
fn rootfs() -> &'static Path {
    static ROOTFS: OnceLock<PathBuf> = OnceLock::new();
    ROOTFS.get_or_init(|| {
        let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("busybox");
        let half = base.with_extension(std::process::id().to_string());
        if base.exists() {
            return base;
        }
        for dir in ["bin", "etc", "tmp", "root"] {
            std::fs::create_dir_all(half.join(dir)).unwrap();
        }
        std::fs::copy(BUSYBOX, half.join("bin/busybox")).unwrap();
        for name in "sh cat echo dd sleep stty true printf yes head seq touch rm nc".split(' ') {
            std::os::unix::fs::symlink("busybox", half.join("bin").join(name)).unwrap();
        }
        std::fs::write(half.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        std::fs::write(half.join("bin/plain"), "not executable\n").unwrap();
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(half.join("bin/plain"), mode).unwrap();
        std::fs::rename(&half, &base).unwrap();
        base
    })
}

/// One container.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) spec: MonitorSpec,
}

impl World {
    /// A container that runs this program.
    pub(crate) fn new(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let id = ContainerId::random().unwrap();
        let (run_dir, container_dir) = (dir.path().join("run"), dir.path().join("container"));
        let mount_point = run_dir.join("rootfs");
        for path in [&mount_point, &container_dir.join("upper"), &container_dir.join("work")] {
            std::fs::create_dir_all(path).unwrap();
        }
        let rootfs = Rootfs::Overlay {
            lowers: vec![rootfs().to_owned()],
            upper: container_dir.join("upper"),
            work: container_dir.join("work"),
            mount_point,
            volatile: false,
        };
        let reaped = dir.path().join("reaped").display().to_string();
        let spec = MonitorSpec {
            container: container(id, args, rootfs),
            network: None,
            run_dir,
            container_dir,
            open_stdin: false,
            stdin_once: false,
            log: LogConfig { max_size: 100_000_000 },
            reaper: vec![cast::REAPER.to_owned(), reaped],
            stop_signal: 15,
            stop_timeout_ms: 10_000,
            ends_with_owner: false,
        };
        Self { dir, spec }
    }

    /// One that runs a line of shell.
    pub(crate) fn shell(line: &str) -> Self {
        Self::new(&["/bin/sh", "-c", line])
    }

    /// With a terminal.
    pub(crate) fn with_terminal(mut self) -> Self {
        self.spec.container.process.terminal = true;
        self.spec.container.process.terminal_size = Some((24, 80));
        self
    }

    /// With an open stdin, as `-i`.
    pub(crate) fn with_stdin(mut self) -> Self {
        self.spec.open_stdin = true;
        self.spec.stdin_once = true;
        self
    }

    pub(crate) fn try_start(&self) -> Result<Started, Error> {
        // Set-up removes it at the end of every run.
        let _ = std::fs::create_dir(self.spec.run_dir.join("rootfs"));
        let lock = tug_monitor::take_lock(&self.spec.run_dir)?;
        tug_monitor::spawn(Path::new("/proc/self/exe"), &self.spec, lock)?.wait_started()
    }

    pub(crate) fn start(&self) -> Started {
        self.try_start().unwrap()
    }

    /// Starts, waits for the end as the owner that cleans up, and answers the exit code.
    pub(crate) fn run(&self) -> i32 {
        let mut started = self.start();
        let record = started.owner.wait().unwrap();
        assert_eq!(record.error, None);
        started.owner.take_claim().unwrap().done();
        record.exit_code
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.spec.run_dir
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.spec.container_dir.join("log")
    }

    /// An attached client, to be given its streams.
    pub(crate) fn attach(&self, words: &[&str]) -> std::process::Command {
        let mut command = cast::command(cast::ATTACH);
        command.arg(self.run_dir()).arg(self.log_dir()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Everything in the log: stdout and stderr.
    pub(crate) fn printed(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut reader = Reader::open(&self.log_dir(), Begin::Start).unwrap();
        while let Some(item) = reader.next_chunk().unwrap() {
            match item {
                Item::Chunk(chunk) => match chunk.stream {
                    Stream::Stdout => out.extend_from_slice(chunk.bytes),
                    Stream::Stderr => err.extend_from_slice(chunk.bytes),
                },
                Item::Lost { bytes } => panic!("{bytes} bytes lost"),
            }
        }
        (out, err)
    }

    /// Waits until the container has printed this.
    pub(crate) fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || {
            let (out, err) = self.printed();
            [out, err].iter().any(|side| String::from_utf8_lossy(side).contains(text))
        });
    }

    /// How often a reaper ran.
    pub(crate) fn reaped(&self) -> usize {
        let text = std::fs::read_to_string(self.dir.path().join("reaped"));
        text.unwrap_or_default().lines().count()
    }

    pub(crate) fn remains(&self) -> Remains<'_> {
        Remains {
            id: &self.spec.container.id,
            cgroup_parent: CGROUP_PARENT,
            run_dir: &self.spec.run_dir,
            container_dir: &self.spec.container_dir,
            network: None,
        }
    }

    /// Fails when anything of a run is left but its directories, its lock file and its record.
    pub(crate) fn assert_nothing_left(&self) {
        eventually("the lock to be free", || !tug_monitor::is_running(self.run_dir()));
        let left: Vec<_> = std::fs::read_dir(self.run_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        assert_eq!(left, [""; 0], "in the run directory");
        let id = self.spec.container.id.as_str();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "a mount is left");
        assert!(find_cgroups(id).is_empty(), "{:?}", find_cgroups(id));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failed test leaves no container behind either.
        if tug_monitor::is_running(self.run_dir())
            && let Ok(mut client) = tug_monitor::Client::connect(self.run_dir())
        {
            let _ = client.signal(9).and_then(|()| client.wait().map(drop));
        }
        if !std::thread::panicking() {
            self.assert_nothing_left();
        }
    }
}

/// The container's directories in all cgroup hierarchies.
pub(crate) fn find_cgroups(id: &str) -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    let controllers = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    roots.extend(controllers.map(|entry| entry.path()));
    let below = roots.into_iter().map(|root| root.join(CGROUP_PARENT).join(id));
    below.filter(|path| path.exists()).collect()
}

/// Waits for a condition, ten seconds at most.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What the kernel says a process is doing; `None` when it is gone or a zombie.
pub(crate) fn alive(state: &RunState) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", state.pid));
    status.is_ok_and(|text| !text.contains(") Z"))
}

fn container(id: ContainerId, args: &[&str], rootfs: Rootfs) -> ContainerSpec {
    let mut container = ContainerSpec::plain(id, rootfs, args, CGROUP_PARENT);
    container.process.capabilities = vec!["CAP_KILL".into()];
    container.seccomp = Seccomp::Unconfined;
    (container.masked_paths, container.readonly_paths) = (Vec::new(), Vec::new());
    container
}
