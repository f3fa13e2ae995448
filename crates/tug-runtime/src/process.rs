//! The last stretch of a new process, for a container's first as for an exec's: streams, user, limits,
//! capabilities, filter, execve. Ordinary code, but nobody is left to see a panic: every step returns.

use crate::root::Root;
use crate::spec::{Process, Rlimit};
use crate::sync::{Line, Message};
use crate::{Error, Stdio, capabilities, explain, mounts, users};
use rustix::fs::{Mode, OFlags};
use rustix::process::Resource;
use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tug_sys::process as sys;
use tug_sys::seccomp::Instruction;
use tug_types::{ContainerPath, Explain};

/// What every new process is given beside its description.
pub(crate) struct Start<'a> {
    pub process: &'a Process,
    pub filter: Option<Cow<'a, [Instruction]>>,
    /// The profile asks for refusals to be logged.
    pub log_refusals: bool,
    pub line: Line,
    pub init: bool,
    /// A missing working directory is made.
    pub make_cwd: bool,
    /// Process 1 of a container ends with the monitor that started it.
    pub end_with_parent: bool,
}

/// A new terminal of the container's own, its master sent to the parent. The slave is returned.
pub(crate) fn terminal(start: &Start<'_>, root: &Root, console: bool) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root.open("/dev/pts/ptmx", flags).map_err(Error::system("open a terminal"))?;
    rustix::pty::unlockpt(&master).map_err(Error::system("unlock the terminal"))?;
    let peer = rustix::pty::OpenptFlags::RDWR
        | rustix::pty::OpenptFlags::NOCTTY
        | rustix::pty::OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)
        .map_err(Error::system("open the terminal's other end"))?;
    if let Some((rows, columns)) = start.process.terminal_size {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).map_err(Error::system("size the terminal"))?;
    }
    if console {
        let path = ContainerPath::parse("/dev/console")
            .map_err(|_| Error::NotADevice { path: "/dev/console".to_owned() })?;
        mounts::bind_fd(root, slave.as_fd(), &path)?;
    }
    start.line.send(&Message::Terminal(master))?;
    Ok(slave)
}

/// Puts the streams at 0, 1 and 2; a terminal becomes the controlling one of a new session.
pub(crate) fn streams(stdio: Stdio, slave: Option<OwnedFd>) -> Result<(), Error> {
    let failed = Error::system("place the standard streams");
    rustix::process::setsid().map_err(Error::system("start a session"))?;
    let placed = match (&stdio, &slave) {
        (_, Some(slave)) => {
            rustix::process::ioctl_tiocsctty(slave).map_err(Error::system("take the terminal"))?;
            place(slave.as_fd(), slave.as_fd(), slave.as_fd())
        }
        (Stdio::Pipes { stdin, stdout, stderr }, None) => {
            place(stdin.as_fd(), stdout.as_fd(), stderr.as_fd())
        }
        (Stdio::Terminal, None) => Ok(()),
    };
    placed.map_err(failed)
}

/// dup2(2) leaves a descriptor alone that is already in place, with its close-on-exec flag; so all
/// three are lifted out of the way first.
fn place(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let lift = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 10);
    let (stdin, stdout, stderr) = (lift(stdin)?, lift(stdout)?, lift(stderr)?);
    rustix::stdio::dup2_stdin(&stdin)?;
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)
}

/// From a finished root to the command. Returns only on failure.
pub(crate) fn execute(start: &Start<'_>, root: &Root) -> Result<std::convert::Infallible, Error> {
    let process = start.process;
    // Whatever of the host's is open would be reached by a working directory or a program below
    // /proc/self/fd (CVE-2024-21626).
    sys::close_except(&[start.line.fd(), root.fd()])
        .map_err(|source| Error::System { what: "close the host's descriptors", source })?;
    // A kernel without keys, or a user with too many of them, has none to hide.
    let _ = sys::new_session_keyring();
    let passwd = root.read("/etc/passwd").unwrap_or_default();
    let group = root.read("/etc/group").unwrap_or_default();
    let user = users::resolve(&process.user, &process.additional_groups, &passwd, &group)?;
    hand_over_streams(&user);
    let mut environment = process.env.clone();
    if !environment.iter().any(|variable| variable.starts_with("HOME=")) {
        environment.push(format!("HOME={}", user.home));
    }
    let image = sys::Image::new(&process.args, &environment).map_err(|text| Error::Nul { text })?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if start.init {
        crate::init::split();
    }
    limits(start)?;
    lock_down(start, &user)?;
    enter_working_directory(&process.cwd)?;
    let program = explain::find(&process.args, &environment)?;
    explain::refuse_own(&program)?;
    let path = CString::new(program.as_str()).map_err(|_| Error::Nul { text: program.clone() })?;
    sys::reset_signals();
    start.line.send(&Message::Executing)?;
    let error = image.execute(&path);
    Err(explain::failed(&program, &error))
}

/// As the user, whose permissions count. The kernel says where one ends up that is not below the root.
fn enter_working_directory(cwd: &ContainerPath) -> Result<(), Error> {
    let failed = |source: std::io::Error| Error::WorkingDirectory { path: cwd.to_string(), source };
    rustix::process::chdir(cwd.as_str()).map_err(|errno| failed(errno.into()))?;
    let inside = rustix::process::getcwd(Vec::new()).map_err(|errno| failed(errno.into()))?;
    match inside.to_bytes().first() {
        Some(b'/') => Ok(()),
        _ => Err(failed(std::io::Error::other("it is outside of the container"))),
    }
}

fn limits(start: &Start<'_>) -> Result<(), Error> {
    for limit in &start.process.rlimits {
        let Some(resource) = resource(&limit.name) else {
            return Err(Error::Limit {
                name: limit.name.clone(),
                source: std::io::ErrorKind::InvalidInput.into(),
            });
        };
        set_limit(resource, limit)
            .map_err(|errno| Error::Limit { name: limit.name.clone(), source: errno.into() })?;
    }
    if let Some(score) = start.process.oom_score_adj
        && let Err(error) = std::fs::write("/proc/self/oom_score_adj", score.to_string())
    {
        let text = format!("oom_score_adj stays as it is: {error}");
        start.line.send(&Message::Warning(text))?;
    }
    Ok(())
}

fn set_limit(resource: Resource, limit: &Rlimit) -> rustix::io::Result<()> {
    let bound = |value: u64| Some(value).filter(|value| *value != u64::MAX);
    let wanted = rustix::process::Rlimit { current: bound(limit.soft), maximum: bound(limit.hard) };
    rustix::process::setrlimit(resource, wanted)
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        "as" => Resource::As,
        _ => return None,
    })
}

pub(crate) fn working_directory(start: &Start<'_>, root: &Root) -> Result<(), Error> {
    if start.make_cwd {
        root.directory(&start.process.cwd).map_err(|error| match error {
            Error::NotADirectory { path } => {
                Error::WorkingDirectory { path, source: std::io::ErrorKind::NotADirectory.into() }
            }
            // A read-only root: chdir says what is missing.
            Error::Create { path, source } => Error::WorkingDirectory { path, source },
            other => other,
        })?;
    }
    Ok(())
}

/// The user owns the pipes it was given, so that /dev/stdout can be opened again. Terminals and
/// /dev/null stay whose they are.
fn hand_over_streams(user: &users::User) {
    use rustix::fs::{FileType, Gid, Uid};
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let ours = match kind {
            Ok(FileType::Fifo | FileType::Socket) => true,
            Ok(FileType::CharacterDevice) => rustix::termios::isatty(fd),
            _ => false,
        };
        if ours {
            // Without it the process runs all the same, as long as it does not open the stream anew.
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            let group = (!rustix::termios::isatty(fd)).then_some(gid);
            let _ = rustix::fs::fchown(fd, Some(uid), group);
        }
    }
}

/// Capabilities, user and filter, in the one order that works: the bounding set while it may be
/// narrowed, ids with the permitted set kept, the filter while loading it is still allowed, the final
/// sets last.
fn lock_down(start: &Start<'_>, user: &users::User) -> Result<(), Error> {
    let process = start.process;
    let wanted = capabilities::Set::from_names(&process.capabilities);
    let had = capabilities::permitted()?;
    // A privileged container gets what there is without a word; nobody asked for a certain one.
    let lacking = wanted.bound(had)?;
    if !lacking.is_empty() && process.capabilities.len() < 41 {
        let text =
            format!("the host itself lacks {}; the container runs without", lacking.join(", "));
        start.line.send(&Message::Warning(text))?;
    }
    rustix::thread::set_keep_capabilities(true)
        .map_err(|errno| Error::Capabilities { source: errno.into() })?;
    sys::become_user(user.uid, user.gid, &user.groups).map_err(|source| Error::Credentials {
        uid: user.uid,
        gid: user.gid,
        source,
    })?;
    if start.end_with_parent && !start.init {
        // Cleared by a change of ids, hence only now.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(Error::system("tie the process to its monitor"))?;
    }
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(Error::system("set no_new_privs"))?;
    }
    // Keeping capabilities over the change of ids kept the permitted set only: loading a filter takes
    // an effective CAP_SYS_ADMIN.
    capabilities::raise(had)?;
    if let Some(filter) = &start.filter {
        tug_sys::seccomp::load(filter, start.log_refusals)
            .map_err(|source| Error::System { what: "load the system call filter", source })?;
    }
    let kept = match user.uid {
        0 => wanted,
        // The kernel clears both sets when a process leaves user 0; so does Docker.
        _ => capabilities::Set::none(),
    };
    kept.take(had)
}

/// Runs a process' setup; a failure is told to the parent, and the process ends.
pub(crate) fn report(line: &Line, error: &Error) -> ! {
    // A parent that is gone needs no telling.
    let _ = line.send(&Message::Failed(error.failure()));
    sys::exit_now(127)
}
