//! What makes a process out of nothing and lets it become another: clone3(2), execve(2), user and
//! group ids, signal state.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which namespaces a clone gets anew (`CLONE_NEW*` of clone(2)).
pub mod flags {
    /// Mounts.
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    /// Process ids.
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    /// System V IPC and POSIX message queues.
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Host and domain name.
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    /// cgroup root.
    pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// User and group ids.
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
}

/// Which side of a clone this is.
pub enum Cloned {
    /// The new process.
    Child,
    /// The old one, with the new one's id and descriptor.
    Parent {
        /// Process id.
        pid: i32,
        /// Process descriptor (pidfd_open(2)).
        pidfd: OwnedFd,
    },
}

/// clone3(2) without shared memory: a fork that chooses namespaces and the v2 cgroup. The child is not
/// dumpable.
///
/// # Errors
/// `EDEADLK` in a process with several threads: in the child no other thread exists, and a lock another
/// one held (the allocator's) would never be released. Else what clone3 says.
pub fn clone(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    // A directory has two links and one for each directory in it.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(rustix::io::Errno::DEADLK.into());
    }
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: i32 = -1;
    let mut arguments = Arguments {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Arguments::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // The child begins as a copy of this program, possibly among processes of a container: it is born
    // so that they cannot look into it.
    let visible = dumpable();
    set_dumpable(false);
    // SAFETY: the arguments are live and sized; without CLONE_VM the child has a copy of everything,
    // and there is no other thread whose locks it could miss, as just checked by the only one.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, std::mem::size_of::<Arguments>())
    };
    let error = io::Error::last_os_error();
    if pid != 0 && visible {
        set_dumpable(true);
    }
    match pid {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            let pid = i32::try_from(pid).map_err(io::Error::other)?;
            // SAFETY: the kernel stored a descriptor made for us.
            Ok(Cloned::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
        }
        _ => Err(error),
    }
}

/// Moves this thread into the namespaces of a process, all in one step (setns(2) with a pidfd, Linux
/// 5.8).
///
/// # Errors
/// `ESRCH` when the process is gone.
pub fn enter(pidfd: BorrowedFd<'_>, namespaces: u64) -> io::Result<()> {
    let flags = i32::try_from(namespaces).map_err(io::Error::other)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), flags) })
}

/// Moves this thread into one namespace by its file, or its children for a pid namespace.
///
/// # Errors
/// What setns(2) says.
pub fn enter_file(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers; 0 takes whatever kind the file is of.
    check(unsafe { libc::setns(namespace.as_raw_fd(), 0) })
}

/// Gives the calling thread a root and working directory of its own, as entering a mount namespace
/// asks for (setns(2)).
///
/// # Errors
/// What unshare(2) says.
pub fn unshare_directories() -> io::Result<()> {
    // SAFETY: plain number; other threads keep theirs.
    check(unsafe { libc::unshare(libc::CLONE_FS) })
}

/// Makes the cgroup this process is in the root it sees (cgroup_namespaces(7)).
///
/// # Errors
/// What unshare(2) says.
pub fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: plain number; only this process' view changes.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })
}

/// Sets supplementary groups, then group, then user, all of real, effective and saved.
///
/// # Errors
/// `EPERM` without the capabilities, `EINVAL` for ids not mapped.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // The C library's wrappers would do this for all threads; there is one.
    // SAFETY: the slice is live for the call.
    check_long(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: plain numbers.
    check_long(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain numbers.
    check_long(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Default action for every signal and an empty mask: what a program expects to be started with.
pub fn reset_signals() {
    // The kernel's struct sigaction: handler (SIG_DFL), flags, restorer, mask. The C library would
    // refuse its own three signals, which posix_spawn(3) leaves ignored.
    let default = [0_u64; 4];
    for signal in 1..=64_i32 {
        // SAFETY: SIG_DFL runs no code of ours; those that cannot be set are refused by the kernel,
        // which reads the 32 bytes and writes none.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8_usize,
            )
        };
    }
    let mut empty = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that sigprocmask reads.
    unsafe {
        libc::sigemptyset(empty.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), std::ptr::null_mut());
    }
}

/// Program, arguments and environment as execve(2) takes them, made while memory may still be
/// allocated freely.
pub struct Image {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// Copies arguments and environment.
    ///
    /// # Errors
    /// The text that holds a NUL byte.
    pub fn new(arguments: &[String], environment: &[String]) -> Result<Self, String> {
        let copy = |texts: &[String]| -> Result<Vec<CString>, String> {
            texts.iter().map(|text| CString::new(text.as_str()).map_err(|_| text.clone())).collect()
        };
        Ok(Self { arguments: copy(arguments)?, environment: copy(environment)? })
    }

    /// Becomes `program`. Returns only when that fails.
    pub fn execute(&self, program: &std::ffi::CStr) -> io::Error {
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // SAFETY: all strings and both arrays are live, and the arrays end in null.
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Closes every descriptor from 3 on but those in `keep`, at once. For the child of a clone, which
/// leaves by execve or [`exit_now`] alone: what its parent's code owns is never dropped in it.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_except(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    let mut first = 3u32;
    for last in keep.into_iter().filter(|fd| *fd >= 3).chain([u32::MAX]) {
        let end = if last == u32::MAX { last } else { last - 1 };
        if first <= end {
            // SAFETY: plain numbers; what is closed is owned by code that never runs again here.
            check_long(unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) })?;
        }
        first = last.saturating_add(1);
    }
    Ok(())
}

/// Leaves the session keyring this process was started with for a new, empty one (keyctl(2),
/// `KEYCTL_JOIN_SESSION_KEYRING`).
///
/// # Errors
/// `ENOSYS` from a kernel without keys, `EDQUOT` when the user has too many.
pub fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: no name is given; nothing is written.
    check_long(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) })
}

/// Closes every descriptor and never returns to code that has any: for a process that only waits from
/// now on.
pub fn close_everything() {
    // SAFETY: nothing in this process uses a descriptor any more; owners of some are never dropped,
    // because the process leaves by `exit_now` alone.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0) };
}

/// Ends this process at once, without running anything that was registered for its end.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Names this process (prctl(2), `PR_SET_NAME`), at most 15 bytes.
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the string is live; the kernel copies it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Whether others may look into this process (`PR_SET_DUMPABLE`): its memory, its descriptors and the
/// file it runs.
pub fn set_dumpable(yes: bool) {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(yes)) };
}

fn dumpable() -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

/// Blocks all signals and waits for them one by one: for an init that forwards and reaps.
pub struct AllSignals(libc::sigset_t);

impl AllSignals {
    /// Blocks every signal that can be blocked.
    pub fn block() -> Self {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises the set.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
            Self(set.assume_init())
        }
    }

    /// The number of the next signal.
    pub fn wait(&self) -> i32 {
        // SAFETY: the set is live, no details are asked for.
        unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) }
    }
}

/// Signals a process by its id, for one that is our own child and therefore cannot be mistaken.
pub fn signal_child(pid: i32, signal: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::kill(pid, signal) };
}

/// Collects one ended child: its id and its wait status (wait(2)). `None` when none has ended.
pub fn collect_child() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status is live.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// The exit code a shell would show for a wait status: 0-255, or 128+n for a signal.
pub fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
