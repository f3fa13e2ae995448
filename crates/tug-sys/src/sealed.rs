//! This program's own file, in a form that nobody who gets hold of a process running it can write to.
//!
//! A container can make whoever starts a process in it execute `/proc/self/exe`, look that process up in
//! its /proc, and keep a descriptor of the engine's file to write to once it is no longer executed
//! (CVE-2019-5736). What stops it is that the running program was reached through a read-only mount: the
//! link in /proc leads to that mount, where opening for writing fails, whoever asks. The mount is detached
//! and exists as a descriptor only.

#![expect(unsafe_code, reason = "execve has no safe wrapper")]

use crate::mount::{Attributes, READ_ONLY, set_attributes};
use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A detached read-only mount of the file at `path` alone, to be executed through /proc/self/fd.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN.
pub fn program(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    set_attributes(tree.as_fd(), Attributes { set: READ_ONLY, ..Attributes::default() }, false)?;
    Ok(tree)
}

/// Whether this process runs a program that cannot be written to through it.
pub fn is_sealed() -> bool {
    rustix::fs::statvfs("/proc/self/exe")
        .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Executes this very program again, sealed, with the given arguments (the zeroth included) and the
/// environment it has. Returns when it is sealed already, and when it cannot be. To be called first thing
/// in a process that is going to start something in a container of others.
pub fn ensure(args: &[CString]) {
    if is_sealed() {
        return;
    }
    let Ok(program) = program(c"/proc/self/exe") else { return };
    let Ok(path) = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd())) else { return };
    let mut pointers: Vec<*const libc::c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: path and arguments are live, the array ends in null, and no other thread changes the
    // environment: there is none yet.
    unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_program_can_be_read_and_not_written() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        // Not this program's own: while it runs, writing fails for another reason.
        let file = std::env::temp_dir().join(format!("tug-sealed-{}", std::process::id()));
        std::fs::write(&file, "x").unwrap();
        let sealed = program(&CString::new(file.to_str().unwrap()).unwrap()).unwrap();
        let path = format!("/proc/self/fd/{}", sealed.as_raw_fd());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x");
        let error = std::fs::File::options().write(true).open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        std::fs::remove_file(file).unwrap();
        assert!(!is_sealed());
    }
}
