//! Starting a container: the parent's side.
//!
//! Steps and their undo: cgroup (removed) → process (killed and collected) → into the cgroup, id maps →
//! "set up". From there the child works alone while the caller connects the network; [`Created::start`]
//! lets it execute. Dropping [`Created`] undoes everything.

use crate::cgroup::{self, Cgroup};
use crate::spec::{ContainerSpec, IdMap, Namespace};
use crate::sync::{Line, Message};
use crate::{Error, child, devices, mounts, seccomp};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tug_sys::process::{self as sys, Cloned, flags};
use tug_types::ContainerId;

/// Where the process' standard streams come from.
pub enum Stdio {
    /// The process' ends of pipes, or /dev/null.
    Pipes {
        /// Its standard input.
        stdin: OwnedFd,
        /// Its standard output.
        stdout: OwnedFd,
        /// Its standard error.
        stderr: OwnedFd,
    },
    /// A terminal made in the container; its master is in [`Running::terminal`].
    Terminal,
}

/// A container whose process exists and waits for its network.
pub struct Created {
    id: ContainerId,
    parent: String,
    process: Option<(i32, OwnedFd)>,
    line: Line,
    warnings: Vec<String>,
}

/// A process that executes its command.
pub struct Running {
    /// Its id on the host.
    pub pid: i32,
    /// Its descriptor (pidfd_open(2)): readable once it has ended.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// What could not be had and was not asked for by name.
    pub warnings: Vec<String>,
}

impl Running {
    /// Waits for its end: 0-255, or 128+n for a signal. Only in the process that started it, once.
    ///
    /// # Errors
    /// When it is not our child.
    pub fn wait(&self) -> Result<i32, Error> {
        wait(self.pidfd.as_fd())
    }
}

/// Makes a container's process. It sets up its root and waits.
///
/// # Errors
/// The first step that failed; nothing remains of the others.
pub fn spawn(spec: &ContainerSpec, stdio: Stdio) -> Result<Created, Error> {
    let filter = seccomp::program(&spec.seccomp, &spec.process.capabilities)?;
    let rules = devices::rules(spec)?;
    let plan = cgroup::plan(&spec.resources, rules, cgroup::Hierarchies::of_host()?)?;
    let namespaces = Joined::open(spec)?;
    let (line, childs_line) = Line::pair()?;
    let cgroup = Cgroup::begin(&spec.id, &spec.cgroup_parent)?;
    let into = cgroup.into.as_ref().map(AsFd::as_fd);
    let enter = namespaces.processes.as_ref().map(|file| || sys::enter_file(file.as_fd()));
    let process = match clone_among(enter, namespaces.fresh, into) {
        Ok(Cloned::Child) => {
            drop(line);
            child::run(spec, stdio, childs_line, filter, &namespaces)
        }
        Ok(Cloned::Parent { pid, pidfd }) => Some((pid, pidfd)),
        Err(source) => {
            // Best effort: whoever reconciles finds it by its id.
            let _ = cgroup::remove(&spec.id, &spec.cgroup_parent);
            return Err(source);
        }
    };
    drop((childs_line, stdio));
    let (id, parent) = (spec.id.clone(), spec.cgroup_parent.clone());
    let mut created = Created { id, parent, process, line, warnings: Vec::new() };
    created.set_up(spec, &cgroup, &plan)?;
    Ok(created)
}

impl Created {
    /// The process' id on the host.
    pub fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, |(pid, _)| *pid)
    }

    /// The process' descriptor.
    ///
    /// # Panics
    /// Never: a created container has a process.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        let (_, pidfd) = self.process.as_ref().expect("a created container has a process");
        pidfd.as_fd()
    }

    /// Its network namespace.
    ///
    /// # Errors
    /// When the process has ended: what it said.
    pub fn network_namespace(&self) -> Result<OwnedFd, Error> {
        namespace(self.pid(), "net").map_err(|error| self.last_words().unwrap_or(error))
    }

    /// Why a process that is gone ended, if it said so.
    fn last_words(&self) -> Option<Error> {
        loop {
            match self.line.receive().ok()? {
                Message::Failed(failure) => return Some(Error::Inside(failure)),
                Message::End => return None,
                _ => {}
            }
        }
    }

    fn set_up(
        &mut self,
        spec: &ContainerSpec,
        cgroup: &Cgroup,
        plan: &cgroup::Plan,
    ) -> Result<(), Error> {
        self.warnings = cgroup.complete(&spec.cgroup_parent, plan)?;
        let mut root = None;
        if let Some(user) = &spec.namespaces.user {
            cgroup.add(self.pid())?;
            for (file, lines) in [("uid_map", &user.uid_map), ("gid_map", &user.gid_map)] {
                write_map(self.pid(), file, lines)?;
            }
            let ids = namespace(self.pid(), "user")?;
            let owner =
                user.uid_map.iter().find(|map| map.inside == 0).map_or(0, |map| map.outside);
            root = Some(mounts::overlay(&spec.rootfs, Some((ids.as_fd(), owner)))?);
        }
        self.line.send(&Message::SetUp(root)).map_err(|error| self.last_words().unwrap_or(error))
    }

    /// Lets the process execute its command, and returns once it does.
    ///
    /// # Errors
    /// What the process says stopped it; nothing remains of the container then.
    pub fn start(mut self) -> Result<Running, Error> {
        // A process that failed already has said why, and is no longer there to hear.
        let sent = self.line.send(&Message::Go);
        let mut warnings = std::mem::take(&mut self.warnings);
        let terminal = until_executing(&self.line, &mut warnings, sent)?;
        let (pid, pidfd) = self.process.take().ok_or(Error::Vanished)?;
        Ok(Running { pid, pidfd, terminal, warnings })
    }
}

/// Hears the process out. Its own words count more than ours.
pub(crate) fn until_executing(
    line: &Line,
    warnings: &mut Vec<String>,
    sent: Result<(), Error>,
) -> Result<Option<OwnedFd>, Error> {
    let mut terminal = None;
    let mut executing = false;
    loop {
        match line.receive()? {
            Message::Terminal(master) => terminal = Some(master),
            Message::Warning(text) => warnings.push(text),
            Message::Executing => executing = true,
            Message::Failed(failure) => return Err(Error::Inside(failure)),
            Message::End if executing => return Ok(terminal),
            Message::End => return Err(sent.err().unwrap_or(Error::Vanished)),
            Message::SetUp(_) | Message::Go => {}
        }
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let Some((_, pidfd)) = self.process.take() else { return };
        // Undoing: each step is tried, and whoever reconciles finds what is left.
        end(pidfd.as_fd());
        let _ = cgroup::kill_all(&self.id, &self.parent);
        let _ = cgroup::remove(&self.id, &self.parent);
    }
}

/// Kills our child and collects it.
pub(crate) fn end(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = wait(pidfd);
}

fn wait(pidfd: BorrowedFd<'_>) -> Result<i32, Error> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(Some(status)) => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                return Ok(signal.or(status.exit_status()).unwrap_or(0));
            }
            Ok(None) => {}
            Err(error) => return Err(Error::system("wait for the process")(error)),
        }
    }
}

/// A namespace of a process, as a descriptor.
pub(crate) fn namespace(pid: i32, kind: &'static str) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/ns/{kind}");
    open_namespace(kind, &path)
}

fn open_namespace(kind: &'static str, path: &str) -> Result<OwnedFd, Error> {
    std::fs::File::open(path).map(Into::into).map_err(|source| Error::Namespace {
        kind,
        path: path.to_owned(),
        source,
    })
}

fn write_map(pid: i32, file: &'static str, lines: &[IdMap]) -> Result<(), Error> {
    let text: String = lines
        .iter()
        .map(|line| format!("{} {} {}\n", line.inside, line.outside, line.count))
        .collect();
    std::fs::write(format!("/proc/{pid}/{file}"), text)
        .map_err(|source| Error::IdMap { file, source })
}

/// Clones a process into the pid namespace that `enter` leads to: only children are ever in another one
/// than before, so it is entered before the clone and left again after it.
pub(crate) fn clone_among(
    enter: Option<impl FnOnce() -> std::io::Result<()>>,
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned, Error> {
    let failed = |source| Error::Clone { source };
    let Some(enter) = enter else { return sys::clone(namespaces, cgroup).map_err(failed) };
    let own = namespace(std::process::id().cast_signed(), "pid")?;
    enter().map_err(|_| Error::Gone)?;
    let cloned = sys::clone(namespaces, cgroup);
    if let Ok(Cloned::Child) = cloned {
        return Ok(Cloned::Child);
    }
    let back = sys::enter_file(own.as_fd());
    match (cloned, back) {
        (Ok(Cloned::Parent { pidfd, .. }), Err(source)) => {
            end(pidfd.as_fd());
            Err(Error::System { what: "return to the host's pid namespace", source })
        }
        (cloned, _) => cloned.map_err(failed),
    }
}

/// Namespaces to be made by the clone, and those to be joined before and after it.
pub(crate) struct Joined {
    pub fresh: u64,
    pub processes: Option<OwnedFd>,
    pub existing: Vec<OwnedFd>,
    pub fresh_cgroup: bool,
}

impl Joined {
    fn open(spec: &ContainerSpec) -> Result<Self, Error> {
        let wanted = &spec.namespaces;
        let mut joined = Self {
            fresh: flags::NEWNS,
            processes: None,
            existing: Vec::new(),
            fresh_cgroup: false,
        };
        for (namespace, kind, flag) in [
            (&wanted.net, "net", flags::NEWNET),
            (&wanted.pid, "pid", flags::NEWPID),
            (&wanted.ipc, "ipc", flags::NEWIPC),
            (&wanted.uts, "uts", flags::NEWUTS),
        ] {
            match namespace {
                Namespace::New => joined.fresh |= flag,
                Namespace::Host => {}
                Namespace::Path(path) => {
                    let namespace = open_namespace(kind, &path.display().to_string())?;
                    match kind {
                        "pid" => joined.processes = Some(namespace),
                        _ => joined.existing.push(namespace),
                    }
                }
            }
        }
        joined.fresh_cgroup = wanted.cgroup == Namespace::New;
        if wanted.user.is_some() {
            joined.fresh |= flags::NEWUSER;
        }
        Ok(joined)
    }
}

/// A pidfd of a process that is not our child.
pub(crate) fn open_process(pid: i32) -> Result<OwnedFd, Error> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Error::Gone)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Error::Gone)
}
