//! A busybox tree, a container in directories of its own, and the proof that nothing of it is left.

use crate::say;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tug_runtime::{
    ContainerSpec, Error, ExecSpec, Mount, MountSource, Rootfs, Running, Stdio, cgroup,
};
use tug_types::{ContainerId, ContainerPath};

const BUSYBOX: &str = "/bin/busybox";
pub(crate) const PARENT: &str = "tug-runtime-test";

/// What these tests need of the machine.
pub(crate) fn usable() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".into());
    }
    std::fs::metadata(BUSYBOX).map_err(|error| format!("{BUSYBOX} (busybox-static): {error}"))?;
    Ok(())
}

/// Says that something was not tested, to people and to `./dev test`.
#[expect(clippy::disallowed_methods, reason = "the test run names a file for this")]
pub(crate) fn skip(what: &str, why: &str) {
    say(&format!("SKIPPED, NOT PASSED: {what}: {why}"));
    if let Some(path) = std::env::var_os("TUG_TEST_SKIPS")
        && let Ok(mut file) = File::options().append(true).create(true).open(path)
    {
        let _ = writeln!(file, "tug-runtime: {what}: {why}");
    }
}

/// A tree with busybox under all its names, made once.
pub(crate) fn rootfs() -> &'static Path {
    static ROOTFS: OnceLock<PathBuf> = OnceLock::new();
    ROOTFS.get_or_init(|| {
        let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("runtime-busybox");
        if base.exists() {
            return base;
        }
        let half = base.with_extension(std::process::id().to_string());
        for dir in ["bin", "etc", "root", "tmp", "srv/web", "var/empty"] {
            std::fs::create_dir_all(half.join(dir)).unwrap();
        }
        mode(&half.join("tmp"), 0o1777);
        std::fs::copy(BUSYBOX, half.join("bin/busybox")).unwrap();
        for name in APPLETS.split(' ') {
            symlink("busybox", half.join("bin").join(name)).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\n";
        std::fs::write(half.join("etc/passwd"), passwd).unwrap();
        std::fs::write(half.join("etc/group"), "root:x:0:\nlog:x:50:web\nwww:x:34:\n").unwrap();
        match std::fs::rename(&half, &base) {
            Ok(()) => {}
            // Another test process was faster.
            Err(_) if base.exists() => std::fs::remove_dir_all(&half).unwrap(),
            Err(error) => panic!("{error}"),
        }
        base
    })
}

const APPLETS: &str = "sh ash awk cat chmod chown chroot cp cut dd df echo env false find grep head \
    hostname id ip kill ln ls mkdir mknod mount mv nc nsenter ping ps pwd readlink rm rmdir seq setsid \
    sleep sort stat stty sysctl tail test touch tr true tty umount uname unshare usleep wc which xargs";

pub(crate) fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn path(text: &str) -> ContainerPath {
    ContainerPath::parse(text).unwrap()
}

/// One container, not started.
pub(crate) struct World {
    pub dir: TempDir,
    pub spec: ContainerSpec,
}

/// How a container ended and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub warnings: Vec<String>,
}

impl World {
    /// A container that runs a shell script.
    pub(crate) fn new(script: &str) -> Self {
        Self::of(&["/bin/sh", "-c", script])
    }

    /// A container that runs a program.
    pub(crate) fn of(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        mode(dir.path(), 0o755);
        for name in ["image", "upper", "work", "rootfs"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let spec = spec(args, dir.path());
        Self { dir, spec }
    }

    /// A host directory beside the container, visible for everybody.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        mode(&path, 0o777);
        path
    }

    /// Something of the image's own, above busybox.
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn script(&mut self, script: &str) {
        self.spec.process.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    }

    pub(crate) fn bind(&mut self, host: &Path, destination: &str) -> &mut Mount {
        self.spec.mounts.push(Mount {
            destination: path(destination),
            source: MountSource::Bind { path: host.to_owned() },
            readonly: false,
            recursive_readonly: false,
            propagation: None,
        });
        self.spec.mounts.last_mut().unwrap()
    }

    pub(crate) fn tmpfs(&mut self, destination: &str, options: &str) {
        self.spec.mounts.push(Mount {
            destination: path(destination),
            source: MountSource::Tmpfs { options: options.to_owned() },
            readonly: false,
            recursive_readonly: false,
            propagation: None,
        });
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Output {
        self.try_run().unwrap_or_else(|error| panic!("{}", message(&error)))
    }

    pub(crate) fn try_run(&self) -> Result<Output, Error> {
        let live = self.try_start()?;
        Ok(live.end())
    }

    /// The error it fails to start with, as a person reads it; and nothing is left.
    pub(crate) fn refusal(&self) -> tug_types::Failure {
        use tug_types::Explain;
        let failure = match self.try_run() {
            Ok(output) => panic!("{:?} ran: {output:?}", self.spec.process.args),
            Err(error) => error.failure(),
        };
        assert_eq!(groups(&self.spec.id), Vec::<PathBuf>::new());
        failure
    }

    pub(crate) fn start(&self) -> Live {
        self.try_start().unwrap_or_else(|error| panic!("{}", message(&error)))
    }

    pub(crate) fn try_start(&self) -> Result<Live, Error> {
        let pipes = Pipes::new();
        let created = tug_runtime::spawn(&self.spec, pipes.stdio)?;
        let running = created.start()?;
        Ok(Live {
            id: self.spec.id.clone(),
            running,
            out: pipes.out,
            err: pipes.err,
            input: Some(pipes.input),
        })
    }

    /// A process to start in it.
    pub(crate) fn exec_spec(&self, live: &Live, args: &[&str]) -> ExecSpec {
        let mut process = self.spec.process.clone();
        process.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        ExecSpec {
            id: self.spec.id.clone(),
            cgroup_parent: PARENT.to_owned(),
            pid: live.running.pid,
            process,
            seccomp: self.spec.seccomp.clone(),
            privileged: self.spec.privileged,
            user_namespace: self.spec.namespaces.user.is_some(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = cgroup::kill_all(&self.spec.id, PARENT);
            let _ = cgroup::remove(&self.spec.id, PARENT);
            return;
        }
        assert_eq!(groups(&self.spec.id), Vec::<PathBuf>::new(), "cgroups left");
        let dir = self.dir.path().to_str().unwrap();
        let left = host_mounts().lines().filter(|line| line.contains(dir)).count();
        assert_eq!(left, 0, "mounts left in {dir}");
        cgroup::remove_parent(PARENT).unwrap();
    }
}

/// The container's ends of its streams and ours.
pub(crate) struct Pipes {
    pub stdio: Stdio,
    pub input: OwnedFd,
    pub out: OwnedFd,
    pub err: OwnedFd,
}

impl Pipes {
    pub(crate) fn new() -> Self {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let ((stdin, input), (out, stdout), (err, stderr)) = (pipe(), pipe(), pipe());
        Self { stdio: Stdio::Pipes { stdin, stdout, stderr }, input, out, err }
    }
}

/// A running container. Ends and removed by [`Live::end`] or when dropped.
pub(crate) struct Live {
    pub id: ContainerId,
    pub running: Running,
    pub out: OwnedFd,
    pub err: OwnedFd,
    pub input: Option<OwnedFd>,
}

impl Live {
    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while rustix::io::read(&self.out, &mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub(crate) fn say(&mut self, text: &str) {
        rustix::io::write(self.input.as_ref().unwrap(), text.as_bytes()).unwrap();
    }

    /// Waits for its end and takes its groups away. Small outputs only: they wait in the pipes.
    pub(crate) fn end(mut self) -> Output {
        drop(self.input.take());
        let code = self.running.wait().unwrap();
        let mut text = [String::new(), String::new()];
        for (text, fd) in text.iter_mut().zip([&self.out, &self.err]) {
            let mut file = File::from(fd.try_clone().unwrap());
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let [out, err] = text;
        let warnings = std::mem::take(&mut self.running.warnings);
        Output { code, out, err, warnings }
    }

    pub(crate) fn kill(self) -> Output {
        cgroup::kill_all(&self.id, PARENT).unwrap();
        self.end()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = cgroup::kill_all(&self.id, PARENT);
        let removed = cgroup::remove(&self.id, PARENT);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// The groups of a container that exist on the host.
pub(crate) fn groups(id: &ContainerId) -> Vec<PathBuf> {
    let hierarchies = cgroup::Hierarchies::parse(&host_mounts());
    let groups = hierarchies.all().iter().map(|hierarchy| hierarchy.group(PARENT, id));
    groups.filter(|group| group.exists()).collect()
}

pub(crate) fn host_mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// An error as a person reads it.
pub(crate) fn message(error: &Error) -> String {
    use tug_types::Explain;
    error.failure().message
}

/// Waits for something that takes a moment.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn spec(args: &[&str], dir: &Path) -> ContainerSpec {
    let rootfs = Rootfs::Overlay {
        lowers: vec![dir.join("image"), rootfs().to_owned()],
        upper: dir.join("upper"),
        work: dir.join("work"),
        mount_point: dir.join("rootfs"),
        volatile: false,
    };
    ContainerSpec::plain(ContainerId::random().unwrap(), rootfs, args, PARENT)
}
