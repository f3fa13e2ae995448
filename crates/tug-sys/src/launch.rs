//! Starting this very binary as another process (posix_spawn(3), which is clone(CLONE_VM |
//! CLONE_VFORK) and exec: no page table is copied).

#![expect(unsafe_code, reason = "posix_spawn has no safe wrapper that places descriptors")]

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;

/// Above every number a descriptor is placed at.
const OUT_OF_THE_WAY: i32 = 16;

/// Starts `exe` with the given arguments (the zeroth included) and this process' environment.
/// /dev/null is its standard input, output and error; the descriptors are placed at 3 and on. All
/// signals have their default action and none is blocked. Returns its process id; the caller reaps it.
///
/// # Errors
/// What the exec fails with, or EMFILE.
pub fn start(exe: &CStr, args: &[CString], descriptors: &[BorrowedFd<'_>]) -> io::Result<i32> {
    // Placing one must not overwrite another that is still to be placed.
    let sources: Vec<OwnedFd> = descriptors
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, OUT_OF_THE_WAY))
        .collect::<Result<_, _>>()?;
    let mut actions = Actions::new()?;
    actions.open(0, c"/dev/null", libc::O_RDWR)?;
    actions.duplicate(0, 1)?;
    actions.duplicate(0, 2)?;
    for (source, target) in sources.iter().zip(3..) {
        actions.duplicate(source.as_raw_fd(), target)?;
    }
    let attributes = Attributes::clean()?;
    // Sealed where that is possible: it needs CAP_SYS_ADMIN.
    let sealed = crate::sealed::program(exe).ok();
    let sealed =
        sealed.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, OUT_OF_THE_WAY)).transpose()?;
    let link = sealed.as_ref().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let link = link.map(CString::new).transpose().map_err(io::Error::other)?;
    let exe = link.as_deref().unwrap_or(exe);
    let mut argv: Vec<*mut libc::c_char> =
        args.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    let mut pid = 0;
    // SAFETY: all pointers live until the call returns, argv ends in null, and posix_spawn writes to
    // none of the strings. `environ` is read while no other thread changes it: nothing in tug does.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            exe.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            environ.cast_const(),
        )
    })?;
    Ok(pid)
}

unsafe extern "C" {
    static environ: *mut *mut libc::c_char;
}

fn check(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: initialises what it is pointed to, or fails.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialised by the call above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn open(&mut self, target: i32, path: &CStr, flags: i32) -> io::Result<()> {
        let actions = &raw mut self.0;
        // SAFETY: initialised actions; the path is copied.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(actions, target, path.as_ptr(), flags, 0)
        })
    }

    fn duplicate(&mut self, source: i32, target: i32) -> io::Result<()> {
        // SAFETY: initialised actions, plain numbers.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, source, target) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised, and destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// Default actions and an empty mask for every signal.
    fn clean() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises what it is pointed to, or fails.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialised by the call above.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset and sigfillset initialise the set; the attributes are initialised.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, set.as_ptr()))?;
            libc::sigfillset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, set.as_ptr()))?;
        }
        let flags = (libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF) as libc::c_short;
        // SAFETY: initialised attributes.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, flags) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, and destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_arrive_at_their_numbers_whatever_they_were_before() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let script =
            c"echo out >&1; echo to-three >&3; echo to-four >&4; readlink /proc/self/fd/0 >&4";
        let args = [c"sh", c"-c", script].map(CStr::to_owned);
        let pid = start(c"/bin/sh", &args, &[write.as_fd(), write.as_fd()]).unwrap();
        drop(write);
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "to-three\nto-four\n/dev/null\n");
        let pid = rustix::process::Pid::from_raw(pid);
        let status = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
        assert_eq!(status.unwrap().unwrap().1.exit_status(), Some(0));
    }

    #[test]
    fn a_missing_binary_is_an_error() {
        let error = start(c"/nonexistent", &[c"x".to_owned()], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
